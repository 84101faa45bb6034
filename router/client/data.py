"""The blocking client of the data listener: predictions and what is told of models; decides nothing.

`async_data.py` is this file for asyncio; a test makes it from this one and compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from router import inference
from router.client import data_calls as calls
from router.client.call import ANSWER_S
from router.client.data_calls import Answer
from router.client.line import Line, Trust


class DataClient:
    """`with DataClient("http://127.0.0.1:8000") as data`. Every method raises Refusal and NoAnswer.

    `timeout`: seconds for an answer. A prediction is sent once.
    """

    def __init__(
        self, url: str, key: str | None = None, *, timeout: float = ANSWER_S, verify: Trust = True
    ) -> None:
        self._line = Line(url, key, timeout=timeout, verify=verify)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._line.close()

    def predict(
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
        found = self._line.send(calls.predict(model, {"instances": list(instances)}, version, asked))
        return calls.answer_of(found, found.value.get("predictions"))

    def predict_columns(
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
        found = self._line.send(calls.predict(model, {"inputs": inputs}, version, asked))
        return calls.answer_of(found, found.value.get("outputs"))

    def infer(
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
        found = self._line.send(calls.infer(model, inputs, outputs, version, asked))
        return calls.answer_of(found, found.value)

    def passed(
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
        return self._line.exchange(calls.passed(method, model, path, version, json, headers))

    def metadata(self, model: str, *, version: str | None = None) -> inference.ModelMetadata:
        """Versions that would answer, inputs, outputs."""
        return (self._line.send(calls.read(inference.ModelMetadata, "v2", model, version, ""))).value

    def model_status(self, model: str, *, version: str | None = None) -> inference.ModelStatus:
        """The state of each version."""
        return (self._line.send(calls.read(inference.ModelStatus, "v1", model, version, ""))).value

    def model_ready(self, model: str, *, version: str | None = None) -> inference.ModelReady:
        """Raises Refusal where it would not be answered now."""
        return (self._line.send(calls.read(inference.ModelReady, "v2", model, version, "/ready"))).value
