"""Raw tensors of the binary extension: little-endian bytes to arrays and back, sizes checked; pure."""

from __future__ import annotations

import math
import struct

import numpy as np

from router.documents import TensorSpec
from router.errors import BadInput
from router.tensors import DTYPES, Array

_LENGTH = struct.Struct("<I")


def from_raw(
    body: bytes, start: int, size: int, shape: tuple[int, ...], spec: TensorSpec, field: str
) -> Array:
    """The tensor in `body[start : start + size]` (which must lie in it), a view where the datatype allows it.

    Raises BadInput naming the input: `bad_size`, `missing_value` for NaN where it is not allowed, `out_of_range`
    for a BOOL that is neither 0 nor 1 and for infinity, which JSON cannot say either.
    """
    count = math.prod(shape)
    if spec.datatype == "BYTES":
        flat = _strings(body, start, size, count, spec, field)
    else:
        dtype = DTYPES[spec.datatype]
        if size != count * dtype.itemsize:
            text = f"{spec.datatype} {list(shape)} takes {count * dtype.itemsize} bytes, not {size}"
            raise _bad(spec, text, "bad_size", field)
        if spec.datatype == "BOOL" and count and np.frombuffer(body, np.uint8, count, start).max() > 1:
            raise _bad(spec, "a BOOL is 0 or 1", "out_of_range", field)
        flat = np.frombuffer(body, dtype, count, start) if count else np.empty(0, dtype)
        if dtype.kind == "f":
            check_finite(flat, spec, field)
    return shaped(flat, shape, spec, field)


def to_raw(array: Array) -> bytes:
    """The bytes of a tensor, little-endian, row-major; each BYTES element with its u32 length before it."""
    if array.dtype != object:
        return array.tobytes()
    return b"".join(part for item in array.reshape(-1) for part in (_LENGTH.pack(len(item)), item))


def check_finite(array: Array, spec: TensorSpec, field: str) -> None:
    """Raises BadInput for infinity, and for NaN unless the signature says `missing: allow`."""
    if bool(np.isfinite(array).all()):
        return
    if bool(np.isinf(array).any()):
        raise _bad(spec, "infinity is no number", "out_of_range", field)
    if spec.missing != "allow":
        raise _bad(spec, "NaN is not allowed (missing: refuse)", "missing_value", field)


def shaped(flat: Array, shape: tuple[int, ...], spec: TensorSpec, field: str) -> Array:
    """`flat` in its shape, of which numpy may have more dimensions, or larger ones, than it can hold."""
    try:
        return flat.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise _bad(spec, f"the shape {str(list(shape))[:80]} is impossible", "bad_shape", field) from error


def _strings(body: bytes, start: int, size: int, count: int, spec: TensorSpec, field: str) -> Array:
    if count * 4 > size:
        raise _bad(spec, f"{count} BYTES elements do not fit in {size} bytes", "bad_size", field)
    out: Array = np.empty(count, dtype=object)
    end = start + size
    unpack = _LENGTH.unpack_from
    for index in range(count):
        if start + 4 > end:
            raise _bad(spec, f"its bytes end before element {index}", "bad_size", field)
        (length,) = unpack(body, start)
        start += 4
        if length > end - start:
            raise _bad(spec, f"element {index} is longer than what is left", "bad_size", field)
        out[index] = body[start : start + length]
        start += length
    if start != end:
        raise _bad(spec, f"{end - start} bytes follow its last element", "bad_size", field)
    return out


def _bad(spec: TensorSpec, text: str, code: str, field: str) -> BadInput:
    return BadInput(f"input {spec.name}: {text}", code=code, field=field)
