"""What is put aside is found again with its reason, is bounded, and never breaks who puts it there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from router import quarantine
from router.quarantine import items, keep_bytes, put_aside


def test_time_place_reason_and_content_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(b"{")
    kept = put_aside(path, "it is cut off")
    assert kept is not None
    assert not path.exists()
    assert kept.read_bytes() == b"{"
    (item,) = items(tmp_path)
    assert (item.path, item.file, item.reason, item.size) == (kept, str(path), "it is cut off", 1)
    assert item.time.endswith("Z")
    assert stat.S_IMODE((tmp_path / "quarantine").stat().st_mode) == 0o700
    assert item.document()["kept_as"] == kept.name


def test_folders_links_and_files_of_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "run" / "folder").mkdir(parents=True)
    (tmp_path / "run" / "folder" / "x").write_bytes(b"12345")
    (tmp_path / "run" / "link").symlink_to("/etc/passwd")
    for name in ("folder", "link"):
        assert put_aside(tmp_path / "run" / name, "no file", tmp_path / "data") is not None
    folder, link = items(tmp_path / "data")
    assert (folder.size, link.path.is_symlink()) == (5, True)
    assert list((tmp_path / "run").iterdir()) == []


def test_what_is_gone_or_cannot_be_moved_raises_nothing(tmp_path: Path) -> None:
    assert put_aside(tmp_path / "none", "gone") is None
    (tmp_path / "quarantine").rmdir()
    (tmp_path / "quarantine").write_text("a file in its place")
    (tmp_path / "a").write_text("a")
    assert put_aside(tmp_path / "a", "broken") is None
    assert (tmp_path / "a").read_text() == "a"
    assert items(tmp_path) == []
    assert keep_bytes("b", b"b", "broken", tmp_path / "b", tmp_path) is None


def test_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "MOST_FILES", 3)
    monkeypatch.setattr(quarantine, "MOST_BYTES", 100)
    for number in range(5):
        (tmp_path / "f").write_bytes(b"x" * 10)
        put_aside(tmp_path / "f", str(number))
    assert [item.reason for item in items(tmp_path)] == ["2", "3", "4"]
    assert len(os.listdir(tmp_path / "quarantine")) == 6
    (tmp_path / "f").write_bytes(b"x" * 85)
    put_aside(tmp_path / "f", "large")
    assert [item.reason for item in items(tmp_path)] == ["4", "large"]
    (tmp_path / "f").write_bytes(b"x" * 1000)
    put_aside(tmp_path / "f", "larger than all")
    assert [(item.reason, item.size) for item in items(tmp_path)] == [("larger than all", 100)]


def test_the_same_bytes_are_kept_once(tmp_path: Path) -> None:
    for _ in range(2):
        keep_bytes("r0-1.corrupt", b"abc", "broken", tmp_path / "r0" / "1", tmp_path)
    (item,) = items(tmp_path)
    assert item.path.read_bytes() == b"abc"


def test_without_its_reason_an_item_is_listed_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("x")
    kept = put_aside(tmp_path / "a.json", "broken")
    assert kept is not None
    kept.with_name(kept.name + ".why.json").write_text("[")
    (item,) = items(tmp_path)
    assert (item.file, item.reason, item.size) == ("a.json", "unknown", 1)
