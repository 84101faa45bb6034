"""Answers to values and errors, without a server; broken connections and silence, with one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from router import answers
from router.client import ControlClient, DataClient, NoAnswer, Refusal, tensor
from router.client.call import Answered, place, understood

REFUSED = b'{"error": "there is no model x", "code": "unknown_model", "field": "model"}'


def told(body: bytes, status: int = 200, **headers: str) -> Answered[Any]:
    return understood(answers.Live, status, body, {name.replace("_", "-"): v for name, v in headers.items()})


def test_an_answer_becomes_its_type_and_unknown_fields_are_let_be() -> None:
    assert told(b'{"live": true, "newer": 1}').value == answers.Live(live=True)


def test_an_error_has_status_code_and_field() -> None:
    with pytest.raises(Refusal) as caught:
        told(REFUSED, 404, retry_after="2")
    error = caught.value
    assert (error.status, error.code, error.field) == (404, "unknown_model", "model")
    assert (error.message, error.retry_after) == ("there is no model x", 2)


@pytest.mark.parametrize(
    ("body", "status", "kind", "code"),
    [
        (b"<html>", 502, Refusal, "http_502"),
        (b"<html>", 200, NoAnswer, "bad_answer"),
        (b"[]", 200, NoAnswer, "bad_answer"),
        (b'{"live": "yes"}', 200, NoAnswer, "bad_answer"),
        (b"\xff", 200, NoAnswer, "bad_answer"),
        (b"[" * 100_000, 200, NoAnswer, "bad_answer"),
        (b"", 204, NoAnswer, "bad_answer"),
    ],
)
def test_what_is_no_answer_of_ours_says_so(body: bytes, status: int, kind: type, code: str) -> None:
    with pytest.raises(kind) as caught:
        told(body, status)
    assert caught.value.code == code


def test_parts_of_a_path_stay_in_their_place() -> None:
    assert place("models", "../x?y#z") == "/models/..%2Fx%3Fy%23z"


def test_inputs_from_arrays() -> None:
    made = tensor("x", np.arange(6, dtype=np.int64).reshape(2, 3))
    assert made == {"name": "x", "datatype": "INT64", "shape": [2, 3], "data": [0, 1, 2, 3, 4, 5]}
    assert tensor("s", np.array(["a", "b"]))["datatype"] == "BYTES"
    with pytest.raises(KeyError):
        tensor("c", np.array([1j]))


ANSWER = b'HTTP/1.1 200 OK\r\ncontent-length: 45\r\n\r\n{"revision": 1, "routers": [], "restart": []}'


@contextmanager
def server(*behaviours: bytes | None) -> Iterator[tuple[str, list[bytes]]]:
    """One behaviour a connection: bytes in answer, or None: nothing ever comes. Also what was asked."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []
    over = threading.Event()

    def serve() -> None:
        for behaviour in behaviours:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(65536))
                if behaviour is None:
                    over.wait(10)
                else:
                    connection.sendall(behaviour)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
    finally:
        over.set()
        listener.close()
        thread.join(10)


def test_a_read_whose_connection_broke_is_sent_once_more() -> None:
    with server(b"", ANSWER) as (url, asked), ControlClient(url, "key") as control:
        assert control.routers().revision == 1
        assert len(asked) == 2
        assert b"authorization: Bearer key" in asked[0]


def test_a_read_is_not_sent_a_third_time() -> None:
    with server(b"", b"") as (url, asked), ControlClient(url, "key") as control:
        with pytest.raises(NoAnswer) as caught:
            control.routers()
        assert (caught.value.code, len(asked)) == ("unreachable", 2)


def test_a_change_is_never_sent_twice() -> None:
    with server(b"") as (url, asked), ControlClient(url, "key") as control:
        with pytest.raises(NoAnswer) as caught:
            control.promote("digits", "2")
        assert (caught.value.code, len(asked)) == ("unreachable", 1)


def test_a_prediction_is_never_sent_twice() -> None:
    with server(b"") as (url, asked), DataClient(url) as data:
        with pytest.raises(NoAnswer):
            data.predict("digits", [[1]])
        assert len(asked) == 1
        assert b"authorization" not in asked[0]


def test_silence_ends_in_time() -> None:
    with server(None) as (url, _), ControlClient(url, "key", timeout=0.2) as control:
        with pytest.raises(NoAnswer) as caught:
            control.status()
        assert caught.value.code == "no_answer"
