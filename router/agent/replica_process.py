"""One replica's process: started or adopted, asked whether it is ready, ended; keeps no list and no counts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from router.agent import home, probe, snapshot
from router.agent.health import Care
from router.agent.logs import replica_log
from router.agent.place import Place
from router.agent.plan import Key
from router.agent.process import Process
from router.agent.vitals import Vitals, vitals, working
from router.settings import Settings

_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
TAIL_BYTES = 16 << 10
ERROR_CHARS = 500
LAST_LINES = 10
LINE_CHARS = 300
MODEL_EVERY_S = 5.0  # between two probes that run the model


class LoadFailed(Exception):
    """The process ended, or ran out of time, before it was ready; the text says why.

    `final`: another try would end the same.
    """

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


def new_id(key: Key) -> str:
    """`model-version-short`, with a short random end that names the socket too."""
    return f"{key[0]}-{key[1]}-{''.join(secrets.choice(_LETTERS) for _ in range(8))}"


class ReplicaProcess:
    """A running process of a version; `address` is where it answers once it is warm."""

    alive_path = "/_pm/stats"
    """Answered by the event loop itself, also while a model runs in its thread."""

    build_s: float = 0.0
    """Seconds that a start may take on top of the start's own time-out."""

    def __init__(self, replica_id: str, place: Place, process: Process) -> None:
        self.id = replica_id
        self.process = process
        self._place = place
        self.socket = _socket(place, replica_id)
        self.log = replica_log(place.logs, replica_id)

    @classmethod
    def start(
        cls, replica_id: str, document: Mapping[str, Any], place: Place, *, life_fd: int, threads: int
    ) -> ReplicaProcess:
        """Starts the launcher in a session of its own; raises OSError where no process can be made."""
        socket = _socket(place, replica_id)
        manifest = place.replica_files / f"{replica_id}.doc.json"
        snapshot.write(manifest, document)
        metrics = _metrics(place, replica_id)
        metrics.mkdir(mode=0o700, exist_ok=True)
        argv = [sys.executable, "-P", "-m", "services.launch", "--manifest", str(manifest)]
        argv += ["--socket", str(socket), "--life-fd", str(life_fd)]
        argv += ["--replica-id", replica_id, "--threads", str(threads)]
        log = replica_log(place.logs, replica_id)
        process = Process.start(argv, env=_environment(place, metrics), log=log, fds=(life_fd,))
        return cls(replica_id, place, process)

    @property
    def address(self) -> str:
        """For routers."""
        return f"unix:{self.socket}"

    async def until_ready(self, timeout: float) -> None:
        """Returns once /readyz answers 200; raises LoadFailed. The process may still run after a time-out."""
        deadline = asyncio.get_running_loop().time() + timeout
        pause = 0.02
        told = "it does not listen"
        while not await self.process.wait(pause):
            pause = min(pause * 1.5, 0.1)
            if asyncio.get_running_loop().time() >= deadline:
                raise LoadFailed(f"not ready after {timeout:g} s: {told}")
            if not self.listens():
                continue
            try:
                code = await probe.status(self.address, "/readyz", 2.0)
            except (OSError, TimeoutError) as error:
                told = str(error) or "it does not answer"
                continue
            if code == 200:
                return
            told = f"/readyz answers {code}"
        text, final = last_report(self.log, ended=self.process.exited.result())
        raise LoadFailed(text, final=final)

    def listens(self) -> bool:
        """Whether there is something to ask yet."""
        return self.socket.exists()

    def kill(self) -> None:
        """SIGKILL to all of it. Safe on any thread."""
        self.process.send(signal.SIGKILL)

    def care(self, settings: Settings) -> Care:
        """How it is watched once it is warm."""
        every = settings.probe_ms / 1000
        return Care(
            every_s=every,
            misses=settings.probe_misses,
            stopped_misses=settings.probe_misses,
            deep_s=MODEL_EVERY_S,
            busy_s=2 * settings.request_timeout_ms / 1000,  # nobody waits that long for a call
            memory_bytes=settings.replica_memory_bytes,
        )

    async def answers(self, timeout: float) -> bool:
        """Whether it answers at all: asks nothing that costs, and does not run the model."""
        try:
            return await probe.status(self.address, self.alive_path, timeout) < 500
        except (OSError, TimeoutError):
            return False

    async def works(self, timeout: float) -> bool:
        """Whether it is ready by its own word; our generic service runs the model for that."""
        try:
            return await probe.status(self.address, "/readyz", timeout) == 200
        except (OSError, TimeoutError):
            return False

    def vitals(self) -> Vitals | None:
        """Of all of its processes; None once they have ended."""
        return vitals(self.process.pid)

    def working(self) -> bool:
        """Whether any of its threads works, or waits for a core or a disk."""
        return working(self.process.pid)

    async def end(self, grace: float) -> None:
        """SIGTERM, SIGKILL after `grace` seconds; removes what the process leaves behind."""
        await self.process.end(grace)
        self.tidy()

    def tidy(self) -> None:
        """Removes what a process that has ended left behind."""
        tidy(self.id, self._place)


def tidy(replica_id: str, place: Place) -> None:
    """Removes what a process that has ended left in the runtime folder, and its home where it had one."""
    _socket(place, replica_id).unlink(missing_ok=True)
    shutil.rmtree(_metrics(place, replica_id), ignore_errors=True)
    home.clear(place.homes / replica_id)


def last_report(log: Path, *, ended: int | None = None) -> tuple[str, bool]:
    """Why it failed, and whether another try would end the same; at most 500 characters.

    The launcher's own last report, else how the process `ended` (its status) and the last line of the log.
    """
    lines = _tail(log)
    for line in reversed(lines):
        with contextlib.suppress(orjson.JSONDecodeError):
            told = orjson.loads(line)
            if isinstance(told, dict) and told.get("event") == "replica_failed":
                return str(told.get("error"))[:ERROR_CHARS], told.get("final") is True
    how = (
        ""
        if ended is None
        else f"it was ended by signal {ended - 128}"
        if ended > 128
        else f"it ended with status {ended}"
    )
    last = lines[-1].strip() if lines else "its log is empty"
    return (f"{how}: {last}" if how else last)[:ERROR_CHARS], False


def last_lines(log: Path) -> tuple[str, ...]:
    """The last ten lines of its log that are not empty, each cut at 300 characters."""
    return tuple(line.rstrip()[:LINE_CHARS] for line in _tail(log)[-LAST_LINES:])


def _tail(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except FileNotFoundError:
        return []


def _environment(place: Place, metrics: Path) -> dict[str, str]:
    """Our environment without our own settings: a version's code has no business with the registry."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
    return kept | {
        "BENTOML_HOME": str(place.bentoml),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "BENTOML_DO_NOT_TRACK": "True",
        "OTEL_SDK_DISABLED": "true",
    }


def _metrics(place: Place, replica_id: str) -> Path:
    return place.replica_files / f"{replica_id}.metrics"


def _socket(place: Place, replica_id: str) -> Path:
    return place.socket(replica_id.rpartition("-")[2])
