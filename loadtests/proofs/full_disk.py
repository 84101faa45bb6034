"""A data directory whose disk runs full under load, under either `log_on_full` policy, and recovers by itself."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from loadtests.caller import Load, Seen, digit_rows
from loadtests.fleet import Fleet
from loadtests.proofs.figures import Figures, milliseconds
from loadtests.proofs.flips import PATH
from loadtests.proofs.redis_away import change
from loadtests.proofs.routers import account, settled

DISK: Final = "96m"
RECOVERED_S: Final = 1.0  # when there is room again, predictions may be refused for so long
CHANGES_S: Final = 15.0
EMPTY: Final = b"\0" * 4096


class Disk:
    """What lies under a fleet's data directory: a small file system, or, where none can be mounted, only a bound
    on the files that its routers may write.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._filler = fleet.data_dir / "filler"
        fleet.data_dir.mkdir(parents=True)
        words = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(fleet.data_dir)]
        try:
            self.mounted = subprocess.run(words, check=False, capture_output=True).returncode == 0
        except FileNotFoundError:
            self.mounted = False

    def fill(self) -> None:
        """Not a byte more."""
        if not self.mounted:
            self._bound(0)
            return
        try:
            with self._filler.open("wb", buffering=0) as file:
                while True:
                    file.write(EMPTY)
        except OSError:
            return

    def free(self) -> None:
        """There is room again."""
        if self.mounted:
            self._filler.unlink()
        else:
            self._bound(resource.RLIM_INFINITY)

    def close(self) -> None:
        """Unmounts; nothing may run there any more."""
        if self.mounted:
            subprocess.run(["umount", str(self._fleet.data_dir)], check=True)

    def _bound(self, size: int) -> None:
        for router in self._fleet.status()["routers"]:
            resource.prlimit(router["pid"], resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@contextmanager
def on_a_small_disk(policy: str) -> Iterator[tuple[Fleet, Disk]]:
    """Two routers, versions 1 and 2 of digits."""
    fleet = Fleet(routers=2, env={"POINTSMAN_LOG_ON_FULL": policy})
    disk = Disk(fleet)
    try:
        fleet.start()
        fleet.release("digits", "1", "2")
        fleet.promote("digits", "1")
        yield fleet, disk
    except BaseException:
        print(fleet.tail(), file=sys.stderr)
        raise
    finally:
        if fleet.process is not None and fleet.process.poll() is None:
            fleet.stop()
        disk.close()
        fleet.remove()


async def full(fleet: Fleet, disk: Disk, policy: str, *, seconds: float, rate: float = 300.0) -> Figures:
    """Under open-loop load the disk is full for `seconds`."""
    load = Load(fleet.port, PATH, digit_rows(), 8, rate=rate)
    load.start()
    await asyncio.sleep(2)
    pids = {each["pid"] for each in fleet.status()["routers"]}
    await asyncio.to_thread(disk.fill)
    full_at = monotonic()
    refused_changes = 0
    while monotonic() - full_at < seconds:
        await asyncio.sleep(min(2.0, seconds / 3))
        answer = await change(fleet, "2")
        assert answer.status_code in ((503,) if disk.mounted else (200, 202)), answer.text
        refused_changes += answer.status_code == 503
    await asyncio.to_thread(disk.free)
    free_at = monotonic()
    while (answer := await change(fleet, "2")).status_code != 200:
        assert monotonic() - free_at < CHANGES_S, answer.text
        await asyncio.sleep(0.1)
    changed = monotonic() - free_at
    await asyncio.sleep(RECOVERED_S + 1)
    seen = await load.stop()
    assert {each["pid"] for each in fleet.status()["routers"]} == pids, "a router died"
    during = [each for each in seen if full_at <= each.sent < free_at]
    late = [each.sent - free_at for each in seen if each.sent >= free_at and each.status != 200]
    assert not [each for each in seen if each.status == 0], "a connection broke"
    assert max(late, default=0.0) < RECOVERED_S, late[-5:]
    judged = refusing(fleet, seen, during) if policy == "refuse" else serving(fleet, seen, during)
    return {
        "disk": f"tmpfs of {DISK}" if disk.mounted else "bound on the routers' files",
        "full s": seconds,
        "requests meanwhile": len(during),
        **judged,
        "last refusal after s": round(max(late, default=0.0), 2),
        "changes refused (503)": refused_changes,
        "change works again after s": round(changed, 2),
    } | milliseconds([each.took for each in during], "meanwhile")


def refusing(fleet: Fleet, seen: list[Seen], during: list[Seen]) -> Figures:
    """`refuse`: 503 `log_unavailable`, and what was answered 200 is in the log, once."""
    refused = [each for each in seen if each.status != 200]
    assert {each.status for each in refused} == {503}, refused[:3]
    assert all("log_unavailable" in each.error for each in refused), refused[:3]
    assert len(refused) > 0.9 * len(during), (len(refused), len(during))
    found = account(fleet, [each for each in seen if each.status == 200])
    names = ("answered", "answered and not stored", "twice by record id")
    return {"refused (503)": len(refused), **{name: found[name] for name in names}}


def serving(fleet: Fleet, seen: list[Seen], during: list[Seen]) -> Figures:
    """`serve`: every request is answered, and as many are counted as dropped as are missing from the log."""
    failed = [each for each in seen if each.status != 200]
    assert not failed, failed[:3]
    dropped = counted(fleet, "pointsman_log_dropped")
    stored = {str(record["request_id"]) for record in settled(fleet, set())}
    missing = {each.request_id for each in seen} - stored
    assert len(missing) > 0.9 * len(during), (len(missing), len(during))
    assert len(missing) == dropped, (len(missing), dropped)
    return {"answered": len(seen), "failed": 0, "not stored": len(missing), "counted as dropped": dropped}


def counted(fleet: Fleet, name: str) -> int:
    """The sum of a counter over all routers, once each of them tells."""
    end = monotonic() + 10
    while True:
        text = fleet.control.get("/metrics").text
        found = {family.name: family.samples for family in text_string_to_metric_families(text)}
        if all(sample.value for sample in found["pointsman_router_up"]):
            return int(sum(sample.value for sample in found[name] if sample.name.endswith("_total")))
        assert monotonic() < end, "a router does not tell its counters"
