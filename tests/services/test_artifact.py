"""Artifacts: read as plain files only, verified on the bytes that are used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.artifact import read_artifact, read_plain, sha256, split_path
from services.document import ArtifactFile, digest_of
from services.refusal import Refusal


def refused(folder: Path, path: str) -> str:
    with pytest.raises(Refusal) as caught:
        read_plain(folder, path)
    return caught.value.code


def test_plain_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.bin").write_bytes(b"data")
    assert read_plain(tmp_path, "a/b.bin") == b"data"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../x",
        "a//b",
        "a/",
        "*/_ORT_MEM_ADDR_/*",
        "a\\b",
        "C:x",
        "a\0b",
        ".x",
        "x" * 2000,
    ],
)
def test_paths_that_are_not_plain_are_refused(path: str) -> None:
    with pytest.raises(Refusal) as caught:
        split_path(path)
    assert caught.value.code == "path_outside"


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").write_bytes(b"1")
    (tmp_path / "file").symlink_to("real/x")
    (tmp_path / "dir").symlink_to("real")
    assert refused(tmp_path, "file") == "artifact_link"
    assert refused(tmp_path, "dir/x") == "artifact_link"


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    assert refused(tmp_path, "fifo") == "artifact_missing"
    assert refused(tmp_path, "folder") == "artifact_missing"
    assert refused(tmp_path, "absent") == "artifact_missing"
    assert refused(tmp_path / "absent", "x") == "artifact_missing"


def test_every_listed_file_is_verified(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"model")
    (tmp_path / "w.bin").write_bytes(b"weights")
    files = [
        ArtifactFile(path=name, sha256=sha256((tmp_path / name).read_bytes()))
        for name in ("model.onnx", "w.bin")
    ]
    found = read_artifact(tmp_path, files)
    assert (found.model, found.external) == (b"model", {"w.bin": b"weights"})
    (tmp_path / "w.bin").write_bytes(b"Weights")
    with pytest.raises(Refusal, match=r"w\.bin was altered") as caught:
        read_artifact(tmp_path, files)
    assert caught.value.code == "artifact_altered"


def test_a_version_without_artifacts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal):
        read_artifact(tmp_path, [])


def test_the_digest_of_several_files_depends_on_all() -> None:
    one = ArtifactFile(path="model.onnx", sha256="a" * 64)
    two = ArtifactFile(path="w.bin", sha256="b" * 64)
    assert digest_of((one,)) == "a" * 64
    # printf '[{"path":"model.onnx","sha256":"aa…"},{"path":"w.bin","sha256":"bb…"}]' | sha256sum
    text = f'[{{"path":"model.onnx","sha256":"{"a" * 64}"}},{{"path":"w.bin","sha256":"{"b" * 64}"}}]'
    assert digest_of((one, two)) == sha256(text.encode())
