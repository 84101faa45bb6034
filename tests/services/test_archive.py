"""Archives that are not trusted: links, escapes, bombs, devices, rubbish."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from services.archive import MAX_MEMBERS, unpack
from services.refusal import Refusal


def packed(tmp_path: Path, add: Callable[[tarfile.TarFile], None], mode: str = "w") -> Path:
    path = tmp_path / "a.tar"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        add(archive)
    (tmp_path / "out").mkdir()
    return path


def file(name: str, data: bytes = b"x") -> Callable[[tarfile.TarFile], None]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return lambda archive: archive.addfile(info, io.BytesIO(data))


def special(name: str, kind: bytes, target: str = "") -> Callable[[tarfile.TarFile], None]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return lambda archive: archive.addfile(info)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_files_and_folders_are_unpacked(tmp_path: Path, mode: str) -> None:
    def add(archive: tarfile.TarFile) -> None:
        special("./", tarfile.DIRTYPE)(archive)
        special("sub", tarfile.DIRTYPE)(archive)
        file("./model.onnx", b"m")(archive)
        file("sub/w.bin", b"w" * 10_000)(archive)

    unpack(packed(tmp_path, add, mode), tmp_path / "out")
    assert (tmp_path / "out" / "model.onnx").read_bytes() == b"m"
    assert (tmp_path / "out" / "sub" / "w.bin").read_bytes() == b"w" * 10_000


@pytest.mark.parametrize(
    ("add", "code"),
    [
        (file("../evil"), "path_outside"),
        (file("/tmp/evil"), "path_outside"),
        (file("a/../../evil"), "path_outside"),
        (special("l", tarfile.SYMTYPE, "/etc/passwd"), "archive_link"),
        (special("l", tarfile.LNKTYPE, "x"), "archive_link"),
        (special("d", tarfile.CHRTYPE), "archive_bad"),
        (special("f", tarfile.FIFOTYPE), "archive_bad"),
    ],
)
def test_what_would_leave_the_folder_is_refused(
    tmp_path: Path, add: Callable[[tarfile.TarFile], None], code: str
) -> None:
    with pytest.raises(Refusal) as caught:
        unpack(packed(tmp_path, add), tmp_path / "out")
    assert caught.value.code == code
    assert not [path for path in tmp_path.rglob("*") if path.name == "evil"]


def test_a_path_twice_is_refused(tmp_path: Path) -> None:
    def add(archive: tarfile.TarFile) -> None:
        file("a")(archive)
        file("a")(archive)

    with pytest.raises(Refusal) as caught:
        unpack(packed(tmp_path, add), tmp_path / "out")
    assert caught.value.code == "archive_bad"


def test_too_much_is_refused_before_it_is_written(tmp_path: Path) -> None:
    path = packed(tmp_path, file("a", bytes(5000)))
    with pytest.raises(Refusal) as caught:
        unpack(path, tmp_path / "out", max_bytes=4999)
    assert caught.value.code == "archive_too_large"
    assert not list((tmp_path / "out").iterdir())


def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path) -> None:
    path = packed(tmp_path, file("a", bytes(80 << 20)), "w:gz")
    assert path.stat().st_size < 100_000
    with pytest.raises(Refusal) as caught:
        unpack(path, tmp_path / "out")
    assert caught.value.code == "archive_too_large"


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    def add(archive: tarfile.TarFile) -> None:
        for number in range(MAX_MEMBERS + 1):
            file(f"f{number}", b"")(archive)

    with pytest.raises(Refusal) as caught:
        unpack(packed(tmp_path, add, "w:gz"), tmp_path / "out")
    assert caught.value.code == "archive_too_large"


@pytest.mark.parametrize("data", [b"", b"rubbish" * 200, b"\x1f\x8b\x08" + bytes(100)])
def test_rubbish_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(data)
    (tmp_path / "out").mkdir()
    with pytest.raises(Refusal) as caught:
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert caught.value.code == "archive_bad"


def test_an_archive_cut_short_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path, file("a", b"y" * 50_000))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(Refusal) as caught:
        unpack(path, tmp_path / "out")
    assert caught.value.code == "archive_bad"
