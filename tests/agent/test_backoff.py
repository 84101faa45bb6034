"""First at once, then slower and slower, and anew after a healthy life."""

from hypothesis import given
from hypothesis import strategies as st

from router.agent.backoff import HEALTHY_S, LONGEST_S, Backoff, delay


def test_the_first_restart_is_at_once_and_the_next_ones_double() -> None:
    assert [delay(ended) for ended in range(1, 9)] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]


@given(st.integers(1, 10_000))
def test_a_delay_never_shrinks_and_has_a_bound(ended: int) -> None:
    assert delay(ended) <= delay(ended + 1) <= LONGEST_S


@given(st.lists(st.floats(0, HEALTHY_S, exclude_max=True)))
def test_a_healthy_life_forgives(short_lives: list[float]) -> None:
    backoff = Backoff()
    for lived in short_lives:
        backoff = backoff.after(lived)
    assert backoff.ended == len(short_lives)
    assert backoff.after(HEALTHY_S).delay_s == 0.0
