"""What a bento wants installed, as one requirements text and its digest; installs nothing."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from dataclasses import dataclass
from typing import Final

from services.bento_store import StoredBento
from services.refusal import Refusal

FOLDER: Final = "env/python/"
_FILES: Final = ("requirements.lock.txt", "requirements.txt")
_MAX_BYTES: Final = 256 << 10
_BENTOML: Final = re.compile(r"^\s*(?:\./wheels/)?bentoml\b(?![-_.]?[a-z])", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Requirements:
    """The text for pip, run in the bento's env/python folder; the digest covers the wheels it may name."""

    text: str
    sha256: str


def requirements_of(bento: StoredBento) -> Requirements:
    """The bento's lock file, else its requirements; with our own BentoML where they do not name one."""
    text = ""
    for name in _FILES:
        if FOLDER + name in bento.sources:
            text = _read(bento, FOLDER + name)
            break
    if not _BENTOML.search(text):
        text = text.rstrip("\n") + f"\nbentoml=={importlib.metadata.version('bentoml')}\n"
    text = "\n".join(dict.fromkeys(line.rstrip() for line in text.splitlines() if line.strip())) + "\n"
    hasher = hashlib.sha256(text.encode())
    for file in bento.files:
        if file.path.startswith(f"{FOLDER}wheels/"):
            hasher.update(f"{file.path}\0{file.sha256}\n".encode())
    return Requirements(text, hasher.hexdigest())


def _read(bento: StoredBento, path: str) -> str:
    data = bento.sources[path].read_bytes()
    if len(data) > _MAX_BYTES:
        raise Refusal(f"{path} has over {_MAX_BYTES} bytes", code="bento_too_large", field="bento")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Refusal(f"{path} is no UTF-8", code="bento_invalid", field="bento") from None
