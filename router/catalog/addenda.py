"""What is said of a version or a model after its registration: tags, notes, reviews; values and rules, pure.

The version document itself is never touched. Each change has an actor, a time, and a line in the model's story.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from router.catalog.review import every_s
from router.errors import BadInput, Conflict
from router.stories import Note, Review

TAGS = 64  # of a version
NOTES = 200  # of a version
VALUE_CHARS = 256
NOTE_CHARS = 2_000
TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
ALIASES = 64  # of a model


class Addenda(msgspec.Struct, frozen=True, kw_only=True):
    """What was added to a version."""

    tags: dict[str, str] = {}
    notes: tuple[Note, ...] = ()


class Upkeep(msgspec.Struct, frozen=True, kw_only=True, rename={"review_every": "reviewEvery"}):
    """What was added to a model: how often it is to be reviewed, and when that was done last."""

    review_every: str | None = None
    reviewed: Review | None = None


def tagged(present: Addenda, tags: Mapping[str, str | None]) -> Addenda | None:
    """With these tags; a value of None takes one away; None where all is so already. Raises BadInput, Conflict."""
    if not tags:
        raise BadInput("tags names none", field="tags")
    found = dict(present.tags)
    for name, value in tags.items():
        field = f"tags.{name}"[:80]
        if TAG.match(name) is None:
            raise BadInput(
                f"a tag must match [a-z0-9][a-z0-9._-]{{0,62}}, got {name[:80]!r}",
                code="bad_name",
                field=field,
            )
        if value is None:
            found.pop(name, None)
        elif len(value) > VALUE_CHARS or not value.isprintable():
            raise BadInput(
                f"{field} must be text of at most {VALUE_CHARS} characters on one line", field=field
            )
        else:
            found[name] = value
    if len(found) > TAGS:
        raise Conflict(f"a version may have {TAGS} tags", code="too_many", field="tags")
    return None if found == present.tags else replace(present, tags=dict(sorted(found.items())))


def noted(present: Addenda, note: Note) -> Addenda:
    """With one more note. Raises BadInput, Conflict `too_many`."""
    if not note.text.strip() or len(note.text) > NOTE_CHARS:
        raise BadInput(f"text must have 1 to {NOTE_CHARS} characters", field="text")
    if len(present.notes) >= NOTES:
        raise Conflict(f"a version may have {NOTES} notes", code="too_many", field="text")
    return replace(present, notes=(*present.notes, note))


def reviewed(present: Upkeep, review: Review | None, every: str | None) -> Upkeep | None:
    """With a review, a new interval (`never` takes it away), or both; None where nothing changes."""
    found = present if review is None else replace(present, reviewed=review)
    if every is not None:
        if every != "never":
            every_s(every, "every")
        found = replace(found, review_every=None if every == "never" else every)
    return None if found == present else found


def aliased(present: Mapping[str, str], name: str, version: str | None) -> dict[str, str] | None:
    """The aliases with `name` for `version`; None takes it away; None is given where all is so already."""
    if present.get(name) == version:
        return None
    found = {**present, name: version} if version is not None else {**present}
    if version is None:
        del found[name]
    if len(found) > ALIASES:
        raise Conflict(f"a model may have {ALIASES} aliases", code="too_many", field="name")
    return dict(sorted((key, value) for key, value in found.items() if value is not None))
