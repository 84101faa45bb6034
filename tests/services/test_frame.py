"""The frame codec against itself, against its description, and against what is no frame."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from services.datatype import DTYPES, datatype_of
from services.frame import FrameError, decode_answer, decode_request, encode_answer, encode_request

shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
numbers = st.sampled_from(sorted(DTYPES)).flatmap(lambda name: hnp.arrays(DTYPES[name], shapes))
texts = hnp.arrays(np.dtype(object), shapes, elements=st.text(max_size=12), fill=st.nothing())
tensors = st.dictionaries(st.text(min_size=1, max_size=8), st.one_of(numbers, texts), max_size=4)


@given(tensors, st.integers(-(2**40), 2**40), st.none() | st.lists(st.text(max_size=5), max_size=3))
def test_request_round_trip(
    given_tensors: dict[str, np.ndarray[Any, Any]], deadline: int, outputs: list[str] | None
) -> None:
    body = encode_request(list(given_tensors.items()), deadline_ms=deadline, outputs=outputs)
    found = decode_request(body)
    assert (found.deadline_ms, found.outputs) == (deadline, outputs)
    assert list(found.tensors) == list(given_tensors)
    for name, array in given_tensors.items():
        assert found.tensors[name].shape == array.shape
        assert datatype_of(found.tensors[name]) == datatype_of(array)
        np.testing.assert_array_equal(found.tensors[name], array)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_frame_or_a_frame_error(body: bytes) -> None:
    try:
        decode_request(body)
    except FrameError:
        return
    assert len(body) % 8 == 0


@given(tensors, st.data())
def test_cut_or_altered_frames_never_raise_anything_else(
    given_tensors: dict[str, np.ndarray[Any, Any]], data: st.DataObject
) -> None:
    body = bytearray(encode_answer(list(given_tensors.items()), 5))
    cut = data.draw(st.integers(0, len(body)))
    with pytest.raises(FrameError):
        decode_answer(bytes(body[: max(cut - 1, 0)]))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(FrameError):
        decode_answer(bytes(body))


def test_layout_is_as_described() -> None:
    body = encode_answer([("y", np.array([1.5], np.float32)), ("s", np.array(["ab", "c"], object))], 42)
    size = struct.unpack_from("<I", body)[0]
    assert msgspec.msgpack.decode(body[4 : 4 + size]) == [
        42,
        [["y", "FP32", [1], 4], ["s", "BYTES", [2], 11]],
    ]
    start = (4 + size + 7) // 8 * 8
    assert not any(body[4 + size : start])
    assert body[start : start + 8] == struct.pack("<f4x", 1.5)
    assert body[start + 8 :] == b"\2\0\0\0ab\1\0\0\0c" + bytes(5)


@pytest.mark.parametrize(
    "elements", [["ab", "cd"], ["", ""], ["a\0", "bc"], ["é", "b"], ["a"], [], ["x" * 99, ""]]
)
def test_strings_of_equal_and_unequal_lengths(elements: list[str]) -> None:
    body = encode_request([("s", np.array(elements, object))])
    assert decode_request(body).tensors["s"].tolist() == elements


def test_numpy_string_arrays_are_bytes_tensors() -> None:
    for array in (np.array(["ab", "c"]), np.array([b"ab", b"c"]), np.array([b"ab", b"c"], object)):
        assert decode_request(encode_request([("s", array)])).tensors["s"].tolist() == ["ab", "c"]


def _frame(header: Any, rest: bytes = b"") -> bytes:
    head = msgspec.msgpack.encode(header)
    start = struct.pack("<I", len(head)) + head
    return start + bytes(-len(start) % 8) + rest


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "at least 4 bytes"),
        (struct.pack("<I", 1 << 30), "may have"),
        (struct.pack("<I", 64) + bytes(8), "the frame has 12"),
        (_frame("text"), "bad frame header"),
        (_frame([1, None]), "bad frame header"),
        (_frame([1, None, [["x", "FP32", [2], 8]]]), "ends before"),
        (_frame([1, None, [["x", "FP32", [2], -8]]], bytes(8)), "ends before"),
        (_frame([1, None, [["x", "FP32", [3], 8]]], bytes(8)), "takes 12 bytes"),
        (_frame([1, None, [["x", "BF16", [2], 4]]], bytes(8)), "unknown datatype"),
        (_frame([1, None, [["x", "FP32", [-1], 4]]], bytes(8)), "impossible shape"),
        (_frame([1, None, [["x", "FP32", [0, 2**62, 2**62], 0]]]), "impossible shape"),
        (_frame([1, None, [["x", "FP32", [1] * 33, 4]]], bytes(8)), "impossible shape"),
        (_frame([1, None, [["x", "FP32", [2], 8], ["x", "FP32", [0], 0]]], bytes(8)), "twice"),
        (_frame([1, None, [["x", "FP32", [2], 8]]], bytes(16)), "the frame has"),
        (_frame([1, None, [["x", "BOOL", [2], 2]]], b"\1\2" + bytes(6)), "neither 0 nor 1"),
        (_frame([1, None, [["x", "BYTES", [2**40], 4]]], bytes(8)), "do not fit"),
        (_frame([1, None, [["x", "BYTES", [1], 8]]], b"\5\0\0\0abcd"), "past the tensor's end"),
        (_frame([1, None, [["x", "BYTES", [1], 8]]], b"\3\0\0\0abcd"), "after its last"),
        (_frame([1, None, [["x", "BYTES", [2], 8]]], b"\4\0\0\0abcd"), "ends before element 1"),
        (_frame([1, None, [["x", "BYTES", [1], 5]]], b"\1\0\0\0\xff" + bytes(3)), "not UTF-8"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, says: str) -> None:
    with pytest.raises(FrameError, match=says):
        decode_request(body)


def test_the_tensor_to_blame_is_named() -> None:
    with pytest.raises(FrameError) as caught:
        decode_request(_frame([1, None, [["ok", "FP32", [2], 8], ["bad", "FP32", [2], 4]]], bytes(16)))
    assert caught.value.field == "bad"


def test_a_dtype_without_a_datatype_is_refused() -> None:
    with pytest.raises(FrameError, match="complex64"):
        encode_answer([("y", np.zeros(1, np.complex64))], 0)
