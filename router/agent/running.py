"""A replica of this host from its start to its end, as the agent holds it; starts and stops nothing."""

from __future__ import annotations

from dataclasses import dataclass

from router.agent.plan import Key, Phase, Unit
from router.agent.replica_process import ReplicaProcess
from router.documents import Replica, ReplicaState


@dataclass(slots=True)
class Running:
    """`began` is in monotonic seconds, `since` the same as text for everybody else.

    `replaced` says why the replica before it ended unasked; `outgoing` that another one shall take its place.
    """

    id: str
    key: Key
    digest: str
    process: ReplicaProcess
    phase: Phase
    began: float
    since: str
    replaced: str | None = None
    outgoing: bool = False

    def leaving(self) -> bool:
        """Whether it is on its way out: `Agent._retire` sees to its end."""
        return self.phase == "draining"

    def unit(self) -> Unit:
        """For the plan."""
        return Unit(self.id, self.key, self.phase, self.began, self.outgoing)

    def document(self, node: str, state: ReplicaState) -> Replica:
        """For everybody else."""
        return Replica(
            id=self.id,
            model=self.key[0],
            version=self.key[1],
            digest=self.digest,
            address=self.process.address,
            pid=self.process.process.pid,
            node=node,
            state=state,
            since=self.since,
            replaced=self.replaced,
        )


def failed(
    replica_id: str, key: Key, digest: str, node: str, since: str, error: str, last_lines: tuple[str, ...]
) -> Replica:
    """What is told of a version that does not load: no process, but the reason and the end of its log."""
    return Replica(
        id=replica_id,
        model=key[0],
        version=key[1],
        digest=digest,
        address="",
        pid=0,
        node=node,
        state="failed",
        since=since,
        error=error,
        last_lines=last_lines,
    )
