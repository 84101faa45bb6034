"""The last good table on disk: written whole, read back, put aside when it is broken."""

from pathlib import Path

from router.documents import ModelState, Route, Version
from router.route.snapshot import Snapshot, load, local_replicas, save

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
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith("table.json.corrupt-")
