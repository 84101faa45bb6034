"""Sessions to run frames on, and an app that stands for BentoML's; nothing here is a test."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from services.artifact import Artifact
from services.graph import examine
from services.session import Session
from tests.services import models

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def opened(data: bytes | None = None) -> Session:
    """A session of `data`, or of y = x on FP32 [n, 3]."""
    data = data or models.identity()
    return Session(Artifact(data, {}, ()), examine(data))


def gather() -> Session:
    """A session whose model fails on inputs that fit its signature: x INT64 [n] must be below 3."""
    node = models.helper.make_node("Gather", ["table", "x"], ["y"])
    table = models.numpy_helper.from_array(np.zeros(3, np.float32), "table")
    return opened(
        models.model([node], [models.value("x", [None], "INT64")], [models.value("y", [None])], [table])
    )


class Slow(Session):
    """Says of each call that it took 6 ms, notes the thread, and waits while `gate` is shut."""

    def __init__(self) -> None:
        data = models.identity()
        super().__init__(Artifact(data, {}, ()), examine(data))
        self.threads: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.takes = 6000

    def run_checked(self, inputs: Any, rows: int, outputs: Any = None) -> Any:
        """As a session's."""
        self.threads.append(threading.get_ident())
        assert self.gate.wait(20)
        found, _ = super().run_checked(inputs, rows, outputs)
        return found, self.takes


async def behind(scope: Any, receive: Any, send: Any) -> None:
    """Stands for BentoML's app: 418 and the path."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    body = scope["path"].encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 418, "headers": headers})
    await send({"type": "http.response.body", "body": body})
