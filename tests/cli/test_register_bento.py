"""`register` of bentos: by tag, and from a folder, which the public builder makes a bento of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.bentos_behind.sources import CONTRACT, SUMS, folder_of
from tests.cli.conftest import Run
from tests.services.bentos import write_bento


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's BentoML home, which `up` was started with as well."""
    found = tmp_path / "bentoml"
    monkeypatch.setenv("BENTOML_HOME", str(found))
    return found


def test_by_tag(run: Run, home: Path) -> None:
    write_bento(home)
    done = run("register", "--bento", "sums:abc", "--model", "sums", "--python", "gateway")
    assert done.exit_code == 0, done.stderr
    assert "bento sums:abc, runs in gateway" in done.stdout
    told = json.loads(run("register", "--bento", "sums", "--model", "sums", "--json").stdout)
    assert (told["version"], told["bento"]["python"]) == ("2", None)
    named = run("register", "--bento", "sums", "--model", "sums", "--python", "venv/bin/python", "--json")
    assert json.loads(named.stdout)["bento"]["python"] == str(Path.cwd() / "venv/bin/python")
    assert "(unknown_bento)" in run("register", "--bento", "nope", "--model", "sums").stderr


def test_from_a_folder_with_its_manifest_and_golden_rows(run: Run, home: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "sums", SUMS)
    arrays = {"x": np.ones((2, 3), np.float32), "out:y": np.full(2, 3, np.float32)}
    np.savez(tmp_path / "golden.npz", **arrays)  # type: ignore[arg-type]
    manifest = CONTRACT | {"golden": {"inputs": "../golden.npz"}, "python": "gateway", "version": "9"}
    (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    done = run("register", str(folder), "--model", "sums", "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["version"], document["rowwise"]) == ("9", True)
    assert document["golden"]["outputs"] == {"y": [3.0, 3.0]}
    assert (home / "bentos" / document["bento"]["tag"].replace(":", "/")).is_dir()


def test_what_cannot_be_built(run: Run, home: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "(no_service)" in run("register", str(empty), "--model", "m").stderr
    broken = folder_of(tmp_path, "broken", "import no_such_library\n")
    refused = run("register", str(broken), "--model", "m")
    assert (refused.exit_code, "(build_failed)" in refused.stderr) == (1, True)
    assert "no_such_library" in refused.stderr
    absent = run("register", str(broken), "--model", "m", "--python", "/no/python")
    assert "(build_failed)" in absent.stderr
    assert run("register", str(broken), "--bento", "a", "--model", "m").exit_code == 2
    assert run("register", "--model", "m").exit_code == 2
