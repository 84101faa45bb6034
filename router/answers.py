"""What the control listener answers, as types: OpenAPI describes them, the client reads them; values only, no I/O.

Answers may gain fields with any version: readers ignore those that they do not know.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from router.documents import Replica, Route, Signature
from router.stories import ModelCare


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Every error, on both listeners; programs look at the status and at `code`, texts may change."""

    error: str
    code: str
    field: str | None = None


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers."""

    live: bool


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """Changes can be made: Redis answers, at this revision."""

    ready: bool
    revision: int


class ReplicaCount(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas of a version that are asked for, and those that are ready."""

    desired: int
    ready: int


class VersionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a model; `share` is in percent of the requests without pin and rule."""

    version: str
    state: str
    serves: bool
    share: float
    replicas: ReplicaCount
    runtime: Literal["onnx", "bento"]
    digest: str
    rowwise: bool
    signature: Signature | None
    metrics: dict[str, Any] | None
    registered: str | None = None
    tags: dict[str, str] = {}


class RouterStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A known router: the revision it answers by, and how long ago it was heard, in ms."""

    id: str
    node: str
    pid: int
    revision: int
    state: Literal["serving", "draining", "unknown"]
    lapsed: bool
    refused: dict[str, str]
    heard_ms: int


class Acknowledgement(RouterStanding, frozen=True, kw_only=True):
    """A router, and whether it answers by the model's present route."""

    acknowledged: bool


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One model as one picture."""

    model: str
    care: ModelCare | None = None
    versions: list[VersionSummary]
    route: Route | None
    replicas: list[Replica]
    acknowledgements: list[Acknowledgement]


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """A page of models; `next` is the cursor of the following one."""

    models: list[Model]
    next: str | None


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A broken file that was put aside."""

    time: str
    file: str
    reason: str
    kept_as: str
    bytes: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The installation on one page."""

    revision: int
    redis: dict[str, Any]
    agent: dict[str, Any] | None
    routers: list[RouterStanding]
    replicas: list[Replica]
    models: list[Model]
    quarantine: list[Quarantined]
    up: Any = None
    control: dict[str, Any] | None = None
    shipper: dict[str, Any] | None = None


class Laggard(msgspec.Struct, frozen=True, kw_only=True):
    """Who is not known to have a change, and why."""

    id: str
    reason: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How many of the known routers have acknowledged a change."""

    acknowledged: int
    known: int
    laggards: list[Laggard]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a route; `changed` is false where it was so already, `took_ms` to the last acknowledgement."""

    epoch: int
    applied: bool
    changed: bool
    routers: Verdict
    took_ms: float
    model: str
    route: Route | None


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who made a route what, when and why."""

    epoch: int
    time: str
    actor: str
    action: str
    reason: str | None
    before: Route | None
    after: Route


class History(msgspec.Struct, frozen=True, kw_only=True):
    """A page of changes, oldest first."""

    history: list[HistoryEntry]
    next: str | None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange with a replica."""

    version: str | None = None
    replica: str | None = None
    status: int | None = None
    error: str | None = None
    upstream_ms: float | None = None


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """The bodies of a request and its answer, as far as they are kept."""

    request: Any
    response: Any
    truncated: bool


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One request in the log; of a stream that has not ended, `status` is null."""

    record_id: str
    request_id: str
    time: str
    model: str
    version: str | None
    digest: str | None
    router: str
    replica: str | None
    epoch: int | None
    reason: str | None
    key_hash: str | None
    principal: str | None
    protocol: str
    status: int | None
    error: str | None
    attempts: list[Attempt] = []
    stale: bool = False
    rows: int | None = None
    batch_rows: int | None = None
    queue_ms: float | None = None
    upstream_ms: float | None = None
    total_ms: float | None = None
    payload: Payload | None = None
    ended: str | None = None


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """A page of records, oldest first; `cursor` goes on from there at any later time."""

    requests: list[Record]
    next: str | None
    cursor: str | None = None


class Routers(msgspec.Struct, frozen=True, kw_only=True):
    """The known routers and the stored revision."""

    revision: int
    routers: list[RouterStanding]


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """A router that nobody waits for any more."""

    id: str
    forgotten: bool


class KeyGrant(msgspec.Struct, frozen=True, kw_only=True):
    """A role for the models whose names match a pattern."""

    role: str
    models: str = "*"


class CallerKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is known; its secret is in the answer that made it, and nowhere else."""

    id: str
    name: str
    state: Literal["active", "expired", "revoked"]
    grants: list[KeyGrant]
    created: str
    created_by: str
    expires: str | None
    rotated: str | None
    overlap_ends: str | None
    revoked: str | None


class CallerKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Every key, the oldest first, also those that ended."""

    keys: list[CallerKey]


class KeyChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a key, and how many routers have it; `secret` where there is a new one."""

    key: CallerKey
    changed: bool
    routers: Verdict
    took_ms: float
    secret: str | None = None


class PublicKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that signs heads of chains."""

    id: str
    pem: str


class PublicKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Those that are trusted here; the first is the one that signs here."""

    keys: list[PublicKey]


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """A version as it was taken in; the answer has the rest of its manifest besides."""

    model: str
    version: str
    digest: str
    runtime: Literal["onnx", "bento"]
    revision: int
    report: dict[str, Any]
    store: str | None = None
    signature: Signature | None = None
    rowwise: bool = False


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """The replicas asked for; `ready` is there where the answer waited for them."""

    model: str
    version: str
    replicas: int
    revision: int
    ready: int | None = None


class RestoredModel(msgspec.Struct, frozen=True, kw_only=True):
    """What was written back of a model."""

    model: str
    revision: int
    versions: list[str]
    deployed: list[str]
    route: bool
    missing: list[str]


class IncompleteModel(msgspec.Struct, frozen=True, kw_only=True):
    """Versions that a route names and nobody can describe: register them again."""

    model: str
    missing: list[str]


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore did; `models` were looked at, `keys` written back."""

    models: int
    restored: list[RestoredModel]
    incomplete: list[IncompleteModel]
    keys: int = 0


class RestartStep(msgspec.Struct, frozen=True, kw_only=True):
    """One process in the place of another."""

    name: str
    old: str
    new: str | None
    took_s: float
    clean: bool


class RestartProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A restart: `running`, then `done` or `failed`."""

    id: str
    what: Literal["routers", "replicas", "agent"]
    model: str | None
    version: str | None
    began: str
    state: Literal["running", "done", "failed"]
    steps: list[RestartStep]
    took_s: float | None
    error: str | None


class RestartAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The restart that runs, else the last one, else null."""

    restart: RestartProgress | None
