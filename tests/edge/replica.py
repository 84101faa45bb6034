"""A replica to test against: an ASGI application that does on request what replicas may do; `python -m` starts it.

Everything it does is told by its query: `id` names a request in `/state`, `gate=1` makes it wait for `/open?id=`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import uvicorn

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PIECE = bytes(range(256)) * 256  # 64 KiB


class Replica:
    """State of one process; `sent` and `received` count bytes by request, `left` are callers who hung up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent: dict[str, int] = {}
        self.received: dict[str, int] = {}
        self.left: list[str] = []
        self.hits: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, Any] = {}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] == "lifespan":
            return
        query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode()).items()}
        self.hits.append(scope["path"])
        if scope["type"] == "websocket":
            await self._socket(scope["path"], receive, send)
            return
        first, _, rest = scope["path"].lstrip("/").partition("/")
        handler = getattr(self, f"_{first}", None)
        if rest in ("submit", "status", "get", "retry", "cancel"):
            await self._task(rest, query, receive, send)
        elif handler is None:
            await answer(send, 404, {"mine": scope["path"]})
        else:
            await handler(scope, query, receive, send)

    # -- plain answers -------------------------------------------------------------------------------------

    async def _whole(self, scope: Any, query: dict[str, str], receive: Receive, send: Send) -> None:
        digest, size = hashlib.sha256(), 0
        async for part in pieces(receive):
            digest.update(part)
            size += len(part)
        told = {
            "replica": self.name,
            "method": scope["method"],
            "path": scope["raw_path"].decode(),
            "query": scope["query_string"].decode(),
            "nonce": query.get("nonce"),
            "headers": [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]],
            "size": size,
            "sha256": digest.hexdigest(),
        }
        await answer(send, int(query.get("code", 200)), told)

    async def _empty(self, _: Any, query: dict[str, str], __: Receive, send: Send) -> None:
        headers = [(b"etag", b'"x"')]
        if "length" in query:
            headers.append((b"content-length", query["length"].encode()))
        await send({"type": "http.response.start", "status": int(query["code"]), "headers": headers})
        if int(query["code"]) == 304 and "length" in query:
            return  # uvicorn would miss the body; the head alone is a whole answer
        await send({"type": "http.response.body"})

    async def _redirect(self, _: Any, query: dict[str, str], __: Receive, send: Send) -> None:
        await answer(send, 307, {}, (b"location", query["to"].encode()))

    async def _forged(self, _: Any, __: dict[str, str], ___: Receive, send: Send) -> None:
        forged = [(b"x-model-version", b"9"), (b"x-route-reason", b"mine"), (b"x-request-id", b"mine")]
        named = [(b"connection", b"x-secret"), (b"x-secret", b"1"), (b"keep-alive", b"timeout=99")]
        cookies = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
        await answer(send, 200, {}, *forged, *named, *cookies)

    async def _early(self, _: Any, __: dict[str, str], ___: Receive, send: Send) -> None:
        await answer(send, 400, {"error": "not read"})

    async def _silent(self, _: Any, query: dict[str, str], receive: Receive, __: Send) -> None:
        await self._gone(query["id"], receive)

    # -- streams -------------------------------------------------------------------------------------------

    async def _echo(self, _: Any, query: dict[str, str], receive: Receive, send: Send) -> None:
        await start(send)
        async for part in pieces(receive):
            await self._write(send, query.get("id"), part)
        await send({"type": "http.response.body"})

    async def _sink(self, _: Any, query: dict[str, str], receive: Receive, send: Send) -> None:
        size = 0
        async for part in pieces(receive):
            size += len(part)
            self.received[query["id"]] = size
            await self._gate(query, size >= int(query.get("after", 0)))
        await answer(send, 200, {"size": size})

    async def _big(self, _: Any, query: dict[str, str], receive: Receive, send: Send) -> None:
        left, name = int(query["n"]), query.get("id", "")
        await start(send, *([(b"content-length", query["n"].encode())] if "length" in query else []))
        watching = asyncio.ensure_future(self._gone(name, receive))
        while left and not watching.done():
            await self._write(send, name, PIECE[:left])
            left -= min(left, len(PIECE))
            await self._gate(query, True)
            await asyncio.sleep(0)
        watching.cancel()
        if not left:
            await send({"type": "http.response.body"})

    async def _sse(self, _: Any, query: dict[str, str], receive: Receive, send: Send) -> None:
        await start(send, (b"content-type", b"text/event-stream"))
        watching = asyncio.ensure_future(self._gone(query.get("id", ""), receive))
        for number in range(int(query["n"])):
            if watching.done():
                return
            event = b'data: {"number": %d, "replica": "%b"}\n\n' % (number, self.name.encode())
            await self._write(send, query.get("id"), event)
            await self._gate(query, True)
        watching.cancel()
        await send({"type": "http.response.body"})

    async def _cut(self, _: Any, query: dict[str, str], __: Receive, send: Send) -> None:
        await start(send, *([(b"content-length", query["length"].encode())] if "length" in query else []))
        await send({"type": "http.response.body", "body": PIECE[: int(query["n"])], "more_body": True})
        raise RuntimeError("cut on request")

    # -- what the tests see --------------------------------------------------------------------------------

    async def _state(self, _: Any, __: dict[str, str], ___: Receive, send: Send) -> None:
        told = {"sent": self.sent, "received": self.received, "left": self.left, "hits": self.hits}
        await answer(send, 200, told)

    async def _open(self, _: Any, query: dict[str, str], __: Receive, send: Send) -> None:
        self.gates.setdefault(query["id"], asyncio.Event()).set()
        await answer(send, 200, {})

    async def _gate(self, query: dict[str, str], here: bool) -> None:
        if "gate" in query and here:
            await self.gates.setdefault(query["id"], asyncio.Event()).wait()

    async def _gone(self, name: str, receive: Receive) -> None:
        while not (await receive())["type"].endswith(".disconnect"):
            pass
        self.left.append(name)

    async def _write(self, send: Send, name: str | None, data: bytes) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": True})
        if name is not None:
            self.sent[name] = self.sent.get(name, 0) + len(data)

    # -- tasks and sockets ---------------------------------------------------------------------------------

    async def _task(self, verb: str, query: dict[str, str], receive: Receive, send: Send) -> None:
        body = b"".join([part async for part in pieces(receive)])
        if verb == "submit":
            await self._taken(json.loads(body or b"null"), send)
            return
        name = query.get("task_id", "")
        if name not in self.tasks:
            await answer(send, 404, {"error": "task_id not found"})
        elif verb == "retry":
            await self._taken(self.tasks[name], send)
        elif verb == "get":
            await answer(send, 200, {"task_id": "the user's own", "was": self.tasks[name], "by": self.name})
        else:
            await answer(send, 200, {"task_id": name, "status": "success", "by": self.name, **query})

    async def _taken(self, value: Any, send: Send) -> None:
        name = f"{len(self.tasks)}~odd"  # a mark of ours in somebody else's id
        self.tasks[name] = value
        await answer(send, 200, {"task_id": name, "status": "in_progress"})

    async def _socket(self, path: str, receive: Receive, send: Send) -> None:
        await receive()
        if path.startswith("/refuse"):
            await send({"type": "websocket.close"})
            return
        if path.startswith("/silent"):
            await self._gone("socket", receive)
            return
        await send({"type": "websocket.accept", "headers": [(b"x-model-version", b"9")]})
        while (message := await receive())["type"] == "websocket.receive":
            if message.get("text") == "end":
                await send({"type": "websocket.close", "code": 4001})
                return
            kept = {kind: message[kind] for kind in ("text", "bytes") if message.get(kind) is not None}
            await send({"type": "websocket.send", **kept})
        self.left.append("socket")


async def pieces(receive: Receive) -> Any:
    """The body as it arrives."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


async def start(send: Send, *headers: tuple[bytes, bytes]) -> None:
    """A streamed answer's head."""
    await send({"type": "http.response.start", "status": 200, "headers": list(headers)})


async def answer(send: Send, status: int, told: Any, *headers: tuple[bytes, bytes]) -> None:
    """A whole JSON answer."""
    body = json.dumps(told).encode()
    kinds = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*kinds, *headers]})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """`python -m tests.edge.replica --socket PATH --name NAME [--ws none]`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--ws", default="wsproto")
    args = parser.parse_args()
    uvicorn.run(Replica(args.name), uds=args.socket, ws=args.ws, lifespan="off", log_level="critical")


if __name__ == "__main__":
    main()
