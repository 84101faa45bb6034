"""Bentos written file by file, as `bentoml build` leaves them in a home; nothing here is a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def write_bento(home: Path, name: str = "sums", version: str = "abc", **described: Any) -> Path:
    """A bento in `home`; `described` goes into its bento.yaml. Its folder."""
    folder = home / "bentos" / name / version
    for inner in ("src", "env/python", "apis"):
        (folder / inner).mkdir(parents=True, exist_ok=True)
    document = {
        "service": "service:Sums",
        "name": name,
        "version": version,
        "bentoml_version": "1.4.39",
        "models": [],
        "schema": {"routes": [{"name": "add", "route": "/add"}]},
    } | described
    (folder / "bento.yaml").write_text(yaml.safe_dump(document))
    (folder / "src" / "service.py").write_text("# a service\n")
    (folder / "env" / "python" / "requirements.txt").write_text("orjson==3.10.18\n")
    (folder.parent / "latest").write_text(version)
    return folder


def write_model(home: Path, name: str, version: str, content: bytes) -> Path:
    """A model in `home`; its folder."""
    folder = home / "models" / name / version
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(yaml.safe_dump({"name": name, "version": version}))
    (folder / "weights.bin").write_bytes(content)
    return folder
