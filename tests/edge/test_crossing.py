"""Small pass-through exchanges by callbacks, against replicas that answer byte by byte as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, cast

import pytest

from router.documents import ModelState, Replica, Route, Version
from router.edge.commit import Commits
from router.edge.crossing import Crossing, PassDesk
from router.edge.deadlines import TICK
from router.edge.exchange import Begun, Failed
from router.edge.express_pass import Cycle
from router.edge.ledger import Ledger
from router.edge.metrics import Metrics
from router.edge.pass_head import small_pass
from router.edge.passthrough import PassThrough
from router.edge.shedding import Shedding
from router.journal.journal import Journal
from router.journal.reader import Reader
from router.route.table import Table, build
from router.route.watch import Watch
from router.settings import Settings
from router.upstream.batch import BatchLimits
from router.upstream.rules import LaneLimits
from router.upstream.stream import open_stream
from router.upstream.upstream import Upstream
from tests.upstream.test_stream import OK, Serve, replica, run, says

HEADERS = [(b"host", b"gate"), (b"content-length", b"3"), (b"x-request-id", b"one")]
WHOLE = OK + b"content-length: 2\r\nserver: s\r\nx-a: 1\r\n\r\nok"
LONG = 5.0


@dataclass
class FreshTable:
    """What a crossing asks of the watch: a fresh table."""

    table: Table
    fresh: bool = True
    synced: bool = True
    draining: bool = False


class Ends:
    """How crossings end, in order."""

    def __init__(self, journal: Journal) -> None:
        self.answers: list[tuple[int, bytes, bytes]] = []
        self.streams: list[Begun] = []
        self.failed: list[Failed] = []
        self.written: list[int] = []
        self._journal = journal

    def respond(self, status: int, lines: bytes, body: bytes) -> None:
        """Also notes how many records were written before."""
        self.written.append(self._journal.appended)
        self.answers.append((status, lines, body))

    def stream(self, begun: Begun) -> None:
        """One that goes on elsewhere."""
        self.streams.append(begun)

    def again(self, failed: Failed) -> None:
        """One that another replica is asked."""
        self.failed.append(failed)


class Hall:
    """A desk before the replicas of model m, and the journal behind it."""

    def __init__(self, folder: Path, address: str, *others: str, **given: Any) -> None:
        settings = Settings(data_dir=folder, **given)
        version = Version(model="m", version="1", digest="0" * 64)
        seats = tuple(
            Replica(
                id=name, model="m", version="1", digest="0" * 64, address=place, pid=1, node="n", state="ready",
                since="2026-01-01T00:00:00Z",
            )
            for name, place in zip("abc", (address, *others), strict=False)
        )  # fmt: skip
        state = ModelState(model="m", route=Route(model="m", active="1"), replicas=seats, desired={"1": 1})
        self.watch = FreshTable(Table(1, {"m": build(state, {"1": version}, frozenset())}))
        self.journal = Journal(folder / "journal", "r0.test")
        self.upstream = Upstream(LaneLimits(1, 1, BatchLimits(1, 1)))
        self.metrics = Metrics()
        ledger = Ledger("r0.test", Commits(self.journal), self.metrics)
        watch = cast(Watch, self.watch)
        passthrough = PassThrough(settings, watch, self.upstream, ledger, Shedding(0))
        self.desk = PassDesk(settings, watch, self.upstream, ledger, passthrough)
        self.ends = Ends(self.journal)
        self.address = address
        self.folder = folder
        target = self.watch.table.entries["m"].targets["1"]
        self.door = self.upstream.doors._gate(target).row(target)[0]

    def last(self, name: str) -> None:
        """That replica was used a moment ago: the others come first."""
        (gate,) = self.upstream.doors._gates.values()
        gate.doors[name].sent_at = monotonic()

    async def connect(self) -> None:
        """Leaves a connection at hand."""
        self.door.give(await open_stream(self.address))

    def cross(
        self, path: bytes = b"m/x?q=1", headers: Any = HEADERS, method: bytes = b"POST"
    ) -> tuple[bool, Crossing]:
        """Begins one."""
        crossing = Crossing(self.desk, self.ends)
        head = small_pass(method, b"/models/" + path, headers, True, 100)
        assert head is not None
        return crossing.begin(head, b"abc", "10.0.0.1", "http"), crossing

    def records(self) -> list[dict[str, Any]]:
        """What was written for it."""
        return list(Reader(self.folder / "journal").find("one"))


@asynccontextmanager
async def hall(folder: Path, serve: Serve, **given: Any) -> AsyncIterator[Hall]:
    """One before a replica that serves so, with one connection at hand."""
    async with replica(serve) as address:
        made = Hall(folder, address, **given)
        await made.connect()
        try:
            yield made
            assert made.door.busy == len(made.ends.streams)
            assert len(made.desk.deadlines) == 0
        finally:
            made.upstream.doors.close()
            made.journal.close()


async def until(condition: Callable[[], Any]) -> None:
    """Returns when it holds; `run` bounds it."""
    while not condition():
        await asyncio.sleep(0)


def test_a_small_answer_is_recorded_and_then_told_and_its_connection_kept(tmp_path: Path) -> None:
    async def work() -> None:
        async with hall(tmp_path, says(WHOLE, WHOLE)) as made:
            for count in (1, 2):
                assert made.cross()[0]
                await until(lambda count=count: len(made.ends.answers) == count)  # type: ignore[misc]
            status, lines, body = made.ends.answers[0]
            assert (status, body) == (200, b"ok")
            assert lines.split(b"\r\n") == [
                b"content-length: 2", b"x-a: 1", b"x-request-id: one", b"x-model-version: 1",
                b"x-route-epoch: %d" % made.watch.table.entries["m"].route.epoch, b"x-route-reason: active", b"",
            ]  # fmt: skip
            assert made.ends.written == [1, 2]
            first, _ = made.records()
            assert (first["status"], first["error"], first["replica"]) == (200, None, "a")
            assert (first["payload"]["request"], first["payload"]["response"]) == (
                {"b64": "YWJj"}, {"b64": "b2s="},
            )  # fmt: skip
            assert [each["status"] for each in first["attempts"]] == [200]
            assert list(made.metrics.requests) == [("m", "1", "active", 200)]
            assert made.door._idle[0].reusable

    run(work())


@pytest.mark.parametrize(
    ("path", "headers"), [(b"none/x", HEADERS), (b"m/x", [*HEADERS, (b"x-model-version", b"9")])]
)
def test_what_meets_an_error_is_not_sent(tmp_path: Path, path: bytes, headers: Any) -> None:
    async def work() -> None:
        async with hall(tmp_path, says(WHOLE)) as made:
            assert not made.cross(path, headers)[0]
            assert made.cross()[0]  # the connection is still at hand
            await until(lambda: made.ends.answers)

    run(work())


def test_what_would_have_to_wait_is_not_sent(tmp_path: Path) -> None:
    async def work() -> None:
        async with hall(tmp_path, says(WHOLE)) as made:
            made.watch.fresh = False
            assert not made.cross()[0]
            made.watch.fresh = True
            assert made.cross()[0]
            assert not made.cross()[0]  # the one connection is taken
            await until(lambda: made.ends.answers)

    run(work())


@pytest.mark.parametrize(
    ("answers", "given", "headers", "told"),
    [
        ((), {}, [(b"x-request-timeout-ms", b"30")], "no answer within 0.03 s"),
        ((), {"request_timeout_ms": 40}, [], "no answer within 0.04 s"),
        ((OK + b"content-length: 9\r\n\r\nabc",), {"stream_idle_ms": 50}, [], "silent for 0.05 s"),
    ],
)
def test_a_silent_replica_is_given_up(
    tmp_path: Path, answers: tuple[bytes, ...], given: Any, headers: Any, told: str
) -> None:
    async def work() -> None:
        async with hall(tmp_path, says(*answers), **given) as made:
            began = monotonic()
            assert made.cross(headers=HEADERS + headers)[0]
            await until(lambda: made.ends.answers)
            assert 0.03 <= monotonic() - began < LONG
            status, lines, body = made.ends.answers[0]
            assert status == 504
            assert b"content-type: application/json\r\n" in lines
            assert told.encode() in body
            (record,) = made.records()
            assert (record["status"], record["attempts"][0]["status"]) == (504, 504)
            assert not made.door._idle

    run(work())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        OK + b"content-length: 9\r\n\r\nabc",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 101 Up\r\nupgrade: x\r\n\r\n",
    ],
)
def test_a_broken_exchange_is_a_502_and_is_not_tried_again(tmp_path: Path, answer: bytes) -> None:
    async def work() -> None:
        async with hall(tmp_path, says(answer, close=True)) as made:
            assert made.cross()[0]
            await until(lambda: made.ends.answers)
            status, _, body = made.ends.answers[0]
            assert (status, b"upstream_failed" in body) == (502, True)
            (record,) = made.records()
            assert [each["status"] for each in record["attempts"]] == [502]

    run(work())


def test_a_caller_who_leaves_ends_the_exchange_and_is_recorded(tmp_path: Path) -> None:
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"abc")
        await reader.read()
        gone.set()

    async def work() -> None:
        async with hall(tmp_path, serve) as made:
            sent, crossing = made.cross()
            assert sent
            crossing.leave()
            await gone.wait()
            await until(lambda: made.journal.appended)
            (record,) = made.records()
            assert (record["status"], record["attempts"][0]["status"]) == (499, 499)
            assert not made.ends.answers

    run(work())


@pytest.mark.parametrize("head", [b"transfer-encoding: chunked", b"content-length: 70000", b"x-until: close"])
def test_an_answer_of_any_length_is_handed_over_unrecorded(tmp_path: Path, head: bytes) -> None:
    async def work() -> None:
        async with hall(tmp_path, says(OK + head + b"\r\n\r\n2\r\nab\r\n")) as made:
            assert made.cross()[0]
            await until(lambda: made.ends.streams)
            (begun,) = made.ends.streams
            assert begun.body == b"abc"
            assert begun.passage.upstream_ms is not None
            part = await begun.stream.chunk()
            assert part in (b"ab", b"2\r\nab\r\n")
            assert made.journal.appended == 0

    run(work())


def test_an_answer_that_cannot_be_recorded_is_not_given(tmp_path: Path) -> None:
    async def work() -> None:
        async with hall(tmp_path, says(WHOLE)) as made:
            made.journal.close()
            assert made.cross()[0]
            await until(lambda: made.ends.answers)
            status, lines, body = made.ends.answers[0]
            assert (status, b"log_unavailable" in body, b"x-a" in lines) == (503, True, False)

    run(work())


def test_a_record_that_cannot_be_made_is_an_error_and_not_a_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> bytes:
        raise ValueError("no record")

    async def work() -> None:
        async with hall(tmp_path, says(WHOLE)) as made:
            monkeypatch.setattr("router.edge.crossing.record", fails)
            assert made.cross()[0]
            await until(lambda: made.ends.answers)
            status, _, body = made.ends.answers[0]
            assert (status, b"internal error" in body) == (500, True)

    run(work())


def test_more_of_a_body_does_not_prolong_the_wait_for_the_rest(tmp_path: Path) -> None:
    """Else a caller who never pauses would be waited for without a deadline."""

    async def work() -> None:
        async with hall(tmp_path, says(WHOLE)) as made:
            head = small_pass(b"POST", b"/models/m/x", HEADERS, True, 100)
            assert head is not None
            cycle = Cycle(cast(Any, None), made.desk, head)
            seen = set()
            for part in (b"a", b"b"):
                cycle.add(part)
                cycle.watch_body()
                seen.add(made.desk.deadlines._watched[cycle])
            made.desk.deadlines.forget(cycle)
            assert len(seen) == 1

    run(work())


def test_deadlines_are_met_within_a_tick_or_two(tmp_path: Path) -> None:
    """Many at once, some of them forgotten: each is told once, none early."""

    class Waiting:
        def __init__(self) -> None:
            self.told: list[float] = []

        def late(self) -> None:
            self.told.append(monotonic())

    async def work() -> None:
        async with hall(tmp_path, says(WHOLE)) as made:
            deadlines, began = made.desk.deadlines, monotonic()
            every = [Waiting() for _ in range(30)]
            for number, each in enumerate(every):
                deadlines.watch(each, began + number * TICK / 4)
            for each in every[::3]:
                deadlines.forget(each)
            await until(lambda: len(deadlines) == 0)
            for number, each in enumerate(every):
                assert len(each.told) == (0 if number % 3 == 0 else 1)
                assert all(at >= began + number * TICK / 4 for at in each.told)
            assert monotonic() - began < LONG

    run(work())
