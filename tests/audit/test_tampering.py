"""Random tampering by one who may write Redis and has no key: each is found, and the first bad entry named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.audit import signing
from router.audit.chain import Finding, read_chain
from router.audit.stored import check_live
from tests.audit.trails import FORGER, MODEL, TRUSTED, Trail, rehashed, route, signed, state, trail

ACTIONS = ("deploy", "undeploy", "promote", "split", "refuse")
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from("123")), min_size=1, max_size=10).map(
    lambda steps: [("register", version) for version in "123"] + steps
)

SOME = settings(max_examples=40, deadline=None)


def findings(made: Trail, extra: bytes | None = None) -> list[Finding]:
    """What a verification of the running installation says; `extra` is the signed head in Redis."""
    heads = [orjson.loads(line) for line in (*made.heads, *([extra] if extra else []))]
    return check_live(read_chain(made.lines, MODEL), heads, TRUSTED, made.stored, signing.verify)


def first_bad(made: Trail, extra: bytes | None = None) -> int | None:
    """The first bad entry; something must have been found."""
    found = findings(made, extra)
    assert found
    return found[0].seq


@SOME
@given(STEPS)
def test_what_was_written_is_intact(steps: list[tuple[str, str]]) -> None:
    assert findings(trail(steps)) == []


@SOME
@given(STEPS, st.data())
def test_heads_that_are_missing_in_between_are_no_fault(steps: list[tuple[str, str]], data: Any) -> None:
    """A file of heads was turned, or a process was killed before it wrote one: the later ones cover it."""
    made = trail(steps)
    made.heads = [line for line in made.heads[:-1] if data.draw(st.booleans())] + made.heads[-1:]
    assert findings(made) == []


@SOME
@given(STEPS, st.data())
def test_an_edited_entry(steps: list[tuple[str, str]], data: Any) -> None:
    made = trail(steps)
    at = data.draw(st.integers(0, len(made.lines) - 1))
    entries = made.entries()
    name = data.draw(st.sampled_from(sorted(entries[at].keys() - {"hash"})))
    entries[at][name] = "altered"
    made.lines[at] = orjson.dumps(entries[at], option=orjson.OPT_SORT_KEYS)
    assert first_bad(made) == at + 1


@SOME
@given(STEPS, st.data())
def test_bytes_that_mean_the_same_are_not_the_same(steps: list[tuple[str, str]], data: Any) -> None:
    made = trail(steps)
    at = data.draw(st.integers(0, len(made.lines) - 1))
    made.lines[at] = made.lines[at].replace(b'{"action"', b'{"action":"x","action"', 1)
    assert first_bad(made) == at + 1


@SOME
@given(STEPS, st.data())
def test_an_edited_entry_with_all_hashes_made_right(steps: list[tuple[str, str]], data: Any) -> None:
    """State, head and even a signature by a key of the forger's own fit."""
    made = trail(steps)
    at = data.draw(st.integers(0, len(made.lines) - 1))
    entries = made.entries()
    entries[at]["actor"] = "somebody-else"
    made.lines = rehashed(entries, at)
    made.stored = state(made.entries())
    last = made.entries()[-1]
    own = signed(FORGER, last["seq"], last["hash"], last["time"])
    assert first_bad(made) == at + 1
    assert {each.kind for each in findings(made, own)} >= {"forged", "unknown_key"}


@SOME
@given(STEPS, st.data(), st.booleans())
def test_a_removed_entry(steps: list[tuple[str, str]], data: Any, rehash: bool) -> None:
    made = trail(steps)
    at = data.draw(st.integers(0, len(made.lines) - 2))
    entries = made.entries()
    del entries[at]
    made.lines = rehashed(entries, at) if rehash else [*made.lines[:at], *made.lines[at + 1 :]]
    made.stored = state(made.entries())
    assert first_bad(made) == at + 1


@SOME
@given(STEPS, st.data(), st.booleans())
def test_two_entries_exchanged(steps: list[tuple[str, str]], data: Any, rehash: bool) -> None:
    made = trail(steps)
    one = data.draw(st.integers(0, len(made.lines) - 2))
    other = data.draw(st.integers(one + 1, len(made.lines) - 1))
    entries = made.entries()
    entries[one], entries[other] = entries[other], entries[one]
    if rehash:
        made.lines = rehashed(entries, one)
    else:
        made.lines[one], made.lines[other] = made.lines[other], made.lines[one]
    assert first_bad(made) == one + 1


@SOME
@given(STEPS, st.data())
def test_a_cut_off_end(steps: list[tuple[str, str]], data: Any) -> None:
    """With route, history, head and the signature of that moment put back: as by an older backup."""
    made = trail(steps)
    length = data.draw(st.integers(0, len(made.lines) - 1))
    made.lines = made.lines[:length]
    made.stored = state(made.entries())
    assert first_bad(made, made.heads[length - 1] if length else None) == length + 1
    assert [each.kind for each in findings(made)] == ["truncated"]


@SOME
@given(STEPS, st.integers(1, 3))
def test_entries_put_behind(steps: list[tuple[str, str]], more: int) -> None:
    made = trail(steps)
    length, entries = len(made.lines), made.entries()
    forged = entries[-1] | {"actor": "forged", "action": "version.deploy"}
    forged |= {"before": None, "outcome": "applied", "after": {"version": "9", "replicas": 1}}
    made.lines = rehashed(entries + [forged] * more, length)
    made.stored = state(made.entries())
    assert first_bad(made) == length + 1
    last = made.entries()[-1]
    own = orjson.loads(signed(FORGER, last["seq"], last["hash"], last["time"]))
    for key in (FORGER.id, next(iter(TRUSTED))):
        assert length + 1 in [each.seq for each in findings(made, orjson.dumps(own | {"key": key}))]


@SOME
@given(STEPS)
def test_a_cut_off_end_with_others_in_its_place(steps: list[tuple[str, str]]) -> None:
    made = trail(steps)
    entries = made.entries()
    made.lines = rehashed([*entries[:-1], entries[-1] | {"reason": "another"}], len(entries) - 1)
    made.stored = state(made.entries())
    assert first_bad(made) == len(entries)


@SOME
@given(STEPS)
def test_a_chain_of_another_model(steps: list[tuple[str, str]]) -> None:
    made = trail(steps)
    chain = read_chain(made.lines, "other")
    found = check_live(chain, [], TRUSTED, made.stored, signing.verify)
    assert found[0].seq == 1


@SOME
@given(STEPS)
def test_a_chain_that_is_gone(steps: list[tuple[str, str]]) -> None:
    made = trail(steps)
    made.lines = []
    assert first_bad(made) == 1


@SOME
@given(STEPS, st.sampled_from(("active", "previous", "weights", "epoch", "model")))
def test_a_route_written_directly(steps: list[tuple[str, str]], name: str) -> None:
    made = trail([*steps, ("promote", "1")])
    made.stored = replace(made.stored, route=made.stored.route | {name: "9"})
    [finding] = findings(made)
    assert (finding.kind, finding.seq) == ("route", len(made.lines))
    made.stored = replace(made.stored, route=None)
    assert findings(made)[0].kind == "route"


@SOME
@given(STEPS, st.data())
def test_state_written_directly(steps: list[tuple[str, str]], data: Any) -> None:
    """A history's line altered, taken away or added; a version's document; a wish; the head."""
    made = trail([*steps, ("promote", "1")])
    stored, position = made.stored, data.draw(st.integers(0, len(made.stored.history) - 1))
    altered = list(stored.history)
    altered[position] = altered[position] | {"actor": "somebody-else"}
    shorter = stored.history[:position] + stored.history[position + 1 :]
    for kind, forged in (
        ("history", replace(stored, history=altered)),
        ("history", replace(stored, history=shorter)),
        ("history", replace(stored, history=[*stored.history, altered[position]])),
        ("version", replace(stored, versions={**stored.versions, "2": b'{"digest":"d2"}'})),
        ("version", replace(stored, versions={"1": stored.versions["1"], "3": stored.versions["3"]})),
        ("version", replace(stored, versions={**stored.versions, "8": b"{}"})),
        ("deployment", replace(stored, desired={**stored.desired, "8": 1})),
        ("head", replace(stored, head=f"{len(made.lines)} {'0' * 64}")),
        ("head", replace(stored, head=None)),
    ):
        made.stored = forged
        assert {each.kind for each in findings(made)} == {kind}


def test_a_route_without_any_entry() -> None:
    made = trail([("register", "1")])
    made.stored = replace(made.stored, route=route(7, "1"))
    assert [each.kind for each in findings(made)] == ["route"]


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b"null", b'{"seq":4}', b"\xff", b"[" * 5000])
def test_what_is_no_entry(line: bytes) -> None:
    made = trail([("register", "1"), ("promote", "1")])
    made.lines.append(line)
    assert first_bad(made) == 3


@pytest.mark.parametrize("head", [None, [], {}, {"seq": "x"}, {"seq": 1, "hash": 2, "key": 3, "sig": 4}])
def test_what_is_no_head(head: object) -> None:
    made = trail([("register", "1")])
    made.heads.append(orjson.dumps(head))
    assert [each.kind for each in findings(made)] == ["bad_head"]
