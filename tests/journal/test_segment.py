"""The line format: what was written is found at its offset, what was damaged is found out."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.journal.segment import (
    OVERHEAD,
    Fault,
    Line,
    Position,
    RecordId,
    check_incarnation,
    encode,
    file_name,
    is_incarnation,
    lines,
    parse,
    parse_file_name,
    parse_record_id,
)

payloads = st.dictionaries(st.text(max_size=8), st.text(max_size=40) | st.integers(0, 2**40), max_size=4).map(
    orjson.dumps
)
batches = st.lists(payloads, min_size=1, max_size=6)
bases = st.integers(0, 2**40)


@given(payloads)
def test_a_line_gives_its_payload_back(payload: bytes) -> None:
    line = encode(payload)
    assert len(line) == len(payload) + OVERHEAD
    assert parse(line[:-1]) == payload


@given(batches, bases)
def test_offsets_are_exact(batch: list[bytes], base: int) -> None:
    data = b"".join(map(encode, batch))
    found = list(lines(data, base))
    assert [item.payload for item in found if isinstance(item, Line)] == batch
    at = base
    for item in found:
        assert item.offset == at
        at = item.end
    assert at == base + len(data)


@given(batches, st.data())
def test_a_torn_end_is_told_and_harms_nothing_before_it(batch: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(map(encode, batch))
    cut = data.draw(st.integers(0, len(whole)))
    found = list(lines(whole[:cut]))
    sound = [item for item in found if isinstance(item, Line)]
    assert sound == [line for line in lines(whole) if line.end <= cut]
    end = sound[-1].end if sound else 0
    assert [item for item in found if isinstance(item, Fault)] == (
        [Fault(end, cut, "torn")] if end < cut else []
    )


@given(batches, st.data())
def test_a_flipped_byte_is_found_and_reading_goes_on_behind_it(
    batch: list[bytes], data: st.DataObject
) -> None:
    whole = bytearray(b"".join(map(encode, batch)))
    at = data.draw(st.integers(0, len(whole) - 1))
    before = list(lines(bytes(whole)))
    hurt = {i for i, line in enumerate(before) if line.offset <= at < line.end}
    if at == before[min(hurt)].end - 1:  # the line feed itself: the next line hangs on to this one
        hurt |= {min(hurt) + 1}
    whole[at] ^= data.draw(st.integers(1, 255))
    after = list(lines(bytes(whole)))
    assert [x for x in after if isinstance(x, Line)] == [x for i, x in enumerate(before) if i not in hurt]
    assert any(isinstance(x, Fault) and x.offset <= at < x.end for x in after)
    assert [x.offset for x in after] == [0, *(x.end for x in after[:-1])]


@given(st.from_regex(r"[a-z0-9][a-z0-9.]{0,20}", fullmatch=True), st.integers(0, 10**9), bases)
def test_record_ids_round_trip(incarnation: str, segment: int, offset: int) -> None:
    one = RecordId(check_incarnation(incarnation), Position(segment, offset))
    assert parse_record_id(str(one)) == one


@pytest.mark.parametrize(
    "text",
    ["", "a-1", "a-1-2-3", "a--1-2", "a-01-2", "a-1-02", "A-1-2", ".a-1-2", "a-1-2\n", "a-1-٣", "a_b-1-2"],
)
def test_what_is_no_record_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a record id"):
        parse_record_id(text)


@pytest.mark.parametrize("name", ["", "a-b", "-", ".a", "A", "a/b", "..", "a\n", "x" * 65])
def test_what_a_record_id_could_not_hold_is_no_incarnation(name: str) -> None:
    assert not is_incarnation(name)
    with pytest.raises(ValueError, match="incarnation"):
        check_incarnation(name)


def test_file_names_round_trip_and_others_are_passed_over() -> None:
    assert [parse_file_name(file_name(n)) for n in (0, 7, 10**9)] == [0, 7, 10**9]
    for name in ("7.log", "00000007.log.tmp", "x0000007.log", "000000007.log", "00000007.LOG"):
        assert parse_file_name(name) is None
