"""Which replica a passed-through request goes to: windows, ejection, panic, slow start, rest; who asks again."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import DeadlineExceeded, Unavailable, UpstreamFailed
from router.upstream.budget import BudgetRules
from router.upstream.door import Door
from router.upstream.doors import Doors
from router.upstream.gate import Gate
from router.upstream.health import HealthRules
from router.upstream.tally import Tally
from router.upstream.work import Attempt
from tests.upstream.test_stream import OK, exchange, replica, run, says, target

NOW = 100.0
RULES = HealthRules(errors=2, first_s=0.05, longest_s=0.2, ramp_s=0.2)
TO = target(a="unix:/a", b="unix:/b", c="unix:/c")


def gate(most: int = 4, chance: float = 0.5) -> Gate:
    """Before nobody; its dice show `chance`."""
    return Gate(most, RULES, BudgetRules(floor=0.0), Tally(), lambda: chance)


def row(made: Gate, count: int = 3) -> list[Door]:
    """The doors of so many replicas."""
    return made.row(TO)[:count]


def test_the_least_busy_and_then_the_longest_unused_is_taken() -> None:
    made = gate()
    doors = row(made)
    for at, door in enumerate(doors):
        door.begin(NOW + at)
    doors[0].busy = 2
    assert made.pick(doors, NOW + 5) is doors[1]
    doors[1].begin(NOW + 6)
    assert made.pick(doors, NOW + 7) is doors[2]


def test_a_replica_that_refuses_gets_less_and_a_full_one_nothing() -> None:
    made = gate(most=20)
    (door,) = row(made, 1)
    door.busy = 19
    assert made.pick([door], NOW) is door
    door.answered(429, 0.01, 1.0, NOW)
    assert made.pick([door], NOW) is None
    assert not door.health.errors
    door.busy = 13
    assert made.pick([door], NOW) is door


def test_nobody_is_refused_before_the_replica_said_anything() -> None:
    (door,) = row(gate(most=1000), 1)
    door.busy = 999
    assert door.window.admits(999)


@pytest.mark.parametrize("how", ["503", "cut", "late"])
def test_errors_in_a_row_put_a_replica_out_of_turn(how: str) -> None:
    made = gate()
    doors = row(made)
    bad = doors[0]
    bad.answered(200, 0.01, 1.0, NOW)
    for _ in range(RULES.errors):
        if how == "503":
            bad.answered(503, 0.01, 1.0, NOW)
        elif how == "cut":
            bad.broke(NOW)
        else:
            bad.late(1.5, NOW)
    assert bad.health.out
    assert made.judgement.tally.ejections == {how: 1}
    doors[1].busy = doors[2].busy = 3
    assert made.pick(doors, NOW) is not bad
    doors[1].busy = doors[2].busy = 4
    assert made.pick(doors, NOW) is None, "it is no way round a full window"


@pytest.mark.parametrize("took", [0.02, 0.9])
def test_a_short_deadline_of_a_caller_puts_nobody_out(took: float) -> None:
    (door,) = row(gate(), 1)
    door.answered(200, 0.01, 1.0, NOW)
    for _ in range(10):
        door.late(took, NOW)
    assert not door.health.out
    fresh = row(gate())[1]
    for _ in range(10):
        fresh.late(30.0, NOW)
    assert not fresh.health.out, "nothing is known of what is usual there"


def test_in_a_panic_all_are_used() -> None:
    made = gate()
    doors = row(made)
    for door in doors[:2]:
        door.health.eject("cut", NOW, 0.0)
    assert made.pick(doors, NOW) is doors[2]
    doors[2].busy = 4
    assert made.pick(doors, NOW) is doors[0]
    doors[2].health.eject("cut", NOW, 0.0)
    doors[2].busy = 0
    doors[2].begin(NOW)
    assert doors[2].health.trial
    doors[2].answered(200, 0.01, 1.0, NOW)
    assert not doors[2].health.out


@pytest.mark.parametrize(("chance", "begins"), [(0.0, True), (0.9, False)])
def test_one_that_begins_has_a_part_but_takes_what_others_cannot(chance: float, begins: bool) -> None:
    made = gate(chance=chance)
    doors = row(made, 2)
    now = monotonic()
    doors[0].health = made.judgement.newcomer(now, beside=True)
    doors[1].begin(now)
    assert (made.pick(doors, now) is doors[0]) is begins
    doors[1].busy = 4
    assert made.pick(doors, now) is doors[0]


def test_whoever_failed_a_request_is_avoided_while_another_is_in_turn() -> None:
    made = gate()
    doors = row(made, 2)
    doors[1].busy = 3
    assert made.pick(doors, NOW, avoid=doors[0]) is doors[1]
    doors[1].busy = 4
    assert made.pick(doors, NOW, avoid=doors[0]) is None
    doors[1].rest(NOW)
    assert made.pick(doors, NOW, avoid=doors[0]) is doors[0]


STATES = st.tuples(st.integers(0, 4), st.booleans(), st.booleans(), st.booleans())


@given(st.lists(STATES, min_size=1, max_size=3), st.floats(0, 0.999), st.sampled_from([None, 0, 1, 2]))
def test_no_full_door_is_taken_and_a_good_one_never_missed(
    states: list[tuple[int, bool, bool, bool]], chance: float, avoided: int | None
) -> None:
    made = gate(chance=chance)
    doors = row(made, len(states))
    for door, (busy, out, ramp, rests) in zip(doors, states, strict=True):
        door.health = made.judgement.newcomer(NOW, beside=ramp)
        if out:
            door.health.eject("cut", NOW, 0.0)
        door.busy = busy
        door.retry_at = NOW + 1 if rests else 0.0
    avoid = None if avoided is None or avoided >= len(doors) else doors[avoided]
    found = made.pick(doors, NOW, avoid)
    good = [door for door in doors if door.in_turn(NOW) and door.busy < 4 and door is not avoid]
    if good:
        assert found in good
    if found is not None:
        assert found.busy < 4
        assert found.in_turn(NOW) or 2 * sum(door.in_turn(NOW) for door in doors) < len(doors)


def test_an_overloaded_version_says_so_without_a_byte_sent() -> None:
    async def work() -> None:
        doors = Doors(most=1)
        async with replica(says()) as address:
            to = target(a=address)
            async with doors.stream(to, None, []):
                assert doors.at_hand(to, monotonic()) is None
                with pytest.raises(Unavailable) as raised:
                    async with doors.stream(to, None, []):
                        pass
                assert (raised.value.code, raised.value.status) == ("overloaded", 503)
                assert raised.value.retry_after
                async with doors.pipe(to, []):  # a tunnel is no exchange
                    assert doors.gauges() == {("m", "1"): (2, 1, 0)}
                    with pytest.raises(Unavailable, match="no more"):
                        async with doors.pipe(to, []):
                            pass
            assert doors.gauges() == {("m", "1"): (0, 1, 0)}
            assert doors._tallies["m", "1"].crowded == 2
            doors.close()

    run(work())


def test_a_place_is_taken_while_the_connection_is_made_and_given_back_if_it_is_not() -> None:
    async def work() -> None:
        doors = Doors(most=1)
        to = target(gone="unix:/nowhere/s")
        for _ in range(3):
            with pytest.raises(Unavailable) as raised:
                async with doors.stream(to, None, []):
                    pass
            assert raised.value.code == "not_ready"
        (door,) = doors._gate(to).row(to)
        assert (door.busy, door.tunnels) == (0, 0)
        assert door.retry_at > monotonic()

    run(work())


def test_one_that_cannot_be_connected_rests_while_others_work() -> None:
    async def work() -> None:
        doors = Doors()
        async with replica(says(*[OK + b"content-length: 1\r\n\r\na"] * 9)) as address:
            to = target(gone="unix:/nowhere/s", a=address)
            attempts: list[Attempt] = []
            for _ in range(5):
                async with doors.stream(to, None, attempts) as (door, stream):
                    assert door.replica.id == "a"
                    await exchange(stream)
            assert len(attempts) <= 2, "it is asked again after its pause only"
            doors.close()

    run(work())


def test_a_replica_comes_back_by_a_probe_that_no_caller_waits_for() -> None:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(OK + b"content-length: 0\r\n\r\n")

    async def work() -> None:
        doors = Doors(health=RULES)
        async with replica(serve) as address:
            to = target(a=address, b=address)
            first, _ = doors._gate(to).row(to)
            for _ in range(RULES.errors):
                first.broke(monotonic())
            assert doors.gauges()["m", "1"][2] == 1
            while first.health.out:
                doors.expire(monotonic())
                await asyncio.sleep(0.001)
            assert [head.split()[1] for head in asked] == [b"/readyz"]
            assert first.health.full_at > monotonic(), "it begins with a part of its share"
            doors.close()

    run(work())


def test_repeats_stay_within_the_budget_and_need_another_in_turn() -> None:
    doors = Doors(budget=BudgetRules(ratio=0.1, floor=0.0))
    one, two = doors._gate(TO).row(TO)[:2]
    spent = sum(doors.may_repeat(TO, one, NOW) for _ in range(10))
    assert spent == 1
    tally = doors._tallies["m", "1"]
    assert (tally.retried, tally.refused) == (1, 9)
    alone = target(a="unix:/a")
    (door,) = doors._gate(alone).row(alone)
    doors._gate(alone).judgement.budget.earn(100)
    assert not doors.may_repeat(alone, door, NOW)
    assert (tally.retried, tally.refused) == (1, 9), "what nobody could do is not refused"
    assert two is not one


@pytest.mark.parametrize(
    ("error", "errors"),
    [(UpstreamFailed("x"), 1), (DeadlineExceeded("x"), 0), (Unavailable("log"), 0)],
)
def test_a_tunnel_that_is_not_opened_says_something_about_its_replica(error: Exception, errors: int) -> None:
    async def work() -> None:
        doors = Doors()
        async with replica(says()) as address:
            to = target(a=address)
            with pytest.raises(type(error)):
                async with doors.pipe(to, []):
                    raise error
            (door,) = doors._gate(to).row(to)
            assert (door.health.errors, door.tunnels) == (errors, 0)
            doors.close()

    run(work())
