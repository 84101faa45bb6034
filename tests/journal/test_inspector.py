"""What dead routers left is looked through once: broken lines are told and kept, sound ones stay readable."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from router.journal import inspector
from router.journal.folder import segments
from router.journal.inspector import Inspector
from router.journal.journal import Journal
from router.journal.reader import Reader
from router.quarantine import items


def write(data: Path, name: str, count: int = 50) -> list[str]:
    journal = Journal(data / "journal", name, segment_bytes=2000)
    ids = [each for n in range(count) for each in journal.append([{"n": n, "filler": "x" * 100}])]
    journal.close()
    return ids


def look(data: Path) -> tuple[Inspector, list[dict[str, object]]]:
    found = Inspector(data)
    with capture_logs() as said:
        while found.step():
            continue
    return found, [dict(entry) for entry in said if entry["event"].startswith("segment_")]


def readable(data: Path) -> list[str]:
    return [record["record_id"] for record in Reader(data / "journal").page(limit=1000).records]


def test_a_sound_journal_says_nothing(tmp_path: Path) -> None:
    ids = write(tmp_path, "r0")
    found, said = look(tmp_path)
    assert (found.corrupt_bytes, said, items(tmp_path)) == (0, [], [])
    assert readable(tmp_path) == ids


def test_a_journal_cut_mid_record_keeps_all_before_the_cut(tmp_path: Path) -> None:
    ids = write(tmp_path, "r0")
    last = segments(tmp_path / "journal", "r0")[-1]
    os.truncate(last.path, last.size - 7)
    found, said = look(tmp_path)
    assert readable(tmp_path) == ids[:-1]
    assert found.corrupt_bytes == 0
    assert [(entry["event"], entry["path"]) for entry in said] == [("segment_torn", str(last.path))]


def test_a_corrupt_segment_is_told_copied_and_read_around(tmp_path: Path) -> None:
    ids = write(tmp_path, "r0")
    second = segments(tmp_path / "journal", "r0")[1]
    data = bytearray(second.path.read_bytes())
    lines = bytes(data).splitlines(keepends=True)
    data[len(lines[0]) + 20] ^= 1  # one bit of the second line
    second.path.write_bytes(data)
    for _ in range(2):  # a second start does not copy it again
        found, said = look(tmp_path)
        assert found.corrupt_bytes == len(lines[1])
        assert [(entry["event"], entry["lines"], entry["offset"]) for entry in said] == [
            ("segment_corrupt", 1, len(lines[0]))
        ]
    (kept,) = items(tmp_path)
    assert kept.path.read_bytes() == data[len(lines[0]) : len(lines[0]) + len(lines[1])]
    assert readable(tmp_path) == [name for name in ids if name != f"r0-1-{len(lines[0])}"]


@pytest.mark.parametrize("garbage", [b"", b"\0" * 5000, os.urandom(5000), b"\n" * 5000, b"x" * 5000])
def test_garbage_in_place_of_a_segment_costs_that_segment_only(tmp_path: Path, garbage: bytes) -> None:
    ids = write(tmp_path, "r0")
    first = segments(tmp_path / "journal", "r0")[0]
    first.path.write_bytes(garbage)
    look(tmp_path)
    assert readable(tmp_path) == [name for name in ids if not name.startswith("r0-0-")]


def test_a_folder_in_place_of_a_segment_is_no_segment(tmp_path: Path) -> None:
    ids = write(tmp_path, "r0")
    first = segments(tmp_path / "journal", "r0")[0]
    first.path.unlink()
    first.path.mkdir()
    (tmp_path / "journal" / "r1").write_text("a file where a folder belongs")
    _, said = look(tmp_path)
    assert said == []
    assert readable(tmp_path) == [name for name in ids if not name.startswith("r0-0-")]


def test_a_living_router_is_left_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", "r0")
    journal.append([{"n": 1}])
    path = segments(tmp_path / "journal", "r0")[0].path
    path.write_bytes(b"broken\n")
    found, said = look(tmp_path)
    assert (found.corrupt_bytes, said) == (0, [])
    journal.close()


def test_a_step_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "r0")
    monkeypatch.setattr(inspector, "STEP_BYTES", 3000)
    found = Inspector(tmp_path)
    steps = 1
    while found.step():
        steps += 1
    assert steps == len(segments(tmp_path / "journal", "r0")) // 2 + 1
