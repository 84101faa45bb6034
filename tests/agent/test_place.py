"""One `up` a data folder, and folders that belong to nobody else."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from router.agent import place as places
from router.agent import snapshot
from router.agent.place import SOCKET_PATH_BYTES, Occupied, Place, Unsafe, claim, make_private, runtime_dir

HOLDER = """
import sys, time
from pathlib import Path
from router.agent.place import claim
held = claim(Path(sys.argv[1]))
print('held', flush=True)
time.sleep(60)
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_second_claim_is_refused_and_names_the_first(home: Path) -> None:
    argv = [sys.executable, "-c", HOLDER, str(home / "data")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Occupied, match=f"process {holder.pid}") as refused:
            claim(home / "data")
        assert refused.value.pid == holder.pid
        holder.send_signal(signal.SIGKILL)
        holder.wait(5)
    again = claim(home / "data")
    assert again.left_uncleanly
    again.release(clean=True)
    last = claim(home / "data")
    assert not last.left_uncleanly
    last.release(clean=True)


def test_everything_is_private_and_made_once(home: Path) -> None:
    first = claim(home / "data")
    key = first.place.admin_key.read_text()
    first.release(clean=True)
    first.place.admin_key.chmod(0o644)
    second = claim(home / "data")
    assert second.place.admin_key.read_text() == key
    assert len(key) == 43
    assert mode(second.place.admin_key) == 0o600
    assert second.node == first.node
    for folder in (second.place.data_dir, second.place.runtime_dir, second.place.redis, second.place.logs):
        assert mode(folder) == 0o700
    second.release(clean=True)


def test_the_runtime_folder_is_short_and_the_same_each_time(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runtime_dir(home / "a") == runtime_dir(home / "a") != runtime_dir(home / "b")
    assert runtime_dir(home / "a").parent == home / "xdg_runtime_dir"
    deep = home / ("x" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    found = runtime_dir(home / "a")
    assert deep not in found.parents
    assert len(str(Place(home, found).socket("r0.abcdefgh"))) <= SOCKET_PATH_BYTES
    with pytest.raises(ValueError, match="longer than"):
        Place(home, found).socket("x" * 100)


def test_a_runtime_folder_of_others_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(Unsafe, match="not a folder"):
        make_private(tmp_path / "link")
    (tmp_path / "open").mkdir(mode=0o777)
    make_private(tmp_path / "open")
    assert mode(tmp_path / "open") == 0o700
    monkeypatch.setattr(places.os, "getuid", lambda: 4711)
    with pytest.raises(Unsafe, match="belongs to user"):
        make_private(tmp_path / "open")


def test_a_claim_that_fails_gives_the_lock_back(home: Path) -> None:
    data = home / "data"
    runtime = runtime_dir(data)
    runtime.symlink_to(home)
    with pytest.raises(Unsafe):
        claim(data)
    runtime.unlink()
    claim(data).release(clean=True)


def test_the_sweep_takes_stale_sockets_and_notes_only(place: Place) -> None:
    stale = [place.socket("old"), place.processes, place.replicas, place.replica_files / "a.json"]
    for path in [*stale, place.runtime_dir / "shipper.json"]:
        path.write_text("{}")
    places.sweep(place)
    assert not any(path.exists() for path in stale)
    assert (place.runtime_dir / "shipper.json").exists()


def test_the_note_is_taken_away_only_by_who_left_it(place: Place) -> None:
    places.leave_note(place, "http://127.0.0.1:8001")
    assert mode(places.note_path()) == 0o600
    assert snapshot.read(places.note_path()) == {
        "url": "http://127.0.0.1:8001",
        "key_path": str(place.admin_key),
        "data_dir": str(place.data_dir),
        "pid": os.getpid(),
        "cert_path": None,
    }
    snapshot.write(places.note_path(), {"pid": os.getpid() + 1})
    places.take_note_away()
    assert places.note_path().exists()
    places.leave_note(place, "x", Path("server.pem"))
    assert snapshot.read(places.note_path())["cert_path"] == str(Path.cwd() / "server.pem")
    places.take_note_away()
    assert not places.note_path().exists()
