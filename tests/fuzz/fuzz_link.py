"""Answers of replicas: whole or failed, the same in whatever pieces, and never a byte of one in the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from router.upstream import stream as streams
from router.upstream.link import Link, LinkFailed, Reply
from router.upstream.stream import Stream

MARK = b'{"this":"second answer"}'
SOUND = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(MARK),
    MARK,
)


class Wire:
    """Stands for asyncio's transport."""

    def __init__(self) -> None:
        self.closed = False
        self.paused = 0

    def write(self, data: bytes) -> None:
        assert not self.closed

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        self.paused += 1

    def resume_reading(self) -> None:
        self.paused -= 1


def cut(data: bytes, seed: int) -> Iterator[bytes]:
    """In pieces that the seed says: 0 whole, 1 bytes, others of lengths that change."""
    if seed == 0 or not data:
        yield data
        return
    at, size = 0, seed
    while at < len(data):
        yield data[at : at + size]
        at += size
        size = 1 if seed == 1 else (size * 31 + seed) % 97 + 1


def check(data: bytes) -> None:
    """The first byte says how the other run is cut."""
    if not data:
        return
    seed = data[0] or 1
    answer = data[1:]
    if len(answer) > 8192 and seed == 1:
        seed = 250
    for once in (_link, _stream):
        whole = once([answer])
        pieces = once(list(cut(answer, seed)))
        assert whole[0] == pieces[0], (whole, pieces)
        # A second exchange on the same connection: its own answer, or none.
        for second in (whole[1], pieces[1]):
            assert second in (None, (200, MARK)), second
    _known(answer)


def _link(pieces: list[bytes]) -> tuple[object, object]:
    link, wire = Link(), Wire()
    link.connection_made(wire)  # type: ignore[arg-type]
    got: list[Reply | LinkFailed] = []
    link.send(b"request", got.append)
    for piece in pieces:
        if wire.closed:
            break
        link.data_received(piece)
    if not got:
        link.connection_lost(None)
        [failed] = got
        assert isinstance(failed, LinkFailed)
        return "failed", None
    assert len(got) == 1
    first = _told(got[0])
    if not link.open:
        return first, None
    again: list[Reply | LinkFailed] = []
    link.send(b"request", again.append)
    link.data_received(SOUND)
    assert len(again) == 1
    second = _told(again[0])
    return first, None if second == "failed" else second


def _told(reply: Reply | LinkFailed) -> object:
    return (reply.status, reply.body) if isinstance(reply, Reply) else "failed"


def _stream(pieces: list[bytes]) -> tuple[object, object]:
    streams._heads = streams.Heads()
    stream, wire = Stream(), Wire()
    first = _exchange(stream, wire, pieces, fresh=True)
    if wire.closed or not stream.reusable:
        return first, None
    second = _exchange(stream, wire, [SOUND], fresh=False)
    return first, None if second == "failed" else second[:2]  # type: ignore[index]


def _exchange(stream: Stream, wire: Wire, pieces: list[bytes], *, fresh: bool) -> object:
    body: list[bytes] = []

    def take() -> None:
        body.append(stream.taken())

    if fresh:
        stream.connection_made(wire)  # type: ignore[arg-type]
    stream.follow(take)
    stream.start(b"request", bodyless=False)
    for piece in pieces:
        if wire.closed:
            break
        stream.data_received(piece)
    if not stream.done and not wire.closed:
        stream.connection_lost(None)
    take()
    assert wire.paused in (0, 1)
    if not stream.done:
        return "failed"
    return stream.status, b"".join(body), tuple(stream.headers)


def _known(answer: bytes) -> None:
    """The same bytes again, when their head is known: the same answer."""
    link, wire = Link(), Wire()
    link.connection_made(wire)  # type: ignore[arg-type]
    told: list[object] = []
    done: Callable[[Reply | LinkFailed], None] = lambda reply: told.append(_told(reply))  # noqa: E731
    for _ in range(3):
        if not link.open:
            break
        link.send(b"request", done)
        link.data_received(answer)
        if link._done is not None:
            break
    assert len(set(told)) <= 1, told
    streams._heads = streams.Heads()
    stream, wire = Stream(), Wire()
    seen = []
    for turn in range(3):
        if turn and (wire.closed or not stream.reusable):
            break
        found = _exchange(stream, wire, [answer], fresh=turn == 0)
        if found == "failed":
            break
        seen.append(found)
    assert len(set(seen)) <= 1, seen
