"""A replica as the lane sees it: its link, what it is at, and its health; it decides nothing."""

from __future__ import annotations

from time import monotonic

import structlog

from router.documents import Replica
from router.upstream.exchange import Exchange
from router.upstream.health import Health
from router.upstream.link import Link, connect

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds before a replica that failed to connect is tried again


class Seat:
    """One replica. `sent_at`: when its last exchange began (monotonic seconds); `retry_at`: it rests until."""

    __slots__ = (
        "exchange",
        "health",
        "link",
        "pause",
        "replica",
        "rests_since",
        "retired",
        "retry_at",
        "sent_at",
    )

    def __init__(self, replica: Replica, health: Health) -> None:
        self.replica = replica
        self.health = health
        self.link: Link | None = None
        self.exchange: Exchange | None = None
        self.sent_at = 0.0
        self.rests_since = 0.0
        self.retired = False
        self.pause = 0.0
        self.retry_at = 0.0

    @property
    def open(self) -> bool:
        """Whether it has a connection."""
        return self.link is not None and self.link.open

    def in_turn(self, now: float) -> bool:
        """Whether it takes part in the work, idle or not."""
        return not self.health.out and self.retry_at <= now

    async def connect(self) -> bool:
        """Opens its link; after a failure it rests, longer each time."""
        try:
            link = await connect(self.replica.address)
        except (OSError, TimeoutError) as error:
            self.pause = next_pause(self.pause)
            self.retry_at = monotonic() + self.pause
            log.warning("replica_unreachable", replica=self.replica.id, error=str(error) or "time-out")
            return False
        self.pause = self.retry_at = 0.0
        self.rests_since = monotonic()
        if self.open or (self.retired and self.exchange is None):
            link.close()  # somebody else was faster, or nobody needs it any more
        else:
            self.link = link
        return self.open

    def cut(self) -> None:
        """Closes its link, whatever is under way on it."""
        link, self.link = self.link, None
        if link is not None:
            link.close()


def next_pause(last: float) -> float:
    """Seconds before the next try after another failed connection."""
    return min(max(last * 2, FIRST_PAUSE), LONGEST_PAUSE)
