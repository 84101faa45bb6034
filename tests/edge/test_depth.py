"""The limit of depth: exactly as a reader of the JSON would count, whatever stands in texts."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.documents import Signature, TensorSpec
from router.edge import depth, v1, v2
from router.edge.depth import DEEPEST, too_deep
from router.edge.inbound import Inbound
from router.errors import BadInput

SIGNATURE = Signature(inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 1)),), outputs=())
texts = st.text(st.sampled_from('[]{}"\\a,é'), max_size=12)


def depth_of(value: Any) -> int:
    """Lists and objects in each other, counted by going through them."""
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def wrapped(value: Any, turns: list[tuple[bool, str]]) -> Any:
    """The value within one more list or object a turn, each with a text beside it."""
    for as_object, text in turns:
        value = {text: value} if as_object else [text, value, text]
    return value


@given(
    st.lists(st.tuples(st.booleans(), texts), min_size=DEEPEST - 3, max_size=DEEPEST + 3),
    texts,
    st.booleans(),
)
def test_it_counts_as_a_reader_does(turns: list[tuple[bool, str]], text: str, spaced: bool) -> None:
    value = [wrapped(text, turns), wrapped(1, turns[:5])]
    body = json.dumps(value, ensure_ascii=False, indent=1 if spaced else None).encode()
    assert too_deep(body) == (depth_of(value) > DEEPEST)


@given(st.lists(st.tuples(st.booleans(), texts), min_size=DEEPEST - 3, max_size=DEEPEST + 3))
def test_it_counts_on_from_piece_to_piece(turns: list[tuple[bool, str]]) -> None:
    value = wrapped(1, turns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(depth, "PIECE", 7)
        assert too_deep(json.dumps(value).encode()) == (depth_of(value) > DEEPEST)


def test_many_lists_side_by_side_are_not_deep() -> None:
    assert not too_deep(b"[" + b"[1]," * 100_000 + b"[1]]")


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": ' + b"[" * 64 + b"1" + b"]" * 64 + b"}",
        b'{"instances": ' + b"[" * 5000,
        b'{"instances": [[1]], "signature_name": ' + b"[" * 64 + b"]" * 64 + b"}",
        b'{"instances": [[1]], "more": ' + b'{"a":' * 64 + b"1" + b"}" * 65,
        b'{"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": '
        + b"[" * 70
        + b"]" * 70
        + b"}]}",
    ],
    ids=lambda body: repr(body[:30]),
)
def test_both_protocols_name_it(body: bytes) -> None:
    for codec in (v1.CODEC, v2.CODEC):
        with pytest.raises(BadInput) as caught:
            codec.decode(Inbound({}, "id"), body, SIGNATURE)
        assert caught.value.code == "too_deep"
        assert str(DEEPEST) in caught.value.message
