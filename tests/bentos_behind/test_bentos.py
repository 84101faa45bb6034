"""A user's bento behind the gateway: the same switching, batches and life as an ONNX version. In this order."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from loadtests.fleet import alive, wait_for
from tests.bentos_behind.conftest import Behind
from tests.bentos_behind.sources import CONTRACT, MODELLED, add_model, build, folder_of

pytestmark = pytest.mark.fleet


def predict(behind: Behind, rows: list[list[float]], model: str = "sums") -> httpx.Response:
    return httpx.post(f"{behind.fleet.data}/v1/models/{model}:predict", json={"instances": rows}, timeout=20)


def test_a_bento_with_a_tensor_contract_answers_as_its_own_api_does(behind: Behind) -> None:
    document = behind.register(behind.tag, "sums", CONTRACT)
    assert document["runtime"] == "bento"
    assert behind.deploy("sums").status_code == 200, behind.fleet.tail()
    assert behind.fleet.promote("sums", "1")["status"] == 200
    rows = [[0.1, 0.2, 0.3], [4.0, 5.0, 6.0]]
    direct = behind.direct("sums", "/add", {"rows": rows})
    answer = predict(behind, rows)
    assert np.array_equal(np.float32(answer.json()["predictions"]), np.float32(direct["total"]))
    assert answer.headers["x-model-version"] == "1"
    record = behind.fleet.ask("GET", f"/requests/{answer.headers['x-request-id']}")["requests"][0]
    assert (record["digest"], record["rows"]) == (document["digest"], 2)
    assert record["replica"] == behind.replicas("sums")[0]["id"]


def test_what_the_service_is_run_in(behind: Behind) -> None:
    who = behind.direct("sums", "/who", {})
    replica = behind.replicas("sums")[0]
    assert who["home"] == str(behind.fleet.data_dir / "homes" / replica["id"])
    assert who["settings"] == []
    assert who["pid"] in {child.pid for child in psutil.Process(replica["pid"]).children(recursive=True)}


def test_callers_share_batches_and_a_refused_row_fails_alone(behind: Behind) -> None:
    answers: dict[int, httpx.Response] = {}

    def call(number: int) -> None:
        answers[number] = predict(behind, [[float(number), 1.0, 2.0]])

    threads = [threading.Thread(target=call, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for number, answer in answers.items():
        if number == 13:
            assert (answer.status_code, answer.json()["code"]) == (400, "refused_by_model")
            assert "bad luck" in answer.json()["error"]
        else:
            assert answer.json() == {"predictions": [number + 3.0]}
    wait_for(lambda: len(behind.fleet.records(model="sums")) >= 41, 10)
    assert max(record["batch_rows"] or 0 for record in behind.fleet.records(model="sums")) > 1


def test_a_service_that_is_not_row_wise_does_not_get_ready(behind: Behind) -> None:
    golden = {"rows": CONTRACT["golden"]["rows"]}
    route = CONTRACT["tensors"] | {"route": "/mean"}
    behind.register(behind.tag, "mean", CONTRACT | {"golden": golden, "tensors": route})
    refused = behind.deploy("mean")
    assert (refused.status_code, refused.json()["code"]) == (409, "replica_failed")
    assert "not_rowwise: output 'y' of a row changes with the rows beside it" in refused.json()["error"]
    failed = behind.replicas("mean", "failed")
    assert [each["error"][:11] for each in failed] == ["not_rowwise"]


def test_a_service_that_cannot_start_says_why(behind: Behind) -> None:
    behind.register(behind.broken, "broken", {"python": "/no/such/python"})
    refused = behind.deploy("broken", "1")
    assert (refused.status_code, refused.json()["code"]) == (409, "replica_failed")
    assert "/no/such/python: No such file" in refused.json()["error"]
    behind.register(behind.broken, "broken")
    refused = behind.deploy("broken", "2", wait=40)  # far from three times the longest start
    assert (refused.status_code, refused.json()["code"]) == (409, "replica_failed")
    assert "ModuleNotFoundError: No module named 'no_such_library'" in refused.json()["error"]
    homes = {each["id"] for each in behind.fleet.status()["replicas"] if each["state"] != "failed"}
    wait_for(lambda: {each.name for each in (behind.fleet.data_dir / "homes").iterdir()} == homes, 5)


def test_its_models_come_with_it(behind: Behind) -> None:
    """Also where the user's store has lost them."""
    add_model(behind.home, "weights:1", "seven")
    tag = build(folder_of(behind.folder, "modelled", MODELLED), behind.home)
    behind.register(tag, "modelled")
    shutil.rmtree(behind.home / "models" / "weights")
    assert behind.deploy("modelled").status_code == 200, behind.fleet.tail()
    assert behind.direct("modelled", "/tell", {}) == {"reference": "seven", "by_tag": "seven"}


def test_an_altered_bento_is_not_served(behind: Behind) -> None:
    document = behind.register(behind.tag, "altered")
    place = behind.fleet.data_dir / "bentoml" / "bentos" / document["store"].replace(":", "/")
    stored, kept = place / "src" / "service.py", (place / "src" / "service.py").read_bytes()
    stored.chmod(0o600)
    stored.write_bytes(kept + b"# more")
    try:
        refused = behind.deploy("altered")
        assert refused.status_code == 409
        assert "src/service.py was altered" in refused.json()["error"]
    finally:
        stored.write_bytes(kept)


@pytest.mark.parametrize("victim", ["guard", "arbiter"])
def test_a_killed_service_is_replaced_and_leaves_no_worker(behind: Behind, victim: str) -> None:
    replica = behind.replicas("sums")[0]
    tree = [child.pid for child in psutil.Process(replica["pid"]).children(recursive=True)]
    assert len(tree) >= 2  # arbiter and worker
    os.kill(replica["pid"] if victim == "guard" else tree[0], signal.SIGKILL)
    wait_for(lambda: [r for r in behind.replicas("sums") if r["id"] != replica["id"]], 30, behind.fleet.tail)
    assert not [pid for pid in tree if alive(pid)]
    assert not Path(behind.fleet.data_dir / "homes" / replica["id"]).exists()
    wait_for(lambda: predict(behind, [[1, 1, 1]]).status_code == 200, 10)


def test_a_new_agent_adopts_the_service(behind: Behind) -> None:
    replica = behind.replicas("sums")[0]
    agent = behind.fleet.status()["agent"]["pid"]
    os.kill(agent, signal.SIGKILL)

    log = behind.fleet.data_dir / "logs" / "agent.log"

    def adopted() -> bool:
        told = [line for line in log.read_text().splitlines() if replica["id"] in line]
        return "replica_adopted" in told[-1]

    wait_for(adopted, 15, behind.fleet.tail)
    wait_for(lambda: behind.replicas("sums"), 5)
    found = behind.replicas("sums")[0]
    assert [found[name] for name in ("id", "pid", "address")] == [
        replica[name] for name in ("id", "pid", "address")
    ]
    assert predict(behind, [[1, 2, 3]]).json() == {"predictions": [6.0]}


def test_a_second_version_takes_over_and_the_first_is_drained(behind: Behind) -> None:
    behind.register(behind.tag, "sums", CONTRACT)
    assert behind.deploy("sums", "2").status_code == 200
    assert behind.fleet.promote("sums", "2")["status"] == 200
    assert predict(behind, [[1, 2, 3]]).headers["x-model-version"] == "2"
    first = next(each for each in behind.replicas("sums") if each["version"] == "1")
    behind.fleet.ask("POST", "/models/sums/versions/1/undeploy", json={"force": True})
    wait_for(lambda: not alive(first["pid"]), 20, behind.fleet.tail)
    wait_for(lambda: not (behind.fleet.data_dir / "homes" / first["id"]).exists(), 10)


def test_kill_9_of_up_leaves_nothing_running(behind: Behind) -> None:
    before = behind.running()
    assert before
    behind.fleet.stop(signal.SIGKILL)
    wait_for(lambda: not behind.running() and not any(alive(pid) for pid in before), 4)
    behind.fleet.start()  # and the next one begins anew
    wait_for(lambda: predict(behind, [[1, 2, 3]]).status_code == 200, 30, behind.fleet.tail)
    assert behind.fleet.stop() == 0
    assert not behind.running()
