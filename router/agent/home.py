"""A BENTOML_HOME for one replica: one bento and its models, verified on the bytes put there; starts nothing."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import psutil

SMALL_BYTES = 1 << 20
"""Files up to this size are copied, so that a service may write to its own; larger ones are hard links."""

_CHUNK = 1 << 20
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


class Altered(Exception):
    """The stored bento is not what was registered."""


def assemble(document: dict[str, Any], store: Path, home: Path) -> str:
    """Fills `home` from the artifact store `store`; gives the tag to serve. Raises Altered, OSError."""
    tag = str(document["store"])
    place = f"bentos/{tag.replace(':', '/')}"
    for folder in (home / place, home / "models", home / "work"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in document["artifacts"]:
        path = _plain(file["path"])
        # BentoML looks for models beside the bentos of a home.
        target = home / path if path.startswith("models/") else home / place / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            found = _put(store / place / path, target)
        except OSError as error:
            raise Altered(f"{path} cannot be read from the artifact store: {error.strerror}") from error
        if found != file["sha256"]:
            raise Altered(f"{path} was altered: its SHA-256 is {found}, registered was {file['sha256']}")
    return tag


def end_all(home: Path) -> None:
    """Kills whatever runs in `home`. BentoML's workers have sessions of their own: no group reaches them all."""
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get("BENTOML_HOME") == str(home):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def clear(home: Path) -> None:
    """Ends all that runs in `home` and removes it."""
    if home.exists():
        end_all(home)
        shutil.rmtree(home, ignore_errors=True)


def _plain(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts:
        raise Altered(f"{path!r} is no path inside a bento")
    return path


def _put(source: Path, target: Path) -> str:
    """Copies or links one file; the digest of what is there now."""
    target.unlink(missing_ok=True)
    hasher = hashlib.sha256()
    with os.fdopen(os.open(source, _READ), "rb") as reading:
        status = os.fstat(reading.fileno())
        if status.st_size <= SMALL_BYTES:
            data = reading.read(SMALL_BYTES + 1)
            hasher.update(data)
            mode = 0o600 | (status.st_mode & 0o100)
            with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as writing:
                writing.write(data)
            return hasher.hexdigest()
        os.link(source, target, follow_symlinks=False)
        while chunk := reading.read(_CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()
