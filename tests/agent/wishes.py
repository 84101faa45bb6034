"""Documents, and a registry in the hands of a test; nothing here is a test."""

from __future__ import annotations

from typing import Any

from router.documents import Replica
from router.registry.audit import Actor

TESTER = Actor(name="tester")
NODE = "testnode"


def document(model: str, version: str, **others: Any) -> dict[str, Any]:
    """A version document; `store` points nowhere unless told."""
    return {
        "model": model,
        "version": version,
        "runtime": "onnx",
        "store": None,
        "digest": "0" * 64,
        "artifacts": [],
    } | others


def replica(replica_id: str, **others: Any) -> Replica:
    """A ready replica of this node, of model m version 1."""
    fields = {
        "model": "m",
        "version": "1",
        "digest": "0" * 64,
        "address": "unix:/nowhere",
        "pid": 0,
        "node": NODE,
        "state": "ready",
        "since": "2026-01-01T00:00:00.000000Z",
    }
    return Replica(id=replica_id, **(fields | others))
