"""One batch on its way to an answer: who waits for it, which seat has it, and its copy elsewhere; no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.upstream.work import Item

if TYPE_CHECKING:
    from router.upstream.seat import Seat


class Exchange:
    """Items that travel together. `avoid` is the seat that failed them before, or that still owes them.

    `part`: of a batch that failed, to find the culprit. `repeated`: sent before, so it earns no retries.
    Of two `twin`s, a batch and its copy (a hedge), either knows the other while neither has ended.
    """

    __slots__ = (
        "avoid",
        "copied",
        "deadline",
        "denied",
        "full",
        "is_copy",
        "items",
        "part",
        "repeated",
        "seat",
        "told",
        "twin",
    )

    def __init__(self, items: list[Item]) -> None:
        self.items = items
        self.avoid: Seat | None = None
        self.part = self.repeated = self.copied = self.denied = self.is_copy = self.told = False
        self.seat: Seat | None = None
        self.twin: Exchange | None = None
        self.deadline = 0.0  # the last of its items'; of those that were sent
        self.full = False  # others waited that did not fit into it

    @property
    def rows(self) -> int:
        """Its rows; 1 for what is not row-wise."""
        items = self.items
        return (items[0].rows if len(items) == 1 else sum([item.rows for item in items])) or 1

    def copy(self) -> Exchange:
        """The same work for another seat, as its twin; once an exchange."""
        twin = Exchange(self.living())
        twin.avoid, twin.repeated, twin.is_copy = self.seat, True, True
        twin.part = self.part
        twin.twin, self.twin, self.copied = self, twin, True
        return twin

    def part_from_twin(self) -> Exchange | None:
        """The twin, if it has not ended; neither knows the other any more."""
        twin, self.twin = self.twin, None
        if twin is not None:
            twin.twin = None
        return twin

    def living(self) -> list[Item]:
        """The items somebody waits for."""
        return [item for item in self.items if not item.abandoned]

    def trim(self) -> bool:
        """Lets go whom nobody waits for, before it is sent; whether anybody is left."""
        self.items = self.living()
        if not self.items:
            self.part_from_twin()
        return bool(self.items)

    def overdue(self, now: float) -> list[Item]:
        """Items somebody waits for past their deadlines."""
        return [item for item in self.items if item.deadline <= now and not item.abandoned]
