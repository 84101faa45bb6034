"""Short ways to ask the data and the control listener, and what every answer must look like; not a test."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import httpx

from loadtests.fleet import Fleet

SLUG = re.compile(r"[a-z0-9_]+\Z")
DIGIT = [0.0, 0.0, 5.0, 13.0, 9.0, 1.0, 0.0, 0.0] * 8
CELL = [10.0 + place for place in range(30)]


class Data:
    """The data listener, one connection a call: the system spreads them over the routers."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.port = fleet.port

    def send(self, path: str, body: Any = None, method: str = "POST", **headers: str) -> httpx.Response:
        """`body` is sent as it is if it is bytes, else as JSON; `x_request_id=…` is the header of that name."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        given = {name.replace("_", "-"): text for name, text in headers.items()}
        with httpx.Client(timeout=20, trust_env=False) as client:
            return client.request(method, f"{self.fleet.data}{path}", content=content, headers=given)

    def predict(self, model: str, body: Any, **headers: str) -> httpx.Response:
        """`POST /v1/models/MODEL:predict`."""
        return self.send(f"/v1/models/{model}:predict", body, **headers)


def refused(answer: Any, status: int, code: str | None = None, field: str | None = None) -> dict[str, Any]:
    """Asserts the one form of all errors; the body."""
    assert answer_status(answer) == status, (answer_status(answer), answer_text(answer))
    kind = answer.headers.get("content-type", "")
    assert kind.partition(";")[0] == "application/json", kind
    body: dict[str, Any] = answer.json()
    assert isinstance(body.get("error"), str), body
    assert body["error"], body
    assert SLUG.match(body.get("code", "")), body
    assert body.keys() <= {"error", "code", "field"}, body
    if "field" in body:
        assert isinstance(body["field"], str), body
    if code is not None:
        assert body["code"] == code, body
    if field is not None:
        assert body.get("field") == field, body
    if status == 503:
        assert int(answer.headers["retry-after"]) > 0, dict(answer.headers)
    return body


def answer_status(answer: Any) -> int:
    """Of an httpx answer or one off the wire."""
    return int(answer.status_code if isinstance(answer, httpx.Response) else answer.status)


def answer_text(answer: Any) -> str:
    """Its body, for a failure's message."""
    return str((answer.content if isinstance(answer, httpx.Response) else answer.body)[:500])


def route(fleet: Fleet, model: str) -> dict[str, Any]:
    """The route as `GET /models/{m}` tells it."""
    return dict(fleet.ask("GET", f"/models/{model}")["route"])


def change(fleet: Fleet, model: str, action: str, body: Any = None, **headers: str) -> httpx.Response:
    """`promote`, `rollback` or `split`; `if_match=…` is the header."""
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    return fleet.control.post(f"/models/{model}/{action}", json=body or {}, headers=given)


def changed(fleet: Fleet, model: str, action: str, body: Any = None, **headers: str) -> dict[str, Any]:
    """The same where it must be done; its document."""
    answer = change(fleet, model, action, body, **headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def until(condition: Callable[[], Any], timeout: float) -> Any:
    """Polls for a true value and returns it; fails after the deadline."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {timeout} s"
        time.sleep(0.02)
    return found


def records_of(fleet: Fleet, request_id: str, count: int = 1) -> list[dict[str, Any]]:
    """The records of a request; they must be there within the two seconds of the contract."""

    def found() -> list[dict[str, Any]] | None:
        answer = fleet.control.get(f"/requests/{request_id}")
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, answer.text
        records: list[dict[str, Any]] = answer.json()["requests"]
        return records if len(records) >= count else None

    return list(until(found, 2.0))


def record_of(fleet: Fleet, request_id: str) -> dict[str, Any]:
    """The one record of a request."""
    (record,) = records_of(fleet, request_id)
    return record
