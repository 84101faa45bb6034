"""What is known of a model beside its documents, and how its keepers see it; values in and out, pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from router.catalog import review
from router.catalog.addenda import Addenda, Upkeep
from router.documents import ModelState
from router.stories import FoundVersion, ModelCare


class Registered(msgspec.Struct, frozen=True):
    """When, and by whom."""

    time: str
    actor: str


class Summary(msgspec.Struct, frozen=True):
    """What lists show of a version document; the rest is passed over, and two parts stay the JSON they are."""

    version: str
    digest: str
    runtime: str = "onnx"
    rowwise: bool = False
    signature: msgspec.Raw = msgspec.Raw(b"null")
    metrics: msgspec.Raw = msgspec.Raw(b"null")
    registered: Registered | None = None


summary = msgspec.json.Decoder(Summary).decode
"""From the stored bytes of a document."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """`since` is when the active version became active, `card` that of the version which speaks for the model."""

    state: ModelState
    created: str | None = None
    since: str | None = None
    addenda: dict[str, Addenda] = field(default_factory=dict)
    upkeep: Upkeep = field(default_factory=Upkeep)
    versions: tuple[str, ...] = ()
    card: dict[str, Any] = field(default_factory=dict)

    def spoken_for(self) -> str | None:
        """The version whose card is the model's: the active one, else the newest."""
        route = self.state.route
        if route is not None and route.active is not None:
            return route.active
        return self.versions[-1] if self.versions else None

    def aliases(self, version: str | None = None) -> dict[str, str]:
        """The model's aliases; only those for `version` where one is named."""
        found = {} if self.state.route is None else self.state.route.aliases
        return {name: to for name, to in found.items() if version in (None, to)}

    def due(self) -> str | None:
        """When the next review is due."""
        reviewed = self.upkeep.reviewed
        return review.due(self.upkeep.review_every, None if reviewed is None else reviewed.time, self.created)


def care(shelf: Shelf, now: float) -> ModelCare:
    """The model as its keepers see it; `now` in Unix seconds."""
    route, due = shelf.state.route, shelf.due()
    card = shelf.card
    return ModelCare(
        model=shelf.state.model,
        created=shelf.created,
        owner=card.get("owner"),
        risk_tier=card.get("riskTier"),
        purpose=card.get("purpose"),
        limits=card.get("limits"),
        active=None if route is None else route.active,
        since=None if route is None or route.active is None else shelf.since,
        weights=None if route is None else route.weights,
        epoch=0 if route is None else route.epoch,
        versions=len(shelf.versions),
        aliases=shelf.aliases(),
        review_every=shelf.upkeep.review_every,
        reviewed=shelf.upkeep.reviewed,
        review_due=due,
        overdue=review.overdue(due, now),
    )


def found_version(shelf: Shelf, document: Mapping[str, Any]) -> FoundVersion:
    """A version as a search shows it."""
    version, card = document["version"], document.get("card") or {}
    route = shelf.state.route
    return FoundVersion(
        model=document["model"],
        version=version,
        digest=document["digest"],
        runtime=document["runtime"],
        registered=(document.get("registered") or {}).get("time"),
        owner=card.get("owner"),
        risk_tier=card.get("riskTier"),
        active=route is not None and route.active == version,
        serves=route is not None and version in route.targets(),
        deployed=version in shelf.state.desired,
        tags=shelf.addenda.get(version, Addenda()).tags,
        aliases=list(shelf.aliases(version)),
        metrics=document.get("metrics") or {},
    )
