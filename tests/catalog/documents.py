"""Version documents with a whole story; not a test."""

from __future__ import annotations

from typing import Any


def story(model: str = "digits", version: str = "1", **others: Any) -> dict[str, Any]:
    """A document as the registration tool makes it, with everything a manifest may tell."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
    found: dict[str, Any] = {
        "apiVersion": "pointsman/v1",
        "kind": "Version",
        "model": model,
        "version": version,
        "runtime": "onnx",
        "store": f"{model}:{version}",
        "digest": f"{version:0>64}",
        "artifacts": [{"path": "model.onnx", "sha256": f"{version:0>64}"}],
        "signature": {"inputs": [tensor], "outputs": [tensor | {"name": "y"}]},
        "rowwise": True,
        "golden": None,
        "registered": {"time": "2026-11-01T00:00:00.000000Z", "actor": "ann"},
        "metrics": {"auc": 0.9},
        "lineage": {
            "commit": "abc",
            "recipe": "train.py",
            "params": {"depth": 3, "search": {"lr": 0.1}},
            "libraries": {"numpy": "2.4"},
            "datasets": [
                {"name": "d", "uri": "s3://d", "sha256": "d" * 64, "rows": 100, "from": "2026-01-01"}
            ],
        },
        "card": {"owner": "team-a", "purpose": "reads digits", "limits": "none known", "riskTier": "high"},
    }
    return found | others
