"""Sessions against onnxruntime itself: every datatype, ranks 0 to 4, strings, ZipMap, external data, checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from services.artifact import Artifact
from services.document import Signature, TensorSpec
from services.golden import GoldenVectors
from services.graph import examine
from services.refusal import Refusal
from services.session import InputError, ModelError, Session, check_signature
from tests.services import models


def opened(data: bytes, signature: Signature | None = None, **external: bytes) -> Session:
    return Session(Artifact(data, external, ()), examine(data), signature=signature)


@pytest.mark.parametrize("rank", range(5))
@pytest.mark.parametrize("datatype", sorted(models.ONNX_TYPES))
def test_every_datatype_and_rank_as_onnxruntime_has_it(datatype: str, rank: int) -> None:
    shape: models.Shape = [None, 2, "k", 3][:rank]
    data = models.identity(datatype, shape)
    session = opened(data)
    spec = TensorSpec(name="x", datatype=datatype, shape=(-1, 2, -1, 3)[:rank])
    assert session.own_signature.inputs == (spec,)
    given = models.array(datatype, (4, 2, 5, 3)[:rank])
    given = np.asarray(given, dtype=given.dtype)
    [(name, found)], taken = session.run({"x": given})
    plain = ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": given})[0]
    assert (name, found.dtype, found.shape) == ("y", plain.dtype, given.shape)
    np.testing.assert_array_equal(found, plain)
    assert taken >= 0


@pytest.mark.parametrize("strings", [False, True])
def test_zipmap_becomes_a_matrix_equal_to_the_maps(strings: bool) -> None:
    data = models.classifier(zipmap=True, strings=strings)
    session = opened(data)
    x = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)
    found = dict(session.run({"x": x})[0])
    label, maps = ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    wanted = np.array([list(row.values()) for row in maps], np.float32)
    np.testing.assert_array_equal(found["probabilities"], wanted)
    np.testing.assert_array_equal(found["label"], label)
    spec = TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 3))
    assert session.own_signature.outputs[1] == spec
    labels: list[Any] = ["a", "b", "c"] if strings else [0, 1, 2]
    assert examine(data).classes == {"probabilities": labels}


def test_a_model_without_zipmap_is_loaded_from_its_own_bytes() -> None:
    data = models.classifier(zipmap=False)
    assert examine(data).data is data
    assert opened(data).own_signature.outputs[1].shape == (-1, 3)


def test_external_data_comes_from_memory() -> None:
    weights = np.arange(300, dtype=np.float32)
    data = models.external("part.bin", weights)
    session = Session(Artifact(data, {"part.bin": weights.tobytes()}, ()), examine(data))
    [(_, found)], _ = session.run({"x": np.zeros((2, 300), np.float32)})
    np.testing.assert_array_equal(found, np.stack([weights, weights]))


def test_external_data_that_was_not_handed_over_is_not_looked_for(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = np.arange(300, dtype=np.float32)
    (tmp_path / "part.bin").write_bytes(weights.tobytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refusal) as caught:
        opened(models.external("part.bin", weights))
    assert caught.value.code == "artifact_missing"


def test_external_data_that_is_too_short_is_refused() -> None:
    weights = np.arange(300, dtype=np.float32)
    data = models.external("part.bin", weights)
    with pytest.raises(Refusal) as caught:
        Session(Artifact(data, {"part.bin": weights.tobytes()[:100]}, ()), examine(data))
    assert caught.value.code == "unloadable"


def test_a_fixed_batch_takes_that_batch_only() -> None:
    session = opened(models.identity("FP32", [4, 3]))
    assert session.run({"x": np.zeros((4, 3), np.float32)})[0][0][1].shape == (4, 3)
    with pytest.raises(InputError, match=r"shape \[4, 3\], got \[3, 3\]") as caught:
        session.run({"x": np.zeros((3, 3), np.float32)})
    assert caught.value.field == "x"


@pytest.mark.parametrize(
    ("inputs", "outputs", "says", "field"),
    [
        ({}, None, "'x' is missing", "x"),
        ({"x": np.zeros((1, 3), np.float32), "z": np.zeros(1)}, None, "no input 'z'", "z"),
        ({"x": np.zeros((1, 3), np.float64)}, None, "is FP32, got FP64", "x"),
        ({"x": np.zeros(3, np.float32)}, None, r"got \[3\]", "x"),
        ({"x": np.zeros((1, 3), np.float32)}, ["q"], "no output 'q'", "q"),
        ({"x": np.zeros((1, 3), np.float32)}, ["y", "y"], "each once", "outputs"),
        ({"x": np.zeros((1, 3), np.float32)}, [], "at least one", "outputs"),
    ],
)
def test_what_does_not_fit_is_named(
    inputs: dict[str, Any], outputs: list[str] | None, says: str, field: str
) -> None:
    with pytest.raises(InputError, match=says) as caught:
        opened(models.identity()).run(inputs, outputs)
    assert caught.value.field == field


def test_a_scalar_is_no_row_of_scalars() -> None:
    session = opened(models.identity("FP32", [None]))
    assert session.check({"x": np.zeros(2, np.float32)}) == 2
    with pytest.raises(InputError, match=r"shape \[-1\], got \[\]"):
        session.check({"x": np.zeros((), np.float32)})


def test_outputs_come_in_the_order_asked_for() -> None:
    session = opened(models.classifier(zipmap=False))
    found, _ = session.run({"x": np.zeros((1, 2), np.float32)}, ["probabilities", "label"])
    assert [name for name, _ in found] == ["probabilities", "label"]


def test_counters_count_requests_rows_and_time() -> None:
    session = opened(models.identity())
    for rows in (1, 4):
        session.run({"x": np.zeros((rows, 3), np.float32)})
    assert (session.stats.requests, session.stats.rows) == (2, 5)
    session.works({"x": np.zeros((1, 3), np.float32)})
    assert session.stats.requests == 2


def test_a_model_that_fails_on_its_input_is_a_model_error() -> None:
    gather = models.model(
        [models.helper.make_node("Gather", ["table", "x"], ["y"])],
        [models.value("x", [None], "INT64")],
        [models.value("y", [None])],
        [models.numpy_helper.from_array(np.zeros(3, np.float32), "table")],
    )
    with pytest.raises(ModelError):
        opened(gather).run({"x": np.array([7])})


def test_warming_compares_with_the_golden_vectors() -> None:
    session = opened(models.identity())
    x = np.ones((2, 3), np.float32)
    session.warm(GoldenVectors({"x": x}, {"y": x + 1e-6}), 1e-5)
    assert session.stats.requests == 0
    with pytest.raises(Refusal, match=r"largest difference 0\.5") as caught:
        session.warm(GoldenVectors({"x": x}, {"y": x + 0.5}), 1e-5)
    assert (caught.value.code, caught.value.field) == ("golden_mismatch", "y")
    with pytest.raises(Refusal) as caught:
        session.warm(GoldenVectors({"q": x}, {}), 1e-5)
    assert caught.value.code == "golden_invalid"


def test_warming_without_golden_vectors_runs_zeros() -> None:
    opened(models.identity("BYTES", [None, 2])).warm(None, 1e-5)


def _spec(name: str, datatype: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape)


@pytest.mark.parametrize(
    ("inputs", "outputs", "field"),
    [
        ([_spec("q", "FP32", -1, 3)], [_spec("y", "FP32", -1, 3)], "signature.inputs[0].name"),
        ([_spec("x", "FP64", -1, 3)], [_spec("y", "FP32", -1, 3)], "signature.inputs[0].datatype"),
        ([_spec("x", "FP32", -1, 4)], [_spec("y", "FP32", -1, 3)], "signature.inputs[0].shape"),
        ([_spec("x", "FP32", -1, -1)], [_spec("y", "FP32", -1, 3)], "signature.inputs[0].shape"),
        ([_spec("x", "FP32", -1)], [_spec("y", "FP32", -1, 3)], "signature.inputs[0].shape"),
        ([], [_spec("y", "FP32", -1, 3)], "signature.inputs"),
        ([_spec("x", "FP32", -1, 3)], [_spec("z", "FP32", -1, 3)], "signature.outputs[0].name"),
    ],
)
def test_a_false_signature_is_refused_by_field(
    inputs: list[TensorSpec], outputs: list[TensorSpec], field: str
) -> None:
    own = opened(models.identity()).own_signature
    with pytest.raises(Refusal) as caught:
        check_signature(Signature(inputs=tuple(inputs), outputs=tuple(outputs)), own, frozenset({"x", "y"}))
    assert (caught.value.code, caught.value.field) == ("signature_mismatch", field)


def test_a_narrower_signature_is_true_and_is_enforced() -> None:
    narrow = Signature(inputs=(_spec("x", "FP32", 2, 3),), outputs=(_spec("y", "FP32", -1, 3),))
    with pytest.raises(InputError):
        opened(models.identity(), narrow).run({"x": np.zeros((1, 3), np.float32)})
