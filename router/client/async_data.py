"""The client of the data listener for asyncio; made from `data.py`, to be changed there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from router import inference
from router.client import data_calls as calls
from router.client.call import ANSWER_S
from router.client.data_calls import Answer
from router.client.line import AsyncLine, Trust


class AsyncDataClient:
    """`async with AsyncDataClient("http://127.0.0.1:8000") as data`. Every method raises Refusal and NoAnswer.

    `timeout`: seconds for an answer. A prediction is sent once.
    """

    def __init__(
        self, url: str, key: str | None = None, *, timeout: float = ANSWER_S, verify: Trust = True
    ) -> None:
        self._line = AsyncLine(url, key, timeout=timeout, verify=verify)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._line.close()

    async def predict(
        self,
        model: str,
        instances: Sequence[Any],
        *,
        version: str | None = None,
        routing_key: str | None = None,
        request_id: str | None = None,
        timeout_ms: int | None = None,
    ) -> Answer[list[Any]]:
        """Predictions by rows: a bare value a row where there is one input, else an object by input name."""
        asked = calls.Asked(routing_key, request_id, timeout_ms)
        found = await self._line.send(calls.predict(model, {"instances": list(instances)}, version, asked))
        return calls.answer_of(found, found.value.get("predictions"))

    async def predict_columns(
        self,
        model: str,
        inputs: Any,
        *,
        version: str | None = None,
        routing_key: str | None = None,
        request_id: str | None = None,
        timeout_ms: int | None = None,
    ) -> Answer[Any]:
        """Whole tensors: an object by input name, or the tensor of the only input; the outputs likewise."""
        asked = calls.Asked(routing_key, request_id, timeout_ms)
        found = await self._line.send(calls.predict(model, {"inputs": inputs}, version, asked))
        return calls.answer_of(found, found.value.get("outputs"))

    async def infer(
        self,
        model: str,
        inputs: Sequence[Mapping[str, Any]],
        *,
        outputs: Sequence[str] | None = None,
        version: str | None = None,
        routing_key: str | None = None,
        request_id: str | None = None,
        timeout_ms: int | None = None,
    ) -> Answer[inference.Inference]:
        """A prediction in the Open Inference Protocol; `tensor(name, array)` makes an input."""
        asked = calls.Asked(routing_key, request_id, timeout_ms)
        found = await self._line.send(calls.infer(model, inputs, outputs, version, asked))
        return calls.answer_of(found, found.value)

    async def passed(
        self,
        method: str,
        model: str,
        path: str,
        *,
        version: str | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """A request for a replica of the model; its answer as it comes, of any status, whole."""
        return await self._line.exchange(calls.passed(method, model, path, version, json, headers))

    async def metadata(self, model: str, *, version: str | None = None) -> inference.ModelMetadata:
        """Versions that would answer, inputs, outputs."""
        return (await self._line.send(calls.read(inference.ModelMetadata, "v2", model, version, ""))).value

    async def model_status(self, model: str, *, version: str | None = None) -> inference.ModelStatus:
        """The state of each version."""
        return (await self._line.send(calls.read(inference.ModelStatus, "v1", model, version, ""))).value

    async def model_ready(self, model: str, *, version: str | None = None) -> inference.ModelReady:
        """Raises Refusal where it would not be answered now."""
        return (await self._line.send(calls.read(inference.ModelReady, "v2", model, version, "/ready"))).value
