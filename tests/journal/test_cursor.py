"""Cursors come back as they went, and nothing else is taken for one."""

import base64
import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.journal.cursor import MAX_CHARS, Cursor, CursorInvalid, decode
from router.journal.segment import Position

positions = st.builds(Position, st.integers(0, 10**9), st.integers(0, 10**12))
names = st.from_regex(r"[a-z0-9][a-z0-9.]{0,20}", fullmatch=True)


@given(st.integers(0, 10**10), st.dictionaries(names, positions, max_size=5))
def test_round_trip(watermark: int, places: dict[str, Position]) -> None:
    text = Cursor(watermark, places).encode()
    assert set(text) <= set(string.ascii_letters + string.digits + "-_")
    assert decode(text) == Cursor(watermark, places)


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_anything_else_is_refused_or_harmless(text: str) -> None:
    with contextlib.suppress(CursorInvalid):
        assert isinstance(decode(text), Cursor)


def test_a_refusal_is_the_callers_mistake() -> None:
    with pytest.raises(CursorInvalid) as caught:
        decode("?")
    assert (caught.value.status, caught.value.code, caught.value.field) == (400, "bad_cursor", "cursor")


@pytest.mark.parametrize(
    "document",
    [
        "[]",
        "[1]",
        "{}",
        "[1,[[]]]",
        '[1,[["a",1]]]',
        '[-1,[["a",1,1]]]',
        '[1,[["a",-1,1]]]',
        '[1,[["a",1,true]]]',
        '[1,[["a",1.5,1]]]',
        '[1,[["../a",1,1]]]',
        "[1,[[[],1,1]]]",
        "[1,[[1,1,1]]]",
        '[1,"abc"]',
        "[1e400,[]]",
    ],
)
def test_a_document_of_another_form_is_refused(document: str) -> None:
    with pytest.raises(CursorInvalid):
        decode(base64.urlsafe_b64encode(document.encode()).decode())


def test_an_endless_one_is_refused() -> None:
    with pytest.raises(CursorInvalid, match="long"):
        decode("A" * (MAX_CHARS + 1))
