"""The control listener: promote, rollback, split, their preconditions, and what each leaves behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from loadtests.fleet import Fleet
from tests.contract import toys
from tests.contract.asking import DIGIT, Data, change, changed, refused, route


def test_promote_answers_with_epoch_routers_and_time(digits: Fleet) -> None:
    before = route(digits, "digits")
    told = changed(digits, "digits", "promote", {"version": "3", "reason": "try"})
    assert told["applied"] is True
    assert told["routers"] == {"acknowledged": 2, "known": 2, "laggards": []}
    assert told["took_ms"] > 0
    after = route(digits, "digits")
    assert told["epoch"] == after["epoch"] > before["epoch"]
    assert (after["active"], after["previous"], after["weights"]) == ("3", "2", None)


def test_after_the_answer_no_request_is_answered_by_the_old_version(digits: Fleet, data: Data) -> None:
    for version in ("1", "3", "2", "1"):
        epoch = changed(digits, "digits", "promote", {"version": version})["epoch"]
        for _ in range(8):  # each on a new connection: both routers are asked
            answer = data.predict("digits", {"instances": [DIGIT]})
            assert answer.headers["x-model-version"] == version
            assert answer.headers["x-route-epoch"] == str(epoch)


def test_promote_clears_the_weights(digits: Fleet) -> None:
    changed(digits, "digits", "split", {"weights": {"1": 50, "2": 50}})
    changed(digits, "digits", "promote", {"version": "3"})
    after = route(digits, "digits")
    assert (after["active"], after["previous"], after["weights"]) == ("3", "2", None)


def test_promoting_the_active_version_ends_a_split(digits: Fleet) -> None:
    epoch = changed(digits, "digits", "split", {"weights": {"1": 50, "2": 50}})["epoch"]
    told = changed(digits, "digits", "promote", {"version": "2"})
    assert told["epoch"] > epoch
    after = route(digits, "digits")
    assert (after["active"], after["weights"]) == ("2", None)


def test_promoting_the_sole_active_version_changes_nothing(digits: Fleet) -> None:
    before, history = route(digits, "digits"), entries(digits)
    told = changed(digits, "digits", "promote", {"version": "2"})
    assert told["epoch"] == before["epoch"]
    assert route(digits, "digits") == before
    assert entries(digits) == history


def entries(fleet: Fleet) -> list[dict[str, Any]]:
    """The whole history of digits."""
    return list(fleet.ask("GET", "/models/digits/history", params={"limit": 1000})["history"])


def test_rollback_goes_back_once(digits: Fleet, data: Data) -> None:
    told = changed(digits, "digits", "rollback", {"reason": "bad"})
    after = route(digits, "digits")
    assert (after["active"], after["previous"], after["weights"]) == ("1", None, None)
    assert after["epoch"] == told["epoch"]
    assert data.predict("digits", {"instances": [DIGIT]}).headers["x-model-version"] == "1"
    refused(change(digits, "digits", "rollback"), 409)
    assert route(digits, "digits") == after


def test_rollback_to_a_named_version(digits: Fleet) -> None:
    changed(digits, "digits", "rollback", {"to": "3"})
    after = route(digits, "digits")
    assert (after["active"], after["previous"]) == ("3", None)
    changed(digits, "digits", "rollback", {"to": "1"})  # allowed a second time: it says where to
    assert route(digits, "digits")["active"] == "1"


def test_rollback_clears_the_weights(digits: Fleet) -> None:
    changed(digits, "digits", "split", {"weights": {"2": 90, "3": 10}})
    changed(digits, "digits", "rollback")
    after = route(digits, "digits")
    assert (after["active"], after["previous"], after["weights"]) == ("1", None, None)


def test_two_hurried_rollbacks_do_not_toggle(digits: Fleet) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: change(digits, "digits", "rollback"), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert route(digits, "digits")["active"] == "1"


def test_split_keeps_active_and_previous(digits: Fleet) -> None:
    before = route(digits, "digits")
    told = changed(digits, "digits", "split", {"weights": {"2": 80, "3": 20}, "reason": "canary"})
    after = route(digits, "digits")
    assert (after["active"], after["previous"]) == (before["active"], before["previous"])
    assert after["weights"] == {"2": 80, "3": 20}
    assert after["epoch"] == told["epoch"] > before["epoch"]


@pytest.mark.parametrize(
    "weights",
    [
        {"1": 50, "2": 49},
        {"1": 60, "2": 60},
        {"1": 150, "2": -50},
        {"1": "50", "2": "50"},
        {"1": True, "2": 99},
        {"1": None},
        {},
        [50, 50],
        None,
        {"../1": 50, "2": 50},
    ],
)
def test_weights_that_are_not_a_hundred_percent_are_refused(digits: Fleet, weights: Any) -> None:
    before = route(digits, "digits")
    refused(change(digits, "digits", "split", {"weights": weights}), 400)
    assert route(digits, "digits") == before


@pytest.mark.parametrize("token", [b"NaN", b"Infinity", b"1e999"])
def test_weights_that_are_no_number_are_refused(digits: Fleet, token: bytes) -> None:
    body = b'{"weights": {"1": %b, "2": 50}}' % token
    refused(digits.control.post("/models/digits/split", content=body), 400)


def test_absent_things_are_a_404(fleet: Fleet) -> None:
    refused(change(fleet, "nobody", "promote", {"version": "1"}), 404)
    refused(change(fleet, "nobody", "rollback"), 404)
    refused(change(fleet, "nobody", "split", {"weights": {"1": 100}}), 404)
    refused(change(fleet, "digits", "promote", {"version": "99"}), 404)
    refused(change(fleet, "digits", "rollback", {"to": "99"}), 404)
    refused(change(fleet, "digits", "split", {"weights": {"1": 50, "99": 50}}), 404)
    for method, path in (
        ("GET", "/models/nobody"),
        ("GET", "/models/nobody/history"),
        ("POST", "/models/nobody/versions/1/deploy"),
        ("POST", "/models/digits/versions/99/deploy"),
        ("POST", "/models/digits/versions/99/undeploy"),
        ("GET", "/requests/never-seen"),
        ("GET", "/nowhere"),
        ("GET", "/models/..%2f..%2fstatus"),
        ("POST", "/models/digits/versions/..%2f1/deploy"),
    ):
        refused(fleet.control.request(method, path, json=None if method == "GET" else {}), 404)


def test_another_method_is_a_405(fleet: Fleet) -> None:
    for method, path in (
        ("GET", "/models/digits/promote"),
        ("DELETE", "/models/digits"),
        ("POST", "/metrics"),
    ):
        refused(fleet.control.request(method, path), 405)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"{",
        b"[]",
        b'{"version": 2}',
        b'{"version": null}',
        b'{"version": "../2"}',
        b'{"version": "2", "x": 1}',
    ],
)
def test_a_promote_that_names_no_version_is_a_400(digits: Fleet, body: bytes) -> None:
    before = route(digits, "digits")
    refused(digits.control.post("/models/digits/promote", content=body), 400)
    assert route(digits, "digits") == before


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("promote", {"version": "3"}),
        ("promote", {"version": "2"}),
        ("rollback", {}),
        ("split", {"weights": {"1": 50, "2": 50}}),
    ],
)
def test_an_epoch_that_is_not_the_routes_is_a_412(digits: Fleet, action: str, body: dict[str, Any]) -> None:
    before = route(digits, "digits")
    for other in (before["epoch"] - 1, before["epoch"] + 1, 0):
        refused(change(digits, "digits", action, body, if_match=str(other)), 412)
        refused(change(digits, "digits", action, body, if_match=f'"{other}"'), 412)
    assert route(digits, "digits") == before
    assert change(digits, "digits", action, body, if_match=str(before["epoch"])).status_code == 200


def test_of_several_who_saw_the_same_epoch_one_wins(digits: Fleet) -> None:
    epoch = str(route(digits, "digits")["epoch"])
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda version: change(digits, "digits", "promote", {"version": version}, if_match=epoch),
                ("1", "3", "1", "3"),
            )
        )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]


def test_a_version_that_is_not_deployed_is_no_target(fleet: Fleet) -> None:
    answer = toys.upload(fleet, "plain", toys.identity(), version="idle")
    assert answer.status_code in (201, 409)
    before = route(fleet, "plain")
    for action, body in (
        ("promote", {"version": "idle"}),
        ("rollback", {"to": "idle"}),
        ("split", {"weights": {"1": 90, "idle": 10}}),
    ):
        told = refused(change(fleet, "plain", action, body), 409, "not_deployed")
        assert "idle" in told["error"]
    assert route(fleet, "plain") == before


def test_history_tells_every_change_oldest_first(digits: Fleet) -> None:
    start = route(digits, "digits")
    changed(digits, "digits", "split", {"weights": {"2": 90, "3": 10}, "reason": "a tenth"})
    changed(digits, "digits", "promote", {"version": "3", "reason": "good"})
    changed(digits, "digits", "rollback", {"reason": "größer als gedacht"})
    found = entries(digits)
    new = [entry for entry in found if entry["epoch"] > start["epoch"]]
    for entry in found:
        assert {"epoch", "time", "actor", "action", "reason", "before", "after"} <= entry.keys()
        assert entry["actor"]
        assert entry["time"].endswith("Z")
    assert [entry["epoch"] for entry in found] == sorted({entry["epoch"] for entry in found})
    assert [entry["time"] for entry in found] == sorted(entry["time"] for entry in found)
    assert [entry["action"].rpartition(".")[2] for entry in new] == ["split", "promote", "rollback"]
    assert [entry["reason"] for entry in new] == ["a tenth", "good", "größer als gedacht"]
    assert new[0]["before"] == start
    assert [entry["before"] for entry in new[1:]] == [entry["after"] for entry in new[:-1]]
    assert new[-1]["after"] == route(digits, "digits")
    assert [entry["after"]["epoch"] for entry in new] == [entry["epoch"] for entry in new]


def test_history_comes_in_pages(digits: Fleet) -> None:
    whole, paged, cursor = entries(digits), [], None
    while True:
        params = {"limit": 2} | ({} if cursor is None else {"cursor": cursor})
        page = digits.ask("GET", "/models/digits/history", params=params)
        assert 0 < len(page["history"]) <= 2
        paged += page["history"]
        if (cursor := page["next"]) is None:
            break
    assert paged == whole
    assert len(whole) > 2


def test_models_show_versions_route_replicas_and_acknowledgements(fleet: Fleet) -> None:
    found = fleet.ask("GET", "/models")["models"]
    assert {"digits", "breast-cancer", "plain"} <= {each["model"] for each in found}
    one = fleet.ask("GET", "/models/digits")
    assert [version["version"] for version in one["versions"]][:3] == ["1", "2", "3"]
    assert {version["state"] for version in one["versions"]} == {"registered"}
    assert all(len(version["digest"]) == 64 for version in one["versions"])
    assert {(r["version"], r["state"]) for r in one["replicas"]} >= {(v, "ready") for v in "123"}
    assert {"epoch", "active", "previous", "weights"} <= one["route"].keys()
    routers = {each["id"] for each in fleet.ask("GET", "/routers")["routers"]}
    assert {each["id"] for each in one["acknowledgements"]} == routers
    assert all(each["acknowledged"] for each in one["acknowledgements"])


def test_status_has_the_shape_of_the_contract(fleet: Fleet) -> None:
    found = fleet.status()
    assert isinstance(found["redis"]["pid"], int)
    assert isinstance(found["redis"]["socket"], str)
    assert isinstance(found["agent"]["pid"], int)
    assert len(found["routers"]) == 2
    for router in found["routers"]:
        assert {"id", "pid", "revision", "state"} <= router.keys()
        assert router["state"] == "serving"
    for replica in found["replicas"]:
        assert {"model", "version", "pid", "address", "state"} <= replica.keys()
    assert {r["model"] for r in found["replicas"]} >= {"digits", "breast-cancer", "plain", "many", "picky"}
    assert {each["model"] for each in found["models"]} >= {"digits", "breast-cancer"}


def test_routers_poll_the_revision_that_the_last_change_raised(digits: Fleet) -> None:
    epoch = changed(digits, "digits", "promote", {"version": "3"})["epoch"]
    assert {router["revision"] >= epoch for router in digits.status()["routers"]} == {True}
