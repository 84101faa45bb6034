"""Keeps a signature that breaks callers from becoming what they get unasked; reads documents, changes nothing."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from router.catalog.breaking import breaks
from router.documents import Route, Signature, Version
from router.errors import Conflict
from router.registry.registry import Registry

KEPT = 10_000  # signatures of this process; they never change
NAMED = 6  # differences in the text of a refusal


class Unread(Exception):
    """The signatures of these versions must be read before it can be judged."""

    def __init__(self, versions: tuple[str, ...]) -> None:
        super().__init__(", ".join(versions))
        self.versions = versions


class Breaking(Conflict):
    """A change that would give callers another signature; `version` is whose."""

    def __init__(
        self, model: str, active: str, version: str, found: tuple[str, ...], field: str | None
    ) -> None:
        told = "; ".join(found[:NAMED]) + (f"; and {len(found) - NAMED} more" if len(found) > NAMED else "")
        super().__init__(
            f"version {version} of model {model} breaks callers of version {active}: {told}. "
            "Allow it with allow_breaking, or --allow-breaking",
            code="breaking_signature",
            field=field,
        )
        self.version = version


class Signatures:
    """The signatures of versions, as far as somebody had to know them."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Signature | None] = {}

    async def read(self, registry: Registry, model: str, versions: Iterable[str]) -> None:
        """Reads what is not known yet; a version that does not exist stays unknown."""
        wanted = [(model, version) for version in versions if (model, version) not in self._known]
        if len(self._known) + len(wanted) > KEPT:
            self._known.clear()
        for place, raw in (await registry.version_documents(wanted)).items():
            self._known[place] = msgspec.json.decode(raw, type=Version).signature

    def require(self, present: Route | None, after: Route, joining: Iterable[tuple[str, str | None]]) -> None:
        """Raises Breaking where a version that `joins` (with the field that named it) would break callers.

        Raises Unread where a signature must be read first.
        """
        active = None if present is None else present.active
        if active is None:
            return
        model = after.model
        for version, field in joining:
            if version == active:
                continue
            unread = tuple(each for each in (active, version) if (model, each) not in self._known)
            if unread:
                raise Unread(unread)
            found = breaks(self._known[model, active], self._known[model, version])
            if found:
                raise Breaking(model, active, version, found, field)

    async def against_active(
        self, registry: Registry, model: str, document: object
    ) -> dict[str, object] | None:
        """Of a new document: what it would break of the active version; None where nothing, or none is active."""
        route = (await registry.model_state(model)).route
        if route is None or route.active is None:
            return None
        await self.read(registry, model, (route.active,))
        signature = msgspec.convert(document, Version).signature
        found = breaks(self._known.get((model, route.active)), signature)
        return {"against": route.active, "changes": list(found)} if found else None
