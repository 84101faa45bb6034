"""The proof of a tensor contract: what is row-wise passes, each way of not being so is found."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import orjson
import pytest

from router.agent.rowwise import Doubt, Tensors, check_rows, prove

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def outcome(model: Callable[[np.ndarray[Any, Any]], Any], rows: Any = ROWS) -> str | None:
    """The doubt about a model of x → y."""

    def run(inputs: Tensors) -> Tensors:
        return {"y": np.asarray(model(inputs["x"]))}

    try:
        check_rows(run, {"x": rows}, run({"x": rows}), 1e-5)
    except Doubt as doubt:
        return str(doubt)
    return None


def test_rows_that_stand_for_themselves_pass() -> None:
    assert outcome(lambda x: x.sum(axis=1)) is None
    assert outcome(lambda x: x * 2) is None


@pytest.mark.parametrize(
    "model",
    [
        lambda x: x.sum(axis=1) - x.mean(),
        lambda x: np.cumsum(x.sum(axis=1)),
        lambda x: np.arange(len(x)),
        lambda x: np.full(len(x), len(x)),
        lambda x: x.sum(axis=1) + x.max(),
        lambda x: np.sort(x.sum(axis=1)),
        lambda x: x.sum(),
        lambda x: x.sum(axis=1)[:-1],
    ],
)
def test_rows_that_see_each_other_do_not(model: Any) -> None:
    found = outcome(model)
    assert found is not None
    assert found.startswith("not_rowwise: output 'y'")


@pytest.fixture
def service() -> Iterator[tuple[ThreadingHTTPServer, dict[str, Any]]]:
    """POST /add answers by `behave["answer"](rows)`, a status and a body."""
    behave: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            rows = orjson.loads(self.rfile.read(int(self.headers["content-length"])))["rows"]
            status, body = behave["answer"](rows)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server, behave
    server.shutdown()
    thread.join(5)
    server.server_close()


def document(**changed: Any) -> dict[str, Any]:
    x = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
    return {
        "model": "m",
        "version": "1",
        "digest": "d",
        "runtime": "bento",
        "signature": {"inputs": [x], "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}]},
        "tensors": {"route": "/add", "arguments": {"x": "rows"}, "outputs": {"y": "total"}},
        "rowwise": True,
        "golden": {"rows": {"x": [[1, 2, 3], [4, 5, 6]]}, "outputs": {"y": [6, 15]}, "atol": 1e-5},
    } | changed


def sums(rows: list[list[float]]) -> tuple[int, bytes]:
    return 200, orjson.dumps({"total": [sum(row) for row in rows]})


def test_a_service_is_proved_over_its_own_route(
    service: tuple[ThreadingHTTPServer, dict[str, Any]],
) -> None:
    server, behave = service
    where = ("127.0.0.1", server.server_address[1], 10.0)
    behave["answer"] = sums
    prove(document(), *where)
    prove(document(golden=None, rowwise=False), *where)
    prove(document(tensors=None), *where)
    golden = {"rows": {"x": [[1, 2, 3], [4, 5, 6]]}, "outputs": {"y": [6, 16]}, "atol": 1e-5}
    for told, changed, answer in (
        ("golden_mismatch", {"golden": golden}, sums),
        ("golden_invalid", {"golden": golden | {"rows": {"x": [[1, 2]]}}}, sums),
        ("bad_answer", {}, lambda rows: (500, b"{}")),
        ("bad_answer", {}, lambda rows: (200, b'{"total":["a"]}')),
        ("bad_answer", {}, lambda rows: (200, b"")),
        ("golden_mismatch", {}, lambda rows: (200, b'{"total":[1,1]}')),
        ("not_rowwise", {}, lambda rows: sums(rows if len(rows) > 1 else [[0.0]])),
    ):
        behave["answer"] = answer
        with pytest.raises(Doubt, match=told):
            prove(document(**changed), *where)
