"""`pointsman register`: sends a model with its manifest, shows how far it is, prints the new version."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from router.cli.command import show_json, with_json

ANSWER_S = 300.0  # the inspection loads and runs the model
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
SOURCE = click.Path(path_type=Path, exists=True)


@click.command()
@click.argument("source", required=False, type=SOURCE, metavar="FILE.onnx|FOLDER")
@click.option("--model", required=True, help="The model's name.")
@click.option("--version", help="The version's name. [default: the next number]")
@click.option("--manifest", type=FILE, help="manifest.yaml; files it names are taken from its folder.")
@click.option("--bento", metavar="TAG", help="A bento of the BentoML store that `up` was started with.")
@click.option(
    "--python", metavar="PATH|gateway", help="What runs a bento. [default: an environment of its own]"
)
@click.option("--reason", help="Why, for the audit log.")
@with_json
def register(
    source: Path | None,
    model: str,
    version: str | None,
    manifest: Path | None,
    bento: str | None,
    python: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Take an ONNX model (or a tar of it), or a bento, in as a new version; changes no route.

    FOLDER has a bentofile.yaml or a service.py: it is built with BentoML first, into your own BentoML store.
    """
    if (source is None) == (bento is None):
        raise click.UsageError("give one of FILE.onnx, FOLDER and --bento TAG")
    texts = {name: text for name, text in (("version", version), ("reason", reason)) if text}
    if bento is not None or (source is not None and source.is_dir()):
        document = _send_bento(model, source, bento, manifest, python, texts)
    else:
        assert source is not None
        if python is not None:
            raise click.UsageError("--python is for bentos")
        document = _send_file(model, source, manifest, texts)
    show_json(document) if as_json else click.echo(_words(document))


def _send_file(model: str, file: Path, manifest: Path | None, texts: dict[str, str]) -> dict[str, Any]:
    from router.cli.bundle import bundle
    from router.cli.gateway import Gateway, path

    place = path("models", model, "versions")
    with Gateway() as gateway, bundle(file, manifest) as (name, opened), _progress(opened) as watched:
        files: dict[str, Any] = {"artifact": (name, watched)}
        if manifest is not None:
            files["manifest"] = ("manifest.yaml", manifest.read_bytes())
        return gateway.ask("POST", place, files=files, data=texts, answer_s=ANSWER_S).document


def _send_bento(
    model: str,
    folder: Path | None,
    tag: str | None,
    manifest: Path | None,
    python: str | None,
    texts: dict[str, str],
) -> dict[str, Any]:
    from router.cli.folder import build
    from router.cli.gateway import Gateway, path
    from router.cli.manifest import bento_manifest

    if manifest is None and folder is not None and (folder / "manifest.yaml").is_file():
        manifest = folder / "manifest.yaml"
    told = bento_manifest(manifest, python)
    with Gateway() as gateway:  # first: without a gateway there is nothing to build for
        if folder is not None:
            stated = (told or {}).get("python")
            tag = build(folder, stated if isinstance(stated, str) else None)
        body = {"bento": tag, **texts} | ({"manifest": told} if told else {})
        return gateway.ask("POST", path("models", model, "versions"), json=body, answer_s=ANSWER_S).document


def _words(document: dict[str, Any]) -> str:
    model, version = document["model"], document["version"]
    signature = document.get("signature") or {}
    lines = [f"registered version {version} of {model}, sha256 {document['digest']}"]
    for kind in ("inputs", "outputs"):
        lines += [
            f"  {kind[:-1]:6} {spec['name']}  {spec['datatype']} {spec['shape']}"
            for spec in signature.get(kind, ())
        ]
    report = document.get("report") or {}
    told = report.get("rowwise") or {}
    why = f" ({told['reason']})" if told.get("reason") else ""
    if document["runtime"] == "bento":
        python = document["bento"]["python"] or "an environment of its own, built at the first deployment"
        lines.append(f"  bento {document['bento']['tag']}, runs in {python}")
        lines += [f"  warning: {text}" for text in report.get("warnings", ())]
    if signature:
        may = "may" if document["rowwise"] else "may not"
        lines.append(f"  rows of different callers {may} share a batch{why}")
    breaking = report.get("breaking")
    if breaking:
        lines.append(f"warning: breaks callers of the active version {breaking['against']}:")
        lines += [f"  {change}" for change in breaking["changes"]]
        lines.append("promoting it will need --allow-breaking")
    lines.append(f"next: pointsman deploy {model} {version}")
    return "\n".join(lines)


class _Watched:
    """A file that tells how much of it was read; httpx asks it for its size by seek and tell."""

    def __init__(self, file: IO[bytes], told: Callable[[int], None]) -> None:
        self._file, self._told = file, told

    def read(self, size: int = -1) -> bytes:
        """As a file."""
        data = self._file.read(size)
        self._told(len(data))
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """As a file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As a file."""
        return self._file.tell()

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read(1 << 16):
            yield data


@contextmanager
def _progress(file: IO[bytes]) -> Iterator[object]:
    """`file`, with a bar on a terminal's stderr."""
    if not sys.stderr.isatty():
        yield file
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    size = file.seek(0, 2)
    file.seek(0)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("sending", total=size)

        def told(length: int) -> None:
            bar.advance(task, length)
            if bar.finished:
                bar.update(task, description="judging")

        yield _Watched(file, told)
