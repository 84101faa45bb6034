"""Versions whole, compared, in their families; tags, notes, aliases, reviews: over HTTP, with a real Redis."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec
import pytest

from router import answers, stories
from router.client import ControlClient
from router.registry.audit import broken_at
from tests.catalog.documents import story
from tests.control.installation import KEY, TESTER, Installation, replica
from tests.control.test_versions import affine, register

NARROW = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}


def told(here: Installation, *documents: dict[str, Any], warm: bool = True) -> None:
    """Registers documents; `warm`: deployed, with a ready replica."""

    async def add() -> None:
        for document in documents:
            model, version = document["model"], document["version"]
            await here.registry.add_version(document, TESTER)
            if warm:
                await here.registry.deploy(model, version, 1, TESTER)
                await here.registry.put_replica(replica(model, version))

    here.call(add())


def got(here: Installation, path: str, kind: type, **params: Any) -> dict[str, Any]:
    """The answer, which must be one of that type and nothing else."""
    answer = here.client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    msgspec.json.decode(
        answer.content, type=msgspec.defstruct("Strict", [], bases=(kind,), forbid_unknown_fields=True)
    )
    found: dict[str, Any] = answer.json()
    return found


def refused(answer: httpx.Response, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"], body.get("field")) == (status, code, field), answer.text
    return body


def chain(here: Installation) -> list[dict[str, Any]]:
    found = here.call(here.registry.audit_chain("digits"))
    assert broken_at(found) is None
    return found


def test_a_version_is_shown_whole_and_additions_are_beside_it(here: Installation) -> None:
    told(here, story())
    before = got(here, "/models/digits/versions/1", stories.VersionStory)
    assert {**before["document"], "registered": story()["registered"]} == story()
    assert before["document"]["registered"]["actor"] == "tester"
    first = here.post(
        "/models/digits/versions/1/tags", {"tags": {"fraud": "yes", "a": ""}, "reason": "because"}
    )
    assert (first.json()["tags"], first.json()["changed"]) == ({"a": "", "fraud": "yes"}, True)
    again = here.post("/models/digits/versions/1/tags", {"tags": {"fraud": "yes"}})
    assert (again.json()["changed"], again.json()["revision"]) == (False, 0)
    here.post("/models/digits/versions/1/tags", {"tags": {"a": None}})
    assert here.post("/models/digits/versions/1/notes", {"text": "slow on Mondays"}).status_code == 201
    after = got(here, "/models/digits/versions/1", stories.VersionStory)
    assert after["document"] == before["document"]
    assert after["tags"] == {"fraud": "yes"}
    assert [(each["actor"], each["text"]) for each in after["notes"]] == [("admin", "slow on Mondays")]
    lines = got(here, "/models/digits/additions", stories.Additions)["additions"]
    assert [(each["action"], each["actor"], each["version"], each["reason"]) for each in lines] == [
        ("version.tag", "admin", "1", "because"),
        ("version.tag", "admin", "1", None),
        ("version.note", "admin", "1", None),
    ]
    assert (lines[0]["before"]["tags"], lines[0]["after"]["tags"]) == ({}, {"a": "", "fraud": "yes"})
    assert [each["text"] for each in lines[2]["after"]["notes"]] == ["slow on Mondays"]
    page = got(here, "/models/digits/additions", stories.Additions, limit=2)
    assert (len(page["additions"]), page["next"]) == (2, "2")
    assert got(here, "/models/digits/additions", stories.Additions, cursor=2)["additions"] == lines[2:]
    assert [entry["action"] for entry in chain(here)][-3:] == ["version.tag", "version.tag", "version.note"]


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "field"),
    [
        ("versions/9/tags", {"tags": {"a": "b"}}, 404, "unknown_version", "version"),
        ("versions/1/tags", {"tags": {}}, 400, "bad_input", "tags"),
        ("versions/1/tags", {"tags": {"A": "b"}}, 400, "bad_name", "tags.A"),
        ("versions/1/tags", {"tags": {"a": 1}}, 400, "bad_input", "tags[...]"),
        ("versions/1/tags", {}, 400, "bad_input", "tags"),
        ("versions/1/notes", {"text": " "}, 400, "bad_input", "text"),
        ("versions/1/notes", {"text": "x" * 2001}, 400, "bad_input", "text"),
        ("review", {"every": "often"}, 400, "bad_input", "every"),
        ("aliases", {"name": "champion", "version": "9"}, 404, "unknown_version", "version"),
        ("aliases", {"name": "Champion", "version": "1"}, 400, "bad_name", "name"),
        ("aliases", {"name": "1", "version": "1"}, 409, "alias_is_version", "name"),
        ("aliases", {"name": "gone", "version": None}, 404, "unknown_alias", "name"),
        ("aliases", {"name": "champion"}, 400, "bad_input", "version"),
    ],
)
def test_additions_that_cannot_be(
    here: Installation, path: str, body: object, status: int, code: str, field: str
) -> None:
    told(here, story(), warm=False)
    length = len(chain(here))
    refused(here.post(f"/models/digits/{path}", body), status, code, field)
    assert here.client.get("/models/digits/additions").json()["additions"] == []
    applied = [entry for entry in chain(here)[length:] if entry["outcome"] == "applied"]
    assert applied == []


def test_no_tag_of_many_at_once_is_lost(here: Installation) -> None:
    told(here, story(), warm=False)

    def one(number: int) -> int:
        return here.post("/models/digits/versions/1/tags", {"tags": {f"t{number}": "x"}}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(24))) == {200}
    assert len(here.client.get("/models/digits/versions/1").json()["tags"]) == 24
    assert len(here.client.get("/models/digits/additions").json()["additions"]) == 24
    assert len([entry for entry in chain(here) if entry["action"] == "version.tag"]) == 24


def test_aliases_are_changes_of_the_route_that_change_no_answer(here: Installation) -> None:
    told(here, story(), story(version="2"), warm=False)
    here.router("r1")
    first = here.post("/models/digits/aliases", {"name": "candidate", "version": "2", "reason": "soon"})
    assert first.status_code == 200, first.text
    assert msgspec.json.decode(first.content, type=answers.Change).changed
    listed = got(here, "/models/digits/aliases", stories.Aliases)
    assert (listed["aliases"], listed["epoch"]) == ({"candidate": "2"}, first.json()["epoch"])
    again = here.post("/models/digits/aliases", {"name": "candidate", "version": "2"}).json()
    assert (again["changed"], again["epoch"]) == (False, first.json()["epoch"])
    late = here.post("/models/digits/aliases", {"name": "x", "version": "1"}, headers={"if-match": "1"})
    refused(late, 412, "epoch_mismatch", "if-match")
    here.versions("digits", "3")
    here.post("/models/digits/promote", {"version": "3", "allow_breaking": True})
    route = here.client.get("/models/digits").json()["route"]
    assert (route["active"], route["aliases"]) == ("3", {"candidate": "2"})
    assert here.client.get("/models/digits/versions/2").json()["aliases"] == ["candidate"]
    assert here.post("/models/digits/aliases", {"name": "candidate", "version": None}).status_code == 200
    history = here.client.get("/models/digits/history").json()["history"]
    assert [(each["action"], each["reason"]) for each in history] == [
        ("alias", "soon"),
        ("promote", None),
        ("alias", None),
    ]
    assert history[0]["after"]["aliases"] == {"candidate": "2"}


def test_versions_are_compared_page_by_page(here: Installation) -> None:
    other = story(
        version="2", metrics={"auc": 0.95}, signature={"inputs": [NARROW | {"shape": [-1, 3]}], "outputs": []}
    )
    told(here, story(), other, story(version="3"), warm=False)
    here.post("/models/digits/versions/2/tags", {"tags": {"stage": "test"}})
    found = got(here, "/models/digits/compare", stories.Comparison, versions="1,2,3")
    rows = {(row["section"], row["key"]): row for row in found["rows"]}
    assert rows["metrics", "auc"]["values"] == [0.9, 0.95, 0.9]
    assert rows["tags", "stage"]["values"] == [None, "test", None]
    assert not rows["parameters", "depth"]["differs"]
    assert found["breaking"] == {
        "2": ["input x changes from [-1, 2] to [-1, 3]", "output y is removed"],
        "3": [],
    }
    fewer = got(here, "/models/digits/compare", stories.Comparison, versions="1,2", differing="true")
    assert all(row["differs"] for row in fewer["rows"])
    assert len(fewer["rows"]) == fewer["differing"] < fewer["total"]
    paged: list[Any] = []
    cursor: str | None = "0"
    while cursor is not None:
        page = got(
            here, "/models/digits/compare", stories.Comparison, versions="1,2,3", limit=5, cursor=cursor
        )
        paged += page["rows"]
        cursor = page["next"]
    assert paged == found["rows"]
    for versions in ("", "1", "1,1", ",".join(map(str, range(11)))):
        answer = here.client.get("/models/digits/compare", params={"versions": versions})
        refused(answer, 400, "bad_input", "versions")
    refused(here.client.get("/models/digits/compare?versions=1,9"), 404, "unknown_version", "version")


def test_a_family_from_data_to_who_is_served(here: Installation) -> None:
    child = story(version="2", lineage={"parent": "1", "datasets": [{"name": "e", "sha256": "e" * 64}]})
    told(here, story(), child, story(version="3", lineage={"parent": "2"}), story("other", "1"))
    here.router("r1")
    here.post("/models/digits/promote", {"version": "2"})
    here.post("/models/digits/aliases", {"name": "champion", "version": "2"})
    found = got(here, "/models/digits/versions/2/lineage", stories.Lineage)
    assert [(each["version"], each["known"]) for each in found["ancestors"]] == [("1", True)]
    assert found["ancestors"][0]["datasets"][0]["sha256"] == "d" * 64
    assert found["children"] == [{"model": "digits", "version": "3"}]
    assert found["datasets"][0]["name"] == "e"
    assert (found["serves"]["active"], found["serves"]["share"], found["serves"]["replicas"]) == (
        True,
        100.0,
        1,
    )
    assert found["serves"]["aliases"] == ["champion"]
    back = got(here, "/lineage", stories.DatasetLineage, dataset="d" * 64)
    assert [
        (each["model"], each["version"], each["through"], each["active"]) for each in back["versions"]
    ] == [
        ("digits", "1", None, False),
        ("other", "1", None, False),
        ("digits", "2", {"model": "digits", "version": "1"}, True),
        ("digits", "3", {"model": "digits", "version": "2"}, False),
    ]
    assert (back["names"], back["bounded"]) == (["d"], False)
    page = got(here, "/lineage", stories.DatasetLineage, dataset="d" * 64, limit=3)
    assert page["next"] == "3"
    rest = got(here, "/lineage", stories.DatasetLineage, dataset="d" * 64, cursor=3)
    assert page["versions"] + rest["versions"] == back["versions"]
    assert got(here, "/lineage", stories.DatasetLineage, dataset="f" * 64)["versions"] == []
    refused(here.client.get("/lineage?dataset=abc"), 400, "bad_input", "dataset")
    refused(here.client.get("/lineage"), 400, "bad_input", "dataset")


def test_what_a_key_may_not_read_is_not_in_families(here: Installation) -> None:
    told(here, story(), story("other", "1", lineage={"parent": "digits/1"}), warm=False)
    made = here.post("/keys", {"name": "narrow", "grants": [{"role": "viewer", "models": "other"}]}).json()
    headers = {"authorization": f"Bearer {made['secret']}"}
    back = here.client.get("/lineage", params={"dataset": "d" * 64}, headers=headers).json()
    assert [(each["model"], each["through"]) for each in back["versions"]] == [("other", None)]
    assert back["names"] == []
    family = here.client.get("/models/other/versions/1/lineage", headers=headers).json()
    assert [(each["model"], each["known"]) for each in family["ancestors"]] == [("digits", False)]
    assert [each["model"] for each in here.client.get("/search", headers=headers).json()["versions"]] == [
        "other"
    ]
    assert [each["model"] for each in here.client.get("/inventory", headers=headers).json()["models"]] == [
        "other"
    ]
    past = here.client.get("/state", params={"at": "0s", "model": "digits"}, headers=headers)
    refused(past, 403, "forbidden")


def test_a_card_in_two_forms(here: Installation) -> None:
    told(here, story(card={"owner": "<b>me</b>"}), warm=False)
    markdown = got(here, "/models/digits/versions/1/card", stories.Card)
    html = got(here, "/models/digits/versions/1/card", stories.Card, format="html")
    assert "&lt;b&gt;me" in html["card"]
    assert markdown["card"].startswith("# digits, version 1")
    refused(here.client.get("/models/digits/versions/1/card?format=pdf"), 400, "bad_input", "format")


# -- signatures that break callers ----------------------------------------------------------------------------


def breaking_pair(here: Installation) -> None:
    told(here, story(), story(version="2", signature={"inputs": [NARROW | {"name": "z"}], "outputs": []}))
    told(here, story(version="3"))
    here.router("r1")
    assert here.post("/models/digits/promote", {"version": "1"}).status_code == 200


@pytest.mark.parametrize(
    ("action", "body", "field"),
    [
        ("promote", {"version": "2"}, "version"),
        ("split", {"weights": {"1": 90, "2": 10}}, "weights.2"),
        ("rollback", {"to": "2"}, "to"),
    ],
)
def test_a_breaking_signature_needs_to_be_allowed(
    here: Installation, action: str, body: dict[str, Any], field: str
) -> None:
    breaking_pair(here)
    before = here.client.get("/models/digits").json()["route"]
    told_so = refused(here.post(f"/models/digits/{action}", body), 409, "breaking_signature", field)
    assert "input x is removed" in told_so["error"]
    assert "input z is added" in told_so["error"]
    assert here.client.get("/models/digits").json()["route"] == before
    done = here.post(f"/models/digits/{action}", body | {"allow_breaking": True})
    assert done.status_code == 200, done.text


def test_a_fitting_signature_needs_nothing(here: Installation) -> None:
    breaking_pair(here)
    assert here.post("/models/digits/split", {"weights": {"1": 90, "3": 10}}).status_code == 200
    assert here.post("/models/digits/promote", {"version": "3"}).status_code == 200


def test_going_back_never_needs_to_be_allowed(here: Installation) -> None:
    breaking_pair(here)
    assert here.post("/models/digits/promote", {"version": "2", "allow_breaking": True}).status_code == 200
    assert here.post("/models/digits/rollback").status_code == 200  # to the previous one
    # Version 2 has served; to promote it again is a new decision.
    assert here.post("/models/digits/rollback", {"to": "2"}).status_code == 200
    assert here.post("/models/digits/rollback", {"to": "1"}).status_code == 200
    refused(here.post("/models/digits/promote", {"version": "2"}), 409, "breaking_signature", "version")


def test_a_version_of_a_running_split_stays_and_its_promotion_asks_again(here: Installation) -> None:
    breaking_pair(here)
    allowed = {"weights": {"1": 90, "2": 10}, "allow_breaking": True}
    assert here.post("/models/digits/split", allowed).status_code == 200
    assert here.post("/models/digits/split", {"weights": {"1": 80, "2": 20}}).status_code == 200
    refused(here.post("/models/digits/promote", {"version": "2"}), 409, "breaking_signature", "version")
    assert here.post("/models/digits/split", {"weights": {"1": 100}}).status_code == 200


def test_who_is_not_there_is_not_called_breaking(here: Installation) -> None:
    breaking_pair(here)
    refused(here.post("/models/digits/promote", {"version": "9"}), 404, "unknown_version", "version")
    told(here, story(version="4", signature=None), warm=False)
    refused(here.post("/models/digits/promote", {"version": "4"}), 409, "not_deployed", "version")
    assert here.client.get("/models/digits/versions/4").json()["breaking"]["changes"] == [
        "takes no tensors any more"
    ]


# -- registrations, by the real inspection ----------------------------------------------------------------------

MANIFEST = f"""
lineage: {{commit: abc, parent: "1", recipe: train.py, params: {{depth: 3}}, libraries: {{numpy: "2"}},
  notebook: n,
  datasets: [{{name: d, uri: u, sha256: {"d" * 64}, rows: 9, from: 2026-01-01, to: 2026-02-01, transform: none}}]}}
metrics: {{auc: 0.9, name: text, ok: true}}
baseline: {{file: ref.parquet, label: y, sha256: {"e" * 64}}}
card: {{owner: me, purpose: p, limits: l, riskTier: high, contact: you}}
"""


def test_all_of_a_manifest_is_stored_shown_and_found(here: Installation) -> None:
    answer = register(here, affine(), manifest=MANIFEST)
    assert answer.status_code == 201, answer.text
    assert "breaking" not in answer.json()["report"]
    document = got(here, "/models/affine/versions/1", stories.VersionStory)["document"]
    assert document["lineage"] == {
        "commit": "abc",
        "parent": "1",
        "recipe": "train.py",
        "params": {"depth": 3},
        "libraries": {"numpy": "2"},
        "notebook": "n",
        "datasets": [
            {
                "name": "d",
                "uri": "u",
                "sha256": "d" * 64,
                "rows": 9,
                "from": "2026-01-01",
                "to": "2026-02-01",
                "transform": "none",
            }
        ],
    }
    assert document["metrics"] == {"auc": 0.9, "name": "text", "ok": True}
    assert document["baseline"] == {"file": "ref.parquet", "label": "y", "sha256": "e" * 64}
    assert document["card"]["contact"] == "you"
    assert [file["path"] for file in document["artifacts"]] == ["model.onnx"]
    assert document["registered"]["actor"] == "admin"
    query = f"dataset.sha256 = {'d' * 64} and metrics.ok = true and riskTier = high and parent = 1"
    assert here.client.get("/search", params={"q": query}).json()["versions"][0]["model"] == "affine"
    wrong = register(here, affine(), manifest=MANIFEST.replace("rows: 9", "rows: -9"))
    refused(wrong, 400, "bad_manifest", "lineage.datasets[0].rows")


def test_a_registration_that_would_break_callers_says_so(here: Installation) -> None:
    told(here, story("affine", "1", signature={"inputs": [NARROW | {"name": "z"}], "outputs": []}))
    here.router("r1")
    assert here.post("/models/affine/promote", {"version": "1"}).status_code == 200
    found = register(here, affine()).json()["report"]["breaking"]
    assert found == {
        "against": "1",
        "changes": ["input x is added, and has no default", "input z is removed"],
    }


def test_the_client_speaks_all_of_it(here: Installation) -> None:
    told(here, story(), story(version="2"))
    here.router("r1")
    with ControlClient(here.url, KEY) as control:
        assert control.promote("digits", "1").applied
        assert control.tag("digits", "1", {"fraud": "yes", "old": None}).tags == {"fraud": "yes"}
        assert control.note("digits", "1", "slow").notes[0].text == "slow"
        assert control.alias("digits", "champion", "1").changed
        assert control.aliases("digits").aliases == {"champion": "1"}
        assert control.review("digits", every="90d").review_every == "90d"
        assert control.review("digits", reviewed=False, every="never").review_due is None
        whole = control.story("digits", "1")
        assert (whole.tags, whole.aliases, whole.notes[0].actor) == ({"fraud": "yes"}, ["champion"], "admin")
        assert control.lineage("digits", "1").serves.aliases == ["champion"]
        assert control.card("digits", "1", format="html").card.startswith("<!doctype html>")
        assert len(control.additions("digits").additions) == 4
        assert {row.key for row in control.compare("digits", ["1", "2"], differing=True).rows} == {
            "digest",
            "model.onnx",
            "fraud",
        }
        assert [each.version for each in control.dataset("d" * 64).versions] == ["1", "2"]
        assert [each.version for each in control.search("tag:fraud").versions] == ["1"]
        assert control.inventory().models[0].aliases == {"champion": "1"}
        assert control.state("0s", model="digits").models[0].digests == {"1": f"{1:0>64}"}
