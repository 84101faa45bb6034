"""Reading while others write and delete: nothing skipped, nothing twice, everything in order."""

import os
import random
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router.clock import parse_rfc3339
from router.journal import reader as module
from router.journal.cursor import CursorInvalid, decode
from router.journal.folder import segments
from router.journal.journal import Journal
from router.journal.reader import Page, Reader

Child = Callable[..., "subprocess.Popen[str]"]
HOUR = 3600.0
START = 1_795_503_600.0


def row(n: int, **more: Any) -> dict[str, Any]:
    return {"request_id": f"q{n}", "model": "m", "version": "1", "n": n} | more


class Wall:
    """A clock that goes on a millisecond at each look."""

    def __init__(self, seconds: float = START) -> None:
        self.ns = int(seconds * 1e9)

    def __call__(self) -> int:
        self.ns += 1_000_000
        return self.ns


def pages(reader: Reader, **wanted: Any) -> list[dict[str, Any]]:
    """All records, page by page, to where there is no more."""
    found: list[dict[str, Any]] = []
    while True:
        page = reader.page(**wanted)
        found += page.records
        wanted["cursor"] = page.cursor
        if not page.more:
            return found


def test_incarnations_are_merged_by_time(tmp_path: Path) -> None:
    wall = Wall()
    journals = [Journal(tmp_path, f"r{i}.1", segment_bytes=700, wall_ns=wall) for i in range(3)]
    dice = random.Random(1)
    ids = [name for n in range(200) for name in dice.choice(journals).append([row(n)])]
    for limit in (1, 7, 1000):
        found = pages(Reader(tmp_path), limit=limit)
        assert [(r["n"], r["record_id"]) for r in found] == list(zip(range(200), ids, strict=True))
    for journal in journals:
        journal.close()
    assert [r["record_id"] for r in pages(Reader(tmp_path), limit=13)] == ids


def test_an_empty_journal_and_its_first_record(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "none")
    page = reader.page()
    assert (page.records, page.more, reader.find("q0")) == ([], False, [])
    journal = Journal(tmp_path / "none", "r0")
    ids = journal.append([row(0)])
    assert [r["record_id"] for r in reader.page(cursor=page.cursor).records] == ids
    journal.close()


def test_a_cursor_goes_on_exactly_while_routers_append(tmp_path: Path) -> None:
    """Four writers with small segments, come and go; a follower with odd page sizes sees each record once."""
    acknowledged: list[str] = []
    lock = threading.Lock()

    def write(router: int) -> None:
        dice = random.Random(router)
        for life in range(3):
            journal = Journal(tmp_path, f"r{router}.{life}", segment_bytes=3000)
            for _ in range(60):
                ids = journal.append(
                    [row(0, filler="x" * dice.randrange(300)) for _ in range(dice.randrange(1, 9))]
                )
                with lock:
                    acknowledged.extend(ids)
            journal.close()

    writers = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for writer in writers:
        writer.start()
    reader = Reader(tmp_path)
    dice = random.Random(9)
    seen: list[str] = []
    page = Page([], "", True)
    while page.more or any(w.is_alive() for w in writers):
        page = reader.page(limit=dice.randrange(1, 40), cursor=page.cursor or None)
        seen += [r["record_id"] for r in page.records]
    while (page := reader.page(cursor=page.cursor)).records:
        seen += [r["record_id"] for r in page.records]
    assert len(seen) == len(set(seen))
    assert set(seen) == set(acknowledged)


def test_segments_may_be_deleted_in_between(tmp_path: Path) -> None:
    journals = [Journal(tmp_path, f"r{i}", segment_bytes=1000, wall_ns=Wall()) for i in range(2)]
    ids = [name for n in range(100) for j in journals for name in j.append([row(n)])]
    reader = Reader(tmp_path)
    page = reader.page(limit=10)
    seen = [r["record_id"] for r in page.records]
    gone = {"r0": {f.number for f in segments(tmp_path, "r0")[:5]}, "r1": set()}
    for number in gone["r0"]:
        (tmp_path / "r0" / f"{number:08d}.log").unlink()
    seen += [r["record_id"] for r in pages(reader, limit=10, cursor=page.cursor)]
    assert len(seen) == len(set(seen))
    kept = {name for name in ids if int(name.split("-")[1]) not in gone[name.split("-")[0]]}
    assert kept <= set(seen) < set(ids)
    assert reader.get(ids[0]) is None
    for journal in journals:
        journal.close()


def test_filters_take_the_record_not_what_a_caller_sent(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "r0")
    liar = {"payload": {"request": {"model": "m", "version": "2", "request_id": "q7", "event": "end"}}}
    journal.append(
        [row(0), row(1, version="2"), row(2, model="other", version="2"), row(3, model="other", **liar)]
    )
    reader = Reader(tmp_path)

    def numbers(**wanted: Any) -> list[int]:
        return [r["n"] for r in pages(reader, limit=1, **wanted)]

    assert numbers(model="m") == [0, 1]
    assert numbers(version="2") == [1, 2]
    assert numbers(model="m", version="2") == [1]
    assert numbers(model="none") == []
    assert reader.find("q7") == []
    journal.close()


def test_since_is_exact_and_spares_old_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wall = Wall()
    journal = Journal(tmp_path, "r0", segment_bytes=2000, wall_ns=wall)
    for n in range(100):
        journal.append([row(n)])
    reader = Reader(tmp_path)
    everything = pages(reader)
    for file in segments(tmp_path, "r0"):  # the wall clock of this test is not the file system's
        own = [r for r in everything if r["record_id"].startswith(f"r0-{file.number}-")]
        at = parse_rfc3339(own[-1]["time"])
        os.utime(file.path, (at, at))
    wanted = parse_rfc3339(everything[60]["time"])
    assert [r["n"] for r in pages(reader, since=wanted, limit=7)] == list(range(60, 100))
    assert [r["n"] for r in pages(reader, since=wanted + 1e-3, limit=7)] == list(range(61, 100))
    last = segments(tmp_path, "r0")[-1]
    for file in segments(tmp_path, "r0")[:-1]:
        os.utime(file.path, (START - HOUR, START - HOUR))
    monkeypatch.setattr(module, "SCAN_BYTES", last.size)
    page = reader.page(since=wanted)
    assert not page.more
    assert {r["record_id"].split("-")[1] for r in page.records} == {str(last.number)}
    journal.close()


def test_since_holds_for_records_that_bring_their_own_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "r0")
    for n, time_of in enumerate(
        ["2026-01-01T00:00:00.5Z", "2026-01-01T00:00:01Z", "2026-01-01T00:00:01.25Z"]
    ):
        journal.append([{"n": n, "time": time_of}])
    found = Reader(tmp_path).page(since=parse_rfc3339("2026-01-01T00:00:01Z")).records
    assert [r["n"] for r in found] == [1, 2]
    journal.close()


def test_a_page_that_reads_too_much_ends_early_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journals = [Journal(tmp_path, f"r{i}", segment_bytes=3000) for i in range(3)]
    ids = [j.append([row(n, model="rare" if n % 40 == 0 else "m")])[0] for n in range(200) for j in journals]
    monkeypatch.setattr(module, "SCAN_BYTES", 2500)
    reader = Reader(tmp_path)
    first = reader.page(model="rare")
    assert first.more
    assert len(first.records) < 15
    found = pages(reader, model="rare", limit=2)
    assert sorted(r["record_id"] for r in found) == sorted(
        name for i, name in enumerate(ids) if i // 3 % 40 == 0
    )
    for journal in journals:
        journal.close()


def test_the_dead_leave_the_cursor_and_do_not_come_back(tmp_path: Path) -> None:
    for i in range(50):
        journal = Journal(tmp_path, f"dead.{i}")
        journal.append([row(i), row(i)])
        journal.close()
        os.utime(tmp_path / f"dead.{i}" / "00000000.log", (time.time() - HOUR, time.time() - HOUR))
    live = Journal(tmp_path, "live")
    live.append([row(50)])
    reader = Reader(tmp_path)
    assert len(pages(reader, limit=7)) == 101, "half-read, they are still in it"
    page = reader.page(limit=1000)
    assert len(page.records) == 101
    assert set(decode(page.cursor).positions) == {"live"}
    late = Journal(tmp_path, "late")
    late.append([row(51)])
    late.close()
    live.append([row(52)])
    following = reader.page(cursor=page.cursor)
    assert [r["n"] for r in following.records] == [51, 52]
    live.close()


def test_a_page_refuses_what_is_no_cursor(tmp_path: Path) -> None:
    with pytest.raises(CursorInvalid):
        Reader(tmp_path).page(cursor="x")


def test_find_gives_all_records_of_an_id_oldest_first(tmp_path: Path) -> None:
    wall = Wall()
    journals = [Journal(tmp_path, f"r{i}", segment_bytes=2000, wall_ns=wall) for i in range(3)]
    expected = []
    for n in range(120):
        twice = n % 30 == 5
        [name] = journals[n % 3].append([row(n, request_id="twin" if twice else f"q{n}", filler="x" * 200)])
        expected += [name] if twice else []
    reader = Reader(tmp_path)
    assert [r["record_id"] for r in reader.find("twin")] == expected
    assert [r["n"] for r in reader.find("q17")] == [17]
    assert reader.find("q") == reader.find("nobody") == []
    for file in segments(tmp_path, "r0"):
        os.utime(file.path, (START, START))
    assert len(reader.find("twin", limit=1)) < len(expected)
    for journal in journals:
        journal.close()


def test_a_line_longer_than_what_is_read_at_a_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "r0")
    ids = journal.append([row(0), row(1, filler="x" * 3_000_000), row(2)])
    reader = Reader(tmp_path)
    assert [r["record_id"] for r in reader.page().records] == ids
    assert [r["n"] for r in reader.find("q1") + reader.find("q2")] == [1, 2]
    journal.close()


def test_a_damaged_line_costs_that_record_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "r0")
    ids = journal.append([row(n) for n in range(5)])
    path = segments(tmp_path, "r0")[0].path
    data = bytearray(path.read_bytes())
    data[int(ids[2].split("-")[2]) + 20] ^= 1
    path.write_bytes(bytes(data) + b"0badc0de {torn")
    reader = Reader(tmp_path)
    assert [r["n"] for r in reader.page().records] == [0, 1, 3, 4]
    assert reader.get(ids[2]) is None
    assert reader.find("q2") == []
    journal.close()


# ---- streams


def begin(journal: Journal, n: int) -> str:
    return journal.append([row(n, event="begin", status=200)])[0]


def end(journal: Journal, begun: str, **more: Any) -> str:
    return journal.append([{"event": "end", "begin": begun, "status": 200, "bytes": 7, **more}])[0]


def test_a_stream_is_one_record_standing_where_it_began(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "r0", segment_bytes=500)
    first, second = begin(journal, 0), begin(journal, 1)
    between = [journal.append([row(n)])[0] for n in range(2, 30)]
    last = end(journal, second, error="abort")
    end(journal, first, request_id="q0")
    assert last.split("-")[1] != second.split("-")[1], "in another segment"
    reader = Reader(tmp_path)
    found = pages(reader, limit=3)
    assert [r["record_id"] for r in found] == [first, second, *between]
    assert [(r["status"], r["bytes"], r.get("error")) for r in found[:2]] == [
        (200, 7, None),
        (200, 7, "abort"),
    ]
    assert not any("event" in r or "begin" in r for r in found)
    assert found[0]["ended"] > found[0]["time"]
    assert reader.find("q0") == [found[0]] == [reader.get(first)]
    assert reader.find("q1") == [found[1]]
    assert reader.get(last) is None
    journal.close()


def test_a_stream_without_an_end_runs_until_its_router_is_dead_or_it_is_too_old(
    tmp_path: Path, child: Child
) -> None:
    journal = Journal(tmp_path, "r0")
    name = begin(journal, 0)
    reader = Reader(tmp_path)
    [running] = reader.page().records
    assert (running["record_id"], running["status"], running["error"]) == (name, None, None)
    [old] = Reader(tmp_path, now=lambda: time.time() + 2 * HOUR, stream_age_s=HOUR).page().records
    assert (old["status"], old["error"]) == (None, "interrupted")
    process = child(
        "-c",
        "import sys, time; from pathlib import Path; from router.journal.journal import Journal;"
        "j = Journal(Path(sys.argv[1]), 'r1');"
        "print(j.append([{'event': 'begin', 'request_id': 'killed'}])[0], flush=True); time.sleep(60)",
        str(tmp_path),
    )
    assert process.stdout is not None
    process.stdout.readline()
    assert [r["error"] for r in reader.find("killed")] == [None]
    process.kill()
    process.wait()
    assert [r["error"] for r in reader.find("killed")] == ["interrupted"]
    journal.close()


def test_what_was_not_looked_at_is_not_called_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, "r0", segment_bytes=500)
    name = begin(journal, 0)
    for n in range(1, 50):
        journal.append([row(n)])
    end(journal, name)
    journal.close()
    assert Reader(tmp_path).page().records[0]["status"] == 200
    monkeypatch.setattr(module, "AHEAD_BYTES", 1000)
    first = Reader(tmp_path).page().records[0]
    assert (first["status"], first["error"]) == (None, None)
