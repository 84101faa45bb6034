"""Builds the generic bento with the public `bentoml build`, offline; runs no service."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent
_RECIPE: Final = _HERE / "onnx" / "bentofile.yaml"
_NAME: Final = "pointsman-onnx"
_TIMEOUT_S: Final = 300


def build_bento() -> str:
    """Builds it into BentoML's store (BENTOML_HOME) unless it is there; returns its tag.

    The version is a digest of the recipe and the service's code. Raises RuntimeError with what
    `bentoml build` said when it fails.
    """
    sources = [_RECIPE, *sorted((_HERE.parent / "services").glob("*.py"))]
    hasher = hashlib.sha256()
    for path in sources:
        hasher.update(f"{path.name}\0".encode() + path.read_bytes())
    tag = f"{_NAME}:{hasher.hexdigest()[:16]}"
    if _stored(tag):
        return tag
    # Built from a folder with nothing else in it: BentoML walks all of its build context.
    with tempfile.TemporaryDirectory(prefix="pointsman-bento-") as folder:
        shutil.copy(_RECIPE, folder)
        target = Path(folder) / "services"
        target.mkdir()
        for path in sources[1:]:
            shutil.copy(path, target)
        done = _bentoml("build", "--version", tag.partition(":")[2], "-o", "tag", cwd=Path(folder))
    if done.returncode:
        raise RuntimeError(f"bentoml build failed: {(done.stderr or done.stdout)[-2000:]}")
    return tag


def _stored(tag: str) -> bool:
    import bentoml
    from bentoml.exceptions import NotFound

    try:
        bentoml.bentos.get(tag)
    except NotFound:
        return False
    return True


def _bentoml(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BENTOML_DO_NOT_TRACK": "True", "OTEL_SDK_DISABLED": "true"}
    return subprocess.run(
        [sys.executable, "-m", "bentoml", *arguments],
        env=environment,
        cwd=cwd,  # it refuses a context elsewhere
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
