"""Every wait of the control plane on Redis has an end here, and one kind of error: 503 `redis_…`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.exceptions import ClusterError, OutOfMemoryError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from router.errors import Unavailable
from router.registry.script import REFUSED

WITHIN_S = 2.2  # so that a refusal is with the caller within two and a half seconds
SOCKET_S = 1.5  # longest wait for one answer of Redis

LOST = (RedisConnectionError, RedisTimeoutError, ClusterError, TryAgainError)
NOTHING_DONE = "nothing was changed"
UNCERTAIN = "whether the change was made is unknown: read the history before you repeat it"


class Sent:
    """Whether a write may already be on its way when Redis goes silent."""

    __slots__ = ("maybe",)

    def __init__(self) -> None:
        self.maybe = False


@asynccontextmanager
async def answering(seconds: float = WITHIN_S) -> AsyncIterator[Sent]:
    """Raises Unavailable: `redis_away` where what is done inside lasts over `seconds`, or Redis fails;
    `redis_full` and `redis_readonly` where it answers and takes no write: then nothing was changed."""
    sent = Sent()
    try:
        async with asyncio.timeout(seconds):
            yield sent
    except (TimeoutError, *LOST) as error:
        outcome = UNCERTAIN if sent.maybe else NOTHING_DONE
        raise Unavailable(f"Redis does not answer; {outcome}", code="redis_away") from error
    except REFUSED as error:
        code = "redis_full" if isinstance(error, OutOfMemoryError) else "redis_readonly"
        raise Unavailable(f"Redis takes no writes for now: {error}; {NOTHING_DONE}", code=code) from error
