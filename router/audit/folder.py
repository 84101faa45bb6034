"""An export as its files: all that can be checked without the server; it reads, and changes nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from router.audit.account import check_routes, check_versions, derived
from router.audit.chain import (
    GENESIS,
    Chain,
    Entry,
    Finding,
    Verify,
    check_heads,
    in_order,
    read_chain,
    sound,
    statement,
)
from router.audit.ed25519 import ed25519, public_keys


def check_folder(
    files: Mapping[str, bytes], keys: Mapping[str, bytes] | None = None, verify: Verify = ed25519
) -> tuple[Chain, list[Finding]]:
    """An export as its files by relative path; `keys` are those to trust, else the folder's own.

    Raises ValueError where this is no export.
    """
    try:
        manifest = json.loads(files["MANIFEST.json"])
        trusted = public_keys(files["pubkey.pem"].decode()) if keys is None else keys
        heads = [_json(line) for line in files["heads.jsonl"].splitlines()]
        chain = read_chain(files["chain.jsonl"].splitlines(), manifest["model"])
        found = [*chain.findings, *check_heads(chain, heads, trusted, verify)]
        entries = sound(chain, found)
        found += [*check_routes(entries), *check_versions(entries, _documents(files), everything=True)]
        if not found:  # else there is nothing to hold them against
            found += _account(files, entries, manifest)
        found += _listed(files, dict(manifest["files"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"this is no audit export: {type(error).__name__}: {error}") from None
    return chain, in_order(found)


def _account(files: Mapping[str, bytes], entries: list[Entry], manifest: Entry) -> list[Finding]:
    """What follows from the chain, against what lies in the folder."""
    digests = {version: str(_json(body).get("digest", "")) for version, body in _documents(files).items()}
    return [
        Finding(None, "file", f"{path} is not what the chain says")
        for path, body in derived(entries, digests, manifest["from"], manifest["to"]).items()
        if files.get(path) != body
    ]


def _documents(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The version documents, by version."""
    return {path[9:-5]: body for path, body in files.items() if path.startswith("versions/")}


def _listed(files: Mapping[str, bytes], listed: Mapping[str, object]) -> list[Finding]:
    """The files against MANIFEST.json."""
    found = []
    for path in sorted((listed.keys() | files.keys()) - {"MANIFEST.json"}):
        body = files.get(path)
        digest = None if body is None else hashlib.sha256(body).hexdigest()
        if digest is None or listed.get(path) != digest:
            found.append(Finding(None, "file", f"{path} is not the file that MANIFEST.json names"))
        if path.startswith("evidence/") and Path(path).stem != digest:
            found.append(Finding(None, "file", f"{path} is not the evidence of its name"))
    return found


def _json(line: bytes) -> Any:
    """What stands there; `{}` for what is no JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return {}


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files below a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def main() -> int:
    """For people without Pointsman."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--statement"]:
        return _statement(Path(__file__).parent, int(arguments[1]))
    try:
        chain, found = check_folder(read_folder(Path(arguments[0]) if arguments else Path(__file__).parent))
    except (OSError, ValueError) as error:
        print(error)
        return 1
    for finding in found:
        print(f"seq {finding.seq}: {finding.text}" if finding.seq else finding.text)
    last = chain.entries[-1]["hash"] if chain.entries else GENESIS
    print(f"{chain.name}: {chain.length} entries, head {last}: {'NOT intact' if found else 'intact'}")
    return 1 if found else 0


def _statement(folder: Path, line: int) -> int:
    """Writes what a line of the heads signs, and its signature, where this is called."""
    head = json.loads((folder / "heads.jsonl").read_bytes().splitlines()[line - 1])
    Path(f"{line}.statement").write_bytes(statement(head))
    Path(f"{line}.signature").write_bytes(base64.b64decode(head["sig"]))
    print(f"{line}.statement and {line}.signature: the key is {head['key']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
