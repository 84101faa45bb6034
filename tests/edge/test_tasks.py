"""Task routes: a task's later calls reach the replica that took it, whatever the pointer says meanwhile."""

from __future__ import annotations

from urllib.parse import urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.edge.tasks import MARK, is_task_path, marked, names_task, task_call
from tests.edge.house import House, RouterProcess, Wire


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_any_id_of_a_replica_comes_back_to_it(name: str) -> None:
    answer = orjson.loads(marked(orjson.dumps({"task_id": name, "status": "x"}), "2", "m.2-a"))
    query = urlencode({"a": "ä b", "task_id": answer["task_id"], "z": ""}).encode()
    call = task_call("/route/get", query)
    assert call is not None
    assert (call.version, call.replica) == ("2", "m.2-a")
    assert call.query == urlencode({"a": "ä b", "task_id": name, "z": ""}).encode()


def test_only_task_routes_and_marked_ids_count() -> None:
    assert not is_task_path("/get")
    assert not is_task_path("//get")
    assert is_task_path("/a/b/get")
    assert not is_task_path("/a/getter")
    assert not names_task("/a/get")
    assert task_call("/a/get", b"task_id=plain") is None
    assert task_call("/a/get", b"my_task_id=a~1~r") is None
    assert task_call("/a/predict", b"task_id=a~1~r") is None


@pytest.mark.parametrize("body", [b"", b"no json", b"[1]", b'{"task_id": 5}', b'{"other": "x"}', b"\xff"])
def test_what_names_no_task_stays_as_it_is(body: bytes) -> None:
    assert marked(body, "1", "a") is body


def submit(router: RouterProcess, value: object) -> str:
    answer = router.client.post("/models/m/job/submit", json=value)
    assert answer.status_code == 200
    return str(answer.json()["task_id"])


def test_every_call_reaches_the_replica_that_took_the_task(house: House, router: RouterProcess) -> None:
    held: list[Wire] = []
    takers: dict[str, str] = {}
    try:
        # A stream that is held moves the next submission to the other replica, sooner or later.
        while set(takers.values()) != {"a", "b"}:
            assert len(held) < 12, takers
            held.append(router.wire())
            held[-1].ask("GET", "/models/m/sse?n=2&gate=1&id=tasks")
            held[-1].head()
            task = submit(router, {"number": len(takers)})
            takers[task] = task.rsplit(MARK, 1)[1]
        house.promote("m", "2")
        for number, (task, taker) in enumerate(takers.items()):
            got = router.client.get("/models/m/job/get", params={"task_id": task})
            assert got.json() == {"task_id": "the user's own", "was": {"number": number}, "by": taker}
            assert (got.headers["x-model-version"], got.headers["x-route-reason"]) == ("1", "pin")
            status = router.client.get("/models/m/job/status", params={"task_id": task, "more": "ä"}).json()
            assert (status["task_id"], status["by"], status["more"]) == (task, taker, "ä")
            cancelled = router.client.put("/models/m/job/cancel", params={"task_id": task}).json()
            assert cancelled["by"] == taker
            again = router.client.post("/models/m/job/retry", params={"task_id": task}).json()["task_id"]
            assert again.rsplit(MARK, 1)[1] == taker
            assert again != task
            retried = router.client.get("/models/m/job/get", params={"task_id": again}).json()
            assert (retried["was"], retried["by"]) == ({"number": number}, taker)
    finally:
        house.promote("m", "1")
        for wire in held:
            wire.socket.close()


def test_tasks_that_nobody_has_are_told_apart(router: RouterProcess) -> None:
    gone = router.client.get("/models/m/job/get", params={"task_id": "1~1~nobody"})
    assert (gone.status_code, gone.json()["code"]) == (503, "replica_gone")
    unknown = router.client.get("/models/m/job/get", params={"task_id": "1~9~a"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_version")
    theirs = router.client.get("/models/m/job/get", params={"task_id": "plain"})
    assert (theirs.status_code, theirs.json()) == (404, {"error": "task_id not found"})


def test_a_submission_is_recorded_like_any_request(
    house: House, router: RouterProcess, fresh_id: str
) -> None:
    answer = router.client.post("/models/m/job/submit", json=[1], headers={"x-request-id": fresh_id})
    record = house.record(fresh_id)
    assert record["payload"] == {"request": [1], "response": answer.json(), "truncated": False}
