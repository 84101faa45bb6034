"""The lean frame, the router's end: tensors of one batch to bytes, and a replica's answer back to arrays.

Frame = u32 little-endian length of the header | msgpack header | padding to 8 | tensors, each padded to 8.
"""

from __future__ import annotations

import math
import struct

import msgspec
import numpy as np

from router.tensors import DTYPES, NAMES, Array

_LENGTH = struct.Struct("<I")
_PAD = [b"\0" * ((8 - n) % 8) for n in range(8)]
_encoder = msgspec.msgpack.Encoder()
_Tensor = tuple[str, str, tuple[int, ...], int]
_decoder = msgspec.msgpack.Decoder(tuple[int, tuple[_Tensor, ...]])


class BadFrame(Exception):
    """A replica's answer is not a frame; nothing of it may reach a caller."""


def encode_request(inputs: dict[str, Array], deadline_ms: int, outputs: list[str] | None = None) -> bytes:
    """One request frame. `deadline_ms` is what is left of the callers' time."""
    tensors = []
    parts: list[bytes] = [b"", b""]
    for name, array in inputs.items():
        raw = _raw(array)
        tensors.append((name, NAMES[array.dtype], array.shape, len(raw)))
        parts.append(raw)
        parts.append(_PAD[len(raw) % 8])
    header = _encoder.encode((deadline_ms, outputs, tensors))
    parts[0] = _LENGTH.pack(len(header)) + header
    parts[1] = _PAD[(4 + len(header)) % 8]
    return b"".join(parts)


def decode_answer(body: bytes) -> tuple[int, dict[str, Array]]:
    """Microseconds in the model, and the outputs by name (views of `body`). Raises BadFrame."""
    try:
        (length,) = _LENGTH.unpack_from(body)
        model_us, tensors = _decoder.decode(memoryview(body)[4 : 4 + length])
        position = 4 + length + len(_PAD[(4 + length) % 8])
        outputs: dict[str, Array] = {}
        for name, datatype, shape, size in tensors:
            if size < 0 or position + size > len(body):
                raise BadFrame(f"output {name} leaves the frame")
            outputs[name] = _array(body, position, size, datatype, shape)
            position += size + len(_PAD[size % 8])
    except (struct.error, msgspec.MsgspecError, KeyError, ValueError, OverflowError) as error:
        raise BadFrame(str(error)) from error
    return model_us, outputs


def _raw(array: Array) -> bytes:
    if array.dtype != object:
        return array.tobytes()
    return b"".join(part for item in array.reshape(-1) for part in (_LENGTH.pack(len(item)), item))


def _array(body: bytes, position: int, size: int, datatype: str, shape: tuple[int, ...]) -> Array:
    count = math.prod(shape)
    if datatype == "BYTES":
        return _strings(body, position, size, count).reshape(shape)
    dtype = DTYPES[datatype]
    if count * dtype.itemsize != size:
        raise BadFrame(f"{size} bytes for {count} × {datatype}")
    return np.frombuffer(body, dtype, count, position).reshape(shape)


def _strings(body: bytes, position: int, size: int, count: int) -> Array:
    if count < 0 or count * 4 > size:
        raise BadFrame(f"{count} strings do not fit in {size} bytes")
    out: Array = np.empty(count, dtype=object)
    end = position + size
    for index in range(count):
        (length,) = _LENGTH.unpack_from(body, position)
        position += 4
        if position + length > end:
            raise BadFrame("a string leaves its tensor")
        out[index] = body[position : position + length]
        position += length
    return out
