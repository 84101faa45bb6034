"""The last good table on disk: written whole, read back, put aside when it is broken."""

import errno
from pathlib import Path

import msgspec
import pytest

from router.documents import ModelState, Route, Version
from router.quarantine import items
from router.route.snapshot import FORMAT, Snapshot, load, local_replicas, save

STATE = ModelState(model="m", route=Route(model="m", active="1", epoch=4), replicas=(), desired={"1": 2})
SNAPSHOT = Snapshot(
    revision=9, models=(STATE,), versions=(Version(model="m", version="1", digest="d", rowwise=True),)
)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    save(path, SNAPSHOT)
    assert load(path) == SNAPSHOT
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_there(tmp_path: Path) -> None:
    assert load(tmp_path / "table.json") is None
    assert local_replicas(tmp_path / "replicas.json") is None


def test_a_torn_file_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    save(path, SNAPSHOT)
    path.write_bytes(path.read_bytes()[:-20])
    assert load(path) is None
    (kept,) = items(tmp_path)
    assert (kept.file, kept.reason) == (str(path), "it cannot be read: Input data was truncated")
    assert load(path) is None


def test_a_table_of_a_newer_version_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    save(path, msgspec.structs.replace(SNAPSHOT, format=FORMAT + 1))
    assert load(path) is None
    assert [kept.reason for kept in items(tmp_path)] == ["it is of format 2, this version reads up to 1"]


def test_a_folder_in_its_place_makes_way(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    (path / "in it").mkdir(parents=True)
    save(path, SNAPSHOT)
    assert load(path) == SNAPSHOT


def test_a_full_disk_leaves_the_old_table_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.json"
    save(path, SNAPSHOT)

    def full(draft: Path, body: bytes) -> int:
        with draft.open("wb") as file:
            file.write(body[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        save(path, msgspec.structs.replace(SNAPSHOT, revision=10))
    monkeypatch.undo()
    assert load(path) == SNAPSHOT
    assert list(tmp_path.iterdir()) == [path]
