"""The same request by another version, where the chosen one cannot answer: when, and how its lane sees it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from router.documents import Signature
from router.edge.codec import Call
from router.edge.offload import HEAVY
from router.errors import ModelFailed, PointsmanError, Unavailable, UpstreamFailed
from router.route.table import Choice
from router.upstream.work import Attempt, Item, Result

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


def fall_back(prediction: Prediction, error: BaseException | None) -> bool:
    """Asks the version that stands in for the chosen one, once; false where there is none, or it cannot."""
    chosen, item = prediction.passage.choice, prediction.passage.item
    other = fallback_of(chosen, error)
    if prediction.fell or other is None or chosen is None or item is None:
        return False
    prediction.fell = True
    if len(prediction.body) > HEAVY:
        prediction.desk.spawn(_fall_back_slowly(prediction, chosen, other, item, error))
        return error is not None
    try:
        call = prediction.codec.decode(prediction.passage.inbound, prediction.body, _signature(other))
    except PointsmanError:  # the other version takes other inputs
        return False
    return _ask(prediction, chosen, other, item, call)


async def _fall_back_slowly(
    prediction: Prediction, chosen: Choice, other: Choice, item: Item, error: BaseException | None
) -> None:
    work = partial(prediction.codec.decode, prediction.passage.inbound, prediction.body, _signature(other))
    try:
        call = await prediction.desk.offload.run(prediction.deadline(), work)
        asked = not prediction.done() and _ask(prediction, chosen, other, item, call)
    except PointsmanError:
        asked = False
    if not asked and error is not None and not prediction.done():
        prediction.fail(error)


def _ask(prediction: Prediction, chosen: Choice, other: Choice, item: Item, call: Call) -> bool:
    passage, first = prediction.passage, prediction.call
    if not item.attempts:
        item.attempts.append(Attempt(chosen.version, "", 503, "no replica", 0.0))
    passage.choice = other
    second = prediction.second = Second(prediction)
    try:
        prediction.submit(other.target.version, call, second)
    except PointsmanError:
        passage.choice, passage.item, prediction.call, prediction.second = chosen, item, first, None
        return False
    prediction.desk.ledger.count_fallback(passage.model, chosen.version)
    return True


def _signature(choice: Choice) -> Signature:
    signature = choice.target.version.signature
    assert signature is not None
    return signature
