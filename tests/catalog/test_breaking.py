"""Signatures against each other: what breaks callers is found, what does not is let through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.catalog.breaking import breaks
from router.documents import Signature, TensorSpec


def spec(
    name: str = "x", datatype: str = "FP32", shape: tuple[int, ...] = (-1, 2), **others: Any
) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape, **others)


def signature(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = (spec("y"),)) -> Signature:
    return Signature(inputs=inputs, outputs=outputs)


OLD = signature(spec("x", missing="allow"), spec("z", "INT64", (-1,)))


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (signature(spec("x", missing="allow")), "input z is removed"),
        (signature(*OLD.inputs, spec("w")), "input w is added, and has no default"),
        (signature(spec("x", "FP64", missing="allow"), OLD.inputs[1]), "input x changes from FP32 to FP64"),
        (
            signature(spec("x", shape=(-1,), missing="allow"), OLD.inputs[1]),
            "input x changes its rank from 2 to 1",
        ),
        (
            signature(spec("x", shape=(-1, 3), missing="allow"), OLD.inputs[1]),
            "input x changes from [-1, 2] to [-1, 3]",
        ),
        (
            signature(spec("x", shape=(8, 2), missing="allow"), OLD.inputs[1]),
            "input x changes from [-1, 2] to [8, 2]",
        ),
        (signature(spec("x"), OLD.inputs[1]), "input x no longer allows missing values"),
        (signature(*OLD.inputs, outputs=(spec("p"),)), "output y is removed"),
        (signature(*OLD.inputs, outputs=(spec("y", "INT64"),)), "output y changes from FP32 to INT64"),
        (
            signature(*OLD.inputs, outputs=(spec("y", shape=(-1, 3)),)),
            "output y changes from [-1, 2] to [-1, 3]",
        ),
        (
            signature(*OLD.inputs, outputs=(spec("y"), spec("p"))),
            "rows are answered by objects: there are several outputs now",
        ),
        (None, "takes no tensors any more"),
    ],
)
def test_what_breaks_is_named(new: Signature | None, told: str) -> None:
    assert breaks(OLD, new) == (told,)


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        signature(*reversed(OLD.inputs)),
        signature(spec("x", shape=(-1, -1), missing="allow"), OLD.inputs[1]),  # takes more than before
        signature(spec("x", missing="allow", sensitive="hash"), OLD.inputs[1]),
    ],
)
def test_what_does_not_break_is_let_through(new: Signature) -> None:
    assert breaks(OLD, new) == ()


def test_an_output_that_was_free_may_become_fixed_and_not_the_other_way() -> None:
    free, fixed = (signature(spec(), outputs=(spec("y", shape=(-1, n)),)) for n in (-1, 3))
    assert breaks(free, fixed) == ()
    assert breaks(fixed, free) == ("output y changes from [-1, 3] to [-1, -1]",)


def test_nothing_can_break_where_no_tensors_were_taken() -> None:
    assert breaks(None, OLD) == ()
    assert breaks(None, None) == ()


specs = st.builds(
    spec,
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["FP32", "INT64"]),
    st.lists(st.sampled_from([-1, 2, 3]), max_size=2).map(tuple),
)
tensors = st.lists(specs, min_size=1, max_size=3, unique_by=lambda each: each.name).map(tuple)
signatures = st.builds(lambda inputs, outputs: Signature(inputs=inputs, outputs=outputs), tensors, tensors)


def takes(new: Signature, old: Signature) -> bool:
    """Written anew: whether each request that fits the old inputs fits the new ones."""
    mine = {each.name: each for each in new.inputs}
    if set(mine) != {each.name for each in old.inputs}:
        return False
    for was in old.inputs:
        now = mine[was.name]
        if (was.datatype, len(was.shape)) != (now.datatype, len(now.shape)):
            return False
        for size, limit in zip(was.shape, now.shape, strict=True):
            sizes = {1, 2, 3, 4} if size == -1 else {size}
            if limit != -1 and sizes != {limit}:
                return False
    return True


@given(signatures, signatures)
def test_no_complaint_about_inputs_means_that_every_request_still_fits(
    old: Signature, new: Signature
) -> None:
    complaints = [text for text in breaks(old, new) if text.startswith("input")]
    assert (not complaints) == takes(new, old)
