"""Builds the example versions: runs each recipe and writes model, golden vectors and manifest; registers nothing.

`python -m bentos.build [--out DIR] [NAME …]` (NAME as `digits` or `digits/1`; all by default) writes to
DIR/MODEL/VERSION/, by default bentos/build/, and skips what is up to date. `--bento` builds the generic bento.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import click
import yaml
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

HERE: Final = Path(__file__).parent
LIBRARIES: Final = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy", "scipy")
_STAMP: Final = "inputs.sha256"


def recipes(names: tuple[str, ...] = ()) -> list[Path]:
    """The recipe folders that `names` mean (all without names), in order; raises click.BadParameter."""
    every = sorted(path.parent for path in HERE.glob("*/*/train.py"))
    if not names:
        return every
    found = [path for path in every if path.parent.name in names or label(path) in names]
    known = {path.parent.name for path in every} | {label(path) for path in every}
    unknown = sorted(set(names) - known)
    if unknown:
        raise click.BadParameter(f"no recipe {', '.join(unknown)}; there are {', '.join(map(label, every))}")
    return found


def label(folder: Path) -> str:
    """MODEL/VERSION of a recipe's folder."""
    return f"{folder.parent.name}/{folder.name}"


def build(folder: Path, target: Path) -> bool:
    """Builds one version into `target`; False when what is there is up to date already."""
    stamp = _inputs_digest(folder)
    if _up_to_date(target, stamp):
        return False
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from bentos.export import accuracy, golden_vectors, open_session, to_onnx
    from services.golden import write_golden

    # Sums in another order give other last bits: one thread, however many the machine has.
    with threadpool_limits(1):
        trained = _recipe(folder).train()
    data = to_onnx(label(folder), trained)
    session = open_session(data)
    files = {"model.onnx": data, "golden.npz": write_golden(golden_vectors(session, trained))}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    manifest = yaml.safe_load((folder / "manifest.yaml").read_bytes())
    manifest["artifacts"] = [{"path": "model.onnx", "sha256": digests["model.onnx"]}]
    manifest["golden"]["sha256"] = digests["golden.npz"]
    manifest["metrics"] = {
        "heldout.accuracy": accuracy(session, trained),
        "heldout.rows": trained.heldout.stop - trained.heldout.start,
    }
    manifest["lineage"] |= _lineage(trained)
    target.mkdir(parents=True, exist_ok=True)
    (target / _STAMP).unlink(missing_ok=True)
    for name, content in files.items():
        (target / name).write_bytes(content)
    (target / "manifest.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True))
    # Last: a build that was interrupted is not up to date.
    (target / _STAMP).write_text(json.dumps({"inputs": stamp, "files": digests}))
    return True


def _lineage(trained: Any) -> dict[str, Any]:
    found = {
        "params": trained.params,
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "datasets": [trained.train.lineage(trained.transform)],
    }
    commit = _commit()
    return {"commit": commit, **found} if commit else found


def _commit() -> str | None:
    """The commit the recipe stands at, where this is a checkout and git is there."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _recipe(folder: Path) -> Any:
    """train.py as a module: its folder's name (a version) is no package name."""
    spec = importlib.util.spec_from_file_location(
        f"recipe_{folder.parent.name}_{folder.name}", folder / "train.py"
    )
    if spec is None or spec.loader is None:
        raise click.ClickException(f"{label(folder)}/train.py cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _inputs_digest(folder: Path) -> str:
    """SHA-256 of all that decides a build: recipe, manifest, our code for it, libraries, Python, machine."""
    hasher = hashlib.sha256()
    for path in (
        folder / "train.py",
        folder / "manifest.yaml",
        HERE / "build.py",
        HERE / "export.py",
        HERE / "recipe.py",
        HERE.parent / "services" / "golden.py",
        HERE.parent / "services" / "graph.py",
    ):
        hasher.update(path.read_bytes())
    versions = [importlib.metadata.version(name) for name in LIBRARIES]
    hasher.update(json.dumps([versions, platform.python_version(), platform.machine()]).encode())
    return hasher.hexdigest()


def _up_to_date(target: Path, stamp: str) -> bool:
    try:
        noted = json.loads((target / _STAMP).read_text())
        return noted["inputs"] == stamp and all(
            hashlib.sha256((target / name).read_bytes()).hexdigest() == digest
            for name, digest in noted["files"].items()
        )
    except (OSError, ValueError, KeyError):
        return False


@click.command(help="Build the example versions (NAME as digits or digits/1; all by default).")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--out", type=click.Path(path_type=Path), default=HERE / "build", help="Where to build to.")
@click.option("--bento", is_flag=True, help="Build the generic bento into BentoML's store instead.")
def main(names: tuple[str, ...], out: Path, bento: bool) -> None:
    """Builds with progress on stderr; one line a version on stdout."""
    if bento:
        from bentos.generic import build_bento

        click.echo(build_bento())
        return
    folders = recipes(names)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for folder in folders:
            task = progress.add_task(f"{label(folder)}: training", total=1)
            built = build(folder, out / folder.parent.name / folder.name)
            state = "built" if built else "up to date"
            progress.update(task, completed=1, description=f"{label(folder)}: {state}")
            click.echo(f"{label(folder)} {state}")


if __name__ == "__main__":
    sys.exit(main())
