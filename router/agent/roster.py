"""The replicas of this host as everybody else sees them, in files and in the registry; decides nothing."""

from __future__ import annotations

import asyncio
import random

import msgspec
import structlog

from router.agent import leftovers, snapshot
from router.agent.follow import AWAY, News
from router.agent.place import Place
from router.documents import Replica
from router.registry.registry import Registry

_log = structlog.get_logger()


class Roster:
    """Every change goes to the files at once, and to the registry as soon as that answers."""

    def __init__(self, place: Place, registry: Registry, node: str) -> None:
        self._place = place
        self._registry = registry
        self._node = node
        self._replicas: dict[str, Replica] = {}
        self._published: dict[str, int] = {}  # id -> the revision that put it into the registry
        self._dirty: dict[str, str] = {}  # id -> model: the registry may not know
        self._work = asyncio.Event()
        self._sending = asyncio.Lock()

    def get(self, replica_id: str) -> Replica | None:
        """A replica as it was last told."""
        return self._replicas.get(replica_id)

    def all(self) -> list[Replica]:
        """Every replica, failed ones too."""
        return list(self._replicas.values())

    def expect(self, replica_id: str) -> None:
        """Notes that a process of this id is about to start: a new agent then finds it by its command line."""
        self._file(replica_id, {"id": replica_id})

    def put(self, replica: Replica) -> None:
        """Adds or changes a replica."""
        if self._replicas.get(replica.id) == replica:
            return
        self._replicas[replica.id] = replica
        started = leftovers.note(replica.pid) if replica.state != "failed" else []
        self._file(
            replica.id,
            {"id": replica.id, "replica": msgspec.to_builtins(replica), "started": started},
        )
        self._changed(replica)

    def drop(self, replica_id: str) -> None:
        """Removes a replica; its files too."""
        replica = self._replicas.pop(replica_id, None)
        for kind in ("json", "doc.json"):
            (self._place.replica_files / f"{replica_id}.{kind}").unlink(missing_ok=True)
        if replica is not None:
            self._changed(replica)

    async def announce(self, replica: Replica) -> int:
        """Puts a replica and waits for the registry: gives the revision. Raises `AWAY`."""
        self.put(replica)
        async with self._sending:
            revision = await self._registry.put_replica(replica)
            self._published[replica.id] = revision
        self._dirty.pop(replica.id, None)
        return revision

    async def publish(self) -> None:
        """Sends what the registry does not know yet, for ever; waits while Redis is away."""
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                await self.flush()
            except AWAY as error:
                _log.debug("publish_waits", error=str(error))
                self._work.set()
                await asyncio.sleep(random.uniform(0.2, 0.5))

    async def flush(self) -> None:
        """One round of sending. Raises `AWAY`; what was not sent stays due."""
        async with self._sending:
            for replica_id, model in list(self._dirty.items()):
                replica = self._replicas.get(replica_id)
                if replica is None:
                    await self._registry.drop_replica(model, replica_id)
                    self._published.pop(replica_id, None)
                else:
                    self._published[replica_id] = await self._registry.put_replica(replica)
                if self._replicas.get(replica_id) is replica:  # else it changed meanwhile: once more
                    del self._dirty[replica_id]
                else:
                    self._work.set()

    def compare(self, news: News) -> list[Replica]:
        """Makes due what the registry has otherwise; gives the failed ones that somebody took out of it.

        To take a failed replica out is how a version is asked for again.
        """
        taken: list[Replica] = []
        for state in news.models:
            theirs = {replica.id: replica for replica in state.replicas if replica.node == self._node}
            ours = {
                replica.id: replica for replica in self._replicas.values() if replica.model == state.model
            }
            for replica_id in theirs.keys() | ours.keys():
                replica, put = ours.get(replica_id), self._published.get(replica_id)
                if replica == theirs.get(replica_id):
                    continue
                if put is not None and put > news.revision and not news.behind:
                    continue  # the news is older than what we told
                if replica is not None and replica.state == "failed" and replica_id not in theirs and put:
                    taken.append(replica)
                else:
                    self._due(replica_id, state.model)
        if news.everything:
            known = {state.model for state in news.models}
            for replica in self._replicas.values():
                if replica.model not in known:
                    self._due(replica.id, replica.model)
        return taken

    def _changed(self, replica: Replica) -> None:
        documents = [msgspec.to_builtins(each) for each in self._replicas.values()]
        snapshot.note(self._place.replicas, {"replicas": documents})
        self._due(replica.id, replica.model)

    def _due(self, replica_id: str, model: str) -> None:
        self._dirty[replica_id] = model
        self._work.set()

    def _file(self, replica_id: str, document: dict[str, object]) -> None:
        snapshot.note(self._place.replica_files / f"{replica_id}.json", document)
