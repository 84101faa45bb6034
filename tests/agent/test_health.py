"""Verdicts on a warm replica: pure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.agent.health import Care, Condition, Health, Look, condition, too_large

CARE = Care(every_s=0.5, misses=2, stopped_misses=3, deep_s=5, busy_s=60)
CONDITIONS: list[Condition] = ["stopped", "idle", "busy"]
LOOKS = st.lists(st.tuples(st.booleans(), st.sampled_from(CONDITIONS)), max_size=200)


@given(LOOKS)
def test_only_silence_in_a_row_counts_and_a_busy_replica_gets_its_time(
    looks: list[tuple[bool, Condition]],
) -> None:
    health = Health()
    silent: list[Condition] = []
    for answered, state in looks:
        health = health.after(Look(answered, state, 0.5))
        silent = [] if answered else [*silent, state]
        idle = sum(each != "busy" for each in silent)
        expected = idle >= 2 or len(silent) * 0.5 >= 60
        assert (health.lost(CARE) is not None) == expected


def test_a_stopped_one_is_told_of_as_such() -> None:
    health = Health()
    for _ in range(3):
        health = health.after(Look(False, "stopped", 0.5))
    assert "stopped" in (health.lost(CARE) or "")


def test_what_works_or_waits_for_a_core_is_busy() -> None:
    assert condition(stopped=False, working=False, cpu_share=0.0) == "idle"
    assert condition(stopped=False, working=True, cpu_share=0.0) == "busy"
    assert condition(stopped=False, working=False, cpu_share=0.5) == "busy"
    assert condition(stopped=True, working=True, cpu_share=0.5) == "stopped"


def test_a_limit_of_zero_is_none() -> None:
    assert too_large(1 << 40, 0) is None
    assert too_large(5, 5) is None
    assert "1024 MiB" in (too_large(1 << 30, 1 << 20) or "")
