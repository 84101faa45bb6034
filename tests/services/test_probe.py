"""The row-wise probe: finds models whose rows depend on each other, believes those whose rows do not."""

from __future__ import annotations

import numpy as np
import pytest

from services.artifact import Artifact
from services.document import Signature, TensorSpec
from services.golden import Arrays
from services.graph import examine
from services.probe import batchable_shape, generated_inputs, not_rowwise
from services.session import Session
from tests.services import models


def verdict(data: bytes, inputs: Arrays | None = None) -> str | None:
    session = Session(Artifact(data, {}, ()), examine(data))
    given = inputs or generated_inputs(session.signature, 8, 3)
    return not_rowwise(lambda rows: dict(session.run(rows)[0]), given, 1e-5)


@pytest.mark.parametrize(
    "data", [models.identity(), models.one_node("Softmax", axis=1), models.classifier(zipmap=True)]
)
def test_models_that_answer_row_by_row(data: bytes) -> None:
    assert verdict(data) is None


@pytest.mark.parametrize(
    "data",
    [models.centring(), models.one_node("Softmax", axis=0), models.one_node("LpNormalization", axis=0)],
)
def test_models_whose_rows_depend_on_each_other(data: bytes) -> None:
    assert "changes with the rows beside it" in str(verdict(data))


def test_a_model_that_only_looks_at_the_place_of_a_row() -> None:
    data = models.model(
        [
            models.helper.make_node("Mul", ["x", "zero"], ["none"]),
            models.helper.make_node("Add", ["none", "one"], ["ones"]),
            models.helper.make_node("CumSum", ["ones", "axis"], ["y"]),
        ],
        [models.value("x", [None, 3])],
        [models.value("y", [None, 3])],
        [
            models.numpy_helper.from_array(np.float32(1).reshape(()), "one"),
            models.numpy_helper.from_array(np.float32(0).reshape(()), "zero"),
            models.numpy_helper.from_array(np.int64(0).reshape(()), "axis"),
        ],
    )
    assert "changes" in str(verdict(data))


def test_a_model_that_swallows_rows() -> None:
    data = models.model(
        [models.helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)],
        [models.value("x", [None])],
        [models.value("y", None)],
    )
    assert verdict(data) == "output 'y' has shape [] for 8 rows"


def test_rows_that_are_all_alike_prove_nothing() -> None:
    assert "no two different rows" in str(verdict(models.centring(), {"x": np.ones((4, 3), np.float32)}))
    assert "no two different rows" in str(verdict(models.centring(), {"x": np.ones((1, 3), np.float32)}))


def test_unequal_inputs_prove_nothing() -> None:
    inputs: Arrays = {"a": np.zeros((2, 1)), "b": np.zeros((3, 1))}
    assert "unequal" in str(not_rowwise(lambda rows: rows, inputs, 1e-5))


def test_shapes_that_rule_batching_out() -> None:
    def signature(*shapes: tuple[int, ...]) -> Signature:
        specs = [TensorSpec(name=f"t{i}", datatype="FP32", shape=shape) for i, shape in enumerate(shapes)]
        return Signature(inputs=tuple(specs[:-1]), outputs=tuple(specs[-1:]))

    assert batchable_shape(signature((-1, 3), (-1,))) is None
    assert "'t0'" in str(batchable_shape(signature((4, 3), (-1,))))
    assert "'t1'" in str(batchable_shape(signature((-1, 3), ())))


def test_made_up_inputs_are_the_same_each_time_and_of_every_type() -> None:
    specs = tuple(
        TensorSpec(name=name, datatype=name, shape=(-1, 2, -1)) for name in sorted(models.ONNX_TYPES)
    )
    first, second = (generated_inputs(Signature(inputs=specs, outputs=()), 5, 3) for _ in range(2))
    for name in models.ONNX_TYPES:
        assert first[name].shape == (5, 2, 3)
        np.testing.assert_array_equal(first[name], second[name])
