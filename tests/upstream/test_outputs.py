"""What the callers of a batch share is byte for byte what each would have been written alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from router.edge import v1, v2
from router.edge.v2_request import Wish
from router.tensors import Array
from router.upstream.outputs import TEXT_BYTES, Outputs
from router.upstream.work import Result

NUMBERS = ["?", "i1", "i8", "u8", "f2", "f4", "f8"]


@st.composite
def batches(draw: st.DrawFn) -> tuple[dict[str, Array], list[int]]:
    """Outputs of one to three names with shared rows, and how many rows each caller had."""
    shares = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    arrays: dict[str, Array] = {}
    for name in draw(
        st.lists(st.sampled_from(["y", "p%d", 'a"b', "v1"]), min_size=1, max_size=3, unique=True)
    ):
        dims = draw(st.lists(st.integers(1, 3), max_size=2))
        elements: Any = {"allow_nan": False, "allow_infinity": False}
        dtype = np.dtype(draw(st.sampled_from(NUMBERS)))
        strategy = npst.from_dtype(dtype, **elements) if dtype.kind == "f" else npst.from_dtype(dtype)
        arrays[name] = draw(npst.arrays(dtype, (sum(shares), *dims), elements=strategy))
    return arrays, shares


def results(arrays: dict[str, Array], shares: list[int]) -> list[Result]:
    """Each caller's share."""
    whole, stops = Outputs(arrays, sum(shares)), np.cumsum(shares).tolist()
    return [Result(whole, sum(shares), stop - count, stop) for stop, count in zip(stops, shares, strict=True)]


@given(batches())
def test_v1_rows_are_those_of_its_own_encoding(batch: tuple[dict[str, Array], list[int]]) -> None:
    flat = all(array.ndim <= 2 for array in batch[0].values())
    for result in results(*batch):
        shared = v1.encode_rows("instances", result)
        assert (shared is not None) == flat
        if shared is not None:
            assert shared == v1.encode("instances", result.outputs)
        assert v1.encode_rows("inputs", result) is None


@given(batches(), st.text(max_size=5))
def test_v2_rows_are_those_of_its_own_encoding(batch: tuple[dict[str, Array], list[int]], name: str) -> None:
    arrays, shares = batch
    wish = Wish(name, None, tuple((each, False) for each in reversed(arrays)))
    for result in results(arrays, shares):
        shared = v2.encode_rows(wish, result, "m", "1")
        assert (shared is not None) == all(array.ndim <= 2 for array in arrays.values())
        if shared is not None:
            assert shared == v2.encode(wish, result.outputs, "m", "1").body


@pytest.mark.parametrize(
    "array",
    [
        np.array([[b"a"], [b"b"]], dtype=object),
        np.zeros((2, 0), np.float32),
        np.zeros((2, 1, 1), np.float32),
        np.zeros((2, TEXT_BYTES), np.float32),
        np.float32(1.0).reshape(()),
    ],
)
def test_what_does_not_lend_itself_has_no_texts(array: Array) -> None:
    assert Outputs({"y": array}, 2).texts("y") is None


def test_binary_outputs_parameters_and_whole_answers_are_not_shared() -> None:
    arrays = {"y": np.zeros((2, 2), np.float32)}
    row = results(arrays, [1, 1])[0]
    assert v2.encode_rows(Wish("i", None, (("y", True),)), row, "m", "1") is None
    assert v2.encode_rows(Wish("i", {"a": 1}, (("y", False),)), row, "m", "1") is None
    alone = Result(Outputs(arrays, 0), 0)
    assert v1.encode_rows("instances", alone) is None
    assert v2.encode_rows(Wish("i", None, (("y", False),)), alone, "m", "1") is None
    assert alone.outputs is arrays
    assert alone.size == 16


@given(npst.arrays(np.float32, (4, 2)))
def test_finite_means_every_number_of_the_batch(array: Array) -> None:
    with np.errstate(all="raise"):
        assert Outputs({"y": array}, 4).finite == bool(np.isfinite(array).all())
