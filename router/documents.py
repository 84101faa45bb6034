"""The documents the rooms exchange: versions, routes, replicas, routers; values only, no I/O, no decisions."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

ReplicaState = Literal["starting", "ready", "draining", "failed"]

DEFAULT_STICKY_KEY = "header:x-routing-key"


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One input or output: name, Open Inference Protocol datatype, shape with -1 for a variable dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    missing: Literal["refuse", "allow"] = "refuse"
    sensitive: Literal["", "drop", "hash"] = ""


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """The tensors a version takes and gives, in the artifact's own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class TensorRoute(msgspec.Struct, frozen=True, kw_only=True):
    """How tensors reach an API of a user's bento: the route, input → argument, output → key of the answer.

    Without `outputs` the answer is the value of the only output itself.
    """

    route: str
    arguments: dict[str, str]
    outputs: dict[str, str] | None = None


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway needs of a version document; the whole document stays a dict in the registry."""

    model: str
    version: str
    digest: str
    runtime: Literal["onnx", "bento"] = "onnx"
    signature: Signature | None = None
    rowwise: bool = False
    tensors: TensorRoute | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One document a model: who answers. `epoch` is the revision that last changed it.

    `ranges` are half-open bucket ranges `(start, end, version)` that cover 0…10,000 without gaps when there
    are `weights` (percent), and are empty otherwise. `fallback` answers where the chosen version cannot: a
    version, `none`, or `auto`: the active one for any other, the previous one for the active.
    """

    epoch: int = 0
    model: str
    active: str | None = None
    previous: str | None = None
    weights: dict[str, float] | None = None
    ranges: tuple[tuple[int, int, str], ...] = ()
    salt: str = ""
    sticky_key: str = DEFAULT_STICKY_KEY
    shadow: tuple[dict[str, Any], ...] = ()
    rules: tuple[dict[str, Any], ...] = ()
    limits: dict[str, Any] = {}
    aliases: dict[str, str] = {}
    fallback: str = "auto"

    def targets(self) -> frozenset[str]:
        """The versions that may be chosen without a pin."""
        found = set(self.weights or ())
        if self.active is not None:
            found.add(self.active)
        found.update(str(rule["to"]) for rule in self.rules if isinstance(rule.get("to"), str))
        return frozenset(found)


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One running (or starting, or failed) process of a version; `address` is `unix:PATH` or `tcp:HOST:PORT`.

    `replaced` says why the replica before it ended unasked; `last_lines` are the end of a failed one's log.
    """

    id: str
    model: str
    version: str
    digest: str
    address: str
    pid: int
    node: str
    state: ReplicaState
    since: str
    error: str | None = None
    replaced: str | None = None
    last_lines: tuple[str, ...] = ()


class ModelState(msgspec.Struct, frozen=True, kw_only=True):
    """One model as one picture: its route, its replicas, and how many replicas of a version are asked for."""

    model: str
    route: Route | None
    replicas: tuple[Replica, ...]
    desired: dict[str, int]


class RouterLease(msgspec.Struct, frozen=True, kw_only=True):
    """A router's last acknowledgement. `seen` is Redis' clock in ms; a lease is current for `lease_ms` after it.

    `highest` is the highest revision this router ever saw: after a fail-over to an older Redis the next
    revision lies above it, so that two routes never share an epoch. `refused` says by model why its newest
    route is not taken; the others are acknowledged all the same.
    """

    seen: int = 0
    id: str
    node: str
    pid: int
    revision: int
    highest: int
    state: Literal["serving", "draining"] = "serving"
    refused: dict[str, str] = {}
    lease_ms: int = 3000

    def took(self, model: str, revision: int) -> bool:
        """Whether this router answers by the model's route of `revision`, or a later one."""
        return self.revision >= revision and model not in self.refused

    def lapsed(self, now_ms: int) -> bool:
        """Whether nothing was heard for longer than the lease: the router is *unknown*, not gone."""
        return now_ms - self.seen > self.lease_ms
