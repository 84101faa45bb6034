"""The manifest that goes with a bento: read from its file, golden vectors beside it put in; it judges nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from router.cli.folder import GATEWAY
from router.cli.refused import Refused


def bento_manifest(path: Path | None, python: str | None) -> dict[str, Any] | None:
    """The JSON object to send; `python` overrides what the file says. Raises Refused."""
    document = {} if path is None else _read(path)
    if python is not None:
        # Not resolved: the interpreter of a virtual environment is a link.
        document["python"] = python if python == GATEWAY else os.path.abspath(python)
    golden = document.get("golden")
    if path is not None and isinstance(golden, dict) and isinstance(golden.get("inputs"), str):
        beside = path.parent / golden["inputs"]
        if beside.is_file():  # else it names a file inside the bento
            document["golden"] = {
                name: value for name, value in golden.items() if name not in ("inputs", "sha256")
            } | _rows(beside)
    return document or None


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, ValueError) as error:
        raise Refused(f"{path} is no YAML: {error}", "bad_manifest") from None
    if not isinstance(document, dict):
        raise Refused(f"{path} is no manifest", "bad_manifest")
    return _plain(document)  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    """Dates as ISO text, as JSON has them."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


def _rows(path: Path) -> dict[str, Any]:
    """The arrays of an npz file as JSON values; outputs are named `out:NAME` there."""
    import numpy as np

    rows: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                array = archive[name]
                kept = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
                where = outputs if name.startswith("out:") else rows
                where[name.removeprefix("out:")] = kept.tolist()
    except (OSError, ValueError) as error:
        raise Refused(f"{path} is no npz file of plain arrays: {error}", "golden_invalid") from None
    return {"rows": rows} | ({"outputs": outputs} if outputs else {})
