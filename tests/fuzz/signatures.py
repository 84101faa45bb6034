"""Signatures that inputs choose from by their first byte: every datatype, ranks 0 to 3, what may be missing."""

from __future__ import annotations

from router.documents import Signature, TensorSpec

DATATYPES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64",
    "BYTES",
)  # fmt: skip


def _spec(name: str, datatype: str, *shape: int, allow: bool = False) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape, missing="allow" if allow else "refuse")


def _both(*specs: TensorSpec) -> Signature:
    return Signature(inputs=specs, outputs=specs)


SIGNATURES = (
    *(_both(_spec("x", datatype, -1)) for datatype in DATATYPES),
    *(_both(_spec("x", datatype, -1, 3)) for datatype in ("INT64", "FP16", "FP32", "BYTES")),
    _both(_spec("x", "FP32", -1, -1, allow=True)),
    _both(_spec("x", "FP64")),
    _both(_spec("x", "BYTES")),
    _both(_spec("x", "FP32", -1, 2, 2)),
    _both(_spec("a", "INT64", -1), _spec("b", "BYTES", -1), _spec("c", "FP32", -1, 2, allow=True)),
    _both(_spec("x", "FP32", 0, 3)),
    _both(_spec("x", "BOOL", -1, -1, -1)),
)


def signature(byte: int) -> Signature:
    """One of them."""
    return SIGNATURES[byte % len(SIGNATURES)]
