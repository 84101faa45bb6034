"""A fitted classifier as an ONNX file, its golden vectors and its score; the same bytes each time."""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np
import onnx
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType

from bentos.recipe import Trained
from services.artifact import Artifact
from services.golden import GoldenVectors
from services.graph import examine
from services.session import Session

OPSET: Final = 17
GOLDEN_ROWS: Final = 32
_NAMES: Final = ("label", "probabilities")


def to_onnx(name: str, trained: Trained) -> bytes:
    """The model: input x FP32 [n, features], outputs label INT64 [n], probabilities FP32 [n, classes].

    With `zipmap` the file gives probabilities as scikit-learn exports do by default: one map a row.
    """
    width = trained.train.features.shape[1]
    options: dict[int, dict[str, Any]] | None = None
    if not trained.zipmap:
        options = {id(trained.estimator): {"zipmap": False}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's own, about its libraries
        model = convert_sklearn(
            trained.estimator,
            name=name,  # the default is a random one
            initial_types=[("x", FloatTensorType([None, width]))],
            options=options,
            target_opset={"": OPSET, "ai.onnx.ml": 3},
        )
    _rename_outputs(model)
    del model.metadata_props[:]
    # The converter keeps these in a set, so their order changes with the hash seed.
    model.opset_import.sort(key=lambda opset: opset.domain)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _rename_outputs(model: Any) -> None:
    # The converter uses the same names for its inner values.
    names = {name: f"inner_{name}" for name in _NAMES}
    names |= {value.name: wanted for value, wanted in zip(model.graph.output, _NAMES, strict=True)}
    for node in model.graph.node:
        for ends in (node.input, node.output):
            for index, end in enumerate(ends):
                ends[index] = names.get(end, end)
    for value in model.graph.output:
        value.name = names[value.name]


def open_session(data: bytes) -> Session:
    """The artifact as the replica will run it: what is measured here is what is served."""
    return Session(Artifact(data, {}, ()), examine(data))


def golden_vectors(session: Session, trained: Trained) -> GoldenVectors:
    """Evenly spread held-out rows and the artifact's own answers to them."""
    rows = trained.heldout.features
    chosen = np.linspace(0, len(rows) - 1, GOLDEN_ROWS).astype(int)
    inputs = {"x": np.asarray(rows[chosen], np.float32)}
    return GoldenVectors(inputs, dict(session.run(inputs)[0]))


def accuracy(session: Session, trained: Trained) -> float:
    """The share of held-out rows that the artifact (not the estimator) labels right."""
    outputs = dict(session.run({"x": np.asarray(trained.heldout.features, np.float32)})[0])
    return round(float((outputs["label"] == trained.heldout.labels).mean()), 6)
