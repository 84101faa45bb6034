"""Where the control listener is and with which key: from the environment, or the note that `up` leaves."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from router.cli.refused import Refused


@dataclass(frozen=True, slots=True)
class Address:
    """A control listener and the key for it; `cert_path`: the certificate it is known by on its own machine."""

    url: str
    key: str
    cert_path: Path | None = None


def find_address() -> Address:
    """Raises Refused where there is no address, or no key for it."""
    url, key = os.environ.get("POINTSMAN_URL"), os.environ.get("POINTSMAN_KEY")
    if url and key:
        return Address(url.rstrip("/"), key)
    note = _note()
    noted = str(note.get("url", ""))
    if not url and not noted:
        raise Refused("nothing runs here: start `pointsman up`, or set POINTSMAN_URL", "no_address")
    if url and url.rstrip("/") != noted.rstrip("/"):
        # The local key is nobody else's business.
        raise Refused(f"POINTSMAN_URL is {url}: set POINTSMAN_KEY too", "no_key")
    cert = Path(str(note["cert_path"])) if note.get("cert_path") else None
    if key:
        return Address(noted.rstrip("/"), key, cert)
    path = Path(str(note.get("key_path", "")))
    try:
        return Address(noted.rstrip("/"), path.read_text("ascii").strip(), cert)
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"the key in {path} cannot be read: {error}; set POINTSMAN_KEY", "no_key") from None


def _note() -> dict[str, object]:
    from router.agent.place import note_path

    path = note_path()
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Refused(f"the note {path} cannot be read: {error}", "bad_note") from None
    return found if isinstance(found, dict) else {}
