"""Runs wrk (Debian's) and reads what its script reports; knows nothing of contenders' insides."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from loadtests.bench.contender import Contender
from loadtests.bench.tree import MIB, look

SCRIPT: Final = Path(__file__).with_name("script.lua")
WARM_UP_S: Final = 0.5
MARK: Final = "RESULT "
MISSING: Final = "wrk is not installed: apt-get install wrk"


class Unclean(AssertionError):
    """A load had answers other than 2xx, broken connections or answers that came too late: it says nothing."""


@dataclass(frozen=True, slots=True)
class Report:
    """What wrk says: times in microseconds; `broken` are connect, read and write errors, `late` time-outs."""

    requests: int
    duration_us: int
    p50_us: float
    p99_us: float
    max_us: float
    non_2xx: int
    broken: int
    late: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One load: requests a second, latency in ms, CPU µs a request and MiB by process group.

    `load_cpu` is wrk's own share of a core: near 1 it is wrk that was measured. `settle_s` is how long the
    shipper needed after the load; what it spent then is counted.
    """

    requests: int
    rps: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_us: dict[str, float]
    rss_mib: dict[str, float]
    load_cpu: float
    settle_s: float

    @property
    def cpu_total_us(self) -> float:
        """Of all groups."""
        return sum(self.cpu_us.values())


def installed() -> bool:
    """Whether wrk is there."""
    return shutil.which("wrk") is not None


def load(contender: Contender, connections: int, seconds: float, *, core: int | None = None) -> Report:
    """One run of wrk with one thread, on `core` if given; raises Unclean, RuntimeError."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    command += ["--latency", "-s", str(SCRIPT)]
    for name, value in contender.bodies.form.headers.items():
        command += ["-H", f"{name}: {value}"]
    command += [contender.url, "--", str(contender.bodies.file)]
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    report = read_report(done.stdout, done.stderr)
    if report.non_2xx or report.broken or report.late or not report.requests:
        raise Unclean(f"{contender.title} at {connections} connections: {report}")
    return report


def read_report(stdout: str, stderr: str = "") -> Report:
    """The line that the script printed; raises RuntimeError with what wrk said instead."""
    for line in stdout.splitlines():
        if line.startswith(MARK):
            return Report(**json.loads(line.removeprefix(MARK)))
    raise RuntimeError(f"wrk failed: {(stderr or stdout)[-1000:]}")


def measure(contender: Contender, connections: int, seconds: float, *, core: int | None = None) -> Sample:
    """Warms up, loads, waits for what the load left behind; raises Unclean."""
    with contender.during():
        load(contender, connections, WARM_UP_S, core=core)
        before, began = look(contender.roots), resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.monotonic()
        report = load(contender, connections, seconds, core=core)
        wall = time.monotonic() - started
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    settle_s = contender.settled()
    after = look(contender.roots)
    own = (ended.ru_utime + ended.ru_stime) - (began.ru_utime + began.ru_stime)
    return Sample(
        requests=report.requests,
        rps=report.requests / report.duration_us * 1e6,
        p50_ms=report.p50_us / 1e3,
        p99_ms=report.p99_us / 1e3,
        max_ms=report.max_us / 1e3,
        cpu_us={name: spent * 1e6 / report.requests for name, spent in after.since(before).items()},
        rss_mib={name: size / MIB for name, size in after.memory().items()},
        load_cpu=own / wall,
        settle_s=settle_s,
    )


def middle(samples: list[Sample]) -> Sample:
    """The median of every figure by itself."""
    groups = samples[0].cpu_us.keys()
    return Sample(
        requests=sum(sample.requests for sample in samples),
        rps=median(sample.rps for sample in samples),
        p50_ms=median(sample.p50_ms for sample in samples),
        p99_ms=median(sample.p99_ms for sample in samples),
        max_ms=max(sample.max_ms for sample in samples),
        cpu_us={name: median(sample.cpu_us.get(name, 0.0) for sample in samples) for name in groups},
        rss_mib={
            name: median(sample.rss_mib.get(name, 0.0) for sample in samples) for name in samples[0].rss_mib
        },
        load_cpu=median(sample.load_cpu for sample in samples),
        settle_s=max(sample.settle_s for sample in samples),
    )
