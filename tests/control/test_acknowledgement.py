"""The verdict on leases, as a pure function."""

from __future__ import annotations

from router.control.acknowledgement import judge
from router.documents import RouterLease


def lease(name: str, revision: int, seen: int = 10_000, **others: object) -> RouterLease:
    fields = {"highest": revision} | others
    return RouterLease(id=name, node="n", pid=1, revision=revision, seen=seen, **fields)  # type: ignore[arg-type]


def test_nobody_known_is_complete() -> None:
    verdict = judge("m", 5, 10_000, [])
    assert (verdict.known, verdict.acknowledged, verdict.complete) == (0, 0, True)


def test_a_higher_revision_acknowledges_too() -> None:
    assert judge("m", 5, 10_000, [lease("a", 5), lease("b", 9)]).acknowledged == 2


def test_a_live_one_behind_is_awaited() -> None:
    verdict = judge("m", 5, 10_500, [lease("a", 5), lease("b", 4)])
    assert (verdict.acknowledged, verdict.known, verdict.awaited) == (1, 2, frozenset({"b"}))
    assert verdict.laggards == (("b", "still at revision 4, not yet at 5"),)


def test_a_lapsed_one_behind_is_unknown_and_not_awaited() -> None:
    verdict = judge("m", 5, 20_000, [lease("b", 4)])
    assert verdict.awaited == frozenset()
    assert verdict.laggards == (("b", "unknown: last heard 10.0 s ago, at revision 4"),)


def test_a_lease_is_current_to_its_last_millisecond() -> None:
    assert judge("m", 5, 13_000, [lease("b", 4)]).awaited == frozenset({"b"})
    assert judge("m", 5, 13_001, [lease("b", 4)]).awaited == frozenset()


def test_a_refusal_is_a_laggard_and_awaited() -> None:
    for revision in (4, 5):
        verdict = judge("m", 5, 10_000, [lease("b", revision, refused={"m": "cold"})])
        assert verdict.laggards == (("b", "refused: cold"),)
        assert verdict.awaited == frozenset({"b"})


def test_a_refusal_of_another_model_does_not_count_against_this_one() -> None:
    assert judge("m", 5, 10_000, [lease("b", 6, refused={"other": "cold"})]).complete


def test_a_router_that_has_seen_more_than_redis_has_not_taken_its_number() -> None:
    """After a fail-over to an older state: the router acknowledges nothing, and says how far it was."""
    verdict = judge("m", 5, 10_000, [lease("b", 0, highest=9)])
    assert verdict.laggards == (
        ("b", "has seen revision 9: Redis fell back to an older state; repeat the change"),
    )
    assert verdict.awaited == frozenset({"b"})
