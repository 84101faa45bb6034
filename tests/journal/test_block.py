"""Blocks: whole lines, bounded, contiguous, and named so that Redis takes each once and in order."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from router.journal.block import (
    Block,
    entry_id,
    fields,
    parse_entry,
    parse_entry_id,
    read_block,
    records,
    stream_key,
)
from router.journal.folder import segments
from router.journal.journal import Journal
from router.journal.segment import Position

positions = st.builds(Position, st.integers(0, 10**9), st.integers(0, 10**12))


@given(positions, positions)
def test_entry_ids_rise_as_the_log_does_and_are_never_zero(one: Position, other: Position) -> None:
    assert parse_entry_id(entry_id(one)) == parse_entry_id(entry_id(one).encode()) == one
    ranks = [tuple(map(int, entry_id(p).split("-"))) for p in (one, other)]
    assert (ranks[0] < ranks[1]) == (one < other)
    assert min(ranks) > (0, 0)


def test_the_key_spreads_over_a_cluster() -> None:
    assert stream_key("r0.1") == "pm:log:{r0.1}"


def blocks(root: Path, max_bytes: int, max_records: int) -> list[Block]:
    found: list[Block] = []
    place = Position(0, 0)
    while True:
        block, place = read_block(root, "r0", place, max_bytes, max_records)
        if block is None:
            return found
        found.append(block)


def test_blocks_hold_each_record_once_within_their_bounds(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "r0", segment_bytes=5000)
    ids = [name for n in range(100) for name in journal.append([{"n": n, "filler": "x" * 100}])]
    for max_bytes, max_records in ((1000, 500), (1 << 20, 7), (1 << 20, 500), (10, 500)):
        found = blocks(tmp_path, max_bytes, max_records)
        assert [name for b in found for name, _ in records("r0", b)] == ids
        assert all(b.count <= max_records for b in found)
        assert all(len(b.raw) <= max_bytes or b.count == 1 for b in found)
        assert all(b.end - b.start.offset == len(b.raw) for b in found)
        entries = [
            (entry_id(b.start), {k.encode(): str(v).encode() for k, v in fields(b).items()}) for b in found
        ]
        for (name, values), block in zip(entries, found, strict=True):
            assert parse_entry(name.encode(), values | {b"b": block.raw}) == block
    journal.close()


def test_damage_is_shipped_as_it_is_but_never_alone_and_torn_ends_not_at_all(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "r0", segment_bytes=400)
    ids = [name for n in range(12) for name in journal.append([{"n": n, "filler": "x" * 100}])]
    first, second, *_ = segments(tmp_path, "r0")
    first.path.write_bytes(first.path.read_bytes()[:-30])
    data = bytearray(second.path.read_bytes())
    data[20] ^= 1
    second.path.write_bytes(bytes(data))
    third = segments(tmp_path, "r0")[2]
    third.path.write_bytes(third.path.read_bytes()[:-5] + b"....\n")
    lost = {[i for i in ids if i.startswith(f"r0-{n}-")][-1] for n in (0, 2)} | {"r0-1-0"}
    for max_records in (1, 500):
        found = blocks(tmp_path, 1 << 20, max_records)
        assert [name for b in found for name, _ in records("r0", b)] == [i for i in ids if i not in lost]
        assert all(b.count for b in found)
    journal.close()
