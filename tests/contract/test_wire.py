"""Raw bytes on the data listener: framing, pipelines, smuggling, callers that leave; nobody else is hurt."""

from __future__ import annotations

import socket

import orjson
import pytest

from tests.contract.asking import DIGIT, Data, refused
from tests.contract.wire import HEAD, Wire, post

PATH = "/v1/models/plain:predict"
GOOD = b'{"instances": [[1, 2, 3]]}'
START = HEAD % PATH.encode()
SMUGGLED = post(PATH, b'{"instances": [[6, 6, 6]]}', "x-request-id: smuggled")


def number(n: int) -> bytes:
    """A row that is answered by itself."""
    return orjson.dumps({"instances": [[n, n, n]]})


def serves(data: Data) -> None:
    """Asserts that both routers still do: each new connection goes to one of them."""
    for n in range(4):
        with Wire(data.port) as wire:
            wire.send(post(PATH, number(n)))
            assert wire.reply().json() == {"predictions": [[float(n)] * 3]}


def test_pipelined_requests_are_answered_in_their_order(data: Data) -> None:
    with Wire(data.port) as wire:
        wire.send(b"".join(post(PATH, number(n), f"x-request-id: p{n}") for n in range(40)))
        for n in range(40):
            reply = wire.reply()
            assert (reply.status, reply.headers["x-request-id"]) == (200, f"p{n}")
            assert reply.json() == {"predictions": [[float(n)] * 3]}


def test_a_pipeline_of_unlike_requests_keeps_its_order(data: Data) -> None:
    forest = orjson.dumps({"instances": [DIGIT] * 400})
    asked = [
        (post("/v1/models/digits/versions/2:predict", forest, "x-request-id: q0"), 200),
        (post(PATH, b"{", "x-request-id: q1"), 400),
        (b"GET /livez HTTP/1.1\r\nhost: x\r\nx-request-id: q2\r\n\r\n", 200),
        (post("/v1/models/nobody:predict", GOOD, "x-request-id: q3"), 404),
        (post(PATH, GOOD, "x-request-id: q4"), 200),
    ]
    with Wire(data.port) as wire:
        wire.send(b"".join(request for request, _ in asked))
        for n, (_, status) in enumerate(asked):
            reply = wire.reply()
            assert (reply.headers["x-request-id"], reply.status) == (f"q{n}", status)
        assert reply.json() == {"predictions": [[1.0, 2.0, 3.0]]}


def test_a_request_may_come_byte_by_byte(data: Data) -> None:
    with Wire(data.port) as wire:
        for byte in post(PATH, GOOD):
            wire.send(bytes([byte]))
        assert wire.reply().json() == {"predictions": [[1.0, 2.0, 3.0]]}


@pytest.mark.parametrize(
    "lines",
    [
        b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
        b"content-length: %d\r\ncontent-length: %d\r\n\r\n" % (len(GOOD), len(GOOD)) + GOOD,
        b"content-length: 0\r\ncontent-length: %d\r\n\r\n" % len(GOOD) + GOOD,
        b"content-length: %d, %d\r\n\r\n" % (len(GOOD), len(GOOD)) + GOOD,
        b"content-length: +%d\r\n\r\n" % len(GOOD) + GOOD,
        b"content-length: -1\r\n\r\n",
        b"content-length: 0x1a\r\n\r\n" + GOOD,
        b"content-length: 99999999999999999999999\r\n\r\n",
        b"content-length : %d\r\n\r\n" % len(GOOD) + GOOD,
        b"content-length: %d\r\n folded\r\n\r\n" % len(GOOD) + GOOD,
        b"transfer-encoding: xchunked\r\n\r\n1a\r\n" + GOOD + b"\r\n0\r\n\r\n",
        b"transfer-encoding: chunked, identity\r\n\r\n1a\r\n" + GOOD + b"\r\n0\r\n\r\n",
        b"transfer-encoding : chunked\r\n\r\n1a\r\n" + GOOD + b"\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\n-1\r\n",
        b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"transfer-encoding: chunked\r\n\r\n1\r\n" + GOOD + b"\r\n0\r\n\r\n",
        b"x-a: b\x00c\r\ncontent-length: %d\r\n\r\n" % len(GOOD) + GOOD,
        b"x-a\r\ncontent-length: %d\r\n\r\n" % len(GOOD) + GOOD,
    ],
    ids=lambda lines: repr(lines[:60]),
)
def test_a_request_whose_framing_is_in_doubt_is_refused_and_nothing_behind_it_is_read(
    data: Data, lines: bytes
) -> None:
    with Wire(data.port) as wire:
        wire.send(START + lines + SMUGGLED)
        reply = wire.reply()
        assert 400 <= reply.status < 500, reply
        assert reply.headers.get("x-request-id") != "smuggled", reply
        assert wire.ended(), "a second answer, or a connection that stays open out of step"
    serves(data)


@pytest.mark.parametrize(
    "garbage", [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n"]
)
def test_what_is_no_http_is_refused(data: Data, garbage: bytes) -> None:
    with Wire(data.port) as wire:
        wire.send(garbage)
        assert wire.reply().status == 400
        assert wire.ended()
    serves(data)


def test_a_refusal_of_unparseable_http_has_the_form_of_all_errors(data: Data) -> None:
    with Wire(data.port) as wire:
        wire.send(START + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n")
        reply = wire.reply()
        refused(reply, 400)
        assert reply.headers["x-request-id"]


def test_a_body_shorter_than_announced_gets_no_prediction(data: Data) -> None:
    for close in (True, False):
        with Wire(data.port) as wire:
            wire.send(START + b"content-length: %d\r\n\r\n" % (len(GOOD) + 10) + GOOD)
            if close:
                wire.half_close()
                assert wire.ended(), "an answer to half a request"
    serves(data)


def test_a_chunked_body_is_read(data: Data) -> None:
    head, tail = GOOD[:7], GOOD[7:]
    with Wire(data.port) as wire:
        wire.send(START + b"transfer-encoding: chunked\r\n\r\n%x;x=1\r\n" % len(head) + head)
        wire.send(b"\r\n%X\r\n" % len(tail) + tail + b"\r\n0\r\nx-trailer: 1\r\n\r\n" + post(PATH, number(5)))
        assert wire.reply().json() == {"predictions": [[1.0, 2.0, 3.0]]}
        assert wire.reply().json() == {"predictions": [[5.0, 5.0, 5.0]]}


@pytest.mark.parametrize("count", [20_000, 200_000])
def test_a_flood_of_headers_is_refused(data: Data, count: int) -> None:
    """2 MB and 20 MB of headers: what the gateway reads fits in a few kilobytes."""
    lines = b"".join(b"x-%06d: %b\r\n" % (n, b"a" * 88) for n in range(count))
    _refused_or_closed(data, START + lines + b"content-length: %d\r\n\r\n" % len(GOOD) + GOOD)


def test_a_header_without_end_is_refused(data: Data) -> None:
    _refused_or_closed(data, START + b"x-a: " + b"a" * (8 << 20))


def _refused_or_closed(data: Data, request: bytes) -> None:
    with Wire(data.port) as wire:
        try:
            wire.send(request)
            reply = wire.reply(2.0)
            assert reply.status in (400, 413, 431), reply
        except TimeoutError:
            pytest.fail("megabytes of headers were taken in, and more would be")
        except ConnectionError:
            pass  # closed under our hands: refused as well
    serves(data)


def test_http_1_0_is_answered_and_the_connection_closed(data: Data) -> None:
    with Wire(data.port) as wire:
        wire.send(b"POST %b HTTP/1.0\r\ncontent-length: %d\r\n\r\n" % (PATH.encode(), len(GOOD)) + GOOD)
        assert wire.reply().json() == {"predictions": [[1.0, 2.0, 3.0]]}
        assert wire.ended()


def test_connection_close_is_honoured(data: Data) -> None:
    with Wire(data.port) as wire:
        wire.send(post(PATH, GOOD, "connection: close") + post(PATH, GOOD))
        assert wire.reply().status == 200
        assert wire.ended()


def test_a_caller_that_waits_for_100_continue_gets_it_then_its_answer(data: Data) -> None:
    with Wire(data.port) as wire:
        wire.send(START + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(GOOD))
        assert wire.reply(2.0).status == 100
        wire.send(GOOD)
        assert wire.reply().json() == {"predictions": [[1.0, 2.0, 3.0]]}


def test_a_caller_that_announces_too_much_is_not_told_to_go_on(data: Data) -> None:
    with Wire(data.port) as wire:
        wire.send(START + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % (33 << 20))
        refused(wire.reply(2.0), 413)


@pytest.mark.parametrize(
    "lines",
    [
        ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAARAAAAAAAIAAAAA"),
        ("connection: upgrade", "upgrade: websocket"),
    ],
)
def test_an_offer_to_upgrade_is_ignored_and_the_body_read(data: Data, lines: tuple[str, ...]) -> None:
    """Java's HttpClient offers h2c with its first POST on a connection."""
    with Wire(data.port) as wire:
        wire.send(post(PATH, GOOD, *lines))
        reply = wire.reply()
        assert (reply.status, reply.json()) == (200, {"predictions": [[1.0, 2.0, 3.0]]})
        wire.send(post(PATH, number(8)))
        assert wire.reply().json() == {"predictions": [[8.0, 8.0, 8.0]]}


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
def test_the_body_of_an_offer_to_upgrade_is_never_read_as_a_request(data: Data, protocol: str) -> None:
    """What stands between us and the caller counts the length: a request in the body would be smuggled."""
    offer = b"x-request-id: outer\r\nconnection: upgrade\r\nupgrade: %b\r\n" % protocol.encode()
    with Wire(data.port) as wire:
        wire.send(START + offer + b"content-length: %d\r\n\r\n" % len(SMUGGLED))
        try:
            answered = [wire.reply(0.5)]
        except TimeoutError:  # right: it waits for the body
            answered = []
        try:
            wire.send(SMUGGLED)
            while True:
                answered.append(wire.reply(1.0))
        except (TimeoutError, OSError):
            pass
    assert "smuggled" not in [reply.headers.get("x-request-id") for reply in answered], answered
    assert len(answered) == 1, answered


def test_callers_that_leave_early_cost_the_others_nothing(data: Data) -> None:
    """Hang-ups in the middle of an exchange must not put an answer into another caller's hands."""
    forest = post("/v1/models/digits/versions/2:predict", orjson.dumps({"instances": [DIGIT] * 50}))
    for n in range(40):
        with Wire(data.port) as leaving:
            leaving.send(forest)
        with Wire(data.port) as leaving:
            leaving.send(post(PATH, number(1000 + n)))
            leaving._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with Wire(data.port) as wire:
            wire.send(post(PATH, number(n)))
            assert wire.reply().json() == {"predictions": [[float(n)] * 3]}
