"""What a chain tells: who answered when, and whether its own changes fit together; pure."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from typing import Any

from router.audit.canonical import canonical
from router.audit.chain import Entry, Finding

SERVING = ("from", "to", "version", "weight", "digest", "epoch", "actor", "reason")
EVENTS = ("seq", "time", "actor", "action", "object", "reason", "ticket")


def routes(entries: Iterable[Entry]) -> list[Entry]:
    """The entries that changed the route."""
    return [e for e in entries if str(e["action"]).startswith("route.") and e["outcome"] == "applied"]


def check_routes(entries: Iterable[Entry]) -> list[Finding]:
    """Each change of the route must begin where the one before ended, with a higher epoch."""
    standing: Any = None
    for entry in routes(entries):
        seq, after = entry["seq"], entry["after"]
        if entry["before"] != standing:
            text = f"entry {seq} changes a route that no entry had made"
            return [Finding(seq, "discontinuous", text)]
        if standing is not None and after["epoch"] <= standing["epoch"]:
            return [Finding(seq, "discontinuous", f"entry {seq} gives the route no higher epoch")]
        standing = after
    return []


def check_versions(
    entries: Iterable[Entry], stored: Mapping[str, bytes], *, everything: bool
) -> list[Finding]:
    """Version documents against what was registered; `everything`: none may be missing."""
    found = []
    for entry in applied(entries, "version.register"):
        version, wanted = entry["after"]["version"], entry["after"].get("document")
        body = stored.get(version)
        if body is None:
            if everything:
                found.append(Finding(entry["seq"], "version", f"the document of version {version} is gone"))
        elif wanted is not None and hashlib.sha256(body).hexdigest() != wanted:
            text = f"the document of version {version} is not the one that was registered"
            found.append(Finding(entry["seq"], "version", text))
    return found


def serving(
    entries: list[Entry], digests: Mapping[str, str], start: str | None, end: str | None
) -> list[tuple[str, ...]]:
    """Rows of `serving.csv`, which version answered from when to when, that touch `start`…`end` (RFC 3339)."""
    known = dict(digests)
    known.update({e["after"]["version"]: e["after"]["digest"] for e in applied(entries, "version.register")})
    changes, rows = routes(entries), []
    for number, entry in enumerate(changes):
        route, began = entry["after"], entry["time"]
        ended = changes[number + 1]["time"] if number + 1 < len(changes) else ""
        if (start and ended and ended <= start) or (end and began > end):
            continue
        shares = route["weights"] or ({} if route["active"] is None else {route["active"]: 100})
        for version, weight in sorted(shares.items()):
            cells = (began, ended, version, f"{weight:g}", known.get(version, ""), route["epoch"])
            rows.append(tuple(map(_cell, (*cells, entry["actor"], entry["reason"]))))
    return rows


def applied(entries: Iterable[Entry], prefix: str) -> list[Entry]:
    """The entries of what was done whose action begins so."""
    return [e for e in entries if str(e["action"]).startswith(prefix) and e["outcome"] == "applied"]


def events(entries: Iterable[Entry], prefix: str) -> list[tuple[str, ...]]:
    """Rows of `overrides.csv` and `erasures.csv`."""
    return [tuple(_cell(entry.get(name)) for name in EVENTS) for entry in applied(entries, prefix)]


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> bytes:
    """CSV with a heading."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([columns, *rows])
    return out.getvalue().encode()


def _cell(value: object) -> str:
    """Text that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def derived(
    entries: list[Entry], digests: Mapping[str, str], start: str | None, end: str | None
) -> dict[str, bytes]:
    """The files of an export that follow from its chain."""
    within = [e for e in entries if not ((start and e["time"] < start) or (end and e["time"] > end))]
    approvals = [canonical(e) + b"\n" for e in within if str(e["action"]).startswith("approval.")]
    return {
        "serving.csv": table(SERVING, serving(entries, digests, start, end)),
        "approvals.jsonl": b"".join(approvals),
        "overrides.csv": table(EVENTS, events(within, "override.")),
        "erasures.csv": table(EVENTS, events(within, "erasure.")),
    }
