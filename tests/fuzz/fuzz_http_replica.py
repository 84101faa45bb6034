"""A replica's connection: the lane's own reading against uvicorn's, whole and in pieces; an answer a request."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from services.front import Front
from services.lane import Reply
from services.protocol import LaneProtocol
from tests.fuzz.wires import Answers, converse, cut, loop, timeless


class Echo:
    """Stands for the lane: answers with what it got, at once or a little later, as the body says."""

    draining = False

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    @staticmethod
    def clock() -> float:
        return 0.0

    def infer(self, body: bytes, arrived: float) -> Reply | asyncio.Future[Reply]:
        self.bodies.append(body)
        status = (200, 200, 400, 503)[len(body) % 4]
        reply = Reply(status, b"%d %b" % (len(body), hashlib.sha1(body).hexdigest().encode()))
        if not body or body[0] & 1:
            return reply
        job: asyncio.Future[Reply] = loop().create_future()
        loop().call_soon(lambda: None if job.done() else job.set_result(reply))
        return job


async def behind(scope: Any, receive: Any, send: Any) -> None:
    """Stands for BentoML's app."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body = b"%b %b %d" % (scope["method"].encode(), scope["raw_path"], size)
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 418, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _run(kind: type[HttpToolsProtocol], pieces: list[bytes]) -> tuple[bytes, list[bytes]]:
    echo = Echo()
    config = Config(
        Front(behind, echo), http=kind, lifespan="off", log_config=None, access_log=False, ws="none"
    )  # type: ignore[arg-type]
    config.load()
    state = ServerState()
    transport = converse(lambda: kind(config, state, {}, loop()), pieces)
    return bytes(transport.out), echo.bodies


def check(data: bytes) -> None:
    """The first byte says how the stream is cut."""
    if not data or len(data) > 16384:
        return
    seed, stream = data[0] or 1, data[1:]
    if seed == 1 and len(stream) > 700:
        seed = 40
    whole, bodies = _run(LaneProtocol, [stream])
    plain, wanted = _run(HttpToolsProtocol, [stream])
    pieces, others = _run(LaneProtocol, list(cut(stream, seed)))
    _agree(whole, plain)
    _agree(whole, pieces)
    for one, two in ((bodies, wanted), (bodies, others)):
        short = min(len(one), len(two))
        assert one[:short] == two[:short], "the lane got different bodies"


def _agree(one: bytes, two: bytes) -> None:
    """The same answers, as far as both go: a refusal may come before an answer that is still due."""
    have, want = _good(one), _good(two)
    short = min(len(have), len(want))
    assert have[:short] == want[:short], (timeless(one), timeless(two))


def _good(out: bytes) -> list[tuple[int, bytes]]:
    """Answers to requests; uvicorn's own refusal is none."""
    found = [(status, body) for status, _, body in Answers(out).found]
    return [item for item in found if item[1] != b"Invalid HTTP request received."]
