"""The expectation of how long a call takes."""

from __future__ import annotations

from services.pace import Pace


def test_nothing_is_expected_before_the_first_call() -> None:
    assert Pace().expected(1) is None


def test_larger_calls_are_expected_in_proportion_until_they_were_seen() -> None:
    pace = Pace()
    pace.record(1, 100)
    assert pace.expected(64) == 6400
    pace.record(64, 300)
    assert (pace.expected(64), pace.expected(1)) == (300, 100)


def test_smaller_calls_are_expected_to_take_as_long_as_the_next_larger() -> None:
    pace = Pace()
    pace.record(64, 300)
    assert pace.expected(1) == 300


def test_the_newest_counts_a_fifth() -> None:
    pace = Pace()
    pace.record(1, 100)
    pace.record(1, 200)
    assert pace.expected(1) == 120


def test_no_rows_and_very_many() -> None:
    pace = Pace()
    pace.record(0, 10)
    assert pace.expected(0) == 10
    assert (pace.expected(2**80) or 0) > 1e15
