"""The handler's own promises; its way through real routers is tested in tests/contract and tests/protocols."""

import asyncio
import gc
import weakref
from types import SimpleNamespace
from typing import Any

from router.edge.codec import Address
from router.edge.desk import Desk
from router.edge.predict import Predict
from router.edge.v2 import CODEC
from router.errors import NotFound
from router.settings import Settings


def test_a_refusal_keeps_nothing_of_the_request() -> None:
    """An error whose frames hold it would keep the body, of up to 32 MiB, until the collector runs."""
    raised: list[weakref.ref[NotFound]] = []

    def where(_: str) -> Address:
        error = NotFound("no such path")
        raised.append(weakref.ref(error))
        raise error

    async def receive() -> Any:
        raise AssertionError("no body is read")

    ledger: Any = SimpleNamespace(
        push=lambda _, written: written("", None), count=lambda *_: None, router="r0"
    )
    stub: Any = SimpleNamespace()
    predict = Predict(Desk(Settings(), stub, stub, ledger, stub))
    scope = {"path": "/v2/models//infer", "method": "POST", "headers": []}
    gc.disable()
    try:
        assert asyncio.run(predict(CODEC, where, scope, receive)).status == 404
        assert raised[0]() is None
    finally:
        gc.enable()
