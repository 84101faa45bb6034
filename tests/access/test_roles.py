"""Roles, grants and patterns."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.access.grant import Grant, checked, matches, parse
from router.access.roles import ROLES, TABLE, WHOLE, Verb, allows, markdown
from router.errors import BadInput

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
PATTERNS = st.text("ab*.-", min_size=1, max_size=12)


def test_every_role_is_in_the_table_and_only_the_admin_has_everything() -> None:
    assert set(TABLE) == set(ROLES)
    assert [role for role in ROLES if TABLE[role] == frozenset(Verb)] == ["admin"]


def test_who_may_change_what_callers_get() -> None:
    assert {role for role in ROLES if allows(role, Verb.FLIP)} == {"deployer", "admin"}
    assert {role for role in ROLES if allows(role, Verb.KEYS)} == {"admin"}
    assert {role for role in ROLES if allows(role, Verb.PREDICT)} == {"caller", "admin"}


def test_no_role_has_no_verb() -> None:
    assert not any(allows(role, verb) for role in ("", "root", "Admin") for verb in Verb)


def test_the_table_as_text_has_every_cell() -> None:
    rows = [line.strip("|").split("|") for line in markdown().splitlines()]
    assert [cell.strip() for cell in rows[0]] == ["verb", *ROLES]
    for row, verb in zip(rows[2:], Verb, strict=True):
        told = [cell.strip() for cell in row[1:]]
        assert told == ["yes" if allows(role, verb) else "-" for role in ROLES]


@given(PATTERNS, st.text("ab.-", max_size=12))
def test_a_pattern_matches_what_a_regular_expression_would(pattern: str, name: str) -> None:
    said = ".*".join(re.escape(part) for part in pattern.split("*"))
    assert matches(pattern, name) == (re.fullmatch(said, name, re.S) is not None)


@given(NAMES)
def test_a_name_matches_itself_and_all(name: str) -> None:
    assert matches(name, name)
    assert matches("*", name)
    assert not matches(name, name + "x")


@pytest.mark.parametrize("verb", sorted(WHOLE))
def test_a_verb_of_the_installation_needs_a_grant_for_all_models(verb: Verb) -> None:
    assert Grant("admin").covers(verb, None)
    assert Grant("admin").covers(verb, "digits")
    assert not Grant("admin", "digits").covers(verb, "digits")
    assert not Grant("admin", "d*").covers(verb, None)


def test_all_models_are_covered_by_the_star_alone() -> None:
    assert Grant("viewer").covers(Verb.READ, None)
    assert not Grant("viewer", "**").covers(Verb.READ, None)
    assert Grant("viewer", "fraud-*").covers(Verb.READ, "fraud-eu")
    assert not Grant("viewer", "fraud-*").covers(Verb.READ, "digits")


@given(st.sampled_from(ROLES), st.from_regex(r"[a-z0-9*][a-z0-9.*_-]{0,20}", fullmatch=True))
def test_a_grant_is_read_back_from_its_text(role: str, pattern: str) -> None:
    assert parse(Grant(role, pattern).text()) == Grant(role, pattern)


@pytest.mark.parametrize(
    "text", ["", "root", "caller:", "caller:Digits", "caller:a b", "caller:a/b", ":digits"]
)
def test_what_is_no_grant_is_refused(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse(text, "grants.0")
    assert refused.value.field == "grants.0"


@given(st.text(string.printable, max_size=80))
def test_a_pattern_is_refused_or_kept_as_it_is(pattern: str) -> None:
    try:
        kept = checked(Grant("caller", pattern), "role")
    except BadInput:
        return
    assert kept.models == pattern
    assert re.fullmatch(r"[a-z0-9.*_-]+", pattern)
