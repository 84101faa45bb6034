"""The append: all or nothing, found again under its id, also after kill -9, a full disk and a full journal."""

import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from router.journal.folder import alive, segments, total_bytes
from router.journal.journal import Journal, LogUnavailable, bound
from router.journal.reader import Reader

Child = Callable[..., "subprocess.Popen[str]"]


def record(n: int, size: int = 100) -> dict[str, Any]:
    return {"request_id": f"q{n}", "model": "m", "version": "1", "n": n, "filler": "x" * size}


def everything(root: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = Reader(root).page(limit=1000, cursor=cursor)
        found += page.records
        cursor = page.cursor
        if not page.more:
            return found


def test_each_record_is_found_under_its_id_with_the_moment_of_writing(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "r0.1", wall_ns=lambda: 1_795_503_600_123_456_789)
    ids = journal.append([record(0), record(1)]) + journal.append([{}])
    assert ids[0] == "r0.1-0-0"
    assert ids[1].startswith("r0.1-0-")
    found = [Reader(tmp_path).get(name) for name in ids]
    written = "2026-11-24T07:00:00.123456Z"
    assert found == [
        {"record_id": ids[0], "time": written, **record(0)},
        {"record_id": ids[1], "time": written, **record(1)},
        {"record_id": ids[2], "time": written},
    ]
    journal.close()


def test_a_time_that_is_given_is_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "r0")
    [name] = journal.append([{"time": "2020-01-01T00:00:00Z", "n": 1}])
    assert Reader(tmp_path).get(name) == {"record_id": name, "time": "2020-01-01T00:00:00Z", "n": 1}
    journal.close()


def test_a_batch_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, "r0")
    sizes = []
    write = os.write

    def counted(fd: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(fd, data)

    monkeypatch.setattr(os, "write", counted)
    journal.append([record(n) for n in range(16)])
    monkeypatch.undo()
    assert sizes == [total_bytes(tmp_path)]
    journal.close()


def test_short_writes_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, "r0")
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:7]))
    ids = journal.append([record(n) for n in range(5)])
    monkeypatch.undo()
    assert [r["record_id"] for r in everything(tmp_path)] == ids
    journal.close()


def test_nothing_is_stored_of_a_batch_with_a_value_json_does_not_have(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "r0")
    with pytest.raises(TypeError):
        journal.append([record(0), {"bad": object()}])
    with pytest.raises(TypeError):
        journal.append([{"bad": "\ud800"}])
    assert total_bytes(tmp_path) == 0
    assert journal.append([]) == []
    journal.close()


def test_segments_are_closed_at_their_size_and_ids_go_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "r0", segment_bytes=1000)
    ids = [name for n in range(50) for name in journal.append([record(n)])]
    files = segments(tmp_path, "r0")
    assert [f.number for f in files] == list(range(len(files)))
    assert len(files) > 5
    assert all(1000 <= f.size < 1300 for f in files[:-1])
    assert [(r["record_id"], r["n"]) for r in everything(tmp_path)] == list(zip(ids, range(50), strict=True))
    journal.close()


def test_an_incarnation_writes_once_and_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "r0")
    assert alive(tmp_path / "r0")
    with pytest.raises(FileExistsError, match="running"):
        Journal(tmp_path, "r0")
    journal.append([record(0)])
    journal.close()
    journal.close()
    assert not alive(tmp_path / "r0")
    with pytest.raises(FileExistsError, match="before"):
        Journal(tmp_path, "r0")
    with pytest.raises(ValueError, match="incarnation"):
        Journal(tmp_path, "r-0")
    with pytest.raises(LogUnavailable) as caught:
        journal.append([record(1)])
    assert (caught.value.reason, caught.value.code, caught.value.status) == ("closed", "log_unavailable", 503)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_at_the_bound_refuse_raises_and_recovers_when_there_is_room(tmp_path: Path) -> None:
    limit = 64 << 10
    clock = Clock()
    journal = Journal(tmp_path, "r0", limit_bytes=limit, clock=clock)
    ids: list[str] = []
    while total_bytes(tmp_path) + 200 <= bound(limit):
        ids += journal.append([record(len(ids))])
    with pytest.raises(LogUnavailable) as caught:
        journal.append([record(-1), record(-1)])
    assert caught.value.reason == "bound"
    assert str(journal.trouble) == str(caught.value)
    assert limit < total_bytes(tmp_path) <= bound(limit)
    segments(tmp_path, "r0")[1].path.unlink()
    with pytest.raises(LogUnavailable):
        journal.append([record(-1)])  # at once again: refused without measuring
    assert [r["record_id"] for r in everything(tmp_path)] == [i for i in ids if i.split("-")[1] != "1"]
    # The writer closed its segment, so that retention may free anything of it.
    last = segments(tmp_path, "r0")[-1]
    assert last.size == 0
    clock.now += 1.0
    [name] = journal.append([record(-2)])
    assert name == f"r0-{last.number}-0"
    assert journal.trouble is None
    journal.close()


def test_at_the_bound_serve_counts_what_is_dropped(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "r0", limit_bytes=64 << 10, on_full="serve")
    stored = sum(len(journal.append([record(n), record(n)])) for n in range(400))
    assert journal.dropped == 800 - stored > 0
    assert journal.appended == stored == len(everything(tmp_path))
    assert journal.trouble is not None
    journal.close()


def test_the_bound_counts_all_routers_of_the_host(tmp_path: Path) -> None:
    limit = 256 << 10
    clock = Clock()
    journals = [Journal(tmp_path, f"r{i}", limit_bytes=limit, clock=clock) for i in range(4)]
    refused = 0
    while refused < 4:
        refused = 0
        for journal in journals:
            clock.now += 1.0
            try:
                journal.append([record(0)])
            except LogUnavailable:
                refused += 1
    assert limit < total_bytes(tmp_path) <= bound(limit) * 1.1
    for journal in journals:
        journal.close()


def test_the_root_is_not_measured_on_each_append(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def measure(root: Path) -> int:
        measured.append(root)
        return total_bytes(root)

    monkeypatch.setattr("router.journal.journal.total_bytes", measure)
    journal = Journal(tmp_path, "r0")
    for n in range(1000):
        journal.append([record(n)])
    assert len(measured) == 1
    journal.close()


def test_the_file_size_limit_of_the_system_cuts_no_record_in_two(tmp_path: Path, child: Child) -> None:
    """RLIMIT_FSIZE makes the kernel write a part and refuse the rest, as a full disk does."""
    source = """
import json, resource, sys
from pathlib import Path
from router.journal.journal import Journal, LogUnavailable
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
now = [0.0]
journal = Journal(Path(sys.argv[1]), "r0", clock=lambda: now[0])
ids, refused = [], 0
for n in range(100):
    now[0] += 1
    try:
        ids += journal.append([{"n": n, "filler": "x" * 300} for _ in range(7)])
    except LogUnavailable as error:
        assert error.reason == "disk", error.reason
        refused += 1
files = len(list(Path(sys.argv[1], "r0").iterdir()))
for _ in range(10):
    now[0] += 1
    try:
        journal.append([{"filler": "x" * 20_000}])
        raise SystemExit("more was written than may be")
    except LogUnavailable:
        pass
more = len(list(Path(sys.argv[1], "r0").iterdir())) - files
print(json.dumps([ids, refused, more]))
"""
    out, err = child("-c", source, str(tmp_path)).communicate(timeout=20)
    ids, refused, more = json.loads(out or err)
    assert more <= 0, "a batch that fits no file leaves none"
    assert refused > 10
    assert len(ids) == 7 * (100 - refused)
    # A batch that could not be written is taken back, and its offsets are not used again.
    assert [r["record_id"] for r in everything(tmp_path)] == ids
    assert len(segments(tmp_path, "r0")) > 10


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)],
            check=False,
            capture_output=True,
        ).returncode
    )
    if not mounted:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_refused_and_survived(small_disk: Path) -> None:
    clock = Clock()
    journal = Journal(small_disk, "r0", segment_bytes=50_000, clock=clock)
    ids: list[str] = []
    refusals = []
    for n in range(200):
        clock.now += 1.0
        try:
            ids += journal.append([record(n, 500) for _ in range(5)])
        except LogUnavailable as error:
            refusals.append(error.reason)
    assert len(refusals) > 50
    assert set(refusals) == {"disk"}
    assert [r["record_id"] for r in everything(small_disk)] == ids
    assert len(segments(small_disk, "r0")) < 20, "refusals made files"
    segments(small_disk, "r0")[0].path.unlink()
    clock.now += 1.0
    assert len(journal.append([record(0, 500)])) == 1
    journal.close()


def test_a_failing_disk_is_left_alone_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    journal = Journal(tmp_path, "r0", on_full="serve", clock=clock)
    opened = []

    def no_open(*arguments: object) -> int:
        opened.append(arguments)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "open", no_open)
    for _ in range(10):
        assert journal.append([record(0)]) == []
    monkeypatch.undo()
    assert (len(opened), journal.dropped) == (1, 10)
    clock.now += 1.0
    assert len(journal.append([record(0)])) == 1
    journal.close()


@pytest.mark.parametrize(("interval", "flushes"), [(None, 0), (0.0, 10), (5.0, 2)])
def test_fsync_as_often_as_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interval: float | None, flushes: int
) -> None:
    clock = Clock()
    journal = Journal(tmp_path, "r0", fsync_interval=interval, clock=clock)
    flushed = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: flushed.append(fd))
    for n in range(10):
        clock.now += 1.0
        journal.append([record(n)])
    assert len(flushed) == flushes
    journal.close()


def test_a_disk_that_cannot_flush_is_refused_and_its_file_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, "r0", fsync_interval=0.0)

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(LogUnavailable, match="flushed"):
        journal.append([record(0)])
    monkeypatch.undo()
    [name] = journal.append([record(1)])
    assert name == "r0-1-0"
    journal.close()


WRITER = """
import random, sys
from pathlib import Path
from router.journal.journal import Journal
journal = Journal(Path(sys.argv[1]), sys.argv[2], segment_bytes=20_000)
dice = random.Random(sys.argv[2])
n = 0
while True:
    batch = [{"request_id": f"{sys.argv[2]}.{n + i}", "filler": "x" * dice.randrange(2000)}
             for i in range(dice.randrange(1, 17))]
    n += len(batch)
    for record, name in zip(batch, journal.append(batch)):
        sys.stdout.write(f"{name} {record['request_id']}\\n")
    sys.stdout.flush()
"""


def test_every_acknowledged_record_outlives_kill_9_once(tmp_path: Path, child: Child) -> None:
    dice = random.Random(7)
    acknowledged: dict[str, str] = {}
    for life in range(8):
        process = child("-c", WRITER, str(tmp_path), f"r0.{life}")
        assert process.stdout is not None
        for _ in range(dice.randrange(1, 1500)):
            name, _, request_id = process.stdout.readline().partition(" ")
            acknowledged[name] = request_id.strip()
        process.kill()
        for line in process.stdout.read().splitlines(keepends=True):
            if line.endswith("\n"):
                name, _, request_id = line.partition(" ")
                acknowledged[name] = request_id.strip()
    reader = Reader(tmp_path)
    found = everything(tmp_path)
    stored = {r["record_id"]: r["request_id"] for r in found}
    assert len(stored) == len(found)
    assert len(set(stored.values())) == len(found)
    assert acknowledged.items() <= stored.items()
    for name in dice.sample(sorted(acknowledged), 50):
        assert (reader.get(name) or {})["request_id"] == acknowledged[name]
