"""The home of a replica holds what was registered, byte by byte, and goes with all that runs in it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from router.agent.home import SMALL_BYTES, Altered, assemble, clear
from tests.agent.waiting import alive, until

FILES = {
    "bento.yaml": b"service: a:A",
    "src/service.py": b"# a service",
    "models/w/1/weights.bin": b"w" * (SMALL_BYTES + 1),
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for path, data in FILES.items():
        file = tmp_path / "store" / "bentos" / "a" / "1" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return tmp_path / "store"


def document() -> dict[str, Any]:
    artifacts = [{"path": path, "sha256": hashlib.sha256(data).hexdigest()} for path, data in FILES.items()]
    return {"store": "a:1", "artifacts": artifacts}


def test_bento_and_models_lie_where_bentoml_looks(store: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert assemble(document(), store, home) == "a:1"
    service = home / "bentos/a/1/src/service.py"
    assert service.read_bytes() == FILES["src/service.py"]
    weights = home / "models/w/1/weights.bin"
    assert os.path.samefile(weights, store / "bentos/a/1/models/w/1/weights.bin")
    service.write_text("# changed by the service itself")
    assert (store / "bentos/a/1/src/service.py").read_bytes() == FILES["src/service.py"]
    assert not (home / "bentos/a/1/models").exists()


@pytest.mark.parametrize("path", FILES)
def test_what_was_altered_is_not_served(store: Path, tmp_path: Path, path: str) -> None:
    stored = store / "bentos/a/1" / path
    stored.write_bytes(stored.read_bytes() + b"!")
    with pytest.raises(Altered, match=path):
        assemble(document(), store, tmp_path / "home")
    stored.unlink()
    with pytest.raises(Altered, match=path):
        assemble(document(), store, tmp_path / "other")
    stored.symlink_to("/etc/passwd")
    with pytest.raises(Altered, match=path):
        assemble(document(), store, tmp_path / "third")


@pytest.mark.parametrize("path", ["../b/x", "/etc/passwd", "src/../../../x", ""])
def test_no_path_leads_out(store: Path, tmp_path: Path, path: str) -> None:
    wrong = document() | {"artifacts": [{"path": path, "sha256": "0" * 64}]}
    with pytest.raises(Altered):
        assemble(wrong, store, tmp_path / "home")


def test_clear_ends_what_runs_there_in_whatever_session(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    started = [
        subprocess.Popen(argv, env=os.environ | {"BENTOML_HOME": str(place)}, start_new_session=True)
        for place in (home, other)
    ]
    mine, theirs = started
    until(lambda: Path(f"/proc/{mine.pid}/cmdline").read_bytes().count(b"sleep"))
    clear(home)
    mine.wait(5)
    assert not home.exists()
    assert alive(theirs.pid)
    theirs.kill()
    theirs.wait(5)
