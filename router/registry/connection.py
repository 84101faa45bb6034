"""Opens Redis clients: one place for addresses and time-outs, so that no wait on Redis is without an end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from router.registry.address import Address, parse, without_password
from router.registry.cluster import Cluster

__all__ = ["close", "connect", "disconnect", "replicas_awaited", "without_password"]

CONNECT_S = 1.0
SENTINEL_S = 0.5
"""For one sentinel: there are others, and a caller waits."""

CONNECTIONS = 1024
"""More than the control listener takes requests: of redis-py's own 100, the 101st gets an error at once."""

ASK_AGAIN_S = 0.5
"""How often the sentinels are asked who the primary is."""


def connect(url: str, *, timeout: float = 2.0, name: str | None = None) -> Redis:
    """A client for `url` (see `address.parse`) that answers or raises within about `timeout` seconds.

    It never retries by itself: a write that was sent and not answered may have happened. The client of a
    cluster is typed as the others: what we use of it is the same. ValueError for a URL that is none.
    """
    address = parse(url)
    options = _options(timeout) | {"client_name": name}
    if address.kind == "server":
        client: Redis = Redis.from_url(url, **options)
        return client
    options |= dict(parse_url(address.url))
    for key in ("host", "port"):
        options.pop(key)
    if options.pop("connection_class", None) is SSLConnection:
        options["ssl"] = True
    return _sentinels(address, options, timeout) if address.kind == "sentinel" else _cluster(address, options)


def replicas_awaited(url: str) -> int:
    """How many replicas of Redis a change of this address waits for before it counts as made.

    One, where sentinels may turn to a replica at any time. A single server has none, and redis-py's client of a
    cluster cannot wait on the connection that wrote.
    """
    return 1 if parse(url).kind == "sentinel" else 0


async def disconnect(redis: Redis, *, idle_only: bool = False) -> None:
    """Drops the connections, not the client: the next command opens one, to whoever is the primary then."""
    client: Any = redis
    if isinstance(client, Cluster):
        await client.aclose()  # a client of a cluster that was closed opens itself again
    else:
        await client.connection_pool.disconnect(inuse_connections=not idle_only)


async def close(redis: Redis) -> None:
    """Closes a client with all that belongs to it."""
    await redis.aclose()
    pool = getattr(redis, "connection_pool", None)
    if isinstance(pool, SentinelConnectionPool):
        await pool.sentinel_manager.aclose()


class PrimaryPool(SentinelConnectionPool):
    """Connections to whom the sentinels name now, also while another still believes to be the primary.

    One that hung, or was cut off, may come back and answer for ten seconds before a sentinel demotes it: what is
    read there is old, what is written is lost.
    """

    def __init__(self, service: str, sentinels: Sentinel, **options: Any) -> None:
        super().__init__(service, sentinels, **options)  # type: ignore[no-untyped-call]
        self._asked_at = float("-inf")

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        """One to the primary. Without any sentinel that answers, one to the last known."""
        now = time.monotonic()
        if now - self._asked_at > ASK_AGAIN_S:
            self._asked_at = now
            # No sentinel, no news.
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(SENTINEL_S):
                    await self.get_master_address()  # type: ignore[no-untyped-call]
        found: Any = await super().get_connection(*args, **options)  # type: ignore[no-untyped-call]
        if self.master_address not in (None, (found.host, found.port)):
            try:
                await found.disconnect()
                await found.connect()
            except BaseException:
                await self.release(found)
                raise
        return found


def _options(timeout: float) -> dict[str, Any]:
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": min(timeout, CONNECT_S),
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "protocol": 2,
        "max_connections": CONNECTIONS,
    }


def _sentinels(address: Address, options: dict[str, Any], timeout: float) -> Redis:
    """Every new connection asks the sentinels who the primary is; they are asked in turn, the last good first."""
    own = _options(min(timeout, SENTINEL_S))
    for key in ("username", "password"):
        if (value := options.pop(f"sentinel_{key}", None)) is not None:
            own[key] = value
    if options.get("ssl"):
        own |= {key: value for key, value in options.items() if key == "ssl" or key.startswith("ssl_")}
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
        list(address.nodes), sentinel_kwargs=own, **options
    )
    client: Redis = sentinel.master_for(address.service, connection_pool_class=PrimaryPool)
    return client


def _cluster(address: Address, options: dict[str, Any]) -> Redis:
    """Control state lies in one slot: that another slot has no node is no reason to refuse to connect."""
    options.pop("db", None)
    nodes = [ClusterNode(host, port) for host, port in address.nodes]
    return cast(Redis, Cluster(startup_nodes=nodes, require_full_coverage=False, **options))
