"""One replica of the pass-through lane: its connections, how many exchanges it bears, and its health."""

from __future__ import annotations

from time import monotonic

from router.documents import Replica
from router.upstream.health import Health
from router.upstream.judgement import Judgement
from router.upstream.limit import Window, WindowRules
from router.upstream.seat import next_pause
from router.upstream.stream import Stream

# BentoML closes idle connections after 5 s; a POST on one that is just closing could not be repeated.
IDLE_S = 2.0
IDLE_KEPT = 128
BUSY = (429, 503)
"""Statuses by which a replica says that it has too much to do."""
LATE_S, LATE_TIMES = 1.0, 5.0
"""A time-out speaks against a replica if it was that long, and that many times what answers usually take."""


class Door:
    """`busy`: exchanges under way, `tunnels` beside them; `sent_at`: when the last began (monotonic seconds)."""

    __slots__ = (
        "_closed", "_idle", "_judgement", "_pause", "busy", "health", "replica", "retry_at", "sent_at", "tunnels",
        "window",
    )  # fmt: skip

    def __init__(self, replica: Replica, judgement: Judgement, health: Health, most: int) -> None:
        self.replica = replica
        self.health = health
        # Nobody is refused before the replica showed that it is too much: the window begins wide open.
        self.window = Window(WindowRules(first=most, least=min(8, most), most=most))
        self.busy = self.tunnels = 0
        self.sent_at = self.retry_at = 0.0
        self._judgement = judgement
        self._pause = 0.0
        self._closed = False
        self._idle: list[Stream] = []

    def in_turn(self, now: float) -> bool:
        """Whether it takes part in the work."""
        return not self.health.out and self.retry_at <= now

    # -- connections ---------------------------------------------------------------------------------------

    def take(self) -> Stream | None:
        """A connection that is open and was used a moment ago."""
        while self._idle:
            stream = self._idle.pop()
            if stream.reusable and monotonic() - stream.idle_since < IDLE_S:
                return stream
            stream.close()
        return None

    def give(self, stream: Stream) -> None:
        """Back after an exchange: kept where it ended cleanly, closed otherwise."""
        if stream.reusable and not self._closed and len(self._idle) < IDLE_KEPT:
            self._idle.append(stream)
        else:
            stream.close()

    def close(self) -> None:
        """Closes what is idle; what comes back later is closed too."""
        self._closed = True
        for stream in self._idle:
            stream.close()
        self._idle.clear()

    # -- one exchange --------------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """One more begins."""
        self.busy += 1
        self.sent_at = now
        if self.health.out:
            self.health.attempt()

    def release(self, stream: Stream) -> None:
        """The exchange on `stream` is over."""
        self.busy -= 1
        self.give(stream)

    # -- what it gave --------------------------------------------------------------------------------------

    def connected(self) -> None:
        """A new connection was made."""
        self._pause = self.retry_at = 0.0

    def rest(self, now: float) -> None:
        """None could be made: others come first for a while."""
        self._pause = next_pause(self._pause)
        self.retry_at = now + self._pause

    def answered(self, status: int, took: float, allowed: float, now: float) -> None:
        """The head of an answer came, `took` of `allowed` seconds after its request."""
        if status in BUSY:
            self.window.refused(now)
            if status == 503:  # others may do better; whoever says 429 does what it should
                self._judgement.failed(self, "503", now)
                return
        elif 2 * self.busy >= self.window.size:
            self.window.answered(self.busy, took, allowed, now)
        if self.health.out:
            self._judgement.refused(self, took, now)
        else:
            self.health.answered(took, now)

    def broke(self, now: float) -> None:
        """The connection broke before the answer's head, or what came is no answer."""
        self._judgement.failed(self, "cut", now)

    def late(self, took: float, now: float) -> None:
        """No head came in its time. Callers choose their deadlines: a short one puts nobody out."""
        self.window.refused(now)
        health = self.health
        usual = health.latency_s if health.samples else float("inf")
        if health.trial or took >= max(LATE_S, LATE_TIMES * usual):
            self._judgement.failed(self, "late", now)

    def left(self) -> None:
        """The caller did not wait for the answer: nothing is learned."""
        self.health.undecided()
