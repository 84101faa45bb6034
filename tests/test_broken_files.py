"""Every file that is kept, broken in every way: it is put aside or refused in words, and nobody fails over it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from router.agent import identity
from router.agent.desire import Desire
from router.agent.place import Occupied, Place, Unsafe, claim
from router.documents import ModelState, Route, Version
from router.journal.journal import Journal
from router.journal.reader import Reader
from router.quarantine import items
from router.registry.registry import Registry
from router.route.snapshot import Snapshot, load, local_replicas, save
from tests.agent.wishes import document, replica
from tests.powerless import powerless

Break = Callable[[Path], None]


def overwritten(body: bytes) -> Break:
    """Other bytes in its place."""

    def broken(path: Path) -> None:
        path.write_bytes(body)

    return broken


def cut(path: Path) -> None:
    """As a disk that ran full, or a machine that lost power, leaves it."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def folder(path: Path) -> None:
    """A folder with something in it."""
    path.unlink()
    path.mkdir()
    (path / "x").write_text("x")


def locked(path: Path) -> None:
    """Nobody may read it."""
    path.chmod(0o000)


def dangling(path: Path) -> None:
    """A link to itself."""
    path.unlink()
    path.symlink_to(path)


BREAKS: dict[str, Break] = {
    "empty": overwritten(b""),
    "cut": cut,
    "zeros": overwritten(b"\0" * 4096),
    "garbage": overwritten(bytes(range(256)) * 16),
    "deep": overwritten(b"[" * 100_000),
    "a number": overwritten(b"5"),
    "null": overwritten(b"null"),
    "a list": overwritten(b"[1, 2]"),
    "an empty object": overwritten(b"{}"),
    "a string": overwritten(b'"\xc3\x9f"'),
    "folder": folder,
    "locked": locked,
    "dangling": dangling,
}

WRONG_TYPES: dict[str, list[Any]] = {
    "table.json": [
        {"revision": "9", "models": [], "versions": []},
        {"revision": 9, "models": {"m": 1}, "versions": []},
        {"revision": 9, "models": [], "versions": [], "format": 2},
        {"revision": 9, "models": [], "versions": [], "format": "new"},
    ],
    "desired.json": [
        {"desired": {"m": {"1": "two"}}, "documents": [document("m", "1")]},
        {"desired": {"m": {"1": -1}}, "documents": [document("m", "1")]},
        {"desired": {"m": {"1": 1}}, "documents": []},
        {"desired": {"m": {"1": 1}}, "documents": [{"model": "m"}]},
        {"desired": {}, "documents": [], "format": 2},
    ],
    "replicas.json": [{"replicas": None}, {"replicas": [{"id": 5}]}, {"replicas": ["r"]}],
}

STATE = ModelState(model="m", route=Route(model="m", active="1", epoch=4), replicas=(), desired={"1": 2})


def read_table(data: Path) -> bool:
    return load(data / "table.json") is not None


def read_desired(data: Path) -> bool:
    return Desire(data / "desired.json", Registry.__new__(Registry)).recall()


def read_local(data: Path) -> bool:
    return local_replicas(data / "replicas.json", data) is not None


READERS = {"table.json": read_table, "desired.json": read_desired, "replicas.json": read_local}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with each of the files, sound."""
    snapshot = Snapshot(revision=9, models=(STATE,), versions=(Version(model="m", version="1", digest="d"),))
    save(tmp_path / "table.json", snapshot)
    wanted = {"format": 1, "desired": {"m": {"1": 2}}, "documents": [document("m", "1")]}
    (tmp_path / "desired.json").write_text(json.dumps(wanted))
    (tmp_path / "replicas.json").write_text(
        json.dumps({"replicas": [{**{f: getattr(replica("a"), f) for f in replica("a").__struct_fields__}}]})
    )
    return tmp_path


@pytest.mark.parametrize("name", READERS)
def test_sound_files_are_read(data: Path, name: str) -> None:
    assert READERS[name](data)
    assert items(data) == []


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("name", READERS)
def test_a_broken_file_is_put_aside_and_the_rest_goes_on(data: Path, name: str, how: str) -> None:
    BREAKS[how](data / name)
    with powerless():
        assert not READERS[name](data)
        assert not READERS[name](data)
    (kept,) = items(data)
    assert kept.file == str(data / name)
    assert kept.reason
    assert not (data / name).exists()


@pytest.mark.parametrize(
    ("name", "body"), [(name, body) for name, bodies in WRONG_TYPES.items() for body in bodies]
)
def test_wrong_types_and_newer_formats_are_put_aside(data: Path, name: str, body: Any) -> None:
    (data / name).write_text(json.dumps(body))
    assert not READERS[name](data)
    assert [kept.file for kept in items(data)] == [str(data / name)]


def test_unknown_fields_of_a_later_version_do_no_harm(data: Path) -> None:
    for name, read in READERS.items():
        body = json.loads((data / name).read_text())
        (data / name).write_text(json.dumps(body | {"invented_later": [1]}))
        assert read(data)


# -- what `up` itself reads ----------------------------------------------------------------------------------


@contextlib.contextmanager
def claimed(data: Path) -> Iterator[Any]:
    held = claim(data)
    try:
        yield held
    finally:
        held.release(clean=True)


@pytest.fixture
def used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that an `up` has used, and left in order."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with claimed(tmp_path / "data"):
        pass
    return tmp_path / "data"


NO_TEXT_OF_A_KEY = [how for how in BREAKS if how not in ("cut", "deep")]


@pytest.mark.parametrize("how", NO_TEXT_OF_A_KEY)
def test_a_broken_key_is_refused_in_words_and_left_alone(used: Path, how: str) -> None:
    key = used / "admin.key"
    BREAKS[how](key)
    with powerless(), pytest.raises(Unsafe, match=r"admin.key.*remove the file"):
        claim(used)
    assert items(used) == []
    assert key.is_symlink() or key.exists()
    if key.is_dir():
        (key / "x").unlink()
        key.rmdir()
    else:
        key.unlink()
    with claimed(used):
        assert len(key.read_text()) == 43


@pytest.mark.parametrize("how", [how for how in BREAKS if how not in ("cut", "a number", "null")])
def test_a_broken_name_is_made_anew(used: Path, how: str) -> None:
    before = (used / "node.id").read_text()
    BREAKS[how](used / "node.id")
    with powerless(), claimed(used) as held:
        assert identity.NODE.match(held.node)
        assert held.node != before
        assert (used / "node.id").read_text() == held.node
    assert [kept.file for kept in items(used)] == [str(used / "node.id")]


def test_a_broken_name_is_found_again_in_the_last_good_table(used: Path) -> None:
    with claimed(used) as held:
        place: Place = held.place
        ours = replica("a", node="thisone", address=f"unix:{place.socket('a')}")
        theirs = replica("b", node="another", address="unix:/elsewhere/b.sock")
        state = ModelState(model="m", route=None, replicas=(ours, theirs), desired={})
        save(used / "table.json", Snapshot(revision=1, models=(state,), versions=()))
    (used / "node.id").write_bytes(b"\0\0\0")
    with claimed(used) as held:
        assert held.node == "thisone"


def test_the_lock_is_never_judged_by_what_stands_in_it(used: Path) -> None:
    for body, unclean in ((b"", False), (b"4711\n", True), (b"\0\xff", True), (b"9" * 40, True)):
        (used / "lock").write_bytes(body)
        with claimed(used) as held:
            assert held.left_uncleanly == unclean
            with pytest.raises(Occupied):
                claim(used)


@pytest.mark.parametrize("how", ["folder", "locked", "dangling"])
def test_a_lock_that_cannot_be_opened_is_refused_in_words(used: Path, how: str) -> None:
    BREAKS[how](used / "lock")
    with powerless(), pytest.raises(Unsafe, match=r"lock cannot be opened.*remove it and start again"):
        claim(used)


@pytest.mark.parametrize("name", ["journal", "redis", "logs", "bentoml", "homes"])
def test_a_file_or_a_locked_folder_in_place_of_a_folder_is_refused_in_words(used: Path, name: str) -> None:
    (used / name).chmod(0o000)
    with powerless(), pytest.raises(Unsafe, match=f"{name} cannot be read and written: restore its rights"):
        claim(used)
    (used / name).rmdir()
    (used / name).write_text("a file")
    with pytest.raises(Unsafe, match=f"{name} is not a folder: move it away"):
        claim(used)


# -- the journal ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_segment_hides_no_other(tmp_path: Path, how: str) -> None:
    ids = {}
    for name in ("r0", "r1"):
        journal = Journal(tmp_path, name, segment_bytes=1000)
        ids[name] = [one for n in range(30) for one in journal.append([{"n": n, "filler": "x" * 100}])]
        journal.close()
    BREAKS[how](tmp_path / "r0" / "00000001.log")
    with powerless():
        reader = Reader(tmp_path)
        found = [record["record_id"] for record in reader.page(limit=1000).records]
        assert reader.find("nobody's") == []
        assert reader.get("r0-1-0") is None or how == "cut"
    kept = [one for name in ids.values() for one in name if not one.startswith("r0-1-")]
    assert [one for one in found if not one.startswith("r0-1-")] == kept


@pytest.mark.parametrize("name", ["r0", "r0/00000000.log"])
def test_an_unreadable_folder_or_segment_hides_no_other(tmp_path: Path, name: str) -> None:
    for incarnation in ("r0", "r1"):
        journal = Journal(tmp_path, incarnation)
        journal.append([{"n": 1}])
        journal.close()
    (tmp_path / name).chmod(0o000)
    with powerless():
        found = [record["record_id"] for record in Reader(tmp_path).page().records]
    (tmp_path / name).chmod(0o700)
    assert found == ["r1-0-0"]
