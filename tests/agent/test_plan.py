"""The plan reaches what is wanted, starts nothing too much, and gives up only what cannot load."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from router.agent.plan import (
    LOADS,
    STARTS_AT_ONCE,
    Key,
    Phase,
    Tries,
    Unit,
    plan,
)

KEYS: list[Key] = [("digits", "1"), ("digits", "2"), ("cancer", "1")]
A = KEYS[0]

wanted_ = st.dictionaries(st.sampled_from(KEYS), st.integers(0, 4))
phases = st.sampled_from(["starting", "ready", "draining"])
units_ = st.lists(st.tuples(st.sampled_from(KEYS), phases, st.integers(0, 9)), max_size=12).map(
    lambda rows: [Unit(f"u{i}", key, phase, since) for i, (key, phase, since) in enumerate(rows)]
)
tries_ = st.dictionaries(
    st.sampled_from(KEYS), st.builds(Tries, st.integers(0, LOADS), not_before=st.integers(0, 20))
)


def living(units: list[Unit], key: Key) -> list[Unit]:
    return [unit for unit in units if unit.key == key and unit.phase != "draining"]


@given(wanted_, units_, tries_, st.integers(0, 20))
def test_one_step_never_overshoots(
    wanted: dict[Key, int], units: list[Unit], tries: dict[Key, Tries], now: int
) -> None:
    step = plan(wanted, units, tries, now)
    starting = sum(unit.phase == "starting" for unit in units)
    assert not step.start or starting + len(step.start) <= STARTS_AT_ONCE
    for key in KEYS:
        have, want = len(living(units, key)), wanted.get(key, 0)
        begun = step.start.count(key)
        ended = sum(unit.id in step.retire for unit in living(units, key))
        assert have + begun <= max(want, have)
        assert have - ended == min(have, want)
    assert not {unit.id for unit in units if unit.phase == "draining"} & set(step.retire)


@given(wanted_, units_, tries_, st.integers(0, 20))
def test_nothing_starts_before_its_time_and_the_plan_wakes_for_it(
    wanted: dict[Key, int], units: list[Unit], tries: dict[Key, Tries], now: int
) -> None:
    step = plan(wanted, units, tries, now)
    for key, known in tries.items():
        missing = wanted.get(key, 0) > len(living(units, key))
        if known.given_up or known.not_before > now:
            assert key not in step.start
        if missing and not known.given_up and known.not_before > now:
            assert step.wake is not None
            assert now < step.wake <= known.not_before


@given(wanted_, units_)
def test_steps_reach_what_is_wanted(wanted: dict[Key, int], units: list[Unit]) -> None:
    ids = count()
    for _ in range(20):
        step = plan(wanted, units, {}, 0)
        if not step.start and not step.retire and all(unit.phase == "ready" for unit in units):
            break
        units = [unit for unit in units if unit.id not in step.retire and unit.phase != "draining"]
        units = [Unit(unit.id, unit.key, "ready", unit.since) for unit in units]
        units += [Unit(f"n{next(ids)}", key, "ready", 1) for key in step.start]
    assert {key: len(living(units, key)) for key in KEYS} == {key: wanted.get(key, 0) for key in KEYS}


def test_surplus_goes_unready_first_then_youngest() -> None:
    rows: list[tuple[str, Phase, float]] = [
        ("old", "ready", 1),
        ("young", "ready", 5),
        ("new", "starting", 0),
    ]
    units = [Unit(name, A, phase, since) for name, phase, since in rows]
    assert plan({A: 2}, units, {}, 9).retire == ("new",)
    assert plan({A: 1}, units, {}, 9).retire == ("young", "new")


def test_after_a_failed_load_one_is_tried_at_a_time() -> None:
    tries = Tries().after_failed_load(0)
    assert plan({A: 3}, [], {A: tries}, 100).start == (A,)
    assert plan({A: 3}, [Unit("u", A, "starting", 0)], {A: tries}, 100).start == ()


def test_a_version_that_never_loads_is_given_up_after_three_tries() -> None:
    tries, starts, now = Tries(), 0, 0.0
    while (step := plan({A: 1}, [], {A: tries}, now)) != plan({}, [], {}, now):
        if step.start:
            starts += 1
            tries = tries.after_failed_load(now)
        else:
            assert step.wake is not None
            now = step.wake
    assert starts == LOADS
    assert now < 5


def test_a_crash_of_a_warm_replica_is_never_given_up() -> None:
    tries = Tries()
    for _ in range(50):
        tries = tries.after_load().after_crash(0.0, lived_s=0.1)
        assert not tries.given_up
    assert tries.not_before == 5.0
    assert tries.after_crash(0.0, lived_s=100).not_before == 0.0


@given(
    st.integers(0, 4),
    st.lists(st.tuples(st.sampled_from(["starting", "ready"]), st.booleans()), max_size=8),
)
def test_an_outgoing_replica_stays_until_others_can_serve(
    wanted: int, rows: list[tuple[Phase, bool]]
) -> None:
    units = [Unit(f"u{n}", A, phase, n, outgoing) for n, (phase, outgoing) in enumerate(rows)]
    step = plan({A: wanted} if wanted else {}, units, {}, 100)
    left = [unit for unit in units if unit.id not in step.retire]
    staying = [unit for unit in left if not unit.outgoing]
    leaving = [unit for unit in left if unit.outgoing]
    serve = [unit for unit in units if unit.phase == "ready" or unit.outgoing]
    still = [unit for unit in left if unit.phase == "ready" or unit.outgoing]
    assert len(still) >= min(wanted, len(serve))
    assert not leaving or sum(unit.phase == "ready" for unit in staying) + len(leaving) <= wanted
    assert len(staying) + len(step.start) >= min(wanted, 4)


def test_a_failure_that_would_come_again_gives_up_at_once() -> None:
    assert Tries().after_failed_load(0.0, final=True).given_up
    assert Tries(loads_failed=2).after_failed_load(0.0).given_up
    assert not Tries().after_failed_load(0.0).given_up
