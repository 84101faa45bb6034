"""The same request by another version, where the chosen one cannot answer: when, and how its lane sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.errors import ModelFailed, Unavailable, UpstreamFailed
from router.route.table import Choice
from router.upstream.work import Attempt, Result

if TYPE_CHECKING:
    from router.edge.prediction import Prediction


def fallback_of(choice: Choice | None, error: BaseException | None) -> Choice | None:
    """Who answers instead; None: the error is the caller's. `error` None: no answer came in its usual time.

    Overload is no reason: it would only move, and with it what callers are told.
    """
    other = None if choice is None else choice.fallback
    if other is None or not other.target.replicas or other.target.version.signature is None:
        return None
    if error is None or isinstance(error, (ModelFailed, UpstreamFailed)):
        return other
    return other if isinstance(error, Unavailable) and error.code == "not_ready" else None


def refused(choice: Choice) -> Attempt:
    """The attempt of a version that had nobody to ask."""
    return Attempt(choice.version, "", 503, "no replica", 0.0)


class Second:
    """What the other version's lane sees of a prediction: its failure is final."""

    __slots__ = ("_prediction",)

    def __init__(self, prediction: Prediction) -> None:
        self._prediction = prediction

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return self._prediction.over

    def set_result(self, result: Result) -> None:
        """The outputs are there."""
        self._prediction.settle(result)

    def set_exception(self, error: BaseException) -> None:
        """There will be none."""
        self._prediction.fail(error)

    def overdue(self) -> bool:
        """There is no third."""
        return False
