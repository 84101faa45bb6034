"""Small pass-through requests by both ways in: what the express takes, and that no caller can tell the way."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from router.edge.pass_head import small_pass
from tests.edge.house import MIB, House, RouterProcess, Wire, until

LENGTH = (b"content-length", b"3")
SIZE = 60_000  # of an answer that is kept until it is whole
UNREAD = 500  # far more than the kernel's buffers take


@pytest.mark.parametrize(
    ("method", "url", "headers", "taken"),
    [
        (b"POST", b"/models/m/x", [LENGTH], True),
        (b"GET", b"/models/m/x%20y?z=1", [], True),
        (b"DELETE", b"/models/m/versions/1/x", [], True),
        (b"POST", b"/models/m/x", [(b"content-length", b"100")], True),
        (b"POST", b"/models/m/x", [(b"content-length", b"101")], False),
        (b"POST", b"/models/m/x", [(b"content-length", b"x")], False),
        (b"POST", b"/models/m/x", [(b"transfer-encoding", b"chunked")], False),
        (b"POST", b"/models/m/x", [LENGTH, (b"expect", b"100-continue")], False),
        (b"HEAD", b"/models/m/x", [], False),
        (b"POST", b"/models/m/_pm/x", [LENGTH], False),
        (b"POST", b"/models/NO/x", [LENGTH], False),
        (b"POST", b"/models/m/t/submit", [LENGTH], False),
        (b"POST", b"/models/m/x", [LENGTH, (b"x-request-timeout-ms", b"soon")], False),
        (b"POST", b"/models/m/x", [LENGTH, (b"content-type", b"application/pickle")], False),
        (b"GET", b"/models/m/x#y", [], False),
        (b"GET", b"/models/m/\xc3\xa4", [], False),
        (b"GET", b"/v1/models/m", [], False),
        (b"GET", b"http://h/models/m/x", [], False),
    ],
)
def test_who_is_taken(method: bytes, url: bytes, headers: Any, taken: bool) -> None:
    assert (small_pass(method, url, headers, True, 100) is not None) is taken


@pytest.mark.parametrize("body", [None, b"", b"abc", b"x" * 30_000])
@pytest.mark.parametrize(
    "path", ["whole/a%2Fb?x=1&y", "whole?code=500", "forged", "redirect?to=/there", "sse?n=0"]
)
def test_both_ways_give_the_same_answer_and_the_same_record(
    house: House, router: RouterProcess, fresh_id: str, path: str, body: bytes | None
) -> None:
    """A fragment, which nobody sends and which is cut off, makes a request one of those for ASGI."""
    found = []
    for way, mark in (("one", ""), ("two", "#f")):
        with router.wire() as wire:
            given = f"x-request-id: {fresh_id}.{way}", "x-a: 1", "connection: x-b", "x-b: 2"
            wire.ask("POST", f"/models/m/versions/2/{path}{mark}", *given, body=body)
            status, head = wire.head()
            if "chunked" in head.get("transfer-encoding", ""):
                content = wire.until(b"0\r\n\r\n")
            else:
                content = wire.exactly(int(head["content-length"]))
        assert head.pop("x-request-id") == f"{fresh_id}.{way}"
        assert head.pop("date")
        record = house.record(f"{fresh_id}.{way}")
        for name in ("record_id", "time", "ended", "request_id", "upstream_ms", "total_ms", "attempts"):
            record.pop(name, None)
        plain = content.replace(f"{fresh_id}.{way}".encode(), b"id")
        payload = repr(record.pop("payload")).replace(f"{fresh_id}.{way}", "id")
        found.append((status, head, plain, record, payload))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("path", "code"),
    [("none/x", "unknown_model"), ("m/versions/9/x", "unknown_version"), ("m/_pm/x", "unknown_path")],
)
def test_both_ways_tell_the_same_error(
    house: House, router: RouterProcess, fresh_id: str, path: str, code: str
) -> None:
    for way, mark in (("one", ""), ("two", "#f")):
        with router.wire() as wire:
            wire.ask("POST", f"/models/{path}{mark}", f"x-request-id: {fresh_id}.{way}", body=b"abc")
            status, head, told = wire.json()
        assert (status, told["code"], head["x-request-id"]) == (404, code, f"{fresh_id}.{way}")
        assert house.record(f"{fresh_id}.{way}")["status"] == 404


def test_a_head_that_is_known_means_the_same_for_another_body(
    house: House, router: RouterProcess, fresh_id: str
) -> None:
    """Whole, in pieces and two at once; an id and a record of its own for each."""
    head = f"POST /models/m/versions/2/whole/{fresh_id}?a=1 HTTP/1.1\r\nhost: g\r\ncontent-length: 3\r\n\r\n"
    ids: list[str] = []
    with router.wire() as wire:
        for pieces in (1, 1, 1, 2, 1, 2):
            body = b"%03d" % len(ids)
            if pieces == 1:
                wire.send(head.encode() + body)
            else:
                wire.send(head.encode())
                wire.send(body)
            ids.append(known(wire, body))
        wire.send((head.encode() + b"xyz") * 3)
        ids += [known(wire, b"xyz") for _ in range(3)]
    assert len(set(ids)) == len(ids)
    for each in ids:
        assert house.record(each)["status"] == 200


def known(wire: Wire, body: bytes) -> str:
    """Checks an answer; its request id."""
    status, head, told = wire.json()
    assert (status, told["sha256"], told["query"]) == (200, hashlib.sha256(body).hexdigest(), "a=1")
    got = dict(told["headers"])
    assert (got["x-request-id"], got["x-model-version"], got["content-length"]) == (
        head["x-request-id"],
        "2",
        "3",
    )
    assert [name for name, _ in told["headers"]].count("x-forwarded-for") == 1
    return head["x-request-id"]


def test_a_body_that_comes_behind_its_head_is_whole(
    house: House, router: RouterProcess, fresh_id: str
) -> None:
    with router.wire() as wire:
        for number in range(20):
            wire.ask(
                "POST", f"/models/m/whole?nonce={number}", "content-length: 6", f"x-request-id: {fresh_id}"
            )
            wire.send(b"abc")
            wire.send(b"def")
            _, _, told = wire.json()
            assert (told["nonce"], told["sha256"]) == (str(number), hashlib.sha256(b"abcdef").hexdigest())
    for record in house.records(fresh_id):
        assert record["payload"]["request"] == {"b64": "YWJjZGVm"}


def test_a_small_body_that_trickles_is_streamed(house: House, router: RouterProcess, fresh_id: str) -> None:
    """Its first piece reaches the replica while the second is not sent, and the answer to it the caller."""
    replica = house.neighbours["c"]
    with router.wire() as wire:
        wire.ask("POST", f"/models/m/versions/2/sink?id={fresh_id}", "content-length: 6")
        until(lambda: fresh_id not in replica.state["received"] and "/sink" in replica.state["hits"])
        wire.send(b"abc")
        until(lambda: replica.state["received"].get(fresh_id) == 3)
        wire.send(b"def")
        assert wire.json()[2] == {"size": 6}
        wire.ask("POST", "/models/m/whole?nonce=next", body=b"x")
        assert wire.json()[2]["nonce"] == "next"


def test_a_stream_and_what_is_pipelined_behind_it_keep_their_order(router: RouterProcess) -> None:
    with router.wire() as wire:
        for number in range(10):
            wire.ask("GET", f"/models/m/whole?nonce={number}")
            wire.ask("GET", "/models/m/sse?n=3")
        for number in range(10):
            assert wire.json()[2]["nonce"] == str(number)
            assert wire.head()[1]["transfer-encoding"] == "chunked"
            events = wire.until(b"\r\n0\r\n\r\n")
            assert re.findall(rb'"number": (\d)', events) == [b"0", b"1", b"2"]


def test_the_caller_may_close_after_the_answer(router: RouterProcess) -> None:
    with router.wire() as wire:
        wire.ask("POST", "/models/m/whole?nonce=1", "connection: close", body=b"x")
        _, head, told = wire.json()
        assert (head["connection"], told["nonce"]) == ("close", "1")
        assert wire.rest() == b""
    with router.wire() as wire:
        wire.ask("GET", "/models/m/sse?n=1", "connection: close")
        assert wire.head()[1]["connection"] == "close"
        assert wire.rest().endswith(b"0\r\n\r\n")


def test_a_caller_who_does_not_read_is_not_answered_into_memory(house: House, router: RouterProcess) -> None:
    """One request after the other: each of its answers is small, but there is no end of them."""
    replica = house.neighbours["c"]

    def answered() -> int:
        return len([path for path in replica.state["hits"] if path == "/big/unread"])

    with router.growth() as growth, router.wire(receive_buffer=64 << 10) as wire:
        for number in range(UNREAD):
            assert number < UNREAD - 1, f"{number} answers of {SIZE} bytes for a caller who reads none"
            wire.ask("GET", f"/models/m/versions/2/big/unread?n={SIZE}&length=1")
            if not reached(lambda number=number: answered() > number):  # type: ignore[misc]
                break
    assert growth[0] < 4 * MIB


def reached(condition: Callable[[], bool]) -> bool:
    """Whether it comes true within a second."""
    end = time.monotonic() + 1
    while not condition():
        if time.monotonic() > end:
            return False
    return True
