"""The language of searches, against a plain evaluation of the same expression, and against hostile texts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.catalog.addenda import Addenda
from router.catalog.facts import changing_facts
from router.catalog.index import Index
from router.catalog.query import parse
from router.documents import ModelState, Route
from router.errors import BadInput
from tests.catalog.documents import story

DOCUMENTS = [
    story("a", "1", metrics={"auc": 0.5, "ok": True}),
    story("a", "2", metrics={"auc": 0.91}),
    story("a", "10", metrics={"auc": 0.95, "name": "0.95"}, card={"owner": "Team B"}),
    story("b", "v1", metrics={}, lineage={"parent": "a/2", "params": {"depth": 7}}),
]
TAGS = {("a", "1"): {"fraud": "yes"}, ("a", "2"): {"fraud": "", "stage": "it's"}, ("b", "v1"): {}}


def filled() -> Index:
    index = Index()
    index.add(DOCUMENTS)
    for model in ("a", "b"):
        route = Route(model="a", active="2", weights={"2": 90.0, "10": 10.0}, aliases={"champion": "10"})
        state = ModelState(model=model, route=route if model == "a" else None, replicas=(), desired={"2": 1})
        index.mark(
            model,
            {
                document["version"]: changing_facts(
                    document["version"], state, Addenda(tags=TAGS.get((model, document["version"]), {}))
                )
                for document in DOCUMENTS
                if document["model"] == model
            },
        )
    return index


INDEX = filled()


def found(text: str) -> list[str]:
    page = INDEX.search(parse(text), None, None, 100)
    return [f"{model}/{version}" for model, version, _ in page.versions]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ["a/1", "a/2", "a/10", "b/v1"]),
        ("metrics.auc > 0.9", ["a/2", "a/10"]),
        ("metrics.auc > 0.9 and tag:fraud", ["a/2"]),
        ("tag:fraud", ["a/1", "a/2"]),
        ("tag:fraud=yes", ["a/1"]),
        ("tag:fraud = yes", ["a/1"]),
        ('tag:stage="it\'s"', ["a/2"]),
        ("not tag:fraud", ["a/10", "b/v1"]),
        ("not tag:fraud and model=b or version=1", ["a/1", "b/v1"]),
        ("not (tag:fraud or model = b)", ["a/10"]),
        ("version >= 2", ["a/2", "a/10"]),
        ('version = "2"', ["a/2"]),
        ("version:v1", ["b/v1"]),
        ("metrics.auc <= .5", ["a/1"]),
        ("metrics.auc != 0.5", ["a/2", "a/10"]),
        ("metrics.ok = true", ["a/1"]),
        ("metrics.name = 0.95", ["a/10"]),
        ('owner ~ "team b"', ["a/10"]),
        ("params.depth > 5", ["b/v1"]),
        ("params.search.lr = 1e-1", ["a/1", "a/2", "a/10"]),
        ("parent = a/2", ["b/v1"]),
        ("alias:champion", ["a/10"]),
        ("alias = champion", ["a/10"]),
        ("active = true", ["a/2"]),
        ("serves = true", ["a/2", "a/10"]),
        ("deployed = true", ["a/2"]),
        (f"dataset.sha256 = {'d' * 64}", ["a/1", "a/2", "a/10"]),
        ("dataset.from >= 2026-01-01", ["a/1", "a/2", "a/10"]),
        ("registered < 2026-11-02T00:00:00Z and registered_by = ann", ["a/1", "a/2", "a/10", "b/v1"]),
        ("riskTier = high AND NOT metrics.auc > 0", ["b/v1"]),
    ],
)
def test_what_is_found(text: str, wanted: list[str]) -> None:
    assert found(text) == wanted


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("metrics.auc >", "a value is missing"),
        ("metrics.auc", "after `metrics.auc` comes one of"),
        ("nonsense = 1", "there is no field `nonsense`"),
        ("metrics. = 1", "there is no field"),
        ("tag", "after `tag` comes one of"),
        ("tag:", "a value is missing"),
        ("(tag:a", "a `)` is missing"),
        ("tag:a)", "`)` at 6: expected"),
        ("tag:a tag:b", "`tag` at 7: expected `and`"),
        ("and tag:a", "after `and` comes one of"),
        ("tag:a and", "a term is missing"),
        ("> 1", "`>` at 1: expected a field"),
        ('model = "open', '`"open` at 9 is not understood'),
        ("registered = 10:", "breaks off"),
        ("(" * 30 + "tag:a" + ")" * 30, "nested too deeply"),
        ("not " * 40 + "tag:a", "nested too deeply"),
        (" or ".join(["tag:a"] * 40), "32 terms"),
        ("x" * 1001, "1000 characters"),
    ],
)
def test_what_is_wrong_is_said(text: str, told: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(text)
    assert (caught.value.code, caught.value.field) == ("bad_query", "q")
    assert told in caught.value.message


@given(st.text(max_size=80))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        condition = parse(text)
    except BadInput:
        return
    INDEX.search(condition, None, None, 10)


@given(st.text(min_size=1, max_size=40))
def test_no_value_ever_becomes_sql(value: str) -> None:
    quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    condition = parse(f"owner = {quoted} or tag:{quoted}")
    assert condition.sql.count("?") == len(condition.parameters) == 3
    assert condition.sql == parse('owner = "a" or tag:"b"').sql
    assert value in condition.parameters


def value_of(document: dict[str, Any]) -> Any:
    return document["metrics"].get("auc")


TERMS = st.sampled_from(
    [
        ("metrics.auc > 0.9", lambda d: value_of(d) is not None and value_of(d) > 0.9),
        ("metrics.auc < 0.92", lambda d: value_of(d) is not None and value_of(d) < 0.92),
        ("model = a", lambda d: d["model"] == "a"),
        ("tag:fraud", lambda d: "fraud" in TAGS.get((d["model"], d["version"]), {})),
        ("version = 1", lambda d: d["version"] == "1"),
    ]
)


def joined(parts: tuple[Any, Any, str]) -> Any:
    (left, first), (right, second), word = parts
    if word == "and":
        return f"({left} and {right})", lambda d: first(d) and second(d)
    return f"({left} or {right})", lambda d: first(d) or second(d)


EXPRESSIONS = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner, st.sampled_from(["and", "or"])).map(joined),
        inner.map(lambda each: (f"not {each[0]}", lambda d: not each[1](d))),
    ),
    max_leaves=8,
)


@settings(max_examples=200)
@given(EXPRESSIONS)
def test_an_expression_finds_what_a_plain_evaluation_finds(expression: Any) -> None:
    text, holds = expression
    assert found(text) == [f"{d['model']}/{d['version']}" for d in DOCUMENTS if holds(d)]


def test_pages_by_version_number_and_only_of_some_models() -> None:
    first = INDEX.search(parse(""), None, None, 2)
    assert ([v for _, v, _ in first.versions], first.more) == (["1", "2"], True)
    second = INDEX.search(parse(""), None, ("a", "2"), 2)
    assert ([v for _, v, _ in second.versions], second.more) == (["10", "v1"], False)
    assert [m for m, *_ in INDEX.search(parse(""), ["b"], None, 9).versions] == ["b"]
    assert INDEX.search(parse(""), [], None, 9).versions == []
