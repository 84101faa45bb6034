"""Scenario mixed: several models and protocols at once. See README.md for what to look for."""

from __future__ import annotations

import json
from itertools import count
from typing import Any, Final

from locust import FastHttpUser, constant_throughput, task

from loadtests.locust import control, tally
from loadtests.locust.digits import ROWS, DigitsUser

__all__ = ["DigitsV1", "tally"]

MATRIX: Final[list[list[float]]] = [json.loads(body)["instances"][0] for body in ROWS]
GOOD: Final = "the kettle is really excellent, I recommend it"
BAD: Final = "the lamp was simply broken, avoid it"
_numbers: Final = count()


class DigitsV1(DigitsUser):
    """Digits by the TensorFlow Serving protocol."""

    weight = 3


class OtherUser(FastHttpUser):
    """Whatever is not digits by v1; a subclass says what to send and what is wrong with an answer."""

    abstract = True
    wait_time = constant_throughput(10)
    path: str
    name: str

    @task
    def ask(self) -> None:
        """One request; a failure unless it is answered 200 as `fault` wants."""
        sent = self.body(next(_numbers))
        with self.client.post(self.path, json=sent, name=self.name, catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}: {(answer.text or '')[:160]}")
            elif not answer.headers.get("x-model-version"):
                answer.failure("an answer without x-model-version")
            elif fault := self.fault(sent, answer.json()):
                answer.failure(fault)

    def body(self, number: int) -> dict[str, Any]:
        """What to send as request `number`."""
        raise NotImplementedError

    def fault(self, sent: dict[str, Any], answer: Any) -> str | None:
        """What is wrong with the JSON of a 200, if anything."""
        raise NotImplementedError


class DigitsV2(OtherUser):
    """Digits by the Open Inference Protocol, JSON tensors, one to four rows a request."""

    weight = 2
    path = "/v2/models/digits/infer"
    name = "digits v2"

    def body(self, number: int) -> dict[str, Any]:
        """A flat tensor."""
        rows = [MATRIX[(number + k) % len(MATRIX)] for k in range(1 + number % 4)]
        flat = [value for row in rows for value in row]
        x = {"name": "x", "shape": [len(rows), 64], "datatype": "FP32", "data": flat}
        return {"id": f"m{number}", "inputs": [x], "outputs": [{"name": "label"}]}

    def fault(self, sent: dict[str, Any], answer: Any) -> str | None:
        """Another id, other outputs than asked for, or another number of rows."""
        if answer.get("id") != sent["id"]:
            return f"id {answer.get('id')!r} for {sent['id']!r}"
        if [output["name"] for output in answer["outputs"]] != ["label"]:
            return "other outputs than the requested one"
        rows = sent["inputs"][0]["shape"][0]
        return None if answer["outputs"][0]["shape"] == [rows] else f"not {rows} labels for {rows} rows"


class Cancer(OtherUser):
    """Breast-cancer by v1, columnar: another model beside digits."""

    weight = 1
    path = "/v1/models/breast-cancer:predict"
    name = "breast-cancer v1"

    def body(self, number: int) -> dict[str, Any]:
        """One row of thirty numbers."""
        return {"instances": [[(number + k) % 17 * 1.5 for k in range(30)]]}

    def fault(self, sent: dict[str, Any], answer: Any) -> str | None:
        """Not one prediction."""
        return None if len(answer["predictions"]) == 1 else "not one prediction for one row"


# A user's own bento takes part where it is served; the runner sees to it.
if control.active("text"):

    class Text(OtherUser):
        """The text classifier through the pass-through lane."""

        weight = 1
        path = "/models/text/classify"
        name = "text pass-through"

        def body(self, number: int) -> dict[str, Any]:
            """Two reviews."""
            return {"texts": [GOOD, BAD] if number % 2 else [BAD, GOOD]}

        def fault(self, sent: dict[str, Any], answer: Any) -> str | None:
            """The verdicts are not those of these texts in this order."""
            wanted = ["positive" if text == GOOD else "negative" for text in sent["texts"]]
            found = [verdict["label"] for verdict in answer["verdicts"]]
            return None if found == wanted else f"verdicts {found}, {wanted} wanted"
