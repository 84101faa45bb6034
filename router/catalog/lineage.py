"""Where a version comes from and what came of it: documents in, graphs out; pure, and bounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
DEPTH = 32  # generations, both ways: a chain of parents may be a ring

Find = Callable[[str, str], Document | None]
"""A version document by model and version."""


def parent_of(document: Document) -> tuple[str, str] | None:
    """Model and version of the parent, which need not exist."""
    stated = (document.get("lineage") or {}).get("parent")
    if not isinstance(stated, str) or not stated:
        return None
    model, mark, version = stated.rpartition("/")
    return (model, version) if mark else (document["model"], version)


def ancestors(document: Document, find: Find) -> list[dict[str, Any]]:
    """The parent, its parent and so on, nearest first; an unknown one ends the line."""
    seen = {(document["model"], document["version"])}
    found: list[dict[str, Any]] = []
    place = parent_of(document)
    while place is not None and place not in seen and len(found) < DEPTH:
        seen.add(place)
        known = find(*place)
        found.append(generation(place, known))
        place = None if known is None else parent_of(known)
    return found


def generation(place: tuple[str, str], document: Document | None) -> dict[str, Any]:
    """One version as a line of a family; `known` is false where the registry has no such version."""
    lineage = (document or {}).get("lineage") or {}
    return {
        "model": place[0],
        "version": place[1],
        "known": document is not None,
        "digest": None if document is None else document["digest"],
        "commit": lineage.get("commit"),
        "datasets": list(lineage.get("datasets") or ()),
    }


def touched(
    direct: Sequence[tuple[str, str]], children: Callable[[str, str], Sequence[tuple[str, str]]], limit: int
) -> list[tuple[tuple[str, str], tuple[str, str] | None]]:
    """The versions that `direct` ones are, and all that descend from them, breadth first, at most `limit`.

    Beside each the parent through which it is one of them; None for a direct one.
    """
    found: dict[tuple[str, str], tuple[str, str] | None] = dict.fromkeys(direct)
    front = list(direct)
    for _ in range(DEPTH):
        following = []
        for place in front:
            for child in children(*place):
                if child not in found and len(found) < limit:
                    found[child] = place
                    following.append(child)
        if not following:
            break
        front = following
    return list(found.items())[:limit]
