"""What callers and replicas sent, as it stands in the log: a line of JSON that can be read and given out."""

from __future__ import annotations

import msgspec

from router.edge import v1, v2
from router.edge.codec import Excerpt
from router.edge.inbound import Inbound
from router.edge.passage import Passage
from router.edge.record import excerpt, record
from router.edge.relay import payload, whole
from router.errors import BadInput
from router.journal.record import read_record
from tests.fuzz.signatures import signature

KINDS = (b"application/json", b"text/plain", b"application/octet-stream", b"", b"application/JSON; charset=x")
LIMIT = 16 << 10


def check(data: bytes) -> None:
    """The first byte chooses how the body came; the rest is the body."""
    if not data:
        return
    choice, body = data[0], data[1:]
    kind = KINDS[choice % len(KINDS)]
    inbound = Inbound({}, "id")
    found = [
        whole(body, kind, LIMIT),
        payload(body[:LIMIT], kind, LIMIT, len(body) > LIMIT),
        excerpt(body, LIMIT),
        v2.CODEC.excerpt(Inbound({v2.LENGTH: b"%d" % (len(body) // 2)}, "id"), body, LIMIT),
    ]
    if _decodes(body, choice):
        found.append(v1.CODEC.excerpt(inbound, body, LIMIT, read=True))
    for request in found:
        _written(inbound, request, found[0])


def _decodes(body: bytes, choice: int) -> bool:
    try:
        v1.decode(v1.parse(body), signature(choice))
    except BadInput:
        return False
    return True


def _written(inbound: Inbound, request: Excerpt, response: Excerpt) -> None:
    line = record(
        Passage(inbound, "v1"),
        "r0",
        status=400,
        error="because",
        total_ms=1.0,
        request=request,
        response=response,
    )
    assert b"\n" not in line
    again = read_record(line)
    assert again is not None, "a record that nobody can read"
    assert again["status"] == 400
    # As a page of the control API holds it.
    msgspec.json.encode({"requests": [{"record_id": "r0-0-0", **again}]})
