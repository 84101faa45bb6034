"""Tars and the paths in them: a Refusal, or plain files inside the folder and within the limit; links never."""

# ruff: noqa: PT017 (an error is one of the two right outcomes)

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from services.archive import unpack
from services.artifact import read_plain, split_path
from services.refusal import Refusal

LIMIT = 1 << 20


def check(data: bytes) -> None:
    """The bytes as an archive, and their beginning as a path."""
    with tempfile.TemporaryDirectory(prefix="fuzz", dir=_fast()) as place:
        root = Path(place)
        (root / "outside").write_bytes(b"kept")
        source, target = root / "sent.tar", root / "in" / "unpacked"
        target.mkdir(parents=True)
        source.write_bytes(data)
        refused = False
        try:
            unpack(source, target, max_bytes=LIMIT)
        except Refusal as refusal:
            refused = True
            str(refusal.text).encode("utf-8", "replace")
        _contained(root, target, refused)
        _path(target, data[:1200].decode("utf-8", "surrogateescape"))


def _contained(root: Path, target: Path, refused: bool) -> None:
    assert sorted(os.listdir(root)) == ["in", "outside", "sent.tar"]
    assert os.listdir(root / "in") == ["unpacked"]
    assert (root / "outside").read_bytes() == b"kept"
    total = 0
    for folder, folders, files in os.walk(target):
        for name in (*folders, *files):
            path = Path(folder) / name
            status = path.lstat()
            assert stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode), path
            if stat.S_ISREG(status.st_mode):
                total += status.st_size
                if not refused:
                    read_plain(target, str(path.relative_to(target)))
    assert total <= LIMIT


def _path(target: Path, path: str) -> None:
    try:
        segments = split_path(path)
    except Refusal as refusal:
        assert refusal.code == "path_outside"
        return
    assert segments
    assert not {"", ".", ".."} & set(segments)
    inside = os.path.normpath(target.joinpath(*segments))
    assert inside.startswith(f"{target}{os.sep}")
    try:
        read_plain(target, path)
    except Refusal as refusal:
        assert refusal.code in ("artifact_missing", "artifact_link"), refusal.code


def _fast() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
