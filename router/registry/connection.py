"""Opens Redis clients: one place for time-outs, so that no wait on Redis is without an end."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    scheme, mark, rest = url.partition("://")
    return scheme + mark + rest.rpartition("@")[2]


def connect(url: str, *, timeout: float = 2.0, name: str | None = None) -> Redis:
    """A client for `url` (`redis://`, `rediss://`, `unix://`) that answers or raises within `timeout` seconds.

    It never retries by itself: a write that was sent and not answered may have happened.
    """
    client: Redis = Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=min(timeout, 1.0),
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        client_name=name,
        protocol=2,
    )
    return client
