"""What can be searched of a version: its document, and what changes about it, as named facts; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from router.catalog.addenda import Addenda
from router.catalog.compare import flat
from router.catalog.lineage import parent_of
from router.documents import ModelState

Fact = tuple[str, float | None, str]
"""Name, number where it is one, text."""

PARENT = "#parent"  # MODEL/VERSION; no search can name it
FACTS = 1_000  # of a version


def document_facts(document: Mapping[str, Any]) -> list[Fact]:
    """What never changes."""
    found = [_fact(name, value) for name, value in _told(document) if value is not None]
    version = document["version"]
    number = float(version) if version.isascii() and version.isdigit() and len(version) < 16 else None
    found.append(("version", number, version))
    return found[:FACTS]


def changing_facts(version: str, state: ModelState, addenda: Addenda) -> list[Fact]:
    """What changes: tags, notes, aliases, and who serves."""
    route = state.route
    found = [_fact(f"tag.{name}", value) for name, value in addenda.tags.items()]
    found += [_fact("note", note.text) for note in addenda.notes]
    if route is not None:
        found += [_fact("alias", name) for name, target in route.aliases.items() if target == version]
    found.append(_fact("active", route is not None and route.active == version))
    found.append(_fact("serves", route is not None and version in route.targets()))
    found.append(_fact("deployed", version in state.desired))
    return found


def _told(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    lineage = document.get("lineage") or {}
    card = document.get("card") or {}
    for name in ("model", "digest", "runtime"):
        yield name, document[name]
    yield "rowwise", bool(document.get("rowwise"))
    for name in ("owner", "riskTier"):
        yield name, card.get(name)
    for name in ("commit", "parent", "recipe"):
        yield name, lineage.get(name)
    parent = parent_of(document)
    yield PARENT, None if parent is None else "/".join(parent)
    registered = document.get("registered") or {}
    yield "registered", registered.get("time")
    yield "registered_by", registered.get("actor")
    for dataset in lineage.get("datasets") or ():
        for name, value in flat(dataset):
            yield f"dataset.{name}", value
    for prefix, part in (
        ("metrics", document.get("metrics")),
        ("params", lineage.get("params")),
        ("libraries", lineage.get("libraries")),
        ("card", card),
    ):
        for name, value in flat(part or {}):
            yield f"{prefix}.{name}", value


def _fact(name: str, value: Any) -> Fact:
    if isinstance(value, bool):
        return name, None, "true" if value else "false"
    if isinstance(value, int | float):
        return name, float(value), repr(value)
    return name, None, str(value)
