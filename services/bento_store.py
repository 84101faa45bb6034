"""Built bentos as files: found in a BentoML home, digested, copied with their models; imports none of them."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from services.document import ArtifactFile, digest_of
from services.refusal import Refusal

MAX_FILES: Final = 20_000
MODELS: Final = "models"
_TAG: Final = re.compile(
    r"([a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?)(?::([A-Za-z0-9](?:[A-Za-z0-9._-]{0,126})))?\Z"
)
_DESCRIPTION_BYTES: Final = 4 << 20
_CHUNK: Final = 1 << 20
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class StoredBento:
    """A bento in somebody's home: where each file of it is, by its path in the copy, and its description."""

    tag: str
    name: str
    sources: dict[str, Path]
    files: tuple[ArtifactFile, ...]
    size: int
    models: tuple[str, ...]
    description: dict[str, Any]
    warnings: tuple[str, ...]

    @property
    def service(self) -> str:
        """Where its code has the service, as `module:Name`."""
        return str(self.description.get("service", ""))

    @property
    def bentoml(self) -> str:
        """The BentoML that built it."""
        return str(self.description.get("bentoml_version", ""))

    def read(self, path: str) -> bytes:
        """A file of it; raises Refusal `golden_missing`."""
        found = self.sources.get(path) or self.sources.get(f"src/{path}")
        if found is None:
            raise Refusal(f"the bento has no file {path}", code="golden_missing", field="golden.inputs")
        return found.read_bytes()

    def require_route(self, route: str) -> None:
        """Raises Refusal `bad_manifest` where the bento describes its routes and has no such one."""
        schema = self.description.get("schema") or {}
        routes = [item.get("route") for item in schema.get("routes") or () if isinstance(item, dict)]
        if routes and route not in routes:
            raise Refusal(
                f"the bento has no route {route}; it has {', '.join(map(str, routes))}",
                code="bad_manifest",
                field="tensors.route",
            )


def find_bento(home: Path, tag: str, max_bytes: int) -> StoredBento:
    """The bento `tag` (without a version: the latest) of `home`, digested.

    Raises Refusal `unknown_bento`, `bento_invalid`, `bento_too_large`, `artifact_link`, `path_outside`.
    """
    name, version = _resolved(home, tag)
    folder = home / "bentos" / name / version
    description = _description(folder / "bento.yaml")
    budget = _Budget(max_bytes)
    sources = dict(_walk(folder, budget))
    models = []
    for model in _models_of(description):
        if model.get("registry", "bentoml") != "bentoml":
            continue  # of a hub: BentoML fetches it when the service starts
        told = str(model.get("tag"))
        models.append(told)
        if not any(path.startswith(f"{MODELS}/{told.replace(':', '/')}/") for path in sources):
            where, path = _model_folder(home, told)
            sources |= {f"{path}/{inner}": file for inner, file in _walk(where, budget)}
    files = tuple(ArtifactFile(path=path, sha256=digest(sources[path])) for path in sorted(sources))
    return StoredBento(
        tag=f"{name}:{version}",
        name=name,
        sources=sources,
        files=files,
        size=budget.used,
        models=tuple(models),
        description=description,
        warnings=tuple(_warnings(description)),
    )


def put_bento(bento: StoredBento, home: Path) -> str:
    """Copies it into `home` under the tag of its content and returns that; what is there already is kept.

    Raises Refusal `bento_altered` where a file changed since it was digested.
    """
    version = digest_of(bento.files)[:40]
    shelf = home / "bentos" / bento.name
    target = shelf / version
    if target.is_dir():
        if _same(target, bento.files):
            return f"{bento.name}:{version}"
        shutil.rmtree(target)
    shelf.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = shelf / f".{version}.{secrets.token_hex(4)}"
    try:
        for file in bento.files:
            copied = beside / file.path
            copied.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if _copy(bento.sources[file.path], copied) != file.sha256:
                raise Refusal(f"{file.path} changed while the bento was copied", code="bento_altered")
        try:
            beside.rename(target)
        except OSError:  # another registration of the same content was faster
            if not _same(target, bento.files):
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return f"{bento.name}:{version}"


def digest(path: Path) -> str:
    """The SHA-256 of a regular file in hex; links are not followed. Raises OSError."""
    hasher = hashlib.sha256()
    with os.fdopen(os.open(path, _OPEN), "rb") as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()


def _copy(source: Path, target: Path) -> str:
    """Copies the bytes that are digested; the copy may be read and not written."""
    hasher = hashlib.sha256()
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(os.open(source, _OPEN), "rb") as reading, os.fdopen(fd, "wb") as writing:
        while chunk := reading.read(_CHUNK):
            hasher.update(chunk)
            writing.write(chunk)
        executable = os.fstat(reading.fileno()).st_mode & stat.S_IXUSR
        os.fchmod(writing.fileno(), 0o500 if executable else 0o400)
    return hasher.hexdigest()


def _same(folder: Path, files: tuple[ArtifactFile, ...]) -> bool:
    try:
        found = {path: digest(file) for path, file in _walk(folder, _Budget(1 << 62))}
    except (Refusal, OSError):
        return False
    return found == {file.path: file.sha256 for file in files}


def _resolved(home: Path, tag: str) -> tuple[str, str]:
    match = _TAG.match(tag)
    if match is None:
        raise Refusal(
            f"{tag[:200]!r} is no tag of a bento (NAME:VERSION)", code="unknown_bento", field="bento"
        )
    name, version = match[1], match[2]
    if version in (None, "latest"):
        try:
            version = (home / "bentos" / name / "latest").read_text().strip()[:200]
        except OSError:
            version = ""
    if not _TAG.match(f"{name}:{version}") or not (home / "bentos" / name / version).is_dir():
        raise Refusal(f"there is no bento {tag} in {home}", code="unknown_bento", field="bento")
    return name, version


def _description(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _DESCRIPTION_BYTES:
            raise Refusal("bento.yaml is too large", code="bento_invalid", field="bento")
        # BentoML writes plain YAML; the C loader is ten times as fast on large schemas.
        found = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise Refusal(
            f"bento.yaml cannot be read: {error}"[:300], code="bento_invalid", field="bento"
        ) from None
    if not isinstance(found, dict) or not isinstance(found.get("service"), str):
        raise Refusal("bento.yaml names no service", code="bento_invalid", field="bento")
    return found


def _models_of(description: dict[str, Any]) -> list[dict[str, Any]]:
    services = [item for item in description.get("services") or () if isinstance(item, dict)]
    listed = [*(description.get(MODELS) or ()), *(m for item in services for m in item.get(MODELS) or ())]
    return list({str(item.get("tag")): item for item in listed if isinstance(item, dict)}.values())


def _model_folder(home: Path, tag: str) -> tuple[Path, str]:
    match = _TAG.match(tag)
    path = "" if match is None else f"{MODELS}/{match[1]}/{match[2]}"
    if match is None or not (home / path / "model.yaml").is_file():
        raise Refusal(f"model {tag[:200]} of the bento is not in {home}", code="bento_invalid", field="bento")
    return home / path, path


@dataclass(slots=True)
class _Budget:
    """What may still be taken in."""

    limit: int
    used: int = 0
    files: int = 0

    def take(self, size: int) -> None:
        self.used += size
        self.files += 1
        if self.used > self.limit or self.files > MAX_FILES:
            raise Refusal(
                f"the bento with its models has over {self.limit} bytes or {MAX_FILES} files",
                code="bento_too_large",
                field="bento",
            )


def _walk(root: Path, budget: _Budget) -> Iterator[tuple[str, Path]]:
    """Every file under `root` by its path there. A link may stand for a file inside `root` and nothing else."""
    real = root.resolve()
    waiting = [(root, "")]
    while waiting:
        folder, prefix = waiting.pop()
        with os.scandir(folder) as found:
            entries = list(found)
        for entry in entries:
            path = prefix + entry.name
            if not path.isprintable():  # nor encodable, where the name is no UTF-8
                raise Refusal(f"{path!r} is no plain path", code="path_outside", field="bento")
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    waiting.append((Path(entry.path), path + "/"))
                continue
            file = Path(entry.path).resolve()
            if entry.is_symlink() and not (file.is_relative_to(real) and file.is_file()):
                raise Refusal(f"{path} is a link that leaves the bento", code="artifact_link", field="bento")
            if not file.is_file():
                raise Refusal(f"{path} is no regular file", code="bento_invalid", field="bento")
            budget.take(file.stat().st_size)
            yield path, file


def _warnings(description: dict[str, Any]) -> Iterator[str]:
    image = description.get("image")
    wanted = str((image or {}).get("python_version") or "") if isinstance(image, dict) else ""
    mine = f"{sys.version_info.major}.{sys.version_info.minor}"
    if wanted and wanted.split(".")[:2] != mine.split("."):
        yield f"built for Python {wanted}; an environment made here has {mine}: name a python in the manifest"
