"""Which targets there are, and how one is loaded; imports none of them by itself."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
LARGEST = 64 << 10  # bytes of an input
CPU_SECONDS = 1.0  # of one input: more is a hang
MEMORY = 384 << 20  # bytes an input may claim beside what the process has

TARGETS = {
    "address": "the address of Redis",
    "archive": "tars of models, and paths inside them",
    "contract": "answers of a user's bento by its tensor contract",
    "control_body": "bodies and parameters of the control API",
    "frame_answer": "the lean frame at the router's end, against the replica's reading of it",
    "frame_request": "the lean frame at the replica's end",
    "http_edge": "HTTP of the data listener: pieces, known heads, a strict reading, answers by request",
    "http_replica": "HTTP of a replica: the lane by hand, against uvicorn alone",
    "hygiene": "headers and paths that travel on",
    "journal": "segments, record ids, cursors, and the reader on broken files",
    "json_tensor": "JSON at the replica's own API",
    "link": "answers of replicas, by both of the router's clients",
    "manifest": "manifests of versions and of bentos",
    "record": "bodies in the log",
    "routes": "stored documents, tables, and what changes of routes make of them",
    "tensors_v1": "JSON rows and columns, against a slow reading",
    "tensors_v2": "the Open Inference Protocol, JSON against binary",
    "tunnel": "a replica's handshake of a WebSocket",
    "upload": "multipart registrations",
}


def load(name: str) -> Callable[[bytes], None]:
    """The `check` of a target: raises for an input that shows a fault."""
    check: Callable[[bytes], None] = import_module(f"tests.fuzz.fuzz_{name}").check
    return check
