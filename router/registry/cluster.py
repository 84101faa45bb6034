"""redis-py's client of a Redis Cluster with the errors of one server; adds no behaviour of its own.

Where no node answers, or a slot has none, redis-py raises an exception that is no `RedisError`: everybody here
waits for those, so that it becomes a ConnectionError.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio.cluster import ClusterNode, ClusterPubSub, RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException


@contextmanager
def _one_kind_of_error() -> Iterator[None]:
    try:
        yield
    except RedisClusterException as error:
        raise RedisConnectionError(str(error)) from error


class Cluster(RedisCluster):
    """Finds the cluster's nodes at the first command, and anew after every lost connection."""

    def __init__(self, startup_nodes: list[ClusterNode], **options: Any) -> None:
        super().__init__(startup_nodes=startup_nodes, **options)
        self._named = [(node.host, int(node.port)) for node in startup_nodes]

    async def initialize(self, *_: Any, last_failed_node_name: str | None = None, **__: Any) -> RedisCluster:
        """Asks who owns which slot: the nodes last known, then those first named, for all may have moved."""
        with _one_kind_of_error():
            return await super().initialize(self._named, last_failed_node_name=last_failed_node_name)

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """One command on the node that owns its keys."""
        with _one_kind_of_error():
            return await super().execute_command(*args, **kwargs)

    def pubsub(self, *args: Any, **kwargs: Any) -> ClusterPubSub:
        """A subscription on the node that owns the slot of the channel's name."""
        return _Subscription(self, *args, **kwargs)


class _Subscription(ClusterPubSub):
    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        with _one_kind_of_error():
            await self.cluster.initialize()
            return await super().execute_command(*args, **kwargs)
