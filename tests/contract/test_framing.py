"""Heads and bodies in doubt, on both listeners: 400 and the connection's end, and nothing behind it is read."""

from __future__ import annotations

import re

import pytest

from loadtests.fleet import Fleet
from tests.contract.asking import refused
from tests.contract.wire import Wire

BODY = b'{"instances": [[1, 2, 3]]}'
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
LENGTH = b"content-length: %d\r\n\r\n" % len(BODY) + BODY
BEHIND = b"GET /livez HTTP/1.1\r\nhost: x\r\nx-request-id: behind\r\n\r\n"

LINES = {
    "length with coding": b"host: x\r\ncontent-length: 5\r\n" + CHUNKED + b"0\r\n\r\n",
    "coding with length": b"host: x\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"host: x\r\ncontent-length: 26\r\n" + LENGTH,
    "two unlike lengths": b"host: x\r\ncontent-length: 0\r\n" + LENGTH,
    "a list of lengths": b"host: x\r\ncontent-length: 26, 26\r\n\r\n" + BODY,
    "a plus": b"host: x\r\ncontent-length: +26\r\n\r\n" + BODY,
    "a minus": b"host: x\r\ncontent-length: -26\r\n\r\n" + BODY,
    "hexadecimal": b"host: x\r\ncontent-length: 0x1a\r\n\r\n" + BODY,
    "an underscore": b"host: x\r\ncontent-length: 2_6\r\n\r\n" + BODY,
    "other digits": b"host: x\r\ncontent-length: \xd9\xa2\xd9\xa6\r\n\r\n" + BODY,
    "no length": b"host: x\r\ncontent-length:\r\n\r\n" + BODY,
    "an overflowing length": b"host: x\r\ncontent-length: 18446744073709551642\r\n\r\n" + BODY,
    "chunked twice": b"host: x\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "two codings": b"host: x\r\ntransfer-encoding: chunked\r\n" + CHUNKED + b"0\r\n\r\n",
    "a coding before chunked": b"host: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding after chunked": b"host: x\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "identity": b"host: x\r\ntransfer-encoding: identity\r\n\r\n",
    "an empty coding": b"host: x\r\ntransfer-encoding:\r\n" + LENGTH,
    "a parameter of chunked": b"host: x\r\ntransfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "a vertical tab": b"host: x\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a chunk with a plus": b"host: x\r\n" + CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "a chunk with a minus": b"host: x\r\n" + CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "a chunk with 0x": b"host: x\r\n" + CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk size that overflows": b"host: x\r\n" + CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "an empty chunk size": b"host: x\r\n" + CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
    "a longer chunk": b"host: x\r\n" + CHUNKED + b"4\r\nhello\r\n0\r\n\r\n",
    "a chunk with bare LF": b"host: x\r\n" + CHUNKED + b"5\nhello\n0\n\n",
    "a chunk with bare CR": b"host: x\r\n" + CHUNKED + b"5\rhello\r\n0\r\n\r\n",
    "an extension with bare LF": b"host: x\r\n" + CHUNKED + b"5;a\nhello\r\n0\r\n\r\n",
    "a control in an extension": b"host: x\r\n" + CHUNKED + b"5;a\x01\r\nhello\r\n0\r\n\r\n",
    "a length as trailer": b"host: x\r\n" + CHUNKED + b"5\r\nhello\r\n0\r\ncontent-length: 3\r\n\r\n",
    "a coding as trailer": b"host: x\r\n"
    + CHUNKED
    + b"5\r\nhello\r\n0\r\ntransfer-encoding: chunked\r\n\r\n",
    "a bad trailer": b"host: x\r\n" + CHUNKED + b"5\r\nhello\r\n0\r\nx a: 3\r\n\r\n",
    "a folded line": b"host: x\r\nx-a: b\r\n c\r\n" + LENGTH,
    "a line folded by a tab": b"host: x\r\nx-a: b\r\n\tc\r\n" + LENGTH,
    "a space before the first name": b" host: x\r\n" + LENGTH,
    "a space before the colon": b"host: x\r\ncontent-length : 26\r\n\r\n" + BODY,
    "a space in a name": b"host: x\r\nx a: b\r\n" + LENGTH,
    "a bracket in a name": b"host: x\r\nx(a): b\r\n" + LENGTH,
    "a letter beyond ASCII in a name": b"host: x\r\nx\xe9: b\r\n" + LENGTH,
    "no name": b"host: x\r\n: b\r\n" + LENGTH,
    "no colon": b"host: x\r\nx-a\r\n" + LENGTH,
    "NUL in a name": b"host: x\r\nx\x00a: b\r\n" + LENGTH,
    "NUL in a value": b"host: x\r\nx-a: b\x00\r\n" + LENGTH,
    "a control in a value": b"host: x\r\nx-a: b\x01\r\n" + LENGTH,
    "bare LF": b"host: x\nx-a: b\r\n" + LENGTH,
    "bare CR": b"host: x\rx-a: b\r\n" + LENGTH,
    "bare LF at the end": b"host: x\r\ncontent-length: 26\r\n\n" + BODY,
    "no Host": LENGTH,
    "two Hosts": b"host: x\r\nhost: x\r\n" + LENGTH,
    "a Host with a path": b"host: x/livez?\r\n" + LENGTH,
    "a Host with a user": b"host: a@x\r\n" + LENGTH,
}
FIRST = {
    "HTTP/0.9": b"GET /livez\r\n\r\n",
    "HTTP/0.9 by name": b"GET /livez HTTP/0.9\r\nhost: x\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2 by name": b"GET /livez HTTP/2.0\r\nhost: x\r\n\r\n",
    "HTTP/1.2": b"GET /livez HTTP/1.2\r\nhost: x\r\n\r\n",
    "CONNECT": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: x\r\n\r\n",
    "CONNECT to a path": b"CONNECT /livez HTTP/1.1\r\nhost: x\r\n\r\n",
    "an unknown method": b"FOO /livez HTTP/1.1\r\nhost: x\r\n\r\n",
    "a method in lower case": b"get /livez HTTP/1.1\r\nhost: x\r\n\r\n",
    "a space in the target": b"GET /livez x HTTP/1.1\r\nhost: x\r\n\r\n",
    "a tab for a space": b"GET\t/livez HTTP/1.1\r\nhost: x\r\n\r\n",
    "a control in the target": b"GET /livez\x01 HTTP/1.1\r\nhost: x\r\n\r\n",
    "a letter beyond ASCII in the target": b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
    "bare LF in the first line": b"GET /livez HTTP/1.1\nhost: x\r\n\r\n",
    "coding in HTTP/1.0": b"POST /livez HTTP/1.0\r\n" + CHUNKED + b"0\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}
PATHS = {"data": b"/v1/models/plain:predict", "pass": b"/models/plain/readyz", "control": b"/api/v1/models"}


def port_of(fleet: Fleet, lane: str) -> int:
    """The listener of a lane."""
    return fleet.control_port if lane == "control" else fleet.port


def refused_and_ended(fleet: Fleet, lane: str, sent: bytes) -> None:
    """One 400 (in its one form), then the end: what stands behind is no request."""
    with Wire(port_of(fleet, lane)) as wire:
        wire.send(sent + BEHIND)
        refused(wire.reply(3.0), 400, "bad_http")
        assert wire.ended(), "a second answer, or a connection that stays open out of step"
    with Wire(port_of(fleet, lane)) as wire:  # and nobody else is hurt
        wire.send(BEHIND)
        reply = wire.reply()
        assert reply.status == 200


@pytest.mark.parametrize("lane", PATHS)
@pytest.mark.parametrize("name", LINES)
def test_a_request_in_doubt_is_refused(fleet: Fleet, lane: str, name: str) -> None:
    if lane == "control" or name in IN_THE_BODY:
        _given_up(fleet, lane, name)
    else:
        refused_and_ended(fleet, lane, b"POST %b HTTP/1.1\r\n%b" % (PATHS[lane], LINES[name]))


IN_THE_BODY = {name for name in LINES if "chunk" in name and CHUNKED in LINES[name]} | {
    name for name in LINES if "trailer" in name or "extension" in name
}


def _given_up(fleet: Fleet, lane: str, name: str) -> None:
    """Where a fault shows only in the body, the request may be answered already: at most once, then the end."""
    with Wire(port_of(fleet, lane)) as wire:
        wire.send(b"POST %b HTTP/1.1\r\n%b%b" % (PATHS[lane], LINES[name], BEHIND))
        try:
            reply = wire.reply(3.0)
        except ConnectionError:
            return  # closed without a word: nothing was answered in doubt
        assert 400 <= reply.status < 500, reply
        assert reply.headers["x-request-id" if lane != "control" else "content-type"] != "behind"
        assert wire.ended(), "a second answer, or a connection that stays open out of step"


@pytest.mark.parametrize("lane", ["data", "control"])
@pytest.mark.parametrize("name", FIRST)
def test_a_first_line_in_doubt_is_refused(fleet: Fleet, lane: str, name: str) -> None:
    refused_and_ended(fleet, lane, FIRST[name])


@pytest.mark.parametrize("lane", ["data", "control"])
def test_what_http_allows_is_taken(fleet: Fleet, lane: str) -> None:
    """Absolute targets, leading empty lines, extensions of chunks, bytes beyond ASCII in a value, white space."""
    asked = [
        b"GET http://elsewhere/livez HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\r\n\r\nGET /livez HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHOST:x\t \r\nx-a: \xff\r\nx-b:\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost:\r\ncontent-length: 0 \r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: x\r\n" + CHUNKED + b'5;a=b;c="d"\r\nhello\r\n0\r\n\r\n',
        b"GET /livez HTTP/1.1\r\nhost: x\r\nte: chunked\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    ]
    with Wire(port_of(fleet, lane)) as wire:
        for request in asked:
            wire.send(request)
            assert wire.reply().status == 200, request


@pytest.mark.parametrize("lane", ["data", "control"])
def test_answers_come_in_the_order_of_their_requests(fleet: Fleet, lane: str) -> None:
    """Pipelined, of unlike cost, in the pieces of another cut each time."""
    prefix = "/" if lane == "data" else "/api/v1/"
    paths = ["/livez", f"{prefix}nowhere-1", "/readyz", f"{prefix}nowhere-2", "/livez"]
    wanted = [200, 404, 200, 404, 200]
    key = fleet.control.headers["authorization"]
    sent = b"".join(
        f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: {key}\r\n\r\n".encode() for path in paths
    )
    for cut in range(1, len(sent), 37):
        with Wire(port_of(fleet, lane)) as wire:
            wire.send(sent[:cut])
            wire.send(sent[cut:])
            replies = [wire.reply() for _ in paths]
        assert [reply.status for reply in replies] == wanted
        told = [re.search(rb"nowhere-\d", reply.body) for reply in replies]
        assert [None if each is None else each[0] for each in told] == [
            None,
            b"nowhere-1",
            None,
            b"nowhere-2",
            None,
        ]
