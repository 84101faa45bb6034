"""One Lua script of this room: called by its digest, sent whole where Redis forgot it; its errors told apart.

Before 7.0 Redis hides the kind of an error inside a script in the text: "… -OOM command not allowed …".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, ResponseError

from router.registry.connection import disconnect

_KIND = re.compile(r"(?:\A|[ :]-)(OOM|READONLY|NOREPLICAS|MISCONF) ")


class WritesRefused(ResponseError):
    """Redis answers and takes no write for now: its disk is full, or it has too few replicas."""


_REASONS: dict[str, tuple[type[ResponseError], str]] = {
    "OOM": (OutOfMemoryError, "it is out of memory"),
    "READONLY": (ReadOnlyError, "it is a replica"),
    "NOREPLICAS": (WritesRefused, "it has too few replicas"),
    "MISCONF": (WritesRefused, "it cannot write to its disk"),
}
REFUSED = (OutOfMemoryError, ReadOnlyError, WritesRefused)
"""Redis is there, and said no to a write: nothing was changed."""


class Script:
    """`await script(keys, args)` raises redis' own errors, or those of `REFUSED`."""

    def __init__(self, redis: Redis, name: str) -> None:
        # redis-py types its commands as sync-or-async unions; awaiting those needs Any.
        self._redis: Any = redis
        self._text = files("router.registry").joinpath(f"{name}.lua").read_bytes()
        self._sha = hashlib.sha1(self._text).hexdigest()

    async def __call__(self, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """The script's answer."""
        try:
            try:
                return await self._redis.evalsha(self._sha, len(keys), *keys, *args)
            except NoScriptError:
                return await self._redis.eval(self._text, len(keys), *keys, *args)
        except ResponseError as error:
            raise await self._told(error) from error

    async def awaited(
        self, keys: Sequence[str], args: Sequence[Any], replicas: int, wait_ms: int
    ) -> tuple[Any, bool]:
        """The answer, and whether `replicas` replicas had the write within `wait_ms`; no cluster's client."""
        try:
            try:
                return await self._pipelined(("EVALSHA", self._sha), keys, args, replicas, wait_ms)
            except NoScriptError:
                return await self._pipelined(("EVAL", self._text), keys, args, replicas, wait_ms)
        except ResponseError as error:
            raise await self._told(error) from error

    async def _pipelined(
        self, call: tuple[str, Any], keys: Sequence[str], args: Sequence[Any], replicas: int, wait_ms: int
    ) -> tuple[Any, bool]:
        # WAIT counts for the writes of its own connection: both go down one, together.
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.execute_command(*call, len(keys), *keys, *args)
            pipeline.execute_command("WAIT", replicas, wait_ms)
            answer, reached = await pipeline.execute(raise_on_error=False)
        if isinstance(answer, Exception):
            raise answer
        return answer, isinstance(reached, int) and reached >= replicas

    async def _told(self, error: ResponseError) -> ResponseError:
        found = told_apart(error)
        if isinstance(found, ReadOnlyError):  # this was the primary once: ask anew who is
            await disconnect(self._redis, idle_only=True)
        return found


def told_apart(error: ResponseError) -> ResponseError:
    """The error as the class that says what happened."""
    match = _KIND.search(str(error))
    if match is None or isinstance(error, REFUSED):
        return error
    kind, reason = _REASONS[match[1]]
    return kind(reason)
