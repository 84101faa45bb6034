"""BentoML's model store as the home of artifacts: put a version's files in, find them again; runs no model."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from services.artifact import Artifact, read_plain, sha256
from services.document import ArtifactFile
from services.refusal import Refusal

# Before any import of bentoml: it reports home otherwise.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

GOLDEN_FILE: Final = "golden.npz"


def tag_of(model: str, files: Mapping[str, bytes]) -> str:
    """The BentoML tag of `files`: the model's name and a digest of every path and content.

    Equal content of one model has one tag, so storing twice is storing once.
    """
    hasher = hashlib.sha256()
    for path in sorted(files):
        hasher.update(f"{path}\0{sha256(files[path])}\n".encode())
    # BentoML's names may not end in punctuation, ours may.
    return f"{model.rstrip('._-')}:{hasher.hexdigest()[:40]}"


def put(model: str, artifact: Artifact, golden: bytes | None) -> str:
    """Stores the artifact and its golden vectors; returns the tag. Idempotent; repairs a half-written entry."""
    import bentoml

    files = {artifact.files[0].path: artifact.model, **artifact.external}
    if golden is not None:
        files[GOLDEN_FILE] = golden
    tag = tag_of(model, files)
    if _holds(tag, files):
        return tag
    metadata: dict[str, Any] = {
        "artifacts": [{"path": item.path, "sha256": item.sha256} for item in artifact.files],
        "golden": sha256(golden) if golden is not None else "",
    }
    with bentoml.models.create(tag, labels={"pointsman": "artifact"}, metadata=metadata) as entry:
        for path, data in files.items():
            target = Path(entry.path) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    return tag


def _holds(tag: str, files: Mapping[str, bytes]) -> bool:
    """Whether the store has exactly `files` under `tag`; an entry that differs (a crash, damage) is removed."""
    import bentoml
    from bentoml.exceptions import BentoMLException

    try:
        folder = Path(bentoml.models.get(tag).path)
        if all(sha256(read_plain(folder, path)) == sha256(data) for path, data in files.items()):
            return True
    except (BentoMLException, Refusal):
        pass  # absent or unreadable: written below
    try:
        bentoml.models.delete(tag)
    except BentoMLException:
        return False  # there was nothing to remove
    return False


def find(tag: str) -> tuple[Path, tuple[ArtifactFile, ...], str]:
    """The folder of a stored artifact, the files noted when it was stored, its golden vectors' SHA-256 or "".

    Raises Refusal `not_stored`.
    """
    import bentoml
    from bentoml.exceptions import BentoMLException

    try:
        entry = bentoml.models.get(tag)
    except (BentoMLException, ValueError) as error:
        raise Refusal(
            f"{tag} is not in BentoML's model store: {error}", code="not_stored", field="store"
        ) from None
    noted = entry.info.metadata
    files = tuple(
        ArtifactFile(path=item["path"], sha256=item["sha256"]) for item in noted.get("artifacts", ())
    )
    return Path(entry.path), files, str(noted.get("golden", ""))
