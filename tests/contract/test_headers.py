"""Request and answer headers of the data listener, on success and on every error."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from loadtests.fleet import Fleet
from tests.contract.asking import DIGIT, Data, changed, refused, route
from tests.contract.conftest import START_S, Started
from tests.contract.wire import Wire, post

ROUTED = ("x-model-version", "x-route-epoch", "x-route-reason")
GOOD = {"instances": [DIGIT]}


def told(answer: Any) -> tuple[str | None, ...]:
    """The three headers of a choice."""
    return tuple(answer.headers.get(name) for name in ROUTED)


def test_an_answer_says_who_answered_and_why(data: Data, digits: Fleet) -> None:
    epoch = str(route(digits, "digits")["epoch"])
    assert told(data.predict("digits", GOOD)) == ("2", epoch, "active")
    assert told(data.predict("digits", GOOD, x_routing_key="ann")) == ("2", epoch, "active")


def test_a_version_is_pinned_by_header_by_path_and_by_both(data: Data, digits: Fleet) -> None:
    epoch = str(route(digits, "digits")["epoch"])
    by_header = data.predict("digits", GOOD, x_model_version="3")
    by_path = data.send("/v1/models/digits/versions/3:predict", GOOD)
    by_both = data.send("/v1/models/digits/versions/3:predict", GOOD, x_model_version="3")
    for answer in (by_header, by_path, by_both):
        assert answer.status_code == 200
        assert told(answer) == ("3", epoch, "pin")
        assert answer.json() == by_path.json()
    active = data.send("/v1/models/digits/versions/2:predict", GOOD)
    assert told(active) == ("2", epoch, "pin")
    assert active.json() != by_path.json()


def test_a_pin_wins_over_a_split_and_a_key(data: Data, digits: Fleet) -> None:
    changed(digits, "digits", "split", {"weights": {"1": 50, "2": 50}})
    answer = data.predict("digits", GOOD, x_model_version="3", x_routing_key="ann")
    assert told(answer)[0::2] == ("3", "pin")


def test_pins_that_disagree_are_refused(data: Data) -> None:
    answer = data.send("/v1/models/digits/versions/1:predict", GOOD, x_model_version="3")
    body = refused(answer, 400, field="x-model-version")
    assert "3" in body["error"]
    assert "1" in body["error"]


def test_a_split_is_sticky_by_key_and_random_without(data: Data, digits: Fleet) -> None:
    epoch = str(changed(digits, "digits", "split", {"weights": {"1": 50, "3": 50}})["epoch"])
    first = {key: told(data.predict("digits", GOOD, x_routing_key=f"user-{key}")) for key in range(24)}
    assert {version for version, _, _ in first.values()} == {"1", "3"}
    assert {seen[1:] for seen in first.values()} == {(epoch, "sticky")}
    for key, seen in first.items():
        assert told(data.predict("digits", GOOD, x_routing_key=f"user-{key}")) == seen
    without = [told(data.predict("digits", GOOD)) for _ in range(30)]
    assert {seen[1:] for seen in without} == {(epoch, "split")}
    assert Counter(version for version, _, _ in without).keys() == {"1", "3"}  # 1 in 2**29 not to


def test_a_request_id_is_kept(data: Data) -> None:
    for given in ("a", "A1._:-z", "x" * 128):
        assert data.predict("plain", {"instances": [[1, 2, 3]]}, x_request_id=given).headers[
            "x-request-id"
        ] == (given)


@pytest.mark.parametrize("given", ["", " ", "x" * 129, "a b", "a/b", "é", '"', "<script>", "a,b", "a;b"])
def test_a_request_id_that_is_not_allowed_is_replaced(data: Data, given: str) -> None:
    with Wire(data.port) as wire:
        request = post("/v1/models/plain:predict", b'{"instances": [[1,2,3]]}', f"x-request-id: {given}")
        wire.send(request * 2)
        made = [wire.reply().headers["x-request-id"] for _ in range(2)]
    assert given.strip() not in made
    assert len(set(made)) == 2
    assert all(1 <= len(each) <= 128 and each.isascii() for each in made)


def test_every_error_carries_the_request_id(data: Data) -> None:
    asked: list[tuple[int, Any]] = [
        (400, data.predict("plain", b"{", x_request_id="mine")),
        (400, data.predict("plain", {"instances": [[1]]}, x_request_id="mine")),
        (400, data.predict("plain", {}, x_request_id="mine", x_request_timeout_ms="soon")),
        (404, data.predict("nobody", {}, x_request_id="mine")),
        (404, data.predict("plain", {}, x_model_version="99", x_request_id="mine")),
        (404, data.send("/v1/models/plain/versions/99:predict", {}, x_request_id="mine")),
        (404, data.send("/nowhere", {}, x_request_id="mine")),
        (404, data.send("/nowhere", method="GET", x_request_id="mine")),
        (405, data.send("/v1/models/plain:predict", method="GET", x_request_id="mine")),
        (405, data.send("/readyz", {}, x_request_id="mine")),
        (500, data.predict("picky", {"inputs": {"x": [[0]], "i": [0]}}, x_request_id="mine")),
    ]
    for status, answer in asked:
        refused(answer, status)
        assert answer.headers["x-request-id"] == "mine", (status, answer.request.url)


def test_an_error_after_the_choice_says_which_version(data: Data, digits: Fleet) -> None:
    epoch = str(route(digits, "digits")["epoch"])
    for body in ({"instances": [[1]]}, b"{", {"instances": [["x"] * 64]}):
        answer = data.predict("digits", body)
        refused(answer, 400)
        assert told(answer) == ("2", epoch, "active")
    pinned = data.predict("digits", b"{", x_model_version="3")
    assert told(pinned) == ("3", epoch, "pin")


def test_an_error_before_the_choice_names_no_version(data: Data) -> None:
    for answer in (data.predict("nobody", {}), data.predict("plain", {}, x_model_version="99")):
        refused(answer, 404)
        assert told(answer) == (None, None, None)


def test_no_answer_is_marked_stale_while_all_is_well(data: Data) -> None:
    assert "x-route-stale" not in data.predict("plain", {"instances": [[1, 2, 3]]}).headers


@pytest.mark.parametrize("given", ["soon", "0", "-5", "1.5", "", "1e3", "٣"])
def test_a_timeout_that_is_no_number_is_refused_naming_the_header(data: Data, given: str) -> None:
    with Wire(data.port) as wire:
        line = f"x-request-timeout-ms: {given}".encode().decode("latin-1")
        wire.send(post("/v1/models/plain:predict", b'{"instances": [[1,2,3]]}', line))
        refused(wire.reply(), 400, field="x-request-timeout-ms")


def test_a_timeout_that_is_long_enough_changes_nothing(data: Data) -> None:
    for given in ("5000", "99999999999999999999999"):
        answer = data.predict("plain", {"instances": [[1, 2, 3]]}, x_request_timeout_ms=given)
        assert answer.status_code == 200


def test_a_router_tells_that_it_lives_and_is_ready(data: Data, started: Started) -> None:
    for path in ("/livez", "/readyz"):
        answer = data.send(path, method="GET", x_request_id="probe")
        assert answer.status_code == 200
        assert answer.headers["x-request-id"] == "probe"
    assert started.ready_after < START_S
