"""What is sent to register a model: the file alone, or a tar with its golden vectors and external data."""

from __future__ import annotations

import mmap
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from router.cli.refused import Refused

TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz")
LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])")
"""A protobuf entry `location: PATH` of a tensor whose data lies in another file; the byte is its length."""


@contextmanager
def bundle(artifact: Path, manifest: Path | None) -> Iterator[tuple[str, IO[bytes]]]:
    """The name and the open file to send. Raises Refused where a file the manifest names is missing."""
    beside = [] if artifact.name.endswith(TARS) else _beside(artifact, manifest)
    if not beside:
        with artifact.open("rb") as file:
            yield artifact.name, file
        return
    with tempfile.TemporaryFile(prefix="pointsman-") as file:
        with tarfile.open(fileobj=file, mode="w", dereference=True) as archive:
            archive.add(artifact, artifact.name)
            for path, name in beside:
                archive.add(path, name, recursive=False)
        file.seek(0)
        yield "artifact.tar", file


def _beside(artifact: Path, manifest: Path | None) -> list[tuple[Path, str]]:
    """The other files, with their names in the tar: what the manifest names, then what the model does."""
    found: dict[str, Path] = {}
    if manifest is not None:
        document = _read(manifest)
        golden = document.get("golden")
        named = [item.get("path") for item in document.get("artifacts") or () if isinstance(item, dict)]
        if isinstance(golden, dict):
            named.append(golden.get("inputs"))
        for name in named:
            if isinstance(name, str) and not (manifest.parent / name).is_file():
                if name == artifact.name or name.endswith(".onnx"):
                    continue  # the model itself, under another name
                raise Refused(f"{manifest} names {name}, which is not beside it", "file_missing")
            if isinstance(name, str) and not name.endswith(".onnx"):
                found[name] = manifest.parent / name
    for name in _external(artifact):
        if (artifact.parent / name).is_file():
            found.setdefault(name, artifact.parent / name)
    return [(path, name) for name, path in found.items() if ".." not in Path(name).parts and name[0] != "/"]


def _read(manifest: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(manifest.read_bytes())
    except (yaml.YAMLError, ValueError) as error:
        raise Refused(f"{manifest} is no YAML: {error}", "bad_manifest") from None
    return document if isinstance(document, dict) else {}


def _external(artifact: Path) -> list[str]:
    """Names of external data files in the model's bytes. A guess: the server reads the model properly."""
    if os.path.getsize(artifact) == 0:
        return []
    with artifact.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        spans = [(match.end(), match[1][0]) for match in LOCATION.finditer(data)]
        names = {data[start : start + length].decode("utf-8", "replace") for start, length in spans}
    return sorted(name for name in names if "\0" not in name)
