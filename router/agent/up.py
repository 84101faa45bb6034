"""The parent of one installation: owns the sockets and the pipe, starts everything, restarts what dies, drains."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from redis.exceptions import RedisError

from router.access.issuer import Issuer
from router.agent import leftovers, listeners, place, prctl, probe, snapshot
from router.agent.child import Child, Launch
from router.agent.embedded import EmbeddedRedis
from router.agent.intercom import listening
from router.agent.leases import Leases
from router.agent.listeners import is_loopback
from router.agent.logs import LOG_BYTES, cut
from router.agent.programs import Programs, environment
from router.agent.restart import SOCKET, Restarts
from router.agent.rolling import ROUTER, Rolling
from router.halt import halt
from router.logging import configure
from router.registry.connection import connect, without_password
from router.registry.registry import Registry
from router.settings import Settings
from router.tls import certificate
from router.trust import TlsUnusable, knowing

READY_S = 60.0
REDIS_READY_S = 10.0
OTHERS_STOP_S = 6.0
REDIS_STOP_S = 2.0

_log = structlog.get_logger()


async def run(settings: Settings, *, report: Callable[[str], None]) -> int:
    """Serves until SIGTERM or SIGINT; gives the exit status. `report` gets lines for the terminal.

    Call it once a process, on its main thread: it handles signals and adopts orphans.
    """
    try:
        certificate(settings.tls_cert, settings.tls_key)
        require_keys(settings)
    except (TlsUnusable, KeysNeeded, ValueError) as error:  # ValueError: settings of an issuer that cannot be
        report(str(error))
        return 1
    os.umask(0o077)  # of all that is started too: whatever they write is this user's alone
    configure("up")  # what is put aside is told on stderr
    try:
        claim = place.claim(settings.data_dir)
    except (place.Occupied, place.Unsafe, OSError) as error:
        report(str(error))
        return 1
    clean = False
    try:
        with (claim.place.logs / "up.log").open("a", buffering=1) as stream:
            configure("up", stream=stream)
            try:
                status = await _Up(settings, claim, report).run()
                shutil.rmtree(claim.place.runtime_dir, ignore_errors=True)
                clean = True
            finally:
                configure("up")
        return status
    except (OSError, ValueError) as error:  # ValueError: an address of Redis that is none
        report(str(error))
        return 1
    finally:
        claim.release(clean=clean)


class KeysNeeded(Exception):
    """The data listener would be open to others without keys."""


def require_keys(settings: Settings) -> None:
    """Raises KeysNeeded where anybody on the network could ask, ValueError for a bad issuer of tokens."""
    Issuer.of(settings)
    try:
        alone = is_loopback(settings.host)
    except OSError:
        return  # listening will fail, and say so
    if settings.data_keys != "required" and not alone:
        raise KeysNeeded(
            f"{settings.host} is reached from other machines, and callers need no key: "
            "set POINTSMAN_DATA_KEYS=required, and make keys with `pointsman keys create`"
        )


class _Up:
    def __init__(self, settings: Settings, claim: place.Claim, report: Callable[[str], None]) -> None:
        self._settings = settings
        self._place = claim.place
        self._claim = claim
        self._report = report
        self._began = time.monotonic()
        self._status = 0
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._embedded: EmbeddedRedis | None = None
        if settings.redis_url is None:
            self._embedded = EmbeddedRedis(claim.place.redis, claim.place.redis_socket)
        self._redis_url = settings.redis_url or f"unix://{claim.place.redis_socket}"
        self._redis_pid: int | None = None
        self._children: dict[str, Child] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._registry = Registry(connect(self._redis_url, name="up"))
        self._leases = Leases(self._registry, claim.node, self._router_ids)
        self._data: socket.socket | None = None

    async def run(self) -> int:
        """From the first socket to the last process."""
        prctl.become_subreaper()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                loop.add_signal_handler(number, self._signalled, number)
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        with contextlib.ExitStack() as open_files:
            try:
                if self._claim.left_uncleanly:
                    await leftovers.gone(self._place)
                place.sweep(self._place)
                await self._start(open_files)
                async with listening(self._place.socket(SOCKET), self._restarts().answer):
                    await self._stop.wait()
                self._report("stopping")
            finally:
                await self._end()
        self._report("stopped")
        return self._status

    async def _start(self, open_files: contextlib.ExitStack) -> None:
        host = self._settings.host
        data = self._data = open_files.enter_context(listeners.listen(host, self._settings.port))
        control = open_files.enter_context(listeners.listen(host, self._settings.control_port))
        life, life_end = os.pipe()  # only this process holds `life_end`: when it ends, the pipe does
        open_files.callback(os.close, life)
        open_files.callback(os.close, life_end)
        ports = listeners.port_of(data), listeners.port_of(control)
        name = listeners.reachable(host)
        scheme = "http" if self._settings.tls_cert is None else "https"
        control_url = f"{scheme}://{name}:{ports[1]}"
        for line in (
            f"data {scheme}://{name}:{ports[0]}",
            f"control {control_url}",
            f"key {self._place.admin_key}",
        ):
            self._report(line)
        programs = Programs(
            self._place, self._claim.node, self._redis_url, life, data.fileno(), control.fileno()
        )
        env = environment(self._settings, programs, ports, os.environ)
        if self._embedded is not None:
            command = self._embedded.command(life)
            self._keep(
                "redis",
                lambda: Launch(command, (life,), dies_with_us=False),
                env | self._embedded.environment,
            )
            await self._learn_redis()
        self._keep("control", programs.control, env)
        self._keep("shipper", programs.shipper, env)
        self._keep("agent", programs.agent, env)
        self._programs, self._env = programs, env
        for slot in range(self._settings.routers):
            self._keep_router(f"{ROUTER}{slot}")
        try:
            place.leave_note(self._place, control_url, self._settings.tls_cert)
        except OSError as error:  # a read-only home: POINTSMAN_URL and POINTSMAN_KEY still work
            self._report(f"the command line will not find this by itself: {error}")
        for work in (self._leases.run(), self._announce(f"tcp:{name}:{ports[0]}"), self._cut_logs()):
            self._spawn(work)

    def _keep(
        self, name: str, launch: Callable[[], Launch], env: dict[str, str], listed: str | None = None
    ) -> Child:
        log = self._place.logs / f"{name}.log"
        child = Child(name, launch, env=env, log=log, changed=self._changed)
        self._children[listed or name] = child
        self._spawn(child.keep())
        return child

    def _keep_router(self, name: str, listed: str | None = None) -> Child:
        """Starts a router in a slot; while another one is in it, it is `listed` under a name of its own."""
        slot = int(name.removeprefix(ROUTER))
        return self._keep(name, lambda: self._programs.router(slot, time.time), self._env, listed)

    def _restarts(self) -> Restarts:
        rolling = Rolling(
            self._settings, self._place, self._children, self._keep_router, self._left, self._stop
        )
        return Restarts(rolling.ways(), self._spawn)

    def _left(self) -> None:
        """A child was taken out of the table."""
        self._leases.check()
        self._note()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        """A task of ours that fails is a fault in this program: stop in order rather than limp on."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("task_failed", exc_info=error)
            self._report(f"internal error, see {self._place.logs / 'up.log'}: {error!r}")
            self._status = 1
            self._stop.set()

    def _changed(self, child: Child) -> None:
        """A child started or ended."""
        if child.pid is None:
            self._report(f"restarting {child.name} (see {child.log})")
            if child.name.startswith(ROUTER):
                self._leases.check()
        elif child.name == "redis":
            self._redis_pid = None
            self._spawn(self._learn_redis())
        self._note()

    async def _learn_redis(self) -> None:
        """Notes the server's own pid; the child we started is its guard."""
        assert self._embedded is not None
        try:
            self._redis_pid = await self._embedded.ready(REDIS_READY_S)
        except TimeoutError as error:
            _log.error("redis_not_ready", error=str(error))
            self._report(f"{error} (see {self._place.logs / 'redis.log'})")
        self._note()

    def _note(self) -> None:
        """Writes which processes run, for `status`, and for the next `up` should this one be killed."""
        pids = {name: child.pid for name, child in self._children.items()}
        running = [pid for pid in (*pids.values(), self._redis_pid) if pid is not None]
        redis = {"url": without_password(self._redis_url)}
        if self._embedded is not None:
            redis = {"pid": self._redis_pid, "socket": str(self._embedded.socket)}  # type: ignore[dict-item]
        document = {
            "up": os.getpid(),
            "redis": redis,
            "routers": [
                {"id": child.id, "pid": child.pid}
                for name, child in self._children.items()
                if name.startswith(ROUTER) and child.pid is not None
            ],
            "started": [one for pid in running for one in leftovers.note(pid)],
        }
        for name in ("agent", "control", "shipper"):
            document[name] = {"pid": pids[name]} if pids.get(name) is not None else None
        snapshot.note(self._place.processes, document)

    def _router_ids(self) -> set[str]:
        return {child.id for child in self._children.values() if child.id and child.pid is not None}

    async def _announce(self, address: str) -> None:
        """Reports when a router is ready, and once when none was after 60 s."""
        late, cert = False, self._settings.tls_cert
        while True:
            try:
                tls = None if cert is None else knowing(cert)
                told = f"/readyz answers {(code := await probe.status(address, '/readyz', 2.0, tls))}"
            except (OSError, TimeoutError, TlsUnusable) as error:
                code, told = 0, f"/readyz does not answer: {error}"
            took = time.monotonic() - self._began
            if code == 200:
                self._report(f"ready {took:.1f} s")
                return
            if took > READY_S and not late:
                late = True
                self._report(f"not ready after {took:.0f} s: {told}; see {self._place.logs}")
            await asyncio.sleep(0.05 if took < READY_S else 1.0)

    async def _cut_logs(self) -> None:
        while True:
            await asyncio.sleep(10)
            for log in [self._place.logs / "up.log", *(child.log for child in self._children.values())]:
                cut(log, LOG_BYTES)

    def _signalled(self, number: int) -> None:
        _log.info("signal", number=number)
        if self._stop.is_set() and number == signal.SIGINT:
            self._hurry.set()
        self._stop.set()

    def _known(self) -> set[int]:
        return {child.process.pid for child in self._children.values() if child.process is not None}

    def _reap(self) -> None:
        leftovers.reap(self._known())

    async def _end(self) -> None:
        """Routers drain first, then what they lean on, Redis last; 30 s in all with the default settings."""
        place.take_note_away()
        if self._data is not None:
            self._data.close()  # else new connections would wait for routers that leave, and not go elsewhere
        kept = self._children
        routers = [child for name, child in kept.items() if name.startswith(ROUTER)]
        others = [kept[name] for name in ("agent", "control", "shipper") if name in kept]
        await self._stop_all(routers, self._settings.shutdown_ms / 1000)
        with contextlib.suppress(RedisError, OSError, TimeoutError):  # the next `up` forgets what is left
            async with asyncio.timeout(0.5):
                await self._leases.forget_ended()
        await self._stop_all(others, OTHERS_STOP_S)
        await self._stop_all([kept["redis"]] if "redis" in kept else [], REDIS_STOP_S)
        await halt(lambda: self._tasks)
        await self._registry.close()
        await leftovers.kill(set())

    async def _stop_all(self, children: list[Child], grace: float) -> None:
        await asyncio.gather(*(child.stop(grace, self._hurry) for child in children))
