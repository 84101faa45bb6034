"""A version's files: read without following links, digested on the very bytes that are used; loads no model."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.document import ArtifactFile
from services.refusal import Refusal

# Plain names only: onnxruntime gives a meaning of its own to locations such as "*/_ORT_MEM_ADDR_/*".
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@ -]{0,199}\Z")
_MAX_PATH: Final = 1024


@dataclass(frozen=True, slots=True)
class Artifact:
    """Bytes whose digests are `files`: the model and its external data by location, the model first."""

    model: bytes
    external: dict[str, bytes]
    files: tuple[ArtifactFile, ...]


def read_artifact(folder: Path, listed: Iterable[ArtifactFile]) -> Artifact:
    """The listed files of `folder`, each verified; the first is the model, the others its external data.

    Raises Refusal `artifact_altered` when a file's SHA-256 is not the listed one, `artifact_missing` or
    `artifact_link` when it cannot be read as a plain file inside the folder.
    """
    files = tuple(listed)
    if not files:
        raise Refusal("the version lists no artifact", code="artifact_missing", field="artifacts")
    found: dict[str, bytes] = {}
    for file in files:
        data = read_plain(folder, file.path)
        digest = sha256(data)
        if digest != file.sha256:
            raise Refusal(
                f"{file.path} was altered: its SHA-256 is {digest}, registered was {file.sha256}",
                code="artifact_altered",
                field="artifacts",
            )
        found[file.path] = data
    model = found.pop(files[0].path)
    return Artifact(model, found, files)


def sha256(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def split_path(path: str) -> list[str]:
    """The segments of a relative path that stays inside its folder; raises Refusal `path_outside`."""
    segments = path.split("/")
    while segments[:1] == ["."]:
        segments = segments[1:]
    if len(path) > _MAX_PATH or not segments or not all(_SEGMENT.match(segment) for segment in segments):
        raise Refusal(f"{path[:200]!r} is not a plain path inside the artifact's folder", code="path_outside")
    return segments


def read_plain(folder: Path, path: str) -> bytes:
    """The bytes of the regular file `path` inside `folder`, no link on the way.

    Raises Refusal `path_outside`, `artifact_link` or `artifact_missing`.
    """
    segments = split_path(path)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Refusal(
            f"the artifact's folder cannot be read: {error.strerror}", code="artifact_missing"
        ) from None
    try:
        for index, segment in enumerate(segments):
            last = index == len(segments) - 1
            kind = 0 if last else os.O_DIRECTORY
            # O_NONBLOCK: opening a FIFO must not wait for its writer.
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | kind
            try:
                inner = os.open(segment, flags, dir_fd=descriptor)
            except OSError as error:
                raise _unreadable(path, segment, descriptor, error) from None
            os.close(descriptor)
            descriptor = inner
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refusal(f"{path} is not a regular file", code="artifact_missing")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read()
    finally:
        os.close(descriptor)


def _unreadable(path: str, segment: str, folder: int, error: OSError) -> Refusal:
    try:
        mode = os.lstat(segment, dir_fd=folder).st_mode
    except OSError:
        return Refusal(f"{path} is not in the artifact's folder", code="artifact_missing")
    if stat.S_ISLNK(mode):
        return Refusal(f"{path} is, or lies behind, a link", code="artifact_link")
    return Refusal(f"{path} cannot be read: {error.strerror}", code="artifact_missing")
