"""A lane in simulated time: the decisions of health, budget, hedge and limit put together as a lane does it."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from router.upstream.budget import RetryBudget
from router.upstream.health import Health, panic, slowest
from router.upstream.hedge import Pace, worth_it
from router.upstream.limit import QueueLimit, QueueRules

SWEEP = 0.05
RETRIES = 2
NEVER = float("inf")
Service = Callable[[int, int, float, Random], tuple[float, int]]
"""(replica, rows, now, chance) → seconds until the answer (`NEVER`: hangs), its status."""


@dataclass(eq=False)
class Call:
    """A request of one row; `status` 0 while nobody answered it."""

    born: float
    deadline: float
    status: int = 0
    ended: float = 0.0
    failures: int = 0
    owed_by: Place | None = None  # the replica a hedge went round
    failed_at: Place | None = None


@dataclass(eq=False)
class Place:
    """A replica's seat."""

    number: int
    health: Health
    calls: list[Call] = field(default_factory=list)
    sent_at: float = 0.0
    serial: int = 0
    hedged: bool = False


@dataclass
class World:
    """One lane, its replicas and its callers."""

    service: Service
    replicas: int = 1
    batch: int = 1
    queue: int = 2048
    limited: bool = True
    hedging: bool = True
    seed: int = 1

    def __post_init__(self) -> None:
        self.now = 0.0
        self.random = Random(self.seed)
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.serial = 0
        self.places = [Place(number, Health()) for number in range(self.replicas)]
        self.waiting: deque[Call] = deque()
        self.again: deque[list[Call]] = deque()
        self.calls: list[Call] = []
        self.limit = QueueLimit(QueueRules(self.batch), 0.0)
        self.budget = RetryBudget(0.0)
        self.pace = Pace()
        self.sent = 0
        self.longest = 0
        self.ejected: list[tuple[float, int, str]] = []
        self.by_place: list[list[float]] = [[] for _ in range(self.replicas)]

    # -- time ----------------------------------------------------------------------------------------------

    def at(self, when: float, what: Callable[[], None]) -> None:
        self.serial += 1
        heapq.heappush(self.events, (when, self.serial, what))

    def run(self, rate: float, seconds: float, deadline: float) -> World:
        """Poisson arrivals for `seconds`, then what is left of the work."""
        end = self.now + seconds

        def arrive() -> None:
            self.submit(Call(self.now, self.now + deadline))
            when = self.now + self.random.expovariate(rate)
            if when < end:
                self.at(when, arrive)

        def sweep() -> None:
            self.sweep()
            if self.now < end + deadline:
                self.at(self.now + SWEEP, sweep)

        self.at(self.now, arrive)
        self.at(self.now, sweep)
        while self.events:
            self.now, _, what = heapq.heappop(self.events)
            what()
        return self

    # -- the lane ------------------------------------------------------------------------------------------

    def submit(self, call: Call) -> None:
        self.calls.append(call)
        ahead = len(self.waiting)
        if not ahead:
            self.limit.empty_at = self.now
        elif ahead >= self.queue:
            return self.end(call, 503)
        elif self.limited:
            usable = sum(not place.health.out for place in self.places)
            left = call.deadline - self.now
            if self.limit.refuse(ahead, 1, usable, left, self.now, self.random.random()) is not None:
                return self.end(call, 503)
        self.waiting.append(call)
        self.longest = max(self.longest, len(self.waiting))
        self.dispatch()
        return None

    def end(self, call: Call, status: int) -> None:
        call.status, call.ended = status, self.now

    def dispatch(self) -> None:
        while self.waiting or self.again:
            avoid = self.again[0][0].failed_at if self.again else None
            place = self.free(avoid)
            if place is None:
                return
            calls = self.next()
            if not calls:
                return
            self.send(place, calls)

    def free(self, avoid: Place | None) -> Place | None:
        """Idle and in turn, on trial or not; in a panic any. `avoid` failed this work: any other comes first."""
        others = any(not place.health.out for place in self.places if place is not avoid)
        idle = [place for place in self.places if not place.calls and not (others and place is avoid)]
        for place in idle:
            if place.health.due(self.now) or place.health.admits(self.now, self.random.random()):
                return place
        healths = [place.health for place in self.places]
        if idle and panic(healths):
            return idle[0]
        ramping = [place for place in idle if not place.health.out]
        working = any(place.calls and not place.health.out for place in self.places)
        return None if working or not ramping else ramping[0]

    def next(self) -> list[Call]:
        while self.again:
            calls = [call for call in self.again.popleft() if not call.status]
            if calls:
                return calls
        calls = []
        while self.waiting and len(calls) < self.batch:
            horizon = self.limit.horizon(len(calls) + len(self.waiting)) if self.limited else 0.0
            call = self.waiting.popleft()
            if call.status:
                continue
            if call.deadline <= self.now + horizon:
                self.end(call, 504)
                continue
            calls.append(call)
        if not self.waiting:
            self.limit.empty_at = self.now
        return calls

    def send(self, place: Place, calls: list[Call]) -> None:
        place.health.attempt()
        place.calls, place.sent_at, place.hedged = calls, self.now, False
        place.serial += 1
        serial = place.serial
        self.sent += len(calls)
        self.by_place[place.number].append(self.now)
        self.budget.earn(sum(not call.failures and call.owed_by is None for call in calls))
        took, status = self.service(place.number, len(calls), self.now, self.random)
        full = bool(self.waiting)
        if took != NEVER:
            self.at(self.now + took, lambda: self.answered(place, serial, status, full))
        late = max(call.deadline for call in calls)
        self.at(late, lambda: self.timed_out(place, serial))

    def answered(self, place: Place, serial: int, status: int, full: bool) -> None:
        if place.serial != serial or not place.calls:
            return
        calls, place.calls = place.calls, []
        took = self.now - place.sent_at
        if status == 200:
            place.health.answered(took, self.now)
            self.pace.observe(took)
            self.limit.observe(len(calls), took, full)
            for call in calls:
                self.deliver(place, call)
        else:
            if place.health.failed(str(status), self.now, self.random.random()):
                self.ejected.append((self.now, place.number, str(status)))
            self.retry(place, calls, status)
        self.dispatch()

    def deliver(self, place: Place, call: Call) -> None:
        owed = call.owed_by
        if owed is not None and owed is not place and call in owed.calls:
            owed.calls = []  # its connection is closed
            if owed.health.overtaken(self.now, self.random.random()):
                self.ejected.append((self.now, owed.number, "overtaken"))
        if not call.status:
            self.end(call, 200)

    def retry(self, place: Place, calls: list[Call], status: int) -> None:
        calls = [call for call in calls if not call.status]
        for call in calls:
            call.failures += 1
            call.failed_at = place
        again = [call for call in calls if call.failures <= RETRIES]
        if again and self.budget.spend(len(again), self.now):
            self.again.append(again)
        else:
            again = []
        for call in calls:
            if call not in again:
                self.end(call, status)

    def timed_out(self, place: Place, serial: int) -> None:
        if place.serial != serial or not place.calls:
            return
        took = self.now - place.sent_at
        for call in place.calls:
            if not call.status:
                self.end(call, 504)
        place.calls = []
        self.limit.observe(1, took, False)
        if took >= (self.pace.after or NEVER) and place.health.failed("late", self.now, self.random.random()):
            self.ejected.append((self.now, place.number, "late"))
        place.health.undecided()
        self.dispatch()

    def sweep(self) -> None:
        for call in self.waiting:
            if not call.status and call.deadline <= self.now:
                self.end(call, 504)
        for place in self.places:
            if not self.hedging or not place.calls or place.hedged:
                continue
            others = sum(not other.health.out for other in self.places if other is not place)
            calls = [call for call in place.calls if not call.status]
            left = max((call.deadline - self.now for call in calls), default=0.0)
            if (
                worth_it(self.pace.after, self.now - place.sent_at, left, others)
                and calls
                and self.budget.spend(len(calls), self.now)
            ):
                place.hedged = True
                for call in calls:
                    call.owed_by = place
                self.again.append(calls)
        worst = slowest([place.health for place in self.places])
        for place in self.places:
            if place.health is worst:
                worst.eject("slow", self.now, self.random.random())
                self.ejected.append((self.now, place.number, "slow"))
        self.dispatch()

    # -- what came of it -----------------------------------------------------------------------------------

    def good(self, after: float = 0.0) -> Iterator[Call]:
        """Answered within their deadlines."""
        return (
            call
            for call in self.calls
            if call.born >= after and call.status == 200 and call.ended <= call.deadline
        )

    def share_of(self, status: int) -> float:
        return sum(call.status == status for call in self.calls) / len(self.calls)

    def latency(self, part: float, after: float = 0.0) -> float:
        """A quantile of the answered calls' times, seconds."""
        times = sorted(
            call.ended - call.born for call in self.calls if call.status == 200 and call.born >= after
        )
        return times[min(int(part * len(times)), len(times) - 1)]


def fixed(seconds: float) -> Service:
    """Every exchange takes the same time, whatever is in it."""
    return lambda place, rows, now, random: (seconds, 200)
