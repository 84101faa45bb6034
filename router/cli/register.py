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


@click.command()
@click.argument("file", required=False, type=FILE, metavar="FILE.onnx")
@click.option("--model", required=True, help="The model's name.")
@click.option("--version", help="The version's name. [default: the next number]")
@click.option("--manifest", type=FILE, help="manifest.yaml; files it names are taken from its folder.")
@click.option("--bento", metavar="TAG", help="A bento of the server's store, instead of a file.")
@click.option("--reason", help="Why, for the audit log.")
@with_json
def register(
    file: Path | None,
    model: str,
    version: str | None,
    manifest: Path | None,
    bento: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Take an ONNX model (or a tar of it) in as a new version; changes no route."""
    from router.cli.bundle import bundle
    from router.cli.gateway import Gateway, path

    if (file is None) == (bento is None):
        raise click.UsageError("give either FILE.onnx or --bento TAG")
    place = path("models", model, "versions")
    with Gateway() as gateway:
        if file is None:
            document = gateway.ask("POST", place, json={"bento": bento}, answer_s=ANSWER_S).document
        else:
            texts = {"version": version, "reason": reason}
            data = {name: text for name, text in texts.items() if text}
            with bundle(file, manifest) as (name, opened), _progress(opened) as watched:
                files: dict[str, Any] = {"artifact": (name, watched)}
                if manifest is not None:
                    files["manifest"] = ("manifest.yaml", manifest.read_bytes())
                document = gateway.ask("POST", place, files=files, data=data, answer_s=ANSWER_S).document
    show_json(document) if as_json else click.echo(_words(document))


def _words(document: dict[str, Any]) -> str:
    model, version = document["model"], document["version"]
    signature = document.get("signature") or {}
    lines = [f"registered version {version} of {model}, sha256 {document['digest']}"]
    for kind in ("inputs", "outputs"):
        lines += [
            f"  {kind[:-1]:6} {spec['name']}  {spec['datatype']} {spec['shape']}"
            for spec in signature.get(kind, ())
        ]
    told = (document.get("report") or {}).get("rowwise") or {}
    why = f" ({told['reason']})" if told.get("reason") else ""
    lines.append(
        f"  rows of different callers {'may' if document['rowwise'] else 'may not'} share a batch{why}"
    )
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
