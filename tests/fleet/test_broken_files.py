"""`up` on a data folder in which all it keeps was broken: it says what it found, mends itself, and serves."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from loadtests.fleet import BIN, Fleet, wait_for
from router.quarantine import items
from tests.test_broken_files import BREAKS

pytestmark = pytest.mark.fleet

FILES = ("table.json", "desired.json", "node.id")
BODY = {"instances": [[0.0] * 64]}


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """One installation with version 1 of digits active; each test starts and stops it."""
    made = Fleet()
    made.start()
    made.release("digits", "1")
    made.promote("digits", "1")
    yield made
    made.remove()


def ended(fleet: Fleet, number: signal.Signals) -> None:
    """`up` does not run any more."""
    assert fleet.process is not None
    if fleet.process.poll() is None:
        fleet.stop(number)


def answers(fleet: Fleet) -> bool:
    answer = httpx.post(f"{fleet.data}/v1/models/digits:predict", json=BODY, timeout=10)
    return answer.status_code == 200


@pytest.mark.parametrize("how", ["cut", "garbage", "folder"])
def test_up_starts_whatever_was_broken(fleet: Fleet, how: str) -> None:
    kept = {item["kept_as"] for item in fleet.status()["quarantine"]}
    assert answers(fleet)  # there is something in the journal
    ended(fleet, signal.SIGKILL)
    for name in FILES:
        BREAKS[how](fleet.data_dir / name)
    (fleet.data_dir / "lock").write_bytes(b"\0\0\0")
    for segment in (fleet.data_dir / "journal").glob("*/*.log"):
        with segment.open("ab") as file:
            file.write(b"0badc0de {}\n")
    fleet.start()
    wait_for(lambda: answers(fleet), 20, fleet.tail)
    found = [item for item in fleet.status()["quarantine"] if item["kept_as"] not in kept]
    # The table and the wishes are not read while Redis is there: they are written anew.
    if how != "cut":  # two thirds of a name are a name
        assert str(fleet.data_dir / "node.id") in {item["file"] for item in found}
    # The shipper looks through what the killed router left.
    wait_for(lambda: "\npointsman_log_corrupt_bytes 0.0" not in metrics(fleet), 20, fleet.tail)
    assert f"pointsman_quarantined_files {float(len(fleet.status()['quarantine']))}" in metrics(fleet)


def test_with_redis_dead_as_well_nothing_crashes_over_and_over(fleet: Fleet) -> None:
    ended(fleet, signal.SIGTERM)
    before = put_aside(fleet)
    log = fleet.data_dir / "logs" / "up.log"
    began = log.stat().st_size
    for name in ("table.json", "desired.json"):
        (fleet.data_dir / name).write_bytes(b'{"models": 5')
    words = ["up", "--data-dir", str(fleet.data_dir), "--port", str(fleet.port), "--control-port"]
    words += [str(fleet.control_port), "--redis-url", f"unix://{fleet.folder}/nobody.sock"]
    with (fleet.folder / "dead.out").open("wb") as out:
        process = subprocess.Popen([str(BIN / "pointsman"), *words], env=fleet.env, stdout=out, stderr=out)
    try:
        wait_for(lambda: len(put_aside(fleet) - before) == 2, 30, fleet.tail)
        wait_for(lambda: status(fleet, "/readyz") == 503, 10, fleet.tail)
        assert status(fleet, "/livez") == 200
        assert b'"child_ended"' not in log.read_bytes()[began:]
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize(
    ("name", "told"), [("admin.key", "remove the file"), ("lock", "remove it and start again")]
)
def test_what_nobody_may_replace_is_refused_in_words(fleet: Fleet, name: str, told: str) -> None:
    ended(fleet, signal.SIGTERM)
    path = fleet.data_dir / name
    path.rename(path.with_name("saved"))
    path.mkdir()
    try:
        done = fleet.cli("up", "--data-dir", str(fleet.data_dir), "--port", "0", "--control-port", "0")
        assert done.returncode == 1
        assert str(path) in done.stderr
        assert told in done.stderr
    finally:
        path.rmdir()
        path.with_name("saved").rename(path)


def test_an_embedded_redis_that_cannot_read_its_file_costs_no_prediction(fleet: Fleet) -> None:
    ended(fleet, signal.SIGTERM)
    fleet.start()
    wait_for(lambda: all((fleet.data_dir / name).exists() for name in FILES), 20, fleet.tail)
    ended(fleet, signal.SIGTERM)
    file = fleet.data_dir / "redis" / "appendonly.aof"
    sound = file.read_bytes()
    middle = len(sound) // 2
    file.write_bytes(sound[:middle] + b"\0garbage\r\n*5\r\n$2" + sound[middle + 40 :])
    try:
        fleet.start()
        wait_for(lambda: answers(fleet), 20, fleet.tail)
        assert fleet.control.get("/status").status_code == 503
        assert "restarting redis" in fleet.log.read_text()
        assert "Bad file format" in (fleet.data_dir / "logs" / "redis.log").read_text()
        assert file.exists()  # it holds every route: nobody takes it away but an operator
    finally:
        ended(fleet, signal.SIGTERM)
        file.write_bytes(sound)
    fleet.start()
    wait_for(lambda: answers(fleet), 20, fleet.tail)
    assert fleet.ask("GET", "/models/digits")["route"]["active"] == "1"


def put_aside(fleet: Fleet) -> set[Path]:
    return {item.path for item in items(fleet.data_dir)}


def status(fleet: Fleet, path: str) -> int:
    try:
        return httpx.get(f"{fleet.data}{path}", timeout=5).status_code
    except httpx.TransportError:
        return 0


def metrics(fleet: Fleet) -> str:
    return fleet.control.get("/metrics").text
