"""What an installation is known by, its key and its name, in a file each; no key is ever replaced."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path
from typing import Any

from router.agent import snapshot
from router.quarantine import put_aside

NODE = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}\Z")

KEY = re.compile(r"[!-~]{16,512}\Z")
"""A key as it can stand in a header; a shorter one is what a full disk left of it."""


class Broken(Exception):
    """A file cannot be used and may not be replaced; the text names it and says what to do."""


def make_key(path: Path) -> None:
    """Makes the key once. A broken one is nobody's to replace: whoever holds the right one would be locked out."""
    if not os.path.lexists(path):
        snapshot.write_bytes(path, secrets.token_urlsafe(32).encode(), durable=True)
        return
    try:
        key = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        wrong = getattr(error, "strerror", None) or "it is no text"
    else:
        wrong = "" if KEY.match(key) else "it holds no key of at least 16 printable characters"
    if wrong:
        raise Broken(
            f"{path}: {wrong}. Restore the key, or remove the file: a new key is made at the next start"
        )
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(0o600)


def node(data_dir: Path, runtime_dir: Path) -> str:
    """This installation's name among others on one Redis; made once. A broken one is found again, or made anew."""
    path = data_dir / "node.id"
    if os.path.lexists(path):
        try:
            name = path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            wrong = getattr(error, "strerror", None) or "it is no text"
        else:
            if NODE.match(name):
                return name
            wrong = "it holds no node id ([a-z0-9][a-z0-9.-]*)"
        put_aside(path, f"{wrong}; see `node.id` in docs/failures.md")
    name = _former(data_dir, runtime_dir) or secrets.token_hex(6)
    snapshot.write_bytes(path, name.encode(), durable=True)
    return name


def _former(data_dir: Path, runtime_dir: Path) -> str | None:
    """The name under which the last good table has replicas in our own runtime folder; None where it has none."""
    ours = f"unix:{runtime_dir}/"
    try:
        found: Any = snapshot.read(data_dir / "table.json")
        nodes = {
            replica["node"]
            for model in found["models"]
            for replica in model["replicas"]
            if replica["address"].startswith(ours) and NODE.match(replica["node"])
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return nodes.pop() if len(nodes) == 1 else None
