"""Makes chains as the registry writes them, with the state they give and signed heads; not a test."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from router.audit.chain import statement
from router.audit.signing import Signer
from router.audit.stored import Stored
from router.clock import rfc3339
from router.registry.audit import Actor, Head, Refusal, entry

MODEL = "digits"
SIGNER = Signer.of(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
FORGER = Signer.of(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
TRUSTED = {SIGNER.id: SIGNER.public}


@dataclass
class Trail:
    """What lies in Redis (`lines`, `stored`) and outside of it (`heads`)."""

    lines: list[bytes] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    stored: Stored = field(default_factory=Stored)

    def entries(self) -> list[dict[str, Any]]:
        """Parsed."""
        return [orjson.loads(line) for line in self.lines]


def signed(signer: Signer, seq: int, digest: str, time: str, chain: str = MODEL) -> bytes:
    """A head as the notary keeps it."""
    import base64

    head = {"chain": chain, "seq": seq, "hash": digest, "time": time, "key": signer.id}
    return orjson.dumps(head | {"sig": base64.b64encode(signer.sign(statement(head))).decode()})


def document(version: str) -> bytes:
    """A version document."""
    return orjson.dumps(
        {"model": MODEL, "version": version, "digest": f"d{version}", "metrics": {"auc": 0.5}}
    )


def route(epoch: int, active: str, weights: dict[str, float] | None = None) -> dict[str, Any]:
    """A route document."""
    return {"epoch": epoch, "model": MODEL, "active": active, "previous": None, "weights": weights}


def trail(steps: list[tuple[str, str]]) -> Trail:
    """From steps such as `("promote", "2")`: register, deploy, undeploy, promote, split, refuse."""
    made, head, standing = Trail(), Head(), None
    for number, (what, version) in enumerate(steps, start=1):
        before: Any = None
        after: Any = {"version": version}
        action, refusal = f"version.{what}", None
        if what == "register":
            after |= {"digest": f"d{version}", "document": hashlib.sha256(document(version)).hexdigest()}
        elif what == "deploy":
            after |= {"replicas": 2}
        elif what in ("promote", "split"):
            weights = {version: 90.0, "other": 10.0} if what == "split" else None
            before, action, after = standing, f"route.{what}", route(number, version, weights)
            standing = after
        elif what == "refuse":
            action, after = "route.promote", None
            refusal = Refusal("/api/v1/models/digits/promote", "forbidden", "no role allows it", 3)
        now = rfc3339(1_700_000_000 + number)
        actor = Actor(name=f"anna{number % 3}", reason="größer ≥" if number % 2 else None)
        line, head = entry(
            head,
            time=now,
            actor=actor,
            action=action,
            object=MODEL,
            before=before,
            after=after,
            refusal=refusal,
        )
        made.lines.append(line)
        made.heads.append(signed(SIGNER, head.seq, head.hash, now))
    made.stored = state(made.entries())
    return made


def state(entries: list[dict[str, Any]]) -> Stored:
    """What stands in Redis after these entries."""
    desired: dict[str, int] = {}
    versions, history = {}, []
    standing = None
    for each in entries:
        if each["outcome"] != "applied":
            continue
        what, after = each["action"], each["after"]
        if what == "version.register":
            versions[after["version"]] = document(after["version"])
        elif what == "version.deploy":
            desired[after["version"]] = after["replicas"]
        elif what == "version.undeploy":
            desired.pop(after["version"], None)
        elif what.startswith("route."):
            standing = after
            names = ("time", "actor", "reason", "before", "after")
            history.append(
                {"epoch": after["epoch"], "action": what[6:]} | {name: each[name] for name in names}
            )
    end = f"{entries[-1]['seq']} {entries[-1]['hash']}" if entries else None
    return Stored(end, standing, history, versions, desired)


def rehashed(entries: list[dict[str, Any]], start: int) -> list[bytes]:
    """A forger's work: numbers, links and hashes made right again from position `start` on."""
    lines: list[bytes] = []
    prev = "0" * 64
    for number, each in enumerate(entries, start=1):
        body = {key: value for key, value in each.items() if key != "hash"}
        if number > start:
            body |= {"seq": number, "prev": prev}
        prev = hashlib.sha256(rfc8785.dumps(body)).hexdigest() if number > start else each["hash"]
        lines.append(rfc8785.dumps(body | {"hash": prev}))
    return lines
