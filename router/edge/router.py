"""One router process: puts the rooms together, starts them from below, stops them from above."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from pathlib import Path

import structlog

from router.access.issuer import Issuer
from router.audit.notary import open_notary
from router.connections import Connections, affordable
from router.edge.commit import Commits
from router.edge.crossing import PassDesk
from router.edge.desk import Desk
from router.edge.gateway import Gateway
from router.edge.guard import Guard
from router.edge.internal import Internal
from router.edge.ledger import Ledger
from router.edge.metadata import Metadata
from router.edge.metrics import Metrics
from router.edge.offload import Offload
from router.edge.passthrough import PassThrough
from router.edge.predict import Predict
from router.edge.protocol import protocol_class
from router.edge.readiness import Readiness
from router.edge.repository import Repository
from router.edge.server import DrainingServer, InnerServer, config
from router.edge.statistics import Statistics
from router.edge.tunnel import Tunnels
from router.edge.v1_status import V1Status
from router.halt import halt
from router.journal.journal import Journal, LogUnavailable
from router.registry.connection import connect
from router.registry.registry import Registry
from router.route.watch import Identity, Watch
from router.settings import Settings
from router.tls import certificate
from router.upstream.rules import lane_limits
from router.upstream.upstream import Upstream

log = structlog.get_logger(__name__)
INNER_S = 2.0  # for the internal server to end by itself


class Router:
    """The parts of a router; `serve` returns when it has drained."""

    def __init__(
        self, settings: Settings, router_id: str, node: str, redis_url: str, runtime_dir: Path
    ) -> None:
        self._settings = settings
        self._certificate = certificate(settings.tls_cert, settings.tls_key)
        self._places = Connections(affordable(settings.connections), settings.caller_connections)
        self._socket_path = runtime_dir / f"{router_id}.sock"
        self._journal = Journal(
            settings.data_dir / "journal",
            router_id,
            segment_bytes=settings.log_segment_bytes,
            limit_bytes=settings.log_bytes,
            on_full=settings.log_on_full,
            fsync_interval=settings.log_fsync_ms / 1e3 or None,
        )
        self._upstream = Upstream(lane_limits(settings))
        me = Identity(router_id, node, os.getpid(), settings.lease_ms, settings.poll_ms)
        self._issuer = Issuer.of(settings)
        registry = self._registry = Registry(
            connect(redis_url, name=router_id), notary=open_notary(settings.data_dir)
        )
        self._watch = Watch(
            registry,
            self._upstream,
            me,
            settings.data_dir / "table.json",
            runtime_dir / "replicas.json",
            self._issuer.rules(required=settings.data_keys == "required"),
        )
        metrics = Metrics()
        ledger = Ledger(router_id, Commits(self._journal), metrics)
        self._offload = Offload()
        self._desk = Desk(settings, self._watch, self._upstream, ledger, self._offload)
        self._shedding = self._desk.lag
        predict = Predict(self._desk)
        self._tunnels = Tunnels(settings, self._watch, self._upstream, ledger)
        passthrough = PassThrough(settings, self._watch, self._upstream, ledger, self._shedding)
        self._pass_desk = PassDesk(settings, self._watch, self._upstream, ledger, passthrough)
        readiness = Readiness(self._watch)
        others = [
            *Statistics(self._watch, metrics).routes,
            *Metadata(settings, self._watch, readiness).routes,
            *Repository(settings, self._watch, registry).routes,
            *V1Status(self._watch).routes,
        ]
        self._gateway = Gateway(predict, passthrough, readiness, others, Guard(self._watch))
        self._internal = Internal(
            router_id,
            metrics,
            self._watch,
            self._upstream,
            self._journal,
            self._shedding,
            self._places,
        )

    async def serve(self, listener: socket.socket) -> None:
        """Serves until SIGTERM or SIGINT, then drains."""
        settings = self._settings
        self._upstream.start()
        self._shedding.start()
        issuer = asyncio.get_running_loop().create_task(self._issuer.follow())
        await self._watch.start()
        inner = InnerServer(config(self._internal.app))
        inner_task = asyncio.get_running_loop().create_task(inner.serve([self._inner_socket()]))
        syncer = asyncio.get_running_loop().create_task(self._sync())
        follower = asyncio.get_running_loop().create_task(self._follow_certificate())
        # What stands now stays for good: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        server = DrainingServer(
            config(
                self._gateway,
                protocol=protocol_class(
                    self._tunnels,
                    self._desk,
                    self._pass_desk,
                    settings.receive_timeout_ms / 1e3,
                    settings.send_timeout_ms / 1e3,
                    self._places,
                ),
                graceful=settings.shutdown_ms / 1e3,
                tls=None if self._certificate is None else self._certificate.context,
            ),
            settings.drain_ms / 1e3,
            self._drain,
        )
        try:
            await server.serve([listener])
            await self._tunnels.close(settings.drain_ms / 1e3)
        finally:
            self._shedding.close()
            await self._watch.close()
            await self._registry.close()
            await self._upstream.close()
            self._offload.close()
            inner.should_exit = True
            await asyncio.wait({inner_task}, timeout=INNER_S)
            await halt([inner_task, syncer, follower, issuer])
            self._journal.close()
            self._socket_path.unlink(missing_ok=True)

    def _drain(self) -> None:
        log.info("draining")
        self._watch.draining = True

    async def _follow_certificate(self) -> None:
        if self._certificate is not None:
            await self._certificate.follow()

    async def _sync(self) -> None:
        """Brings the journal to disk also when no request comes."""
        interval = self._settings.log_fsync_ms / 1e3
        while interval:
            await asyncio.sleep(interval)
            try:
                self._journal.sync()
            except LogUnavailable as error:
                log.error("journal_not_flushed", error=error.message)

    def _inner_socket(self) -> socket.socket:
        self._socket_path.unlink(missing_ok=True)
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        inner.bind(str(self._socket_path))
        inner.listen(64)
        return inner
