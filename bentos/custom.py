"""Builds the example custom services into a BentoML store with the public `bentoml build`; registers nothing.

`python -m bentos.custom [--home DIR] [NAME …]` (NAME as `text` or `text/1`; all by default) prints a tag a
line. Without --home the store is BENTOML_HOME's. Works offline; building `text` needs scikit-learn here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import click

EXAMPLES: Final = Path(__file__).parent.parent / "services" / "examples"
_TIMEOUT_S: Final = 300
_LEFTOVERS: Final = shutil.ignore_patterns("__pycache__", "model.npz", ".*")


def examples(names: tuple[str, ...] = ()) -> list[Path]:
    """The service folders that `names` mean (all without names), in order; raises click.BadParameter."""
    every = sorted(path.parent for path in EXAMPLES.glob("*/*/service.py"))
    known = {path.parent.name for path in every} | {label(path) for path in every}
    if unknown := sorted(set(names) - known):
        raise click.BadParameter(f"no service {', '.join(unknown)}; there are {', '.join(map(label, every))}")
    return [path for path in every if not names or {path.parent.name, label(path)} & set(names)]


def label(folder: Path) -> str:
    """NAME/VERSION of a service's folder."""
    return f"{folder.parent.name}/{folder.name}"


def build(folder: Path, home: Path | None = None) -> str:
    """Builds one service into the store of `home` unless it is there; returns its tag NAME:VERSION-DIGEST.

    The digest is of the folder's files, so that a tag never names two contents. Raises RuntimeError with what
    `bentoml build` said when it fails.
    """
    environment = {**os.environ, "BENTOML_DO_NOT_TRACK": "True", "OTEL_SDK_DISABLED": "true"}
    if home is not None:
        environment["BENTOML_HOME"] = str(home.resolve())
    version = f"{folder.name}-{digest(folder)[:12]}"
    tag = f"{folder.parent.name}:{version}"
    if _bentoml("get", tag, environment=environment).returncode == 0:
        return tag
    # Built from a copy: what the build writes beside the sources (a trained model) stays out of the checkout.
    with tempfile.TemporaryDirectory(prefix="pointsman-bento-") as parent:
        copy = Path(parent) / folder.parent.name
        shutil.copytree(folder, copy, ignore=_LEFTOVERS)
        done = _bentoml("build", "--version", version, "-o", "tag", environment=environment, folder=copy)
    if done.returncode:
        raise RuntimeError(f"bentoml build {label(folder)} failed: {(done.stderr or done.stdout)[-2000:]}")
    return tag


def digest(folder: Path) -> str:
    """SHA-256 in hex of a service folder's own files, names and contents."""
    hasher = hashlib.sha256()
    left_out = _LEFTOVERS(str(folder), [path.name for path in folder.iterdir()])
    for path in sorted(folder.iterdir()):
        if path.name not in left_out and path.is_file():
            data = path.read_bytes()
            hasher.update(f"{path.name}\0{len(data)}\0".encode() + data)
    return hasher.hexdigest()


def _bentoml(
    *arguments: str, environment: dict[str, str], folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bentoml", *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )


@click.command(help="Build the example custom services (NAME as text or text/1; all by default).")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--home", type=click.Path(path_type=Path), help="BENTOML_HOME to build into.")
def main(names: tuple[str, ...], home: Path | None) -> None:
    """One tag a line on stdout."""
    for folder in examples(names):
        try:
            click.echo(build(folder, home))
        except RuntimeError as error:
            raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
