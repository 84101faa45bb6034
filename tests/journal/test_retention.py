"""What may be deleted: by the thousand on values, then on a real folder."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.journal.folder import SegmentFile, incarnations, segments, total_bytes
from router.journal.journal import Journal
from router.journal.retention import Held, deserted, doomed, remove, sweep
from router.journal.segment import Position

NOW = 1_000_000.0
DAY = 86400.0

held = st.builds(
    lambda number, size, age, is_open, shipped: Held(
        SegmentFile("r0", number, Path(f"{number}"), size, NOW - age), is_open, shipped
    ),
    st.integers(0, 10**6),
    st.integers(0, 100),
    st.floats(0, 3 * DAY),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(held, max_size=20, unique_by=lambda h: h.file.number), st.integers(0, 500))
def test_the_rule(everything: list[Held], limit: int) -> None:
    going = doomed(everything, NOW, limit)
    total = sum(h.file.size for h in everything)
    kept = total - sum(f.size for f in going)
    by_file = {h.file: h for h in everything}
    # Never an open one, nor one that no stream holds.
    assert all(by_file[f].shipped and not by_file[f].open for f in going)
    free = [h for h in everything if h.shipped and not h.open]
    staying = [h for h in free if h.file not in going]
    # What stays although it could go is younger than a day, and fits.
    assert all(NOW - h.file.mtime <= DAY for h in staying)
    assert not any(h.file.size for h in staying) or kept <= limit
    # Nothing young goes but for want of room, and no older one stays in its place.
    young = [f for f in going if NOW - f.mtime <= DAY]
    if young:
        newest = max(young, key=lambda f: (f.mtime, f.number))
        assert kept + newest.size > limit
        assert all((h.file.mtime, h.file.number) > (newest.mtime, newest.number) for h in staying)


def written(root: Path, name: str, count: int, close: bool = True) -> Journal:
    journal = Journal(root, name, segment_bytes=1000)
    for n in range(count):
        journal.append([{"n": n, "filler": "x" * 100}])
    if close:
        journal.close()
    return journal


def test_a_sweep_on_a_folder(tmp_path: Path) -> None:
    now = time.time()
    live = written(tmp_path, "live", 50, close=False)
    written(tmp_path, "dead", 50)
    before = total_bytes(tmp_path)
    assert sweep(tmp_path, {}, now + 9 * DAY, 0).deleted == 0, "nothing is shipped"
    dead = segments(tmp_path, "dead")
    half = {"dead": Position(dead[2].number, 10)}
    assert sweep(tmp_path, half, now, before).deleted == 0, "it fits, and it is young"
    swept = sweep(tmp_path, half, now, 0)
    assert (swept.deleted, swept.kept_bytes) == (2, total_bytes(tmp_path))
    assert swept.deleted_bytes == before - total_bytes(tmp_path)
    everything = {name: Position(10**6, 0) for name in ("live", "dead")}
    sweep(tmp_path, everything, now + 2 * DAY, 1 << 40)
    assert segments(tmp_path, "dead") == []
    assert len(segments(tmp_path, "live")) == 1, "the open one stays"
    assert live.append([{"n": 1}])
    live.close()


def test_a_wholly_shipped_last_segment_of_the_dead_goes(tmp_path: Path) -> None:
    written(tmp_path, "dead", 3)
    [only] = segments(tmp_path, "dead")
    short = {"dead": Position(0, only.size - 1)}
    assert sweep(tmp_path, short, time.time() + 2 * DAY, 0).deleted == 0
    assert sweep(tmp_path, {"dead": Position(0, only.size)}, time.time() + 2 * DAY, 0).deleted == 1


def test_folders_of_the_dead_go_when_nothing_is_in_them(tmp_path: Path) -> None:
    live = Journal(tmp_path, "live")
    Journal(tmp_path, "dead").close()
    written(tmp_path, "full", 3)
    now = time.time()
    assert deserted(tmp_path, now) == [], "a router may just be starting"
    assert deserted(tmp_path, now + 120) == ["dead"]
    remove(tmp_path, "dead")
    assert incarnations(tmp_path) == ["full", "live"]
    with pytest.raises(OSError, match="not empty"):
        remove(tmp_path, "full")
    live.close()
