"""Which headers travel on, as pure functions of header lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.edge.hygiene import (
    FORWARDED,
    HOP,
    OURS,
    UnsupportedMediaType,
    forwarded,
    moved,
    to_caller,
    to_replica,
)

NAMES = st.sampled_from(
    sorted(HOP | OURS | FORWARDED | {b"accept", b"content-length", b"host", b"x-a", b"cookie"})
)
VALUES = st.one_of(NAMES, st.binary(max_size=12))
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=12)


def cleaned(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [*to_replica(headers), *forwarded("/models/m", "10.0.0.1", "http")]


@given(HEADERS)
def test_nothing_internal_travels_on(headers: list[tuple[bytes, bytes]]) -> None:
    kept = cleaned(headers)
    assert not {name for name, _ in kept} & (HOP | OURS)
    for name in FORWARDED:
        assert [value for other, value in kept if other == name] in ([], [value_of(name)])


def value_of(name: bytes) -> bytes:
    ours = {
        b"x-forwarded-prefix": b"/models/m",
        b"x-forwarded-proto": b"http",
        b"x-forwarded-for": b"10.0.0.1",
    }
    return ours.get(name, b"never")


@given(HEADERS)
def test_what_frames_the_body_is_never_named_away(headers: list[tuple[bytes, bytes]]) -> None:
    for name in (b"content-length", b"host"):
        before = [value for other, value in headers if other == name]
        assert [value for other, value in cleaned(headers) if other == name] == before


@given(HEADERS)
def test_an_answer_loses_what_is_not_the_callers(headers: list[tuple[bytes, bytes]]) -> None:
    kept = to_caller(headers, prefix="/models/m")
    assert not {name for name, _ in kept} & (HOP | OURS | {b"date", b"server"})


def test_named_headers_are_dropped_whatever_their_case_and_place() -> None:
    headers = [(b"x-a", b"1"), (b"connection", b" Close , X-A"), (b"x-b", b"2"), (b"connection", b"x-b")]
    assert {name for name, _ in cleaned(headers)} == {
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-for",
    }


@pytest.mark.parametrize(
    "kind",
    [b"application/vnd.bentoml+pickle", b"APPLICATION/X-PICKLE", b"text/plain; a=pickle", b"python/pickle"],
)
def test_pickles_are_refused_also_behind_another_type(kind: bytes) -> None:
    with pytest.raises(UnsupportedMediaType) as raised:
        cleaned([(b"content-type", b"application/json"), (b"content-type", kind)])
    assert (raised.value.status, raised.value.field) == (415, "content-type")


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        (b"/a", b"/models/m/a"),
        (b"/", b"/models/m/"),
        (b"/models/m/a", b"/models/m/a"),
        (b"/models/mm/a", b"/models/m/models/mm/a"),
        (b"a", b"a"),
        (b"", b""),
        (b"//evil.test/a", b"//evil.test/a"),
        (b"http://gate/a?b#c", b"http://gate/models/m/a?b#c"),
        (b"https://gate/a", b"https://gate/models/m/a"),
        (b"http://gate//evil.test", b"http://gate//evil.test"),
        (b"http://gate.evil.test/a", b"http://gate.evil.test/a"),
        (b"http://other/a", b"http://other/a"),
        (b"mailto:a@b", b"mailto:a@b"),
    ],
)
def test_redirects(location: bytes, seen: bytes) -> None:
    assert moved(location, b"/models/m", b"gate") == seen
    assert moved(b"http://gate/a", b"/models/m", b"") == b"http://gate/a"
