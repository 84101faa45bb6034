"""Every command: options, exit status, and `--json` equal to the HTTP answer."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadtests.fleet import BIN, Fleet
from tests.contract import toys
from tests.contract.asking import DIGIT, Data, record_of, records_of, route, until
from tests.contract.witness import Witness


@pytest.fixture(scope="module")
def witness(fleet: Fleet) -> Iterator[Witness]:
    """Between the command and the control listener."""
    with Witness(fleet) as made:
        yield made


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model on disk, with a manifest beside it."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "mine.onnx").write_bytes(toys.identity())
    manifest = b"apiVersion: pointsman/v1\nkind: Version\nrowwise: true\ncard: {owner: tests}\n"
    (folder / "manifest.yaml").write_bytes(manifest)
    return folder / "mine.onnx"


def test_a_version_goes_its_way_by_commands_alone(witness: Witness, onnx_file: Path) -> None:
    """register, deploy, promote, split, rollback, undeploy: each `--json` is the HTTP answer."""
    first = witness.json("register", str(onnx_file), "--model", "shell", "--reason", "first")
    assert (first["model"], first["version"]) == ("shell", "1")
    manifest = str(onnx_file.with_name("manifest.yaml"))
    named = ("--version", "b", "--manifest", manifest)
    second = witness.json("register", str(onnx_file), "--model", "shell", *named)
    assert (second["version"], second["card"]) == ("b", {"owner": "tests"})
    for version, count in (("1", "1"), ("b", "2")):
        told = witness.json("deploy", "shell", version, "--replicas", count, "--timeout", "60")
        assert told["replicas"] == int(count)
        ready = [r for r in witness.fleet.ask("GET", "/models/shell")["replicas"] if r["version"] == version]
        assert [r["state"] for r in ready] == ["ready"] * int(count), "deploy returns when ready"
    flip = witness.json("promote", "shell", "1", "--reason", "go")
    assert flip["applied"] is True
    assert {"epoch", "applied", "routers", "took_ms"} <= flip.keys()
    assert witness.json("split", "shell", "1=90", "b=10")["epoch"] > flip["epoch"]
    assert route(witness.fleet, "shell")["weights"] == {"1": 90, "b": 10}
    witness.json("promote", "shell", "b")
    witness.json("rollback", "shell", "--reason", "bad")
    assert route(witness.fleet, "shell")["active"] == "1"
    witness.json("rollback", "shell", status=1)
    witness.json("rollback", "shell", "--to", "b")
    assert route(witness.fleet, "shell")["active"] == "b"
    witness.json("undeploy", "shell", "b", status=1)
    witness.json("undeploy", "shell", "1", "--reason", "done")
    history = witness.json("history", "shell")["history"]
    assert [entry["reason"] for entry in history] == ["go", None, None, "bad", None]


def test_status_is_the_http_answer(witness: Witness) -> None:
    whole = witness.json("status")
    assert {"redis", "agent", "routers", "replicas", "models"} <= whole.keys()
    one = witness.json("status", "digits")
    assert one["model"] == "digits"
    witness.json("status", "nobody", status=1)


def test_routers_are_the_http_answer_and_one_that_lives_comes_back(witness: Witness) -> None:
    known = witness.json("routers")["routers"]
    assert len(known) == 2
    witness.json("routers", "forget", known[0]["id"])
    names = {each["id"] for each in known}
    until(lambda: {each["id"] for each in witness.fleet.ask("GET", "/routers")["routers"]} == names, 3.0)
    witness.json("routers", "forget", "r9.never", status=1)


def test_why_and_logs_tell_of_a_request(witness: Witness, data: Data) -> None:
    for n in range(3):
        answer = data.predict("digits", {"instances": [DIGIT]}, x_request_id=f"told-{n}")
        assert answer.status_code == 200
        assert record_of(witness.fleet, f"told-{n}")["status"] == 200
    done = witness.run("why", "told-1", "--json")
    document, answered = json.loads(done.stdout), witness.answers[0][3]
    assert (done.returncode, document | answered) == (0, document)
    assert document["requests"][0]["request_id"] == "told-1"
    for words in (("--request-id", "told-1"), ("digits", "--since", "10m", "--limit", "1000"), ("digits",)):
        done = witness.run("logs", *words, "--json")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        served = [record for *_, body in witness.answers for record in body["requests"]]
        assert done.returncode == 0
        assert lines
        assert all(line in served for line in lines)
        assert "told-1" in {line["request_id"] for line in lines}
    assert len(witness.run("logs", "digits", "--limit", "2", "--json").stdout.splitlines()) == 2
    witness.json("why", "no-such-request", status=1)


def test_people_get_tables_and_sentences(witness: Witness, data: Data) -> None:
    data.predict("digits", {"instances": [DIGIT]}, x_request_id="human")
    records_of(witness.fleet, "human")
    for words, wanted in {
        ("status",): ("digits", "breast-cancer", "routers"),
        ("status", "digits"): ("digits", "version"),
        ("history", "digits"): ("promote",),
        ("logs", "--request-id", "human"): ("human", "200"),
        ("why", "human"): ("human", "version", "digits"),
        ("routers",): ("serving",),
    }.items():
        done = witness.run(*words)
        assert done.returncode == 0, done.stderr
        assert not done.stdout.startswith("{")
        assert all(text in done.stdout for text in wanted), (words, done.stdout)


def test_logs_follow_new_requests_until_interrupted(fleet: Fleet, data: Data) -> None:
    process = subprocess.Popen(
        [str(BIN / "pointsman"), "logs", "plain", "-f", "--json"],
        env=fleet.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        os.set_blocking(process.stdout.fileno(), False)  # type: ignore[union-attr]
        seen: list[str] = []
        asked = []

        def followed() -> bool:
            asked.append(data.predict("plain", {"instances": [[1, 2, 3]]}).headers["x-request-id"])
            seen.extend(process.stdout.readlines())  # type: ignore[union-attr]
            return any(json.loads(line)["request_id"] in asked for line in seen)

        until(followed, 10.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "words",
    [
        ("promote",),
        ("promote", "digits"),
        ("fly",),
        ("split", "digits"),
        ("split", "digits", "1"),
        ("split", "digits", "1=x"),
        ("split", "digits", "1=50", "1=50"),
        ("deploy", "digits", "1", "--replicas", "none"),
        ("deploy", "digits", "1", "--replicas", "0"),
        ("register", "--model", "m"),
        ("register", "/nowhere/model.onnx", "--model", "m"),
        ("rollback", "digits", "--unknown"),
        ("logs", "--limit", "0"),
        ("up", "--routers", "0"),
        ("up", "--port", "70000"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_status_2(fleet: Fleet, words: tuple[str, ...]) -> None:
    done = fleet.cli(*words)
    assert done.returncode == 2, (done.stdout, done.stderr)


@pytest.mark.parametrize(
    "words",
    [
        ("promote", "nobody", "1"),
        ("promote", "digits", "99"),
        ("split", "digits", "1=50", "2=20"),
        ("deploy", "digits", "99"),
        ("history", "nobody"),
        ("promote", "../models/digits", "1"),
    ],
    ids=" ".join,
)
def test_a_refusal_is_exit_status_1_and_says_why(witness: Witness, words: tuple[str, ...]) -> None:
    document = witness.json(*words, status=1)
    assert document["code"]
    told = witness.run(*words)
    assert told.returncode == 1
    assert document["error"] in " ".join(told.stderr.split())


def test_a_wrong_key_or_address_is_exit_status_1(fleet: Fleet) -> None:
    url = f"http://127.0.0.1:{fleet.control_port}"
    for told in ({"POINTSMAN_URL": url, "POINTSMAN_KEY": "wrong"}, {"POINTSMAN_URL": "http://127.0.0.1:9"}):
        env = {**fleet.env, "POINTSMAN_KEY": "wrong", **told}
        done = subprocess.run(
            [str(BIN / "pointsman"), "status"],
            env=env,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1
        assert "error" in done.stderr


def test_the_key_is_private_and_the_note_leads_to_it(fleet: Fleet) -> None:
    key = fleet.data_dir / "admin.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert fleet.cli("status").returncode == 0  # neither POINTSMAN_URL nor POINTSMAN_KEY is set
    notes = [path.read_text() for path in (fleet.folder / "state").rglob("*") if path.is_file()]
    assert any(str(key) in text and str(fleet.control_port) in text for text in notes)
    assert not any(key.read_text().strip() in text for text in notes)


def test_a_second_up_on_the_same_directory_is_refused_with_the_first_ones_pid(fleet: Fleet) -> None:
    assert fleet.process is not None
    done = fleet.cli("up", "--data-dir", str(fleet.data_dir), "--port", "0", "--control-port", "0")
    assert done.returncode == 1
    assert str(fleet.process.pid) in done.stdout + done.stderr


def test_a_change_that_a_router_did_not_acknowledge_is_202_and_exit_status_1(
    witness: Witness, digits: Fleet
) -> None:
    router = digits.status()["routers"][0]
    os.kill(router["pid"], signal.SIGSTOP)
    try:
        document = witness.json("promote", "digits", "1", status=1)
        assert witness.answers[-1][2] == 202
    finally:
        os.kill(router["pid"], signal.SIGCONT)
    assert [each["id"] for each in document["routers"]["laggards"]] == [router["id"]]
    assert (document["routers"]["known"], document["routers"]["acknowledged"]) == (2, 1)
    assert document["applied"] is True
    until(lambda: all(each["state"] == "serving" for each in digits.status()["routers"]), 5.0)

    def all_have_it() -> bool:
        answer: httpx.Response = digits.control.post("/models/digits/promote", json={"version": "1"})
        return answer.status_code == 200

    until(all_have_it, 5.0)


def test_a_flip_says_how_long_it_took(witness: Witness, digits: Fleet) -> None:
    told: dict[str, Any] = witness.json("promote", "digits", "1", "--reason", "timing")
    assert 0 < told["took_ms"] < 2000
    assert told["routers"] == {"acknowledged": 2, "known": 2, "laggards": []}
