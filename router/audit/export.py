"""The folder for an auditor, as files by path: the chain and what follows from it; pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from router.audit.account import derived
from router.audit.chain import GENESIS, read_chain
from router.audit.standalone import source

README = """Pointsman audit export of model {model}
made {made}; asked for: from {start} to {end}

Check it:      python3 verify.py           Python 3.9 or later, nothing else
          or:  pointsman audit verify .
It says `intact`, or names the first entry that is not as it was written, and ends with 1.

chain.jsonl      every change and every refused attempt, one a line, each with the SHA-256 of itself and of the
                 one before (RFC 8785 JSON without `hash`). Always from the first entry on, whatever `from` says:
                 a chain with its beginning cut off proves less.
heads.jsonl      ends of the chain, each signed with Ed25519 when its entry was written, kept outside the database
pubkey.pem       the public keys. Compare their fingerprints with those you were given by another way:
{fingerprints}
serving.csv      which version answered from when to when, by whose decision; `to` is empty where it still does
versions/        the versions' documents, as they were registered
approvals.jsonl  overrides.csv  erasures.csv  evidence/      what the chain refers to; empty where there is none
MANIFEST.json    the SHA-256 of each file

One signature by hand, with OpenSSL 3, for line N of heads.jsonl:
  python3 verify.py --statement N        writes N.statement and N.signature
  openssl pkeyutl -verify -rawin -pubin -inkey pubkey.pem -in N.statement -sigfile N.signature
With Python's `cryptography`: load_pem_public_key(pem).verify(signature, statement). The statement is the line
"pointsman audit head v1", a line feed, and the RFC 8785 JSON of the head without `sig`.

What this proves. Whoever can write to the database, but has not the signing key, cannot alter, remove, reorder
or add an entry unseen; nor cut off the end, as long as a signed head of it lies in a place he cannot write. What
it does not prove: that a folder whose chain, heads and keys were all made by one forger is genuine. For that,
compare fingerprint and head with a copy of yours: head {seq} {head}
"""


def folder(
    model: str,
    chain: list[bytes],
    heads: Iterable[bytes],
    versions: Mapping[str, bytes],
    keys: Mapping[str, str],
    period: tuple[str | None, str | None, str],
) -> dict[str, bytes]:
    """`keys` are PEM by key id; `period` is from, to, and when this is made (RFC 3339)."""
    start, end, made = period
    entries = read_chain(chain, model).entries
    digests = {version: str(json.loads(body).get("digest", "")) for version, body in versions.items()}
    last = entries[-1] if entries else {"seq": 0, "hash": GENESIS}
    files = {
        "chain.jsonl": b"".join(line + b"\n" for line in chain),
        "heads.jsonl": b"".join(line + b"\n" for line in heads),
        "pubkey.pem": "".join(keys.values()).encode(),
        "verify.py": source().encode(),
        **derived(entries, digests, start, end),
        **{f"versions/{version}.json": body for version, body in versions.items()},
    }
    files["README.txt"] = README.format(
        model=model,
        made=made,
        start=start or "the beginning",
        end=end or "now",
        fingerprints="\n".join(f"                   {key}" for key in keys),
        seq=last["seq"],
        head=last["hash"],
    ).encode()
    manifest = {
        "apiVersion": "pointsman/v1",
        "kind": "AuditExport",
        "model": model,
        "from": start,
        "to": end,
        "made": made,
        "head": {"seq": last["seq"], "hash": last["hash"]},
        "files": {path: hashlib.sha256(body).hexdigest() for path, body in sorted(files.items())},
    }
    return {"MANIFEST.json": json.dumps(manifest, indent=1).encode() + b"\n"} | files
