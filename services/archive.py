"""A tar of a model with its external data, unpacked without trusting it; files and folders only."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Final

from services.artifact import split_path
from services.refusal import Refusal

MAX_MEMBERS: Final = 10_000
MAX_BYTES: Final = 16 << 30
MAX_RATIO: Final = 200
_FREE_BYTES: Final = 64 << 20  # below this size a high ratio harms nobody
_CHUNK: Final = 1 << 20


def unpack(source: Path, target: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Unpacks the tar at `source` (plain, gz, bz2 or xz) into the empty folder `target`.

    Raises Refusal: `archive_link` (any link), `path_outside`, `archive_bad` (no tar, a device, a path
    twice), `archive_too_large` (more than `max_bytes`, MAX_MEMBERS, or MAX_RATIO times the archive's size).
    """
    limit = min(max_bytes, max(_FREE_BYTES, source.stat().st_size * MAX_RATIO))
    written = 0
    try:
        # Streaming: a member's header is seen before its bytes, and nothing seeks.
        with tarfile.open(source, "r|*") as archive:
            for count, member in enumerate(archive, 1):
                if count > MAX_MEMBERS or written + member.size > limit:
                    raise Refusal("the archive unpacks to too much", code="archive_too_large")
                written += _member(archive, member, target, limit - written)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise Refusal(f"the archive cannot be unpacked: {error}", code="archive_bad") from None


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path, left: int) -> int:
    name = member.name.rstrip("/")
    if member.isdir() and name in ("", "."):
        return 0
    path = target.joinpath(*split_path(name))
    if member.issym() or member.islnk():
        raise Refusal(f"{name[:200]!r} is a link; links are not unpacked", code="archive_link")
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return 0
    stream = archive.extractfile(member) if member.isreg() else None
    if stream is None:
        raise Refusal(f"{name[:200]!r} is neither file nor folder", code="archive_bad")
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with path.open("xb") as file:
        while chunk := stream.read(_CHUNK):
            written += len(chunk)
            if written > left:
                raise Refusal("the archive unpacks to too much", code="archive_too_large")
            file.write(chunk)
    return written
