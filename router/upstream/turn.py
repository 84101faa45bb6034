"""Which replica gets the next piece of work: whose turn it is, by health, rest and last use; pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from router.documents import Replica
from router.upstream.health import Health

if TYPE_CHECKING:
    from router.upstream.seat import Seat


class Place(Protocol):
    """A replica as those see it who choose among several."""

    replica: Replica
    health: Health

    def in_turn(self, now: float) -> bool:
        """Whether it takes part in the work, idle or not."""


Some = TypeVar("Some", bound=Place)


def free(seats: Collection[Seat], now: float, avoid: Seat | None, chance: Callable[[], float]) -> Seat | None:
    """An idle seat, or None to wait: connected ones first, then the one that was idle longest.

    `avoid` failed this work: any other that is in turn comes first, also if it has to be waited for.
    """
    idle = [seat for seat in seats if seat.exchange is None and seat.retry_at <= now]
    if not idle:
        return None
    if (
        len(idle) > 1
    ):  # without turns the first would take all light traffic, and nothing were known of the others
        idle.sort(key=_order)
    idle = without(idle, seats, now, avoid)
    found = whole_share(idle, now, chance)
    if found is not None:
        return found
    in_turn = [seat for seat in seats if seat.in_turn(now)]
    beginning = [seat for seat in idle if not seat.health.out]
    if beginning and not any(seat.exchange is not None for seat in in_turn):
        return beginning[0]
    return idle[0] if idle and panic(seats, now) else None


def without(able: Sequence[Some], places: Collection[Some], now: float, avoid: Some | None) -> list[Some]:
    """Those of `able` beside `avoid`, if any other of `places` is in turn."""
    if avoid in able and any(place is not avoid and place.in_turn(now) for place in places):
        return [place for place in able if place is not avoid]
    return list(able)


def whole_share(able: Sequence[Some], now: float, chance: Callable[[], float]) -> Some | None:
    """The first that is healthy and, where it begins, has its part of the work by chance."""
    for place in able:
        health = place.health
        if not health.out and (now >= health.full_at or health.admits(now, chance())):
            return place
    return None


def panic(places: Collection[Place], now: float) -> bool:
    """Whether fewer than half are in turn: then all are used."""
    return 2 * sum(place.in_turn(now) for place in places) < len(places)


def _order(seat: Seat) -> tuple[bool, float]:
    return (not seat.open, seat.sent_at)
