"""What a training recipe gives to the build, and the data it may train on; scikit-learn's bundled sets only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits

# Where each writer's rows start: the bundled set keeps the order in which people wrote.
WRITERS: Final = (0, 130, 256, 386, 516, 646, 776, 915, 1029, 1157, 1287, 1415, 1545, 1667)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows `start` to `stop` (exclusive) of a bundled set: features float64 [n, k], labels int64 [n]."""

    dataset: str
    uri: str
    start: int
    stop: int
    features: NDArray[np.float64]
    labels: NDArray[np.int64]

    def lineage(self, transform: str) -> dict[str, Any]:
        """The dataset's entry of a manifest; its SHA-256 is over the features' then the labels' bytes."""
        hasher = hashlib.sha256(np.ascontiguousarray(self.features, "<f8").tobytes())
        hasher.update(np.ascontiguousarray(self.labels, "<i8").tobytes())
        return {
            "name": self.dataset,
            "uri": self.uri,
            "sha256": hasher.hexdigest(),
            "rows": self.stop - self.start,
            "from": f"row {self.start}",
            "to": f"row {self.stop - 1}",
            "transform": transform,
        }


@dataclass(frozen=True, slots=True)
class Trained:
    """A fitted scikit-learn classifier with what it learnt from and what it is judged on."""

    estimator: Any
    train: Rows
    heldout: Rows
    zipmap: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    transform: str = "none"


def digits(start: int, stop: int) -> Rows:
    """Rows of the handwritten digits, 64 features 0…16, labels 0…9, in writer order."""
    found = load_digits()
    return _rows("digits", "sklearn.datasets.load_digits", found.data, found.target, start, stop)


def breast_cancer(start: int, stop: int) -> Rows:
    """Rows of the Wisconsin breast cancer set, 30 features, labels 0 malignant and 1 benign, as bundled."""
    found = load_breast_cancer()
    return _rows(
        "breast-cancer", "sklearn.datasets.load_breast_cancer", found.data, found.target, start, stop
    )


def _rows(name: str, uri: str, features: Any, labels: Any, start: int, stop: int) -> Rows:
    stop = min(stop, len(labels))
    return Rows(
        dataset=name,
        uri=uri,
        start=start,
        stop=stop,
        features=np.asarray(features[start:stop], np.float64),
        labels=np.asarray(labels[start:stop], np.int64),
    )
