"""The routing decision of a request: takes the snapshot once, confirms it where it may be old, or marks it."""

from __future__ import annotations

import random
from time import time

from router.access.admission import Admission, permitted
from router.edge.passage import Passage
from router.errors import BadInput, Unavailable
from router.route.choice import choose, entry_of
from router.route.table import Choice
from router.route.watch import Watch


async def choose_version(watch: Watch, passage: Passage, pinned: str | None) -> Choice:
    """Confirms the table where it may be old, then chooses; see `choose_now`."""
    await confirmed(watch, passage)
    return choose_now(watch, passage, pinned)


async def confirmed(watch: Watch, passage: Passage) -> None:
    """Returns at once where the table is fresh, else after asking; the passage is marked where that failed."""
    if not watch.fresh:
        passage.stale = not await watch.ensure_fresh()


def admit(admission: Admission, passage: Passage) -> None:
    """Notes who asks. Raises Unauthorized, and Forbidden where they may not ask this model."""
    principal = admission.principal(passage.inbound.credential, time())
    passage.principal = principal
    permitted(principal, passage.model)


def choose_now(watch: Watch, passage: Passage, pinned: str | None) -> Choice:
    """The version for this passage, noted in it. `pinned` is the version its path names.

    Raises BadInput `pin_mismatch` where header and path disagree, Unavailable where there is no table yet,
    and what `admit` and `choose` raise.
    """
    if not watch.synced:
        raise Unavailable("this router has no routing table yet", code="not_ready")
    table = watch.table
    if table.admission.required:  # before anything is told of the model
        admit(table.admission, passage)
    entry = entry_of(table, passage.model)
    passage.known = True
    pin = passage.inbound.text(b"x-model-version")
    if pinned is not None:
        if pin is not None and pin != pinned:
            raise BadInput(
                f"x-model-version says {pin[:80]!r}, the path says {pinned!r}",
                code="pin_mismatch",
                field="x-model-version",
            )
        pin = pinned
    if entry.sticky_header is not None:
        passage.key = passage.inbound.text(entry.sticky_header)
    passage.choice = choose(entry, pin, passage.key, random.random())
    return passage.choice
