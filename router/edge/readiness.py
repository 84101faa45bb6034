"""Whether this router should get traffic."""

from __future__ import annotations

from router.documents import Route
from router.route.table import Entry
from router.route.watch import Watch, clock

PATIENCE = 60.0  # seconds after the start for which routed versions are waited for


class Readiness:
    """Ready once a table was had and every routed version has a replica, or 60 s passed; never again unready
    for a version's sake, only for draining: a missing version is that version's 503, not the router's."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._started = clock()
        self._was_ready = False

    @property
    def draining(self) -> bool:
        """Whether the router is on its way out."""
        return self._watch.draining

    def missing(self) -> str | None:
        """What is missing, or None."""
        if self.draining:
            return "draining"
        if self._was_ready:
            return None
        if not self._watch.synced:
            return "no routing table yet: Redis is away and there is no last good table"
        if clock() - self._started < PATIENCE:
            waiting = [
                f"{entry.route.model}/{name}"
                for entry in self._watch.table.entries.values()
                for name in sorted(self._cold(entry.route, entry))
            ]
            if waiting:
                return f"waiting for {', '.join(waiting[:10])}"
        self._was_ready = True
        return None

    @staticmethod
    def _cold(route: Route, entry: Entry) -> set[str]:
        return {
            name for name in route.targets() if name not in entry.targets or not entry.targets[name].replicas
        }
