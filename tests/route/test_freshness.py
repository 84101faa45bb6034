"""Freshness: a table is trusted only while it is confirmed and the loop has not stood still."""

from router.route.freshness import Freshness


def running(until: float, confirmed: float) -> Freshness:
    """Ticks each 0.1 s up to `until`, confirmed once."""
    fresh = Freshness(lease=3.0)
    now = 0.0
    while now <= until + 1e-9:
        fresh.tick(now)
        if abs(now - confirmed) < 0.05:
            fresh.confirmed(now)
        now += 0.1
    return fresh


def test_fresh_while_the_confirmation_is_young() -> None:
    assert running(2.9, confirmed=0.0).fresh(2.95)


def test_old_after_the_lease() -> None:
    assert not running(3.2, confirmed=0.0).fresh(3.2)


def test_never_confirmed_is_never_fresh() -> None:
    fresh = Freshness(lease=3.0)
    fresh.tick(0.0)
    assert not fresh.fresh(0.0)


def test_a_request_right_after_a_standstill_is_not_fresh() -> None:
    fresh = running(1.0, confirmed=1.0)
    assert not fresh.fresh(2.0)  # no tick for a second, though the confirmation is young


def test_a_tick_after_a_standstill_does_not_hide_it() -> None:
    fresh = running(1.0, confirmed=1.0)
    fresh.tick(2.0)
    assert not fresh.fresh(2.0)
    fresh.confirmed(1.5)  # a question asked before the standstill was noticed proves nothing
    assert not fresh.fresh(2.0)
    fresh.confirmed(2.0)
    assert fresh.fresh(2.0)
