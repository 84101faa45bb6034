"""What a stored record means when it is read: its time, and the two halves of a stream; pure."""

from typing import Any

import orjson

Record = dict[str, Any]

STREAM_AGE_S = 24 * 3600.0
"""A stream that has not ended after this long counts as interrupted even though its router lives."""

_HEAD = b'{"time":"'


def time_key(time: str) -> str:
    """A text that sorts as `time` does, an RFC 3339 UTC time with or without a fraction of a second."""
    whole, _, fraction = time.rstrip("Z").partition(".")
    return f"{whole}.{fraction:0<6}"


def read_record(payload: bytes) -> Record | None:
    """The record in a sound line; None for what is none: one such line must not hide all others."""
    try:
        found = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def payload_time(payload: bytes) -> str | None:
    """The time of a record whose JSON begins with it, as the journal writes it; None: parse to know."""
    if not payload.startswith(_HEAD):
        return None
    stop = payload.find(b'"', len(_HEAD))
    return payload[len(_HEAD) : stop].decode("ascii", "replace") if stop > 0 else None


def is_interrupted(alive: bool, age_s: float, stream_age_s: float = STREAM_AGE_S) -> bool:
    """Whether a begin without an end will never get one: its router is dead, or it began too long ago."""
    return not alive or age_s > stream_age_s


def merge(begin: Record, end: Record | None, interrupted: bool) -> Record:
    """A stream's one record: the begin's fields, overlaid by the end's; the end's time as `ended`.

    Without an end `status` is None, and `error` is "interrupted" if so told, else None (still running).
    """
    merged = {key: value for key, value in begin.items() if key != "event"}
    if end is None:
        return {**merged, "status": None, "error": "interrupted" if interrupted else None}
    hidden = {"event", "begin", "time", "record_id"}
    merged.update({key: value for key, value in end.items() if key not in hidden})
    return {**merged, "ended": end.get("time")}
