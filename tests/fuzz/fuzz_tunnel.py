"""A replica's handshake: refused, or a head in which what is ours is ours, however leniently a client reads it."""

from __future__ import annotations

from typing import Any

from router.edge.hygiene import OURS
from router.edge.tunnel import End, answer_head, is_answer

HEADERS = [(b"x-request-id", b"the-id"), (b"x-model-version", b"1"), (b"x-route-epoch", b"3")]


class Passage:
    """As much of one as a head needs."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        return HEADERS


def check(data: bytes) -> None:
    """Up to the first empty line the head, then what follows it."""
    head, mark, rest = data.partition(b"\r\n\r\n")
    if not mark or not is_answer(head + mark):
        return
    passage: Any = Passage()
    told = answer_head(head + mark, passage)
    assert told.startswith(head[:12])
    assert told.endswith(b"\r\n\r\n")
    # Some clients end a line at a bare line feed, or at a bare carriage return.
    lines = told.replace(b"\r", b"\n").split(b"\n")
    found = [line.partition(b":") for line in lines[1:] if line]
    ours = [(name.strip().lower(), value.strip()) for name, _, value in found]
    assert [pair for pair in ours if pair[0] in OURS] == HEADERS, told
    assert all(line[:1] not in b" \t" for line in lines if line), told
    assert (b"connection", b"close") in ours or told[9:12] == b"101"
    end = End(head + mark)
    for at in range(0, min(len(rest), 4096), 64):
        end.look(rest[at : at + 64])
