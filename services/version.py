"""The version a process runs: found in the store, verified, loaded, warmed; one a process, no HTTP here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.artifact import read_artifact, read_plain, sha256
from services.document import Golden, VersionDocument, digest_of, read_document
from services.golden import Arrays, GoldenVectors, read_golden
from services.graph import examine
from services.refusal import Refusal
from services.session import Session, zero_inputs
from services.store import GOLDEN_FILE, find

# How `bentoml serve` of the generic bento is told what to run: the path of a version document, or a tag.
DOCUMENT_VARIABLE: Final = "POINTSMAN_DOCUMENT"
STORE_VARIABLE: Final = "POINTSMAN_STORE"
THREADS_VARIABLE: Final = "POINTSMAN_THREADS"


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A warm model with its names; `probe` are inputs of one call that must work while it is healthy."""

    model: str
    version: str
    digest: str
    session: Session
    probe: Arrays

    def healthy(self) -> bool:
        """Runs the model once, outside its counters."""
        return self.session.works(self.probe)


def load_version(document: VersionDocument, *, threads: int = 1) -> LoadedVersion:
    """The document's version, verified byte by byte, warm, its golden vectors met.

    Raises Refusal: `not_stored`, `artifact_altered`, `golden_mismatch` and what Session raises.
    """
    folder, _, _ = find(document.store)
    artifact = read_artifact(folder, document.artifacts)
    session = Session(artifact, examine(artifact.model), threads=threads, signature=document.signature)
    return _warmed(document.model, document.version, document.digest, session, folder, document.golden)


def load_stored(tag: str, *, threads: int = 1) -> LoadedVersion:
    """What the store holds under `tag`, verified against the digests noted when it was stored, and warm."""
    folder, files, golden = find(tag)
    artifact = read_artifact(folder, files)
    session = Session(artifact, examine(artifact.model), threads=threads)
    vectors = Golden(inputs=GOLDEN_FILE, sha256=golden) if golden else None
    name, _, version = tag.partition(":")
    return _warmed(name, version, digest_of(files), session, folder, vectors)


def _warmed(
    model: str, version: str, digest: str, session: Session, folder: Path, golden: Golden | None
) -> LoadedVersion:
    vectors = None if golden is None else _vectors(folder, golden)
    session.warm(vectors, 1e-5 if golden is None else golden.atol)
    probe = zero_inputs(session.signature) if vectors is None else vectors.inputs
    return LoadedVersion(model, version, digest, session, probe)


def _vectors(folder: Path, golden: Golden) -> GoldenVectors:
    data = read_plain(folder, golden.inputs)
    if golden.sha256 is not None and sha256(data) != golden.sha256:
        raise Refusal("the golden vectors were altered", code="artifact_altered", field="golden.inputs")
    return read_golden(data)


_current: LoadedVersion | None = None


def provide(version: LoadedVersion) -> None:
    """Makes `version` what `current` answers: the launcher loads before BentoML creates the service."""
    global _current
    _current = version


def current() -> LoadedVersion:
    """The process's version: the provided one, else the one the environment names, loaded now.

    Raises Refusal `no_version` when the environment names none.
    """
    if _current is None:
        provide(_from_environment())
    assert _current is not None
    return _current


def _from_environment() -> LoadedVersion:
    threads = int(os.environ.get(THREADS_VARIABLE, "1"))
    document = os.environ.get(DOCUMENT_VARIABLE)
    if document is not None:
        return load_version(read_document(Path(document).read_bytes()), threads=threads)
    tag = os.environ.get(STORE_VARIABLE)
    if tag is not None:
        return load_stored(tag, threads=threads)
    raise Refusal(
        f"set {DOCUMENT_VARIABLE} to a version document's path, or {STORE_VARIABLE} to a stored tag",
        code="no_version",
    )
