"""A chain of audit entries and its signed heads, judged as values: what is not as it was written; pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from router.audit.canonical import canonical
from router.audit.ed25519 import ed25519

GENESIS = "0" * 64
CONTEXT = b"pointsman audit head v1\n"
Entry = dict[str, Any]
Verify = Callable[[bytes, bytes, bytes], bool]


class Finding(NamedTuple):
    """Something that is not as it was written; `seq` is the first bad entry where one can be named."""

    seq: int | None
    kind: str
    text: str


class Chain(NamedTuple):
    """The entries up to the first that is broken; `length` counts also those behind it."""

    name: str
    entries: list[Entry]
    length: int
    findings: list[Finding]


def read_chain(lines: Iterable[bytes], name: str) -> Chain:
    """The chain of `name` from its stored lines, up to the first that is broken."""
    entries: list[Entry] = []
    stored = list(lines)
    for number, line in enumerate(stored, start=1):
        fault = _fault(line, number, entries[-1]["hash"] if entries else GENESIS, name, entries)
        if fault:
            return Chain(name, entries, len(stored), [Finding(number, "broken", f"entry {number} {fault}")])
    return Chain(name, entries, len(stored), [])


def _fault(line: bytes, number: int, prev: str, name: str, entries: list[Entry]) -> str | None:
    """What is wrong with an entry; a sound one joins `entries`."""
    try:
        entry = json.loads(line)
        body = {key: value for key, value in entry.items() if key != "hash"}
        digest, exact = hashlib.sha256(canonical(body)).hexdigest(), canonical(entry) == line
        seq, follows, stated, whose = (entry[key] for key in ("seq", "prev", "hash", "object"))
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return "is no entry of a chain"
    if stated != digest or not exact:
        return "does not have its hash: it was altered"
    if seq != number or follows != prev:
        return f"does not follow the one before (it says seq {str(seq)[:20]}): removed, put in or reordered"
    if whose != name:
        return f"is of the chain of {str(whose)[:80]}"
    entries.append(entry)
    return None


def sound(chain: Chain, found: Iterable[Finding]) -> list[Entry]:
    """The entries before the first that a finding names."""
    return chain.entries[: min((each.seq - 1 for each in found if each.seq), default=len(chain.entries))]


def statement(head: Mapping[str, Any]) -> bytes:
    """What the signature of a head signs."""
    return CONTEXT + canonical({key: value for key, value in head.items() if key != "sig"})


def check_heads(
    chain: Chain, heads: Iterable[object], keys: Mapping[str, bytes], verify: Verify = ed25519
) -> list[Finding]:
    """Signed heads against a chain: what was signed must stand there, and what stands there must be signed."""
    found: list[Finding] = []
    good, beyond = {0}, 0
    wrong: list[int] = []
    for head in heads:
        finding, seq, digest = signed_head(head, chain.name, keys, verify)
        if finding is not None:
            found.append(finding)
        elif seq > chain.length:
            beyond = max(beyond, seq)
        elif seq <= len(chain.entries):
            (good.add if chain.entries[seq - 1]["hash"] == digest else wrong.append)(seq)
    if wrong:
        first = max(seq for seq in good if seq < min(wrong)) + 1
        found.append(Finding(first, "forged", f"entry {first} is not the one that was signed"))
    if beyond:
        text = f"entries {chain.length + 1} to {beyond} were signed and are gone"
        found.append(Finding(chain.length + 1, "truncated", text))
    if max(good) < len(chain.entries):
        first = max(good) + 1
        found.append(Finding(first, "unsigned", f"no signature covers entry {first} and those behind it"))
    return found


def signed_head(
    head: Any, name: str, keys: Mapping[str, bytes], verify: Verify
) -> tuple[Finding | None, int, str]:
    """Number and hash that a trusted key signed for the chain `name`, or a finding."""
    try:
        seq, digest, key = int(head["seq"]), str(head["hash"]), str(head["key"])
        signature, whose, said = base64.b64decode(head["sig"]), head["chain"], statement(head)
    except (ValueError, TypeError, KeyError, RecursionError):
        return Finding(None, "bad_head", "a line of the signed heads is none"), 0, ""
    if key not in keys:
        return Finding(seq, "unknown_key", f"head {seq} is signed by {key[:40]}, which is not trusted"), 0, ""
    if whose != name or seq < 1 or not verify(keys[key], said, signature):
        return Finding(seq, "bad_signature", f"the signature of head {seq} is not true"), 0, ""
    return None, seq, digest


def in_order(found: Iterable[Finding]) -> list[Finding]:
    """The first bad entry first; what belongs to no entry last."""
    return sorted(set(found), key=lambda each: (each.seq is None, each.seq or 0, each.kind, each.text))
