"""Times sort, and the two halves of a stream become one record."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.journal.record import is_interrupted, merge, payload_time, time_key

moments = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def written(moment: datetime, timespec: str) -> str:
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


@given(moments, moments, st.sampled_from(["microseconds", "milliseconds", "seconds"]))
def test_keys_sort_as_times_do(one: datetime, other: datetime, timespec: str) -> None:
    cut = datetime.fromisoformat(written(other, timespec))
    assert (time_key(written(one, "microseconds")) < time_key(written(other, timespec))) == (one < cut)


@pytest.mark.parametrize(
    ("payload", "time"),
    [
        (b'{"time":"2026-11-24T07:00:00Z","a":1}', "2026-11-24T07:00:00Z"),
        (b'{"a":1,"time":"2026-11-24T07:00:00Z"}', None),
        (b'{"time":"', None),
        (b"{}", None),
    ],
)
def test_the_time_is_read_off_the_head_alone(payload: bytes, time: str | None) -> None:
    assert payload_time(payload) == time


BEGIN = {"time": "t1", "event": "begin", "request_id": "q", "status": 200, "error": None}


def test_an_end_overlays_its_begin() -> None:
    end = {"time": "t2", "event": "end", "begin": "r0-0-0", "status": 200, "error": "abort", "bytes": 7}
    assert merge(BEGIN, end, False) == {
        "time": "t1",
        "request_id": "q",
        "status": 200,
        "error": "abort",
        "bytes": 7,
        "ended": "t2",
    }


@pytest.mark.parametrize(("interrupted", "error"), [(True, "interrupted"), (False, None)])
def test_without_an_end_there_is_no_status(interrupted: bool, error: str | None) -> None:
    assert merge(BEGIN, None, interrupted) == {
        "time": "t1",
        "request_id": "q",
        "status": None,
        "error": error,
    }


@pytest.mark.parametrize(
    ("alive", "age_s", "gone"), [(True, 9.0, False), (True, 11.0, True), (False, 0.0, True)]
)
def test_interrupted_when_the_router_is_dead_or_the_stream_too_old(
    alive: bool, age_s: float, gone: bool
) -> None:
    assert is_interrupted(alive, age_s, 10.0) is gone
