"""What flips were confirmed, and whether an answer may come from the version it names; pure, knows no locust."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt


@dataclass(slots=True)
class Flips:
    """The epochs that were answered 200, and who answered under each epoch."""

    epoch: int = 0  # of the last flip whose 200 is here
    routes: dict[int, str] = field(default_factory=dict)
    answered: dict[int, set[str]] = field(default_factory=dict)

    def applied(self, epoch: int, version: str) -> None:
        """A flip's 200 has come."""
        self.epoch = max(self.epoch, epoch)
        self.routes[epoch] = version

    def fault(self, floor: int, headers: Mapping[str, str]) -> str | None:
        """What is wrong with an answer to a request that was sent when `floor` was the last epoch, if anything.

        An answer marked `x-route-stale` claims nothing.
        """
        version = headers.get("x-model-version", "")
        epoch = int(headers.get("x-route-epoch", 0))
        if not version or not epoch:
            return "an answer without x-model-version or x-route-epoch"
        if "x-route-stale" in headers:
            return None
        self.answered.setdefault(epoch, set()).add(version)
        if epoch < floor:
            return f"version {version} of epoch {epoch} answered after the 200 of epoch {floor}"
        return None

    def strangers(self) -> list[str]:
        """Answers whose version is not the one their epoch's flip named; known only once all 200s are here."""
        return [
            f"epoch {epoch} names version {version}, answered by {', '.join(sorted(found))}"
            for epoch, version in sorted(self.routes.items())
            if (found := self.answered.get(epoch, {version})) != {version}
        ]


@dataclass(slots=True)
class Stickiness:
    """Which version each sticky key got."""

    versions: dict[str, str] = field(default_factory=dict)

    def fault(self, key: str, version: str) -> str | None:
        """What is wrong with this answer to this key, if anything."""
        kept = self.versions.setdefault(key, version)
        return None if kept == version else f"{key} moved from version {kept} to {version}"

    def share(self, version: str) -> float:
        """The part of the keys, 0…1, that got this version; 0 without keys."""
        found = list(self.versions.values())
        return found.count(version) / len(found) if found else 0.0


def tolerance(share: float, keys: int) -> float:
    """Four standard deviations of the share of `keys` keys that land where each does with probability `share`."""
    return 4 * sqrt(share * (1 - share) / keys)
