"""Places for connections: bounded in all and by caller, and free again however often they change hands."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from router.connections import Connections


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=200),
    st.integers(1, 9),
    st.integers(0, 4),
)
def test_neither_limit_is_ever_passed_and_none_refuses_without_need(
    steps: list[tuple[str, bool]], most: int, of_caller: int
) -> None:
    places, have = Connections(most, of_caller), Counter[str]()
    for caller, comes in steps:
        if comes:
            full, greedy = have.total() >= most, 0 < of_caller <= have[caller]
            found = places.admit(caller)
            assert found == ("all" if full else "caller" if greedy else None)
            have[caller] += found is None
        elif have[caller]:
            places.leave(caller)
            have[caller] -= 1
        assert places.open == have.total() <= most


def test_refusals_are_counted_by_what_they_ran_into() -> None:
    places = Connections(2, 1)
    assert [places.admit(caller) for caller in "aabc"] == [None, "caller", None, "all"]
    assert places.refused == {"caller": 1, "all": 1}
    places.leave("a")
    assert places.admit("c") is None
