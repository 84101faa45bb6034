"""The audit chain: canonical, linked, and broken by whatever is done to it."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from router.registry.audit import GENESIS, Actor, Head, broken_at, entry


def chain(length: int) -> list[dict[str, Any]]:
    head, found = Head(), []
    for number in range(length):
        actor = Actor(name=f"actor {number}", reason="größer ≥" if number % 2 else None)
        stored, head = entry(
            head,
            time=f"t{number}",
            actor=actor,
            action="route.promote",
            object="m",
            before=None,
            after={"n": 0.5},
        )
        found.append(orjson.loads(stored))
    return found


def test_the_first_entry_follows_the_genesis() -> None:
    [first] = chain(1)
    assert (first["seq"], first["prev"], first["outcome"], first["auth"]) == (1, GENESIS, "applied", "key")
    body = {key: value for key, value in first.items() if key != "hash"}
    assert first["hash"] == hashlib.sha256(rfc8785.dumps(body)).hexdigest()


def test_the_stored_bytes_are_canonical() -> None:
    stored, head = entry(Head(), time="t", actor=Actor("a"), action="x", object="m", before=1.0, after=[])
    assert stored == rfc8785.dumps(orjson.loads(stored))
    assert Head.parse(head.text()) == head
    assert Head.parse(None) == Head()


@given(st.integers(0, 8))
def test_an_untouched_chain_is_whole(length: int) -> None:
    assert broken_at(chain(length)) is None


@given(
    st.integers(0, 5), st.sampled_from(["time", "actor", "action", "after", "reason", "prev", "hash", "seq"])
)
def test_any_altered_field_is_found(position: int, field: str) -> None:
    altered = chain(6)
    altered[position][field] = "altered"
    assert broken_at(altered) == position + 1


@given(st.integers(0, 4))
def test_a_removed_entry_is_found(position: int) -> None:
    shortened = chain(6)
    del shortened[position]
    assert broken_at(shortened) == position + 1


def test_an_entry_made_anew_does_not_fit_its_follower() -> None:
    found = chain(3)
    body = {key: value for key, value in found[1].items() if key != "hash"} | {"reason": "forged"}
    found[1] = body | {"hash": hashlib.sha256(rfc8785.dumps(body)).hexdigest()}
    assert broken_at(found) == 3


def test_two_entries_exchanged_are_found() -> None:
    found = chain(3)
    found[0], found[1] = found[1], found[0]
    assert broken_at(found) == 1
