"""The lean frame between router and replica, replica end: bytes to numpy and back; no I/O, no models.

Frame = u32 little-endian H, H bytes of msgpack header, zeros up to a multiple of 8, then the tensors: raw,
little-endian, C order, each padded with zeros to a multiple of 8. A request's header is
`[deadline_ms, outputs or null, [[name, datatype, shape, nbytes], …]]`, an answer's
`[model_us, [[name, datatype, shape, nbytes], …]]`. A BYTES tensor is its elements one after the other, each
a u32 length and that many bytes of UTF-8.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.datatype import DTYPES, datatype_of

MAX_HEADER: Final = 1 << 20
MAX_RANK: Final = 32
_LENGTH: Final = struct.Struct("<I")
_PAD: Final = bytes(8)

_Entry = tuple[str, str, list[int], int]
_request_header = msgspec.msgpack.Decoder(tuple[int, list[str] | None, list[_Entry]])
_answer_header = msgspec.msgpack.Decoder(tuple[int, list[_Entry]])
_encoder = msgspec.msgpack.Encoder()


class FrameError(ValueError):
    """A frame that does not hold what its header says; `field` names the tensor where one is to blame."""

    def __init__(self, text: str, field: str | None = None) -> None:
        super().__init__(text)
        self.field = field


class Request(msgspec.Struct, frozen=True):
    """A decoded request. `deadline_ms` is what is left of the callers' time; `outputs` None means all of them.

    `tensors` are read-only views of the body where the datatype allows it; BYTES are object arrays of str.
    """

    deadline_ms: int
    outputs: list[str] | None
    tensors: dict[str, NDArray[Any]]


class Answer(msgspec.Struct, frozen=True):
    """A decoded answer: microseconds in the model, and the outputs by name."""

    model_us: int
    tensors: dict[str, NDArray[Any]]


def decode_request(body: bytes) -> Request:
    """The request in `body`; raises FrameError naming what is wrong."""
    head, start = _header(body)
    try:
        deadline_ms, outputs, entries = _request_header.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameError(f"bad frame header: {error}") from None
    return Request(deadline_ms, outputs, _tensors(body, start, entries))


def decode_answer(body: bytes) -> Answer:
    """The answer in `body`; raises FrameError naming what is wrong."""
    head, start = _header(body)
    try:
        model_us, entries = _answer_header.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameError(f"bad frame header: {error}") from None
    return Answer(model_us, _tensors(body, start, entries))


def encode_request(
    tensors: Sequence[tuple[str, NDArray[Any]]],
    *,
    deadline_ms: int = 60_000,
    outputs: list[str] | None = None,
) -> bytes:
    """One request frame; raises FrameError for a dtype that has no datatype."""
    entries, parts = _encode_tensors(tensors)
    return _join([deadline_ms, outputs, entries], parts)


def encode_answer(tensors: Sequence[tuple[str, NDArray[Any]]], model_us: int) -> bytes:
    """One answer frame; raises FrameError for a dtype that has no datatype."""
    entries, parts = _encode_tensors(tensors)
    return _join([model_us, entries], parts)


def _header(body: bytes) -> tuple[memoryview, int]:
    if len(body) < 4:
        raise FrameError(f"a frame has at least 4 bytes, got {len(body)}")
    size = _LENGTH.unpack_from(body)[0]
    if size > MAX_HEADER:
        raise FrameError(f"a frame header may have {MAX_HEADER} bytes, this one says {size}")
    start = _padded(4 + size)
    if start > len(body):
        raise FrameError(f"the header says {size} bytes, the frame has {len(body)}")
    return memoryview(body)[4 : 4 + size], start


def _tensors(body: bytes, start: int, entries: list[_Entry]) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for name, datatype, shape, nbytes in entries:
        if name in found:
            raise FrameError(f"tensor {name!r} appears twice", name)
        if nbytes < 0 or start + nbytes > len(body):
            raise FrameError(f"tensor {name!r} says {nbytes} bytes, the frame ends before", name)
        found[name] = _tensor(body, start, name, datatype, shape, nbytes)
        start = _padded(start + nbytes)
    if start != len(body):
        raise FrameError(f"the tensors end at byte {start}, the frame has {len(body)}")
    return found


def _tensor(body: bytes, start: int, name: str, datatype: str, shape: list[int], nbytes: int) -> NDArray[Any]:
    if len(shape) > MAX_RANK or (shape and min(shape) < 0):
        raise FrameError(f"tensor {name!r} has the impossible shape {shape}"[:200], name)
    count = math.prod(shape)
    dtype = DTYPES.get(datatype)
    if dtype is None:
        if datatype != "BYTES":
            raise FrameError(f"tensor {name!r} has the unknown datatype {datatype!r}"[:200], name)
    elif nbytes != count * dtype.itemsize:
        raise FrameError(
            f"tensor {name!r}: {datatype} {shape} takes {count * dtype.itemsize} bytes, not {nbytes}", name
        )
    elif datatype == "BOOL" and count and np.frombuffer(body, np.uint8, count, start).max() > 1:
        raise FrameError(f"tensor {name!r} holds a BOOL that is neither 0 nor 1", name)
    strings = _strings(body, start, name, count, nbytes) if dtype is None else None
    try:
        return np.ndarray(shape, dtype, body, start) if strings is None else strings.reshape(shape)
    except (ValueError, OverflowError):
        raise FrameError(f"tensor {name!r} has the impossible shape {shape}"[:200], name) from None


def _strings(body: bytes, start: int, name: str, count: int, nbytes: int) -> NDArray[np.object_]:
    if count * 4 > nbytes:
        raise FrameError(f"tensor {name!r}: {count} BYTES elements do not fit in {nbytes} bytes", name)
    try:
        found = _equal_lengths(body, start, count, nbytes) or _any_lengths(body, start, name, count, nbytes)
    except UnicodeDecodeError as error:
        raise FrameError(f"tensor {name!r} holds bytes that are not UTF-8: {error.reason}", name) from None
    array = np.empty(count, object)
    array[:] = found
    return array


def _equal_lengths(body: bytes, start: int, count: int, nbytes: int) -> list[str] | None:
    """The elements when all have one length and are ASCII (ids, codes, dates): no Python per element."""
    if count < 2 or nbytes % count:
        return None
    width = nbytes // count
    rows = np.frombuffer(body, np.uint8, nbytes, start).reshape(count, width)
    if width == 4 or (np.ascontiguousarray(rows[:, :4]).view("<u4") != width - 4).any():
        return None
    text = rows[:, 4:]
    # numpy's U and S types drop trailing NULs, so elements that hold one take the slow way.
    if (text > 127).any() or (text == 0).any():
        return None
    found: list[str] = np.ascontiguousarray(text).view(f"S{width - 4}").ravel().astype(str).tolist()
    return found


def _any_lengths(body: bytes, start: int, name: str, count: int, nbytes: int) -> list[str]:
    found = []
    end = start + nbytes
    unpack = _LENGTH.unpack_from
    for index in range(count):
        if start + 4 > end:
            raise FrameError(f"tensor {name!r} ends before element {index}", name)
        size = unpack(body, start)[0]
        start += 4 + size
        if start > end:
            raise FrameError(f"tensor {name!r}: element {index} runs past the tensor's end", name)
        found.append(str(body[start - size : start], "utf-8"))
    if start != end:
        raise FrameError(f"tensor {name!r} has {end - start} bytes after its last element", name)
    return found


def _encode_tensors(
    tensors: Sequence[tuple[str, NDArray[Any]]],
) -> tuple[list[tuple[str, str, tuple[int, ...], int]], list[bytes]]:
    entries = []
    parts = []
    for name, array in tensors:
        try:
            datatype = datatype_of(array)
        except KeyError:
            raise FrameError(f"tensor {name!r} has a dtype without a datatype: {array.dtype}", name) from None
        part = _encode_strings(array) if datatype == "BYTES" else array.tobytes()
        entries.append((name, datatype, array.shape, len(part)))
        parts.append(part)
    return entries, parts


def _encode_strings(array: NDArray[Any]) -> bytes:
    elements = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel().tolist()]
    lengths = np.fromiter(map(len, elements), np.int64, len(elements))
    heads = np.zeros(len(elements), np.int64)
    np.cumsum(lengths[:-1] + 4, out=heads[1:])
    out = np.empty(int(lengths.sum()) + 4 * len(elements), np.uint8)
    is_text = np.ones(len(out), bool)
    where = (heads[:, None] + np.arange(4)).ravel()
    is_text[where] = False
    out[where] = lengths.astype("<u4").view(np.uint8)
    out[is_text] = np.frombuffer(b"".join(elements), np.uint8)
    return out.tobytes()


def _join(header: list[Any], tensors: list[bytes]) -> bytes:
    head = _encoder.encode(header)
    parts = [_LENGTH.pack(len(head)), head, _PAD[: -(4 + len(head)) % 8]]
    for tensor in tensors:
        parts.append(tensor)
        parts.append(_PAD[: -len(tensor) % 8])
    return b"".join(parts)


def _padded(size: int) -> int:
    return (size + 7) & -8
