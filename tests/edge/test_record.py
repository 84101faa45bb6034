"""The record's bytes are the JSON of its fields, whatever stands in them."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.edge.codec import Excerpt
from router.edge.inbound import Inbound
from router.edge.passage import Passage
from router.edge.record import excerpt, key_hash, known_json, record
from router.upstream.work import Attempt, Item

texts = st.text(st.characters(codec="utf-8"), max_size=20)
times = st.none() | st.floats(0, 1e7)
FIELDS = [
    "request_id", "model", "version", "digest", "epoch", "reason", "router", "replica", "stale", "key_hash",
    "principal", "protocol", "status", "error", "attempts", "rows", "batch_rows", "queue_ms", "upstream_ms",
    "total_ms", "payload",
]  # fmt: skip


@given(texts, texts, texts, st.none() | texts, times, st.none() | st.integers(100, 599), st.booleans())
def test_every_field_is_told(
    model: str, key: str, error: str, replica: str | None, ms: float | None, status: int | None, stale: bool
) -> None:
    passage = Passage(Inbound({}, "r-1"), "pass", model=model, key=key, stale=stale, replica=replica)
    passage.upstream_ms = ms
    passage.attempts.append(Attempt("1", replica or "", 502, error, 1.23456))
    line = record(
        passage,
        "r0.abc",
        status=status,
        error=error,
        total_ms=ms,
        request=Excerpt(orjson.Fragment(b"[1, 2]")),
        response=Excerpt(error, truncated=True),
    )
    assert b"\n" not in line
    found: dict[str, Any] = orjson.loads(line)
    assert list(found) == FIELDS
    want: dict[str, Any] = {
        "request_id": "r-1", "model": model, "version": None, "digest": None, "epoch": None, "reason": None,
        "router": "r0.abc", "replica": replica, "stale": stale, "key_hash": key_hash(key), "principal": None,
        "protocol": "pass", "status": status, "error": error, "rows": None, "batch_rows": None, "queue_ms": None,
        "payload": {"request": [1, 2], "response": error, "truncated": True},
    }  # fmt: skip
    attempt = {"version": "1", "replica": replica or "", "status": 502, "error": error, "upstream_ms": 1.235}
    assert {name: found[name] for name in want} == want
    assert found["attempts"] == [attempt]
    for name in ("upstream_ms", "total_ms"):
        assert found[name] == (None if ms is None else pytest.approx(ms, abs=0.0006))


def test_an_item_tells_its_own_way() -> None:
    passage = Passage(Inbound({}, "r-1"), "v1", batch_rows=7)
    item = Item({}, 3, 0, 0.0, 0.0, None)  # type: ignore[arg-type]
    item.replica, item.queue_ms, item.upstream_ms = "m.1.x", 0.5, 1.5
    item.attempts += [Attempt("1", "a", 503, "no", 0.0), Attempt("1", "m.1.x", 200, None, 1.5)]
    passage.item = item
    nothing = Excerpt(None)
    found = orjson.loads(
        record(passage, "r0", status=200, error=None, total_ms=2.0, request=nothing, response=nothing)
    )
    assert [found[name] for name in ("replica", "rows", "batch_rows", "queue_ms", "upstream_ms")] == [
        "m.1.x", 3, 7, 0.5, 1.5,
    ]  # fmt: skip
    assert [attempt["status"] for attempt in found["attempts"]] == [503, 200]


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize(
    ("body", "value"),
    [(b'{"a": 1}', {"a": 1}), (b'{\r\n"a": [1,\n2]}', {"a": [1, 2]}), (b"", None)],
)
def test_a_body_never_breaks_the_line(body: bytes, value: object, read: bool) -> None:
    found = orjson.dumps(excerpt(body, 100, read=read).value)
    assert b"\n" not in found
    assert b"\r" not in found
    assert orjson.loads(found) == value


def test_what_is_no_json_is_kept_as_text() -> None:
    assert excerpt(b"{nope\n\xff", 100) == ("{nope\n\ufffd", False)
    assert excerpt(b"[1,2,3]", 3) == ("[1,", True)
    assert known_json(b"[1,2,3]", 3) == ("[1,", True)
