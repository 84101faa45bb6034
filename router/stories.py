"""What the control listener answers about versions and models beside routes, as types; values only, no I/O."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Section = Literal[
    "data", "code", "parameters", "environment", "metrics", "signature", "artifact", "card", "tags"
]

CAMEL = {"risk_tier": "riskTier", "review_every": "reviewEvery", "review_due": "reviewDue"}
"""As the manifest and models.yaml spell them."""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something that somebody had to say."""

    time: str
    actor: str
    text: str


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody looked at the model and found it fit for its purpose."""

    time: str
    actor: str
    reason: str | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One fact of each version, in the order asked for; null where a version says nothing."""

    section: Section
    key: str
    values: list[str | int | float | bool | None]
    differs: bool


class Breaks(msgspec.Struct, frozen=True, kw_only=True):
    """What callers of the version `against` would lose, a sentence each."""

    against: str
    changes: list[str]


class VersionStory(msgspec.Struct, frozen=True, kw_only=True):
    """A version whole: `document` is what was registered, and never changes; the rest was added later."""

    model: str
    version: str
    document: dict[str, Any]
    tags: dict[str, str]
    notes: list[Note]
    aliases: list[str]
    breaking: Breaks | None


class Tagged(msgspec.Struct, frozen=True, kw_only=True):
    """The tags of a version as they are now; `revision` 0 where nothing was changed."""

    model: str
    version: str
    tags: dict[str, str]
    changed: bool
    revision: int


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """The notes of a version as they are now."""

    model: str
    version: str
    notes: list[Note]
    revision: int


class Aliases(msgspec.Struct, frozen=True, kw_only=True):
    """The aliases of a model, and the versions they stand for."""

    model: str
    aliases: dict[str, str]
    epoch: int


class Addition(msgspec.Struct, frozen=True, kw_only=True):
    """Who added what, when and why; `version` null: to the model."""

    time: str
    actor: str
    action: str
    version: str | None
    reason: str | None
    before: dict[str, Any]
    after: dict[str, Any]


class Additions(msgspec.Struct, frozen=True, kw_only=True):
    """A page of additions, oldest first."""

    additions: list[Addition]
    next: str | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Versions side by side; `breaking` is what callers of the first would lose with each of the others."""

    model: str
    versions: list[str]
    rows: list[Row]
    breaking: dict[str, list[str]]
    differing: int
    total: int
    next: str | None


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """A version in a line of descent; `known` is false where the registry has none of this name."""

    model: str
    version: str
    known: bool
    digest: str | None
    commit: str | None
    datasets: list[dict[str, Any]]


class Serves(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers by this version now; `share` in percent."""

    active: bool
    share: float
    epoch: int
    aliases: list[str]
    replicas: int
    requests: int | None


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a model."""

    model: str
    version: str


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """From data sets over the parents, nearest first, to a version, its children, and who is served by it."""

    model: str
    version: str
    digest: str
    commit: str | None
    recipe: str | None
    params: dict[str, Any]
    libraries: dict[str, Any]
    datasets: list[dict[str, Any]]
    ancestors: list[Generation]
    children: list[Named]
    serves: Serves


class Touched(msgspec.Struct, frozen=True, kw_only=True):
    """A version that a data set went into: itself, or `through` a parent.

    `requests` are those that the routers of the asked host answered by it since they began; null: none was asked.
    """

    model: str
    version: str
    digest: str
    through: Named | None
    active: bool
    requests: int | None


class DatasetLineage(msgspec.Struct, frozen=True, kw_only=True):
    """From a data set to versions and requests; `bounded` where there are more versions than are looked for."""

    dataset: str
    names: list[str]
    versions: list[Touched]
    bounded: bool
    next: str | None


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A model card, as Markdown or as a whole page of HTML."""

    model: str
    version: str
    format: Literal["markdown", "html"]
    card: str


class FoundVersion(msgspec.Struct, frozen=True, kw_only=True, rename=CAMEL):
    """A version that a search found."""

    model: str
    version: str
    digest: str
    runtime: str
    registered: str | None
    owner: str | None
    risk_tier: str | None
    active: bool
    serves: bool
    deployed: bool
    tags: dict[str, str]
    aliases: list[str]
    metrics: dict[str, Any]


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """A page of versions, by model and version."""

    versions: list[FoundVersion]
    next: str | None


class ModelCare(msgspec.Struct, frozen=True, kw_only=True, rename=CAMEL):
    """A model as its keepers see it; what the card tells is of the active version, else of the newest.

    `purpose` is its intended use, `since` when the active version became active. `rollout` and `alerts` are for
    what is to come.
    """

    model: str
    created: str | None
    owner: str | None
    risk_tier: str | None
    purpose: str | None
    limits: str | None
    active: str | None
    since: str | None
    weights: dict[str, float] | None
    epoch: int
    versions: int
    aliases: dict[str, str]
    review_every: str | None
    reviewed: Review | None
    review_due: str | None
    overdue: bool
    rollout: dict[str, Any] | None = None
    alerts: list[dict[str, Any]] = []


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """A page of models by name; `overdue` counts those of all pages that one may see."""

    models: list[ModelCare]
    total: int
    overdue: int
    next: str | None


class Reviewed(msgspec.Struct, frozen=True, kw_only=True, rename=CAMEL):
    """A model's reviews as they are now."""

    model: str
    review_every: str | None
    reviewed: Review | None
    review_due: str | None
    changed: bool
    revision: int


class PastState(msgspec.Struct, frozen=True, kw_only=True):
    """Who answered for a model at a time: the route as the change of `epoch` had made it; `digests` by version."""

    model: str
    active: str | None
    weights: dict[str, float] | None
    epoch: int
    since: str | None
    actor: str | None
    action: str | None
    reason: str | None
    digests: dict[str, str]


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """A page of models by name, as they were at `at`; those that had no route yet are left out."""

    at: str
    models: list[PastState]
    next: str | None
