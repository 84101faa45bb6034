"""Takes places of this machine out of texts that go outwards: files, sockets and addresses of replicas; pure."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

SHORTEST = 4  # a root such as `/` would take everything out


def roots() -> set[str]:
    """The folders of this process' machine under which anything of ours, or of the libraries', can lie."""
    ours = Path(__file__).resolve().parent.parent
    named = [os.environ.get(f"POINTSMAN_{name}_DIR", "") for name in ("DATA", "RUNTIME")]
    found = [*named, str(ours), str(Path.home()), tempfile.gettempdir(), sys.prefix, sys.base_prefix]
    system = ["/tmp", "/usr", "/proc", "/run", "/var", "/home", "/root", "/onnxruntime_src"]
    return {each.rstrip("/") for each in (*found, *system) if each.startswith("/") and len(each) >= SHORTEST}


def places(known: Iterable[str]) -> re.Pattern[str]:
    """Anything at or under one of the folders, and the address of a replica."""
    folders = "|".join(re.escape(each) for each in sorted(known, key=len, reverse=True))
    return re.compile(rf"(?:unix:)?(?<![\w/.])(?:{folders})(?![\w-])[^\s'\"`,;()]*|unix:/[^\s'\"`,;()]*")


_PLACES = places(roots())


def without_places(text: str, pattern: re.Pattern[str] = _PLACES) -> str:
    """`text` with only the last name of each place, as `…/NAME`."""
    if "/" not in text:
        return text
    return pattern.sub(lambda found: "…/" + found[0].rstrip("/:.").rpartition("/")[2], text)
