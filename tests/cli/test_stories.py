"""The commands about versions and the fleet: what people read fits 80 columns, `--json` is the HTTP answer."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.catalog.documents import story
from tests.cli.conftest import Run
from tests.cli.test_commands import same
from tests.control.installation import Installation
from tests.control.test_stories import NARROW, told

LONG = "a-model-with-quite-a-long-name-as-they-come"
CHALLENGER = "2024-11-24-challenger-with-a-long-name"


@pytest.fixture
def stocked(here: Installation) -> Installation:
    """Two models, one with everything that can be said of it."""
    told(
        here,
        story(),
        story(version="2", metrics={"auc": 0.95}, lineage={"parent": "1", "params": {"depth": 5}}),
        story(version="3", signature={"inputs": [NARROW | {"name": "z"}], "outputs": []}),
        story(LONG, CHALLENGER, card={"owner": "=team-with-a-name", "purpose": "word " * 40}),
    )
    here.router("r1")
    here.post("/models/digits/promote", {"version": "1", "reason": "first"})
    here.post("/models/digits/split", {"weights": {"1": 90, "2": 10}})
    here.post("/models/digits/versions/1/notes", {"text": "slow on Mondays"})
    return here


def test_tags_notes_aliases_and_reviews(run: Run, stocked: Installation) -> None:
    assert "fraud  yes" in run("tag", "digits", "1", "fraud=yes", "stage=test", "--reason", "why").stdout
    removed = json.loads(run("tag", "digits", "1", "--remove", "stage", "--json").stdout)
    assert (removed["tags"], removed["changed"]) == ({"fraud": "yes"}, True)
    assert "fraud  yes" in run("tag", "digits", "1").stdout
    assert "has 2 notes" in run("note", "digits", "1", "again").stdout
    assert "champion stands for version 2, epoch" in run("alias", "digits", "champion", "2").stdout
    assert "champion  2" in run("alias", "digits").stdout
    same(run, stocked, "/models/digits/aliases", "alias", "digits")
    assert "stands for nothing any more" in run("alias", "digits", "champion", "--remove").stdout
    assert "no interval is set" in run("review", "digits", "--reason", "fine").stdout
    assert "due again" in run("review", "digits", "--every", "90d", "--only-interval").stdout
    assert json.loads(run("review", "digits", "--json").stdout)["reviewEvery"] == "90d"
    assert run("tag", "digits", "9", "a=b").exit_code == 1
    assert json.loads(run("tag", "digits", "9", "a=b", "--json").stdout)["code"] == "unknown_version"


@pytest.mark.parametrize(
    "command",
    [
        ("tag", "digits", "1", "=x"),
        ("tag", "digits", "1", "a=1", "a=2"),
        ("tag", "digits", "1", "a=1", "--remove", "a"),
        ("alias", "digits", "champion"),
        ("alias", "digits", "champion", "1", "--remove"),
        ("review", "digits", "--only-interval"),
        ("compare", "digits", "1"),
        ("lineage", "digits"),
        ("lineage", "digits", "1", "--dataset", "d" * 64),
        ("inventory", "--csv", "--json"),
        ("state",),
        ("search", "tag:a", "--limit", "0"),
    ],
)
def test_wrong_usage_is_2(run: Run, command: tuple[str, ...]) -> None:
    assert run(*command).exit_code == 2


@pytest.mark.parametrize(
    ("command", "path", "wanted"),
    [
        (("show", "digits", "1"), "/models/digits/versions/1", ("riskTier", "slow on Mondays", "s3://d")),
        (("tag", "digits", "1"), "/models/digits/versions/1", ("none",)),
        (("diff", "digits", "1", "2"), None, ("auc", "0.95", "depth", "METRICS")),
        (("diff", "digits", "1", "3"), None, ("breaks callers of version 1", "input x is removed")),
        (("compare", "digits", "1", "2", "3"), None, ("auc *", "version 3", "CARD")),
        (
            ("lineage", "digits", "2"),
            "/models/digits/versions/2/lineage",
            ("data d", "went into digits 1", "10 %"),
        ),
        (("lineage", "--dataset", "d" * 64), None, ("itself", "digits 1", "requests")),
        (("card", "digits", "1"), None, ("# digits, version 1", "reads digits")),
        (("card", "digits", "1", "--html"), None, ("<!doctype html>",)),
        (("inventory",), "/inventory", ("2 models, 0 overdue", "team-a", "high")),
        (
            ("search", "metrics.auc > 0.92"),
            "/search?q=metrics.auc%20%3E%200.92&limit=100",
            ("1 versions", "0.95"),
        ),
        (("state", "--at", "2999-01-01T00:00:00Z"), "/state?at=2999-01-01T00:00:00Z", ("1=90 2=10", "split")),
        (("status",), "/status", ("1=90 2=10", "team-a", "4 of 4 ready")),
        (("status", "digits"), "/models/digits", ("intended use: reads digits",)),
    ],
)
def test_what_people_read_fits_the_screen_and_json_is_the_answer(
    run: Run, stocked: Installation, command: tuple[str, ...], path: str | None, wanted: tuple[str, ...]
) -> None:
    result = run(*command)
    assert result.exit_code == 0, result.output
    for text in wanted:
        assert text in result.stdout.replace("\\", ""), result.stdout
    if command[0] != "card":
        assert max(map(len, result.stdout.splitlines())) <= 80, result.stdout
    if path is not None:
        same(run, stocked, path, *command)


def test_pages_are_joined_to_the_one_answer(run: Run, stocked: Installation) -> None:
    for command, path in (
        (("diff", "digits", "1", "2"), "/models/digits/compare?versions=1,2&differing=true&limit=1000"),
        (("compare", "digits", "1", "2"), "/models/digits/compare?versions=1,2&limit=1000"),
        (("lineage", "--dataset", "d" * 64), f"/lineage?dataset={'d' * 64}&limit=1000"),
    ):
        same(run, stocked, path, *command)
    assert json.loads(run("card", "digits", "1", "--html", "--json").stdout)["format"] == "html"


def test_fifty_models_are_fifty_lines(run: Run, here: Installation) -> None:
    told(here, *(story(f"model-{n:02}", "1") for n in range(50)))
    lines = run("status").stdout.splitlines()
    assert sum(line.startswith("model-") for line in lines) == 50
    assert len(lines) < 64
    assert "50 of 50 ready" in "\n".join(lines)


def test_an_inventory_for_spreadsheets(run: Run, stocked: Installation) -> None:
    rows = list(csv.DictReader(io.StringIO(run("inventory", "--csv").stdout)))
    assert [row["model"] for row in rows] == [LONG, "digits"]
    assert rows[0]["owner"] == "'=team-with-a-name"  # no formula
    assert (rows[1]["riskTier"], rows[1]["active"], rows[1]["versions"]) == ("high", "1", "3")


def test_breaking_callers_needs_the_option(run: Run, stocked: Installation) -> None:
    refused = run("promote", "digits", "3")
    assert refused.exit_code == 1
    assert "(breaking_signature)" in refused.stderr
    assert run("promote", "digits", "3", "--allow-breaking").exit_code == 0
    assert run("rollback", "digits").exit_code == 0
    assert run("split", "digits", "1=90", "3=10").exit_code == 1
    assert run("split", "digits", "1=90", "3=10", "--allow-breaking").exit_code == 0
