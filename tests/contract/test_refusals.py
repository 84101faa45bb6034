"""The table of errors on the data listener: 404, 405, 413, 503; bad input is in test_predict.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from loadtests.fleet import Fleet
from tests.contract import toys
from tests.contract.asking import Data, refused
from tests.contract.wire import HEAD, Wire, post

LIMIT = 32 << 20
PATH = "/v1/models/plain:predict"
GOOD = b'{"instances": [[1, 2, 3]]}'


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/nobody:predict",
        "/v1/models/plain/versions/99:predict",
        "/v1/models/nobody/versions/1:predict",
        "/v1/models/Plain:predict",
        "/v1/models/plain/versions/1/versions/1:predict",
        "/v1/models/plain/versions/:predict",
        "/v1/models/:predict",
        "/v1/models/..%2fplain:predict",
        "/v1/models/plain/versions/..%2f1:predict",
        "/v1/models/%00:predict",
        "/v1/models/" + "a" * 5000 + ":predict",
        "/v1/models/plain:predict/",
        "/v1/models/plain:predict:predict",
        "/v1/models/",
        "/v1",
        "//v1/models/plain:predict",
        "/api/v1/models",
        "/metrics",
        "/metrics.json",
        "/table.json",
    ],
)
def test_what_is_not_there_is_a_404(data: Data, path: str) -> None:
    refused(data.send(path, GOOD), 404)


def test_an_unknown_pin_is_a_404(data: Data) -> None:
    for pin in ("99", "../1", "latest", "1 ", "x" * 500):
        if pin != "1 ":  # white space around a header's value is not part of it
            refused(data.predict("plain", GOOD, x_model_version=pin), 404)


def test_a_404_names_what_is_missing(data: Data) -> None:
    assert "nobody" in refused(data.predict("nobody", GOOD), 404)["error"]
    assert "99" in refused(data.predict("plain", GOOD, x_model_version="99"), 404)["error"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_a_405_that_says_which_is_allowed(data: Data, method: str) -> None:
    answer = data.send(PATH, method=method)
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]
    if method != "HEAD":
        refused(answer, 405)


def test_probes_take_get_only(data: Data) -> None:
    for path in ("/livez", "/readyz"):
        refused(data.send(path, b""), 405)


def test_a_body_announced_over_the_limit_is_refused_before_it_is_sent(data: Data) -> None:
    with Wire(data.port) as wire:
        wire.send(HEAD % PATH.encode() + b"x-request-id: big\r\ncontent-length: %d\r\n\r\n" % (LIMIT + 1))
        reply = wire.reply(2.0)
        refused(reply, 413)
        assert reply.headers["x-request-id"] == "big"
        assert wire.ended()  # the rest of the body must never be read as a request


def test_a_chunked_body_over_the_limit_is_refused_while_it_comes(data: Data) -> None:
    piece = b" " * (1 << 20)
    with Wire(data.port) as wire:
        wire.send(HEAD % PATH.encode() + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(32):
            wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        wire.send(b"1\r\n \r\n")
        refused(wire.reply(), 413)
        assert wire.ended()


def test_a_body_of_exactly_the_limit_is_read(data: Data) -> None:
    body = GOOD + b" " * (LIMIT - len(GOOD))
    assert data.send(PATH, body).status_code == 200


def test_a_caller_that_sends_all_of_a_body_over_the_limit_sees_the_413(data: Data) -> None:
    """As plain clients do: everything out first, then the answer."""
    refused(data.send(PATH, b" " * (LIMIT + (4 << 20))), 413)


@contextmanager
def version_of(fleet: Fleet, model: str) -> Iterator[None]:
    """A model with one registered version that nobody promoted."""
    if model not in {each["model"] for each in fleet.ask("GET", "/models")["models"]}:
        assert toys.upload(fleet, model, toys.identity()).status_code == 201
    yield


def test_a_model_without_an_active_version_is_a_503(data: Data, fleet: Fleet) -> None:
    with version_of(fleet, "unborn"):
        refused(data.predict("unborn", GOOD), 503, "no_active_version")


def test_a_version_that_is_not_deployed_is_a_503(data: Data, fleet: Fleet) -> None:
    with version_of(fleet, "unborn"):
        refused(data.predict("unborn", GOOD, x_model_version="1"), 503)
        refused(data.send("/v1/models/unborn/versions/1:predict", GOOD), 503)


def test_the_connection_lives_on_after_an_error(data: Data) -> None:
    with Wire(data.port) as wire:
        for body, status in ((b"{", 400), (GOOD, 200), (b'{"instances": [[1]]}', 400), (GOOD, 200)):
            wire.send(post(PATH, body))
            assert wire.reply().status == status
        wire.send(b"GET /v1/models/plain:predict HTTP/1.1\r\nhost: x\r\n\r\n")
        assert wire.reply().status == 405
        wire.send(post("/v1/models/nobody:predict", GOOD))
        assert wire.reply().status == 404
        wire.send(post(PATH, GOOD))
        assert wire.reply().json() == {"predictions": [[1.0, 2.0, 3.0]]}
