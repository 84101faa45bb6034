"""The data listener's connection: every answer belongs to its request, in whatever pieces, known heads or not.

Predictions and passed-through requests are answered by stand-ins that say what they were asked; all else (the
connection, its parser, small requests without ASGI, uvicorn's cycles, refusals) is the router's own.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import orjson
from uvicorn import Config
from uvicorn.server import ServerState

from router.edge import express, express_pass, protocol
from router.edge.answer import Answer
from router.edge.head import Heads
from router.edge.inbound import Inbound
from router.settings import Settings
from tests.fuzz.strict_reading import Request, read
from tests.fuzz.wires import Answers, Transport, converse, cut, loop

SETTINGS = Settings(data_dir="nowhere")  # type: ignore[arg-type]
WATCH = SimpleNamespace(draining=False)


class Passage:
    """What an answer of the small way tells."""

    def lines(self) -> bytes:
        return b"x-way: small\r\n"


class Prediction:
    """Stands for a prediction: answers with what it was asked."""

    def __init__(self, desk: Any, inbound: Inbound, codec: Any, sink: Any) -> None:
        self.inbound, self.codec, self.sink = inbound, codec, sink
        self.body = b""
        self.passage = Passage()

    def deadline(self) -> float:
        return 1e12

    def begin(self, address: Any, body: bytes) -> None:
        path = {"v1": "/v1/models/%s%s:predict", "v2": "/v2/models/%s%s/infer"}[self.codec.name]
        pin = "" if address.pin is None else f"/versions/{address.pin}"
        self.sink(
            Answer(200, said("POST", (path % (address.model, pin)).encode(), self.inbound.headers, body))
        )

    def abandon(self) -> None:
        return

    def set_exception(self, error: Exception) -> None:
        raise AssertionError("no time passes here")


class Crossing:
    """Stands for an exchange with a replica; what begins with an odd byte goes the other way."""

    def __init__(self, desk: Any, sink: Any) -> None:
        self.sink = sink

    def begin(self, head: Any, body: bytes, client: str | None, scheme: str) -> bool:
        if body[:1] and body[0] & 1:
            return False
        text = said(head.method.decode(), head.url, dict(reversed(head.given)), body)
        self.sink.respond(200, b"content-length: %d\r\nx-way: small\r\n" % len(text), text)
        return True

    def leave(self) -> None:
        return


def said(method: str, target: bytes, headers: dict[bytes, bytes], body: bytes) -> bytes:
    """What a request was, as an answer's body."""
    told = sorted((k.decode("latin-1"), v.decode("latin-1")) for k, v in headers.items())
    return orjson.dumps(
        [method, target.decode("latin-1"), [pair for pair in told if pair[0] != "x-request-id"], digest(body)]
    )


def digest(body: bytes) -> str:
    """Enough of it."""
    return f"{len(body)} {hashlib.sha1(body).hexdigest()}"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Stands for the gateway: reads the body and says what was asked."""
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    target, headers = scope["raw_path"] + query, dict(reversed(scope["headers"]))
    text = said(scope["method"], target, headers, b"".join(parts)) if scope["method"] != "HEAD" else b""
    head = [(b"content-length", b"%d" % len(text)), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": text})


class Tunnels:
    """A tunnel is the end of HTTP."""

    def start(self, scope: Any, pipe: Any) -> None:
        pipe.close()


# Replaced, or taken off where an upgrade is offered that nobody takes.
OWN = (b"x-request-id", b"connection", b"upgrade")
DESK = SimpleNamespace(settings=SETTINGS, watch=WATCH)
PASS_DESK = SimpleNamespace(
    settings=SETTINGS,
    watch=WATCH,
    largest=1 << 16,
    deadlines=SimpleNamespace(watch=lambda *_: None, forget=lambda *_: None),
    passthrough=None,
)
CONFIG = Config(app, http="httptools", lifespan="off", log_config=None, access_log=False, ws="none")
CONFIG.load()


def _kind() -> type[protocol.GatewayProtocol]:
    return protocol.protocol_class(Tunnels(), DESK, PASS_DESK, 15.0)  # type: ignore[arg-type]


def _run(kind: type[protocol.GatewayProtocol], pieces: list[bytes]) -> Transport:
    state = ServerState()
    own = express.Prediction, express_pass.Crossing
    express.Prediction, express_pass.Crossing = Prediction, Crossing  # type: ignore[assignment,misc]
    try:
        return converse(lambda: kind(CONFIG, state, {}, loop()), pieces)
    finally:
        express.Prediction, express_pass.Crossing = own  # type: ignore[misc]


def check(data: bytes) -> None:
    """The first byte says how the stream is cut."""
    if not data or len(data) > 16384:
        return
    seed, stream = data[0] or 1, data[1:]
    if seed == 1 and len(stream) > 700:
        seed = 40
    requests, sure = read(stream)
    kind = _kind()
    first = _answers(_run(kind, [stream]), requests, sure)
    # By now the heads of small requests are known; also, each request alone in a piece of its own.
    again = _answers(_run(kind, [stream]), requests, sure)
    _agree(first, again)
    kind.heads = Heads()
    _agree(first, _answers(_run(kind, list(cut(stream, seed))), requests, sure))
    if len(requests) > 1 and sure:
        starts = [0, *(request.end for request in requests)]
        alone = [stream[start:end] for start, end in pairwise(starts)]
        for _ in range(2):
            _agree(first, _answers(_run(kind, alone), requests, sure))


Told = list[tuple[int, Any]]


def _answers(transport: Transport, requests: list[Request], sure: bool) -> Told:
    """The answers, each held against the request it must belong to."""
    parsed = Answers(bytes(transport.out))
    assert not parsed.broken, bytes(transport.out)
    told: Told = []
    for status, _, body in parsed.found:
        if status == 100:
            continue
        told.append((status, orjson.loads(body or b"null")))
    answered = [what for status, what in told if status == 200]
    assert all(status == 200 for status, _ in told[:-1]), told  # a refusal is the last
    for request, what in zip(requests, answered, strict=False):
        assert what is not None, request
        method, target, headers, content = what
        assert method == request.method.decode(), (request, what)
        assert target.encode("latin-1").split(b"#")[0] == request.target.split(b"#")[0], (request, what)
        assert content == digest(request.body), (request, what)
        wanted = {k.decode(): v.decode() for k, v in reversed(request.headers) if k not in OWN}
        assert {k: v for k, v in headers if k.encode() not in OWN} == wanted, (request, what)
    if sure:
        assert len(answered) <= len(requests), "an answer to no request"
        if not transport.aborted and (not told or told[-1][0] == 200):
            assert len(answered) == len(requests), "a request without an answer"
    return told


def _agree(one: Told, two: Told) -> None:
    """The same answers as far as both go; a refusal may come before an answer that is due."""
    have = [what for status, what in one if status == 200]
    want = [what for status, what in two if status == 200]
    short = min(len(have), len(want))
    assert have[:short] == want[:short], (one, two)
