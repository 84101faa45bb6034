"""Every command: what people read, what `--json` prints, how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from router.cli.main import COMMANDS, main
from router.documents import Route
from router.journal.journal import Journal
from tests.cli.conftest import Run
from tests.control.installation import KEY, Installation, replica
from tests.control.test_redis_trouble import last_good


def shape(value: Any) -> Any:
    """A document without what changes from look to look."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items() if k not in ("heard_ms", "cursor", "took_ms")}
    return [shape(each) for each in value] if isinstance(value, list) else value


def same(run: Run, here: Installation, path: str, *command: str) -> None:
    result = run(*command, "--json")
    assert result.exit_code == 0
    assert shape(json.loads(result.stdout)) == shape(here.client.get(path).json())


def test_flips(run: Run, here: Installation) -> None:
    here.versions("digits", "1", "2")
    here.router("r1")
    first = run("promote", "digits", "1", "--reason", "the first")
    assert first.exit_code == 0
    assert "digits: version 1, epoch" in first.stdout
    assert "acknowledged by 1 of 1 routers" in first.stdout
    assert "already version 1" in run("promote", "digits", "1").stdout
    split = run("split", "digits", "1=90", "2=10")
    assert "version 1 90 %, version 2 10 % (active: 1)" in split.stdout
    assert run("split", "digits", "1=100").exit_code == 0
    answer = json.loads(run("promote", "digits", "2", "--json").stdout)
    assert answer["routers"] == {"acknowledged": 1, "known": 1, "laggards": []}
    assert run("rollback", "digits", "--if-match", str(answer["epoch"])).exit_code == 0
    again = run("rollback", "digits")
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr.startswith("error: model digits has no previous version")
    assert again.stderr.endswith("(no_previous)\n")
    assert run("rollback", "digits", "--to", "2", "--reason", "on purpose").exit_code == 0
    late = run("promote", "digits", "1", "--if-match", "1", "--json")
    assert late.exit_code == 1
    assert json.loads(late.stdout)["code"] == "epoch_mismatch"


def test_a_laggard_makes_the_exit_status_1(run: Run, here: Installation) -> None:
    here.versions("digits", "1")
    here.router("r1").mute = True
    result = run("promote", "digits", "1")
    assert result.exit_code == 1
    assert "acknowledged so far by 0 of 1 routers" in result.stdout
    assert "not by r1: still at revision" in result.stderr
    answer = run("promote", "digits", "1", "--json")
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["routers"]["laggards"][0]["id"] == "r1"


@pytest.mark.parametrize(
    "command",
    [
        ("split", "digits", "1"),
        ("split", "digits", "1=90", "1=10"),
        ("split", "digits", "1=x"),
        ("split", "digits", "1=101"),
        ("split", "digits"),
        ("promote", "digits"),
        ("deploy", "digits", "1", "--replicas", "0"),
        ("register", "--model", "digits"),
        ("logs", "digits", "--request-id", "q"),
        ("why",),
        ("nonsense",),
        ("up", "--port", "70000"),
    ],
)
def test_wrong_usage_is_2(run: Run, command: tuple[str, ...]) -> None:
    assert run(*command).exit_code == 2


def test_deploy_waits_and_undeploy(run: Run, here: Installation) -> None:
    here.versions("digits", "1", warm=False)
    late = run("deploy", "digits", "1", "--timeout", "0.2")
    assert late.exit_code == 1
    assert "0 of 1 replicas of version 1 were ready after 0.2 s (deploy_timeout)" in late.stderr
    later = threading.Timer(0.3, lambda: here.call(here.registry.put_replica(replica("digits", "1"))))
    later.start()
    ready = run("deploy", "digits", "1")
    later.join()
    assert ready.exit_code == 0
    assert "version 1 of digits is ready: 1 of 1 replicas" in ready.stdout
    assert json.loads(run("deploy", "digits", "1", "--json").stdout)["ready"] == 1
    run("promote", "digits", "1")
    assert "(still_routed)" in run("undeploy", "digits", "1", "--force").stderr
    here.versions("digits", "2")
    run("promote", "digits", "2")
    assert run("undeploy", "digits", "1").exit_code == 1
    assert run("undeploy", "digits", "1", "--force", "--reason", "done").exit_code == 0


def test_status_fits_the_screen(run: Run, here: Installation) -> None:
    here.versions("a-model-with-quite-a-long-name-as-they-come", "1", "2")
    here.versions("digits", "1", "2024-11-24-challenger-with-a-long-name")
    here.router("r0.mf3k2a9")
    run("promote", "digits", "1")
    run("split", "digits", "1=90", "2024-11-24-challenger-with-a-long-name=10")
    for command in (("status",), ("status", "digits"), ("history", "digits"), ("routers",)):
        result = run(*command)
        assert result.exit_code == 0
        assert max(map(len, result.stdout.splitlines())) <= 80, result.stdout
    text = run("status").stdout
    for told in ("1=90", "r0.mf3k2a9", "serving", "redis pid", "4 of 4 ready"):
        assert told in text
    same(run, here, "/status", "status")
    same(run, here, "/models/digits", "status", "digits")
    same(run, here, "/routers", "routers")
    same(run, here, "/models/digits/history", "history", "digits")


def test_an_empty_installation(run: Run) -> None:
    assert "no models yet" in run("status").stdout


def test_routers_are_forgotten(run: Run, here: Installation) -> None:
    here.router("r1").mute = True
    assert run("routers", "forget", "r1").exit_code == 0
    assert json.loads(run("routers", "forget", "r1", "--json").stdout)["code"] == "unknown_router"


def model_file(folder: Path) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "neg", [x], [y])
    path = folder / "neg.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def test_register(run: Run, here: Installation, tmp_path: Path) -> None:
    path = model_file(tmp_path)
    result = run("register", str(path), "--model", "neg")
    assert result.exit_code == 0, result.stderr
    assert "registered version 1 of neg, sha256" in result.stdout
    assert "next: pointsman deploy neg 1" in result.stdout
    document = json.loads(run("register", str(path), "--model", "neg", "--version", "x", "--json").stdout)
    assert (document["version"], document["model"]) == ("x", "neg")
    again = run("register", str(path), "--model", "neg", "--version", "x")
    assert (again.exit_code, "(version_exists)" in again.stderr) == (1, True)
    lost = tmp_path / "manifest.yaml"
    lost.write_text("golden: {inputs: golden.npz}")
    missing = run("register", str(path), "--model", "neg", "--manifest", str(lost))
    assert (missing.exit_code, "golden.npz" in missing.stderr) == (1, True)


def test_register_sends_golden_vectors_along(run: Run, here: Installation, tmp_path: Path) -> None:
    import numpy as np

    path = model_file(tmp_path)
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)
    np.savez(tmp_path / "golden.npz", **{"x": rows, "out:y": -rows})  # type: ignore[arg-type]
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text("{apiVersion: pointsman/v1, kind: Version, golden: {inputs: golden.npz}}")
    result = run("register", str(path), "--model", "neg", "--manifest", str(manifest), "--json")
    assert result.exit_code == 0, result.stdout
    assert json.loads(result.stdout)["report"]["golden"]["generated"] is False


def record(number: int, **others: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "request_id": f"q{number}",
        "model": "digits",
        "version": "1",
        "digest": "ab" * 32,
        "router": "r0",
        "replica": "digits-1-0",
        "epoch": 3,
        "reason": "active",
        "status": 200,
        "error": None,
        "attempts": [{"version": "1", "replica": "digits-1-0", "status": 200, "upstream_ms": 0.8}],
        "rows": 1,
        "batch_rows": 12,
        "queue_ms": 0.1,
        "upstream_ms": 0.8,
        "total_ms": 1.25,
    }
    return fields | others


@pytest.fixture
def journal(here: Installation) -> Journal:
    return Journal(here.settings.data_dir / "journal", "r0.a1")


def test_logs(run: Run, here: Installation, journal: Journal) -> None:
    journal.append([record(number) for number in range(150)])
    journal.append([record(999, model="other", status=503, error="no_active_version", version=None)])
    newest = run("logs", "digits", "--json")
    lines = [json.loads(line) for line in newest.stdout.splitlines()]
    assert [line["request_id"] for line in lines] == [f"q{number}" for number in range(50, 150)]
    oldest = run("logs", "digits", "--since", "10m", "--limit", "2", "--json")
    lines = [json.loads(line) for line in oldest.stdout.splitlines()]
    assert lines == here.client.get("/requests?model=digits&since=10m&limit=2").json()["requests"]
    assert len(run("logs", "--since", "1h", "--limit", "1000").stdout.splitlines()) == 151
    text = run("logs", "--request-id", "q999").stdout
    for told in ("503", "other/-", "no_active_version", "q999"):
        assert told in text
    assert run("logs", "--request-id", "none").exit_code == 1
    assert run("logs", "--since", "yesterday").exit_code == 1


def test_logs_follow(run: Run, here: Installation, journal: Journal) -> None:
    journal.append([record(1)])
    stopped = threading.Event()

    def write() -> None:
        for number in range(100, 400):
            journal.append([record(number)])
            if stopped.wait(0.02):
                return

    writer = threading.Thread(target=write)
    writer.start()
    result = run("logs", "-f", "--limit", "20", "--json")
    stopped.set()
    writer.join()
    numbers = [int(json.loads(line)["request_id"][1:]) for line in result.stdout.splitlines()]
    assert len(numbers) == 20
    assert numbers == list(range(numbers[0], numbers[0] + 20))
    assert numbers[0] >= 100


def test_why(run: Run, here: Installation, journal: Journal) -> None:
    here.versions("digits", "1", "2")
    run("promote", "digits", "1")
    epoch = json.loads(run("split", "digits", "1=75", "2=25", "--reason", "try it", "--json").stdout)["epoch"]
    failed = {"version": "2", "replica": "digits-2-0", "status": 500, "error": "boom", "upstream_ms": 2}
    ids = journal.append(
        [
            record(1, epoch=epoch, reason="sticky"),
            record(2, epoch=epoch, reason="fallback", attempts=[failed, *record(2)["attempts"]]),
            record(
                3, epoch=None, version=None, reason=None, status=503, error="no_active_version", attempts=[]
            ),
        ]
    )
    text = run("why", "q1").stdout
    for told in (
        "Request q1 to version 1 of model digits was answered 200",
        "routing key falls into this version's buckets (sticky)",
        f"epoch {epoch}: version 1 75 %, version 2 25 % (active: 1), 75 % to this version",
        "admin made it by split at",
        'because "try it"',
        "Attempt 1 of 1: replica digits-1-0 of version 1 gave 200 after 0.80 ms",
        "It took 1.25 ms: 0.10 ms waiting for a replica, 0.80 ms in it; 1 row in a batch of 12.",
        ids[0],
    ):
        assert told in text, text
    assert "Attempt 1 of 2: replica digits-2-0 of version 2 gave 500 (boom)" in run("why", ids[1]).stdout
    refused = run("why", "q3").stdout
    assert "answered 503: no_active_version" in refused
    assert "no replica was asked" in refused
    document = json.loads(run("why", "q1", "--json").stdout)
    assert document["requests"][0]["record_id"] == ids[0]
    assert document["history"][0]["epoch"] == epoch
    assert run("why", "nothing").exit_code == 1


def test_where_nothing_runs(state: Path) -> None:
    for command in (["status"], ["status", "--json"]):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 1
        assert "(no_address)" in result.stderr
    assert json.loads(result.stdout)["code"] == "no_address"


def test_the_environment_says_where_and_who(
    here: Installation, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTSMAN_URL", here.url + "/")
    result = CliRunner().invoke(main, ["status"])
    assert "(no_key)" in result.stderr
    monkeypatch.setenv("POINTSMAN_KEY", "wrong")
    assert "(unauthorized)" in CliRunner().invoke(main, ["status"]).stderr
    monkeypatch.setenv("POINTSMAN_KEY", KEY)
    assert CliRunner().invoke(main, ["status"]).exit_code == 0
    monkeypatch.setenv("POINTSMAN_URL", "http://127.0.0.1:1")
    gone = CliRunner().invoke(main, ["status"])
    assert (gone.exit_code, "(unreachable)" in gone.stderr) == (1, True)


def test_the_local_key_is_not_sent_elsewhere(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTSMAN_URL", "http://127.0.0.1:1")
    assert "(no_key)" in run("status").stderr


def test_every_command_has_help_and_json() -> None:
    for name in COMMANDS:
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0, name
        assert "--json" in result.output, name
    assert all(name in CliRunner().invoke(main, ["--help"]).output for name in COMMANDS)


def test_the_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from router.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'httpx', 'rich', 'redis', 'numpy', 'pydantic', 'starlette', 'msgspec'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 2


def test_registry_restore(run: Run, here: Installation) -> None:
    nothing = run("registry", "restore")
    assert (nothing.exit_code, nothing.stdout) == (1, "")
    assert nothing.stderr.endswith("(nothing_known)\n")
    here.versions("digits", "1")
    assert here.post("/models/digits/promote", {"version": "1"}).status_code == 200
    last_good(here, Route(model="digits", epoch=99, active="1"), "1")
    here.call(here.registry.redis.flushall())
    done = run("registry", "restore", "--reason", "flushed")
    assert done.exit_code == 0, done.stderr
    assert "digits: route; versions 1; deployed 1, revision" in done.stdout
    assert "1 of 1 models had lost something" in done.stdout
    assert json.loads(run("registry", "restore", "--json").stdout) == {
        "models": 1,
        "restored": [],
        "incomplete": [],
        "keys": 0,
    }
    last_good(here, Route(model="digits", epoch=999, active="7"), "1")
    incomplete = run("registry", "restore")
    assert incomplete.exit_code == 1
    assert "register version 7 again" in incomplete.stderr
