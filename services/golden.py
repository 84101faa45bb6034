"""Golden vectors: the npz file of inputs and expected outputs, read, written and compared; it runs nothing.

In the file an input's array is named as the input, an output's `out:` and the output's name. Strings are
numpy unicode arrays (never pickled objects). The written file holds no time stamps, so equal arrays give
equal bytes.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.refusal import Refusal

OUTPUT: Final = "out:"
_MAX_BYTES: Final = 1 << 30
_MAX_ARRAYS: Final = 10_000

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class GoldenVectors:
    """Inputs by name and the outputs they must give, strings as object arrays of str."""

    inputs: Arrays
    outputs: Arrays


def read_golden(data: bytes) -> GoldenVectors:
    """The vectors in an npz file; raises Refusal `golden_invalid`. Never unpickles."""
    inputs: Arrays = {}
    outputs: Arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > _MAX_ARRAYS or sum(item.file_size for item in members) > _MAX_BYTES:
                raise Refusal(
                    "the golden vectors are too large", code="golden_invalid", field="golden.inputs"
                )
            for member in members:
                name = member.filename.removesuffix(".npy")
                with archive.open(member) as stream:
                    array = np.lib.format.read_array(stream, allow_pickle=False)
                target, key = (
                    (outputs, name.removeprefix(OUTPUT)) if name.startswith(OUTPUT) else (inputs, name)
                )
                target[key] = array.astype(object) if array.dtype.kind == "U" else _native(array)
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError) as error:
        raise Refusal(
            f"the golden vectors are no npz file of plain arrays: {error}",
            code="golden_invalid",
            field="golden.inputs",
        ) from None
    return GoldenVectors(inputs, outputs)


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """C order, little-endian, byte strings as str: what frames and onnxruntime take."""
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8").astype(object)
    # not ascontiguousarray: it makes a scalar a vector
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def write_golden(vectors: GoldenVectors) -> bytes:
    """The npz file of `vectors`; equal vectors give equal bytes."""
    arrays = {**vectors.inputs, **{OUTPUT + name: array for name, array in vectors.outputs.items()}}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            plain = array.astype(str) if array.dtype.kind == "O" else array
            member = io.BytesIO()
            np.lib.format.write_array(member, plain, allow_pickle=False)
            # ZipInfo's own default time is 1980, whatever the clock says.
            info = zipfile.ZipInfo(name + ".npy")
            info.external_attr = 0o644 << 16
            archive.writestr(info, member.getvalue(), zipfile.ZIP_DEFLATED, 6)
    return buffer.getvalue()


def close(found: NDArray[Any], wanted: NDArray[Any], atol: float) -> bool:
    """Whether two tensors agree: floats within `atol` + 1e-5 · |wanted|, all else exactly; NaN equals NaN."""
    if found.shape != wanted.shape:
        return False
    if found.dtype.kind == "f" and wanted.dtype.kind == "f":
        return bool(np.allclose(found, wanted, rtol=1e-5, atol=atol, equal_nan=True))
    return bool(np.array_equal(found, wanted))


def compare(found: Arrays, wanted: Arrays, atol: float) -> None:
    """Raises Refusal `golden_mismatch` naming the first output that is not as `wanted`."""
    for name, array in wanted.items():
        if name not in found:
            raise Refusal(f"the golden vectors name no output: {name!r}", code="golden_invalid", field=name)
        if not close(found[name], array, atol):
            raise Refusal(
                f"output {name!r} is not that of the golden vectors ({_difference(found[name], array)},"
                f" tolerance {atol:g})",
                code="golden_mismatch",
                field=name,
            )


def _difference(found: NDArray[Any], wanted: NDArray[Any]) -> str:
    if found.shape != wanted.shape:
        return f"shape {list(found.shape)} instead of {list(wanted.shape)}"
    if found.dtype.kind != "f" or wanted.dtype.kind != "f":
        return f"{int((found != wanted).sum())} of {found.size} elements differ"
    gap = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
    return f"largest difference {float(np.nanmax(gap)) if gap.size else 0.0:.3g}"
