"""Comparison, lineage, cards, the past, additions and reviews: values in, values out."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.catalog import addenda, lineage, past, review
from router.catalog.addenda import Addenda, Upkeep
from router.catalog.card import escaped, render
from router.catalog.compare import SECTIONS, compared
from router.catalog.index import Index
from router.errors import BadInput, Conflict
from router.stories import Note, Review
from tests.catalog.documents import story


def rows(*documents: dict[str, Any], tags: tuple[dict[str, str], ...] = ()) -> dict[tuple[str, str], Any]:
    found = compared(documents, tags or tuple({} for _ in documents))
    return {(row.section, row.key): (row.values, row.differs) for row in found}


def test_versions_side_by_side() -> None:
    other = story(
        version="2",
        metrics={"auc": 0.8, "f1": 0.5},
        lineage={
            "commit": "abc",
            "params": {"depth": 4, "list": [1, 2]},
            "datasets": [{"name": "e", "rows": 1}],
        },
    )
    found = rows(story(), other, tags=({"fraud": ""}, {}))
    assert found["parameters", "depth"] == ([3, 4], True)
    assert found["parameters", "search.lr"] == ([0.1, None], True)
    assert found["parameters", "list"] == ([None, "[1,2]"], True)
    assert found["code", "commit"] == (["abc", "abc"], False)
    assert found["metrics", "f1"] == ([None, 0.5], True)
    assert found["data", "d.sha256"] == (["d" * 64, None], True)
    assert found["data", "e.rows"] == ([None, 1], True)
    assert found["signature", "input x"] == (["FP32 [-1, 2]"] * 2, False)
    assert found["environment", "numpy"] == (["2.4", None], True)
    assert found["tags", "fraud"] == (["", None], True)
    assert found["card", "riskTier"] == (["high", "high"], False)
    order = [SECTIONS.index(section) for section, _ in found]
    assert order == sorted(order)


def test_a_number_is_not_the_boolean_it_equals() -> None:
    found = rows(story(metrics={"a": 1}), story(metrics={"a": True}))
    assert found["metrics", "a"] == ([1, True], True)


def family(**parents: str | None) -> Index:
    index = Index()
    index.add(
        story(version=version, lineage={"parent": parent, "datasets": []} if parent else {"datasets": []})
        for version, parent in parents.items()
    )
    return index


def test_ancestors_end_at_what_is_unknown_and_go_round_no_ring() -> None:
    index = family(v1="v9", v2="v1", v3="other/v2")
    top = index.document("digits", "v2")
    assert top is not None
    found = lineage.ancestors(top, index.document)
    assert [(each["model"], each["version"], each["known"]) for each in found] == [
        ("digits", "v1", True),
        ("digits", "v9", False),
    ]
    assert lineage.parent_of(index.document("digits", "v3") or {}) == ("other", "v2")
    ring = family(v1="v2", v2="v1")
    first = ring.document("digits", "v1")
    assert first is not None
    assert [each["version"] for each in lineage.ancestors(first, ring.document)] == ["v2"]


def test_a_data_set_touches_descendants_within_a_bound() -> None:
    index = family(v1=None, v2="v1", v3="v2", v4=None)
    found = dict(lineage.touched([("digits", "v1")], index.children, 10))
    assert found == {
        ("digits", "v1"): None,
        ("digits", "v2"): ("digits", "v1"),
        ("digits", "v3"): ("digits", "v2"),
    }
    assert len(lineage.touched([("digits", "v1")], index.children, 2)) == 2
    ring = family(v1="v2", v2="v1")
    assert len(lineage.touched([("digits", "v1")], ring.children, 10)) == 2


def test_the_index_finds_versions_by_data_set() -> None:
    index = Index()
    index.add([story(version="2"), story(version="10"), story(version="3", lineage={})])
    assert index.with_dataset("d" * 64, 10) == [("digits", "2"), ("digits", "10")]
    assert index.with_dataset("e" * 64, 10) == []


class _Text(HTMLParser):
    """The text of a page, and its tags."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


ADDED = Addenda(
    tags={"fraud": "yes"},
    notes=(Note(time="2026-11-24T07:00:00.000000Z", actor="ann", text="slow on Mondays"),),
)


def test_a_card_tells_the_whole_story_in_both_forms() -> None:
    document = story()
    markdown, html = (render(document, ADDED, ["champion"], form) for form in ("markdown", "html"))
    page = _Text()
    page.feed(html)
    plain = markdown.replace("\\", "")
    for told in (
        "reads digits",
        "none known",
        "high",
        "0.9",
        "FP32 [-1, 2]",
        "train.py",
        "s3://d",
        "champion",
    ):
        assert told in plain
        assert told in page.text
    for told in ("team-a", "slow on Mondays", "fraud=yes", "2026-11-01", "d" * 64, "numpy"):
        assert told in plain
        assert told in page.text
    assert markdown.startswith("# digits, version 1\n")
    assert len([line for line in markdown.splitlines() if line.startswith("## ")]) == 7


@given(st.text(max_size=60))
def test_nothing_that_people_write_becomes_markup(text: str) -> None:
    hostile = f"<script>alert(1)</script>|[x](javascript:1) {text}"
    document = story(card={"owner": hostile, "purpose": text})
    page = _Text()
    page.feed(render(document, Addenda(), [], "html"))
    assert set(page.tags) <= {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "table",
        "tr",
        "th",
        "td",
    }
    markdown = render(document, Addenda(), [], "markdown")
    [line] = [each for each in markdown.splitlines() if each.startswith("| Owner")]
    assert "<script>" not in line
    assert "[x](" not in line
    assert "\n" not in escaped(text)


def change(time: str, before: str | None, after: str | None) -> dict[str, Any]:
    return {"time": time, "before": {"active": before} if before else None, "after": {"active": after}}


def test_since_when_the_active_version_is_active() -> None:
    first, second, third = (f"2026-11-2{day}T00:00:00.000000Z" for day in (1, 2, 3))
    assert past.active_since([]) is None
    assert past.active_since([change(first, None, "1"), change(second, "1", "1")]) == first
    assert (
        past.active_since([change(first, None, "1"), change(second, "1", "2"), change(third, "2", "2")])
        == second
    )
    assert past.active_since([change(second, "1", "1")]) == second  # as far as one looks back


def test_reviews_become_due() -> None:
    assert review.due("90d", "2026-01-01T00:00:00Z", None) == "2026-04-01T00:00:00.000000Z"
    assert review.due("12h", None, "2026-01-01T00:00:00Z") == "2026-01-01T12:00:00.000000Z"
    assert review.due(None, "2026-01-01T00:00:00Z", None) is None
    assert review.due("90d", None, None) is None
    assert review.overdue("2026-01-01T00:00:00Z", 1_767_225_600.1)
    assert not review.overdue("2026-01-01T00:00:00Z", 1_767_225_600.0)
    assert not review.overdue(None, 1e12)


@pytest.mark.parametrize("every", ["", "90", "d", "0d", "-1d", "1y", "90d ", "999999d", "1.5d"])
def test_an_interval_that_is_none_is_refused(every: str) -> None:
    with pytest.raises(BadInput) as caught:
        addenda.reviewed(Upkeep(), None, every)
    assert caught.value.field == "every"


def test_tags_are_set_and_taken_away() -> None:
    first = addenda.tagged(Addenda(), {"b": "1", "a": ""})
    assert first is not None
    assert list(first.tags) == ["a", "b"]
    assert addenda.tagged(first, {"a": ""}) is None
    assert addenda.tagged(first, {"c": None}) is None
    second = addenda.tagged(first, {"a": None, "b": "2"})
    assert second is not None
    assert second.tags == {"b": "2"}


@pytest.mark.parametrize(
    ("tags", "field"),
    [({}, "tags"), ({"A": "x"}, "tags.A"), ({"a": "x" * 257}, "tags.a"), ({"a": "x\ny"}, "tags.a")],
)
def test_tags_that_cannot_be(tags: dict[str, str | None], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        addenda.tagged(Addenda(), tags)
    assert caught.value.field == field


def test_there_is_a_bound_to_what_is_added() -> None:
    with pytest.raises(Conflict):
        addenda.tagged(Addenda(), {f"t{n}": "" for n in range(65)})
    note = ADDED.notes[0]
    with pytest.raises(Conflict):
        addenda.noted(Addenda(notes=(note,) * 200), note)
    with pytest.raises(BadInput):
        addenda.noted(Addenda(), Note(time="t", actor="a", text=" "))
    with pytest.raises(Conflict):
        addenda.aliased({f"a{n}": "1" for n in range(64)}, "more", "1")


def test_aliases() -> None:
    assert addenda.aliased({}, "champion", "1") == {"champion": "1"}
    assert addenda.aliased({"champion": "1"}, "champion", "1") is None
    assert addenda.aliased({"champion": "1", "a": "2"}, "champion", None) == {"a": "2"}


def test_a_review_keeps_the_interval_and_an_interval_the_review() -> None:
    done = Review(time="2026-01-01T00:00:00Z", actor="ann")
    first = addenda.reviewed(Upkeep(), done, "90d")
    assert first == Upkeep(review_every="90d", reviewed=done)
    assert addenda.reviewed(first, None, "90d") is None
    assert addenda.reviewed(first, None, "never") == Upkeep(reviewed=done)
