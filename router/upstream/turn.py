"""Which replica gets the next batch: whose turn it is, by health, rest and last use; pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router.upstream.seat import Seat


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
    if avoid in idle and any(seat is not avoid and seat.in_turn(now) for seat in seats):
        idle = [seat for seat in idle if seat is not avoid]
    for seat in idle:
        health = seat.health
        if not health.out and (now >= health.full_at or health.admits(now, chance())):
            return seat
    return _otherwise(seats, idle, now)


def _otherwise(seats: Collection[Seat], idle: list[Seat], now: float) -> Seat | None:
    """No idle one has its turn: one that begins, where nobody else works; in a panic any."""
    in_turn = [seat for seat in seats if seat.in_turn(now)]
    beginning = [seat for seat in idle if not seat.health.out]
    if beginning and not any(seat.exchange is not None for seat in in_turn):
        return beginning[0]
    if idle and 2 * len(in_turn) < len(seats):
        return idle[0]
    return None


def _order(seat: Seat) -> tuple[bool, float]:
    return (not seat.open, seat.sent_at)
