"""Predictions that come by ASGI: reads the body within its limits, hands it to the one handler, and waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from router.edge.answer import Answer
from router.edge.codec import Address, Codec
from router.edge.desk import Desk
from router.edge.inbound import Disconnected, Inbound, Receive, Scope, read_body
from router.edge.prediction import Prediction
from router.errors import PointsmanError


class Predict:
    """Serves the prediction paths of every tensor protocol."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def __call__(
        self, codec: Codec, where: Callable[[str], Address], scope: Scope, receive: Receive
    ) -> Answer:
        """The answer, already in the journal; `where` reads the paths of the codec's protocol.

        Raises Disconnected where nobody waits for an answer.
        """
        settings = self._desk.settings
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        prediction = Prediction(self._desk, Inbound.of(scope), codec, answered.set_result)
        started = prediction.passage.started
        try:
            address = prediction.accept(where, scope["method"], scope["path"])
            last = min(prediction.deadline(), started + settings.receive_timeout_ms / 1e3)
            inbound = prediction.passage.inbound
            body = await read_body(inbound, receive, settings.tensor_body_bytes, last)
            prediction.begin(address, body)
        except PointsmanError as error:
            prediction.set_exception(error)
        except Disconnected:
            prediction.abandon()
            raise
        try:
            answer = await answered
            answer.headers += prediction.passage.headers()
            return answer
        except asyncio.CancelledError:
            prediction.abandon()
            raise
