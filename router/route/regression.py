"""Which routes Redis has lost, or has in an older form than this router: values in, values out; pure.

It may fall back as a whole (a fail-over to a replica that was behind, a restored backup, a flush), and then grow
past what was known by one change of one model: the others are still lost. So models are looked at one by one.
"""

from __future__ import annotations


class Regression:
    """`revision`: how far Redis is behind as a whole, 0 where it is not. `models` are known newer than stored."""

    def __init__(self) -> None:
        self.revision = 0
        self.models: dict[str, int] = {}  # model -> the epoch known here, which Redis lacks

    def __bool__(self) -> bool:
        """Whether anything is lost."""
        return bool(self.revision or self.models)

    def compare(self, known: int, stored: int) -> bool:
        """Notes the revisions; whether Redis is behind."""
        self.revision = max(0, known - stored)
        return self.revision > 0

    def note(self, model: str, known: int, stored: int) -> bool:
        """Notes the epochs of a model's route (0: no route); whether Redis' is the older one."""
        if stored < known:
            self.models[model] = known
            return True
        self.models.pop(model, None)
        return False

    def reasons(self) -> dict[str, str]:
        """Why the models' stored routes are not taken, by model."""
        return {
            model: f"it keeps the route of epoch {epoch}, which Redis has lost"
            for model, epoch in self.models.items()
        }
