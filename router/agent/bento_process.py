"""One replica of a user's bento: `bentoml serve` under a guard, its port, its descendants; keeps no list."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from router.agent import home, snapshot
from router.agent.bento import HOST, PORT
from router.agent.health import Care
from router.agent.logs import replica_log
from router.agent.place import Place
from router.agent.process import Process
from router.agent.replica_process import (
    ERROR_CHARS,
    TAIL_BYTES,
    LoadFailed,
    ReplicaProcess,
    last_report,
)
from router.agent.rowwise import Doubt, prove
from router.agent.vitals import Vitals, vitals, working
from router.settings import Settings

ASSEMBLE_S = 60
"""For verifying the bento and its models, on top of what building an environment may take."""

LOOK_S = 0.05
WORKERS_S = 0.5
WORKER = "_bentoml_impl.worker"
"""The module of BentoML's workers in their command lines; by another name their failures only show later."""

RAISED = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception)\b.*", re.MULTILINE)
PROVE_S = 60.0
READY_EVERY_S = 10.0  # a user's own `__is_ready__` may cost something


class BentoProcess(ReplicaProcess):
    """The process is the guard; BentoML's arbiter and workers are its descendants."""

    alive_path = "/livez"

    def __init__(
        self, replica_id: str, place: Place, process: Process, document: Mapping[str, Any], build_s: float
    ) -> None:
        super().__init__(replica_id, place, process)
        self._document = document
        self.build_s = build_s
        self._home = place.homes / replica_id
        self._port: int | None = None

    @classmethod
    def begin(
        cls, replica_id: str, document: Mapping[str, Any], place: Place, *, life_fd: int, build_s: float
    ) -> BentoProcess:
        """Starts it in a home of its own; raises OSError where no process can be made."""
        noted = place.replica_files / f"{replica_id}.doc.json"
        snapshot.write(noted, document)
        folder = place.homes / replica_id
        folder.mkdir(mode=0o700, parents=True)
        argv = [sys.executable, "-P", "-m", "router.agent.guard", "--life-fd", str(life_fd)]
        argv += ["--name", replica_id, "--", sys.executable, "-P", "-m", "router.agent.bento"]
        argv += ["--document", str(noted), "--store", str(place.bentoml), "--home", str(folder)]
        argv += ["--venvs", str(place.venvs), "--logs", str(place.logs), "--timeout", str(build_s)]
        log = replica_log(place.logs, replica_id)
        env = _environment(folder, tracing=document["bento"]["tracing"] is True)
        process = Process.start(argv, env=env, log=log, fds=(life_fd,))
        return cls(replica_id, place, process, document, build_s)

    @property
    def port(self) -> int | None:
        """Where it listens, or will in a moment; None while its environment is prepared."""
        if self._port is None:
            with contextlib.suppress(FileNotFoundError):
                self._port = int((self._home / PORT).read_bytes())
        return self._port

    @property
    def address(self) -> str:
        """For routers; empty until there is a port."""
        port = self.port
        return "" if port is None else f"tcp:{HOST}:{port}"

    def listens(self) -> bool:
        """Whether there is a port to ask at."""
        return self.port is not None

    async def until_ready(self, timeout: float) -> None:
        """Returns once /readyz answers 200 and the tensor contract holds; `timeout` counts from its own start."""
        deadline = asyncio.get_running_loop().time() + self.build_s + ASSEMBLE_S
        while not self.listens() and not await self.process.wait(LOOK_S):
            if asyncio.get_running_loop().time() >= deadline:
                raise LoadFailed("its environment was not ready in time", final=True)
        try:
            await self._answering(timeout)
        except LoadFailed as failed:
            if self.process.running:  # BentoML starts a service that fails again and again
                raise LoadFailed(f"{failed}: {_complaint(self.log)}"[:ERROR_CHARS]) from None
            raise
        port = self.port
        if port is None or not await asyncio.to_thread(self._owns, port):
            raise LoadFailed(f"port {port} was taken by another process")
        try:
            await asyncio.wait_for(asyncio.to_thread(prove, self._document, HOST, port, PROVE_S), PROVE_S + 5)
        except (Doubt, TimeoutError) as doubt:
            text = str(doubt) or "the tensor contract was not proved in time"
            raise LoadFailed(text[:ERROR_CHARS], final=isinstance(doubt, Doubt)) from None

    async def _answering(self, timeout: float) -> None:
        """Until /readyz answers 200, or a worker ends: its arbiter would only start it again ten seconds later."""
        answering = asyncio.ensure_future(super().until_ready(timeout))
        losing = asyncio.ensure_future(self._lost_worker())
        try:
            await asyncio.wait({answering, losing}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise LoadFailed("the service does not start")
            answering.result()
        finally:
            for task in (answering, losing):
                task.cancel()
            await asyncio.gather(answering, losing, return_exceptions=True)

    async def _lost_worker(self) -> None:
        """Returns once a worker that was seen is gone."""
        seen: set[int] = set()
        while True:
            now = await asyncio.to_thread(self._workers)
            if seen - now and self.process.running:
                return
            seen |= now
            await asyncio.sleep(WORKERS_S)

    def _workers(self) -> set[int]:
        found = set()
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(word.startswith(WORKER) for word in process.cmdline()):
                    found.add(process.pid)
        return found

    def care(self, settings: Settings) -> Care:
        """Users' services may block their loop in good faith: they get ten times the patience."""
        care = super().care(settings)
        return replace(
            care,
            every_s=2 * care.every_s,
            misses=10 * care.misses,
            stopped_misses=2 * care.stopped_misses,
            deep_s=READY_EVERY_S,
        )

    def vitals(self) -> Vitals | None:
        """Of guard, arbiter, workers and whatever they started."""
        return vitals(self.process.pid, tree=True)

    def working(self) -> bool:
        """Whether any thread of any of them works."""
        return working(self.process.pid, tree=True)

    def kill(self) -> None:
        """SIGKILL to guard, arbiter and workers."""
        home.end_all(self._home)

    async def end(self, grace: float) -> None:
        """SIGTERM, SIGKILL after `grace` seconds; removes its home."""
        if not await self.process.wait(0):
            await self.process.end(grace)
        await asyncio.to_thread(self.tidy)

    def _owns(self, port: int) -> bool:
        """Whether the listening socket is one of ours: a stranger may have taken the port first."""
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                for each in process.net_connections("tcp"):
                    if each.status == psutil.CONN_LISTEN and each.laddr.port == port:
                        return True
        return False

    def _tree(self) -> Iterator[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            guard = psutil.Process(self.process.pid)
            yield from [guard, *guard.children(recursive=True)]


def _complaint(log: Path) -> str:
    """The last exception in the log, else its last line."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        found = RAISED.findall(file.read().decode(errors="replace"))
    return found[-1] if found else last_report(log)[0]


def _environment(folder: Path, *, tracing: bool) -> dict[str, str]:
    """Our environment without our own settings: a service's code has no business with the registry."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
    kept |= {
        "BENTOML_HOME": str(folder),
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "prometheus_multiproc_dir"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    if not tracing:
        kept["OTEL_SDK_DISABLED"] = "true"
    return kept
