"""The lean frame: what the router writes the replica's codec reads, and the other way round."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from router.tensors import DTYPES, Array
from router.upstream.frame import BadFrame, decode_answer, encode_request
from services import frame as replica

NUMERIC = st.sampled_from([dtype for name, dtype in DTYPES.items() if name != "BYTES"])
NUMBERS = NUMERIC.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


def same(left: Array, right: Array) -> bool:
    """Equal in shape, dtype and every bit."""
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


@given(st.dictionaries(st.sampled_from("abcd"), NUMBERS, min_size=1, max_size=3))
def test_a_replica_reads_what_the_router_writes(inputs: dict[str, Array]) -> None:
    request = replica.decode_request(encode_request(inputs, 500))
    assert request.deadline_ms == 500
    assert set(request.tensors) == set(inputs)
    for name, array in inputs.items():
        assert same(request.tensors[name], array)


@given(st.dictionaries(st.sampled_from("abcd"), NUMBERS, min_size=1, max_size=3))
def test_the_router_reads_what_a_replica_writes(outputs: dict[str, Array]) -> None:
    model_us, decoded = decode_answer(bytes(replica.encode_answer(list(outputs.items()), 12)))
    assert model_us == 12
    assert all(same(decoded[name], array) for name, array in outputs.items())


def test_text_comes_and_goes_as_utf8() -> None:
    words: Array = np.array([["", "é"], ["日本", "x" * 300]], dtype=object)
    sent: Array = np.array([[word.encode() for word in row] for row in words], dtype=object)
    request = replica.decode_request(encode_request({"t": sent}, 1))
    assert request.tensors["t"].tolist() == words.tolist()
    _, decoded = decode_answer(bytes(replica.encode_answer([("t", words)], 1)))
    assert decoded["t"].tolist() == sent.tolist()


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(BadFrame):
        decode_answer(noise)


@given(st.integers(0, 100))
def test_a_cut_frame_is_refused(cut: int) -> None:
    whole = bytes(replica.encode_answer([("y", np.arange(20, dtype=np.float32))], 1))
    with pytest.raises(BadFrame):
        decode_answer(whole[: min(cut, len(whole) - 8)])
