"""Proves a tensor contract on a running service before it gets traffic: golden outputs, rows in any company."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from router.contract import ContractBroken, read_outputs, request_body
from router.documents import TensorSpec, Version
from router.errors import BadInput
from router.tensors import Array, check_shape, tensor_from_json

ANSWER_BYTES = 256 << 20

Tensors = dict[str, Array]


class Doubt(Exception):
    """The service does not do what its manifest says; the text begins with a code."""


def prove(document: Mapping[str, Any], host: str, port: int, seconds: float) -> None:
    """Returns where the contract holds on the golden rows, or there is none. Blocks up to `seconds`.

    Raises Doubt `not_rowwise`, `golden_mismatch`, `bad_answer`, `golden_invalid`.
    """
    version = msgspec.convert(document, Version)
    golden = document.get("golden")
    if version.tensors is None or version.signature is None or golden is None:
        return
    deadline = time.monotonic() + seconds
    try:
        inputs = _arrays(golden["rows"], version.signature.inputs, "golden.rows")
        together = _ask(version, host, port, inputs, deadline)
        if golden.get("outputs"):
            wanted = _arrays(golden["outputs"], version.signature.outputs, "golden.outputs")
            for name, array in wanted.items():
                if not close(together[name], array, golden["atol"]):
                    raise Doubt(f"golden_mismatch: output {name!r} is not that of the golden rows")
        if version.rowwise:
            check_rows(
                lambda rows: _ask(version, host, port, rows, deadline), inputs, together, golden["atol"]
            )
    except BadInput as error:
        raise Doubt(f"golden_invalid: {error.message}") from None
    except (ContractBroken, OSError, http.client.HTTPException) as error:
        raise Doubt(f"bad_answer: {error}") from None


def check_rows(run: Callable[[Tensors], Tensors], inputs: Tensors, together: Tensors, atol: float) -> None:
    """Raises Doubt `not_rowwise` where a row's outputs change with the rows beside it, or their number does."""
    rows = len(next(iter(inputs.values())))
    for name, array in together.items():
        if not array.ndim or len(array) != rows:
            raise Doubt(f"not_rowwise: output {name!r} has shape {list(array.shape)} for {rows} rows")
    for way, chosen in _ways(rows):
        found = run({name: array[chosen] for name, array in inputs.items()})
        for name, array in together.items():
            if not close(found[name], array[chosen], atol):
                raise Doubt(f"not_rowwise: output {name!r} of a row changes with the rows beside it ({way})")


def _ways(rows: int) -> Iterator[tuple[str, Array]]:
    everything = np.arange(rows)
    yield "permuted", np.random.default_rng(0).permutation(rows)
    yield "reversed", everything[::-1].copy()
    yield "in a half", everything[: rows // 2]
    for row in range(rows):
        yield "alone", everything[row : row + 1]


def close(found: Array, wanted: Array, atol: float) -> bool:
    """Floats within `atol` + 1e-5 · |wanted|, all else exactly."""
    if found.shape != wanted.shape:
        return False
    if found.dtype.kind == "f":
        return bool(np.allclose(found, wanted, rtol=1e-5, atol=atol, equal_nan=True))
    return bool(np.array_equal(found, wanted))


def _arrays(values: Mapping[str, Any], specs: tuple[TensorSpec, ...], field: str) -> Tensors:
    found = {}
    for spec in specs:
        if spec.name in values:
            found[spec.name] = tensor_from_json(values[spec.name], spec, f"{field}.{spec.name}")
            check_shape(found[spec.name], spec, f"{field}.{spec.name}")
    return found


def _ask(version: Version, host: str, port: int, inputs: Tensors, deadline: float) -> Tensors:
    assert version.tensors is not None
    assert version.signature is not None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the golden rows were not answered in time")
    connection = http.client.HTTPConnection(host, port, timeout=left)
    try:
        headers = {"content-type": "application/json", "accept": "application/json"}
        connection.request("POST", version.tensors.route, request_body(version.tensors, inputs), headers)
        answer = connection.getresponse()
        body = answer.read(ANSWER_BYTES)
    finally:
        connection.close()
    if answer.status != 200:
        told = body[:300].decode("utf-8", "replace")
        raise Doubt(f"bad_answer: {version.tensors.route} answered {answer.status} to golden rows: {told}")
    return read_outputs(version.tensors, version.signature, body)
