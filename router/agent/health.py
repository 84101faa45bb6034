"""Whether a warm replica hangs, is only busy, or is too large: looks in, verdicts out; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BUSY_SHARE = 0.05
"""Of a core; a replica that used less since the last look did not work on anything."""

AT_ONCE = 1.25
"""Times its memory limit: from there on a replica is killed, not replaced in peace."""

Condition = Literal["stopped", "idle", "busy"]


@dataclass(frozen=True, slots=True)
class Care:
    """How one replica is watched. Times in seconds, `memory_bytes` 0: no limit.

    Every `every_s` it is asked something cheap, with the same time-out; every `deep_s`, or more rarely where
    that takes long, it is asked to run the model. `misses` looks without an answer while it does not work, or
    `stopped_misses` while it is stopped, or `busy_s` without one while it works: then it is replaced.
    """

    every_s: float
    misses: int
    stopped_misses: int
    deep_s: float
    busy_s: float
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """One look: whether both kinds of probe are answered in time, `seconds` since the look before."""

    answered: bool
    condition: Condition
    seconds: float


def condition(*, stopped: bool, working: bool, cpu_share: float) -> Condition:
    """What a replica does that does not answer. Overload makes answers late, too: that is `busy`."""
    if stopped:
        return "stopped"
    return "busy" if working or cpu_share >= BUSY_SHARE else "idle"


@dataclass(frozen=True, slots=True)
class Health:
    """Looks without an answer since the last one with it."""

    stopped: int = 0
    idle: int = 0
    silent_s: float = 0.0

    def after(self, look: Look) -> Health:
        """The state after one more look."""
        if look.answered:
            return Health()
        return Health(
            self.stopped + (look.condition == "stopped"),
            self.idle + (look.condition != "busy"),
            self.silent_s + look.seconds,
        )

    def lost(self, care: Care) -> str | None:
        """Why the replica is to be replaced, or None: it is well, or not yet given up."""
        if self.stopped >= care.stopped_misses:
            return f"it was stopped and did not answer {self.stopped} probes"
        if self.idle >= care.misses:
            return f"it did nothing and did not answer {self.idle} probes"
        if self.silent_s >= care.busy_s:
            return f"it was busy and answered nothing for {self.silent_s:.0f} s"
        return None


def too_large(rss: int, limit: int) -> str | None:
    """Why a replica of `rss` resident bytes is to be replaced, or None."""
    if not limit or rss <= limit:
        return None
    return f"it holds {rss / 2**20:.0f} MiB, over its limit of {limit / 2**20:.0f} MiB"
