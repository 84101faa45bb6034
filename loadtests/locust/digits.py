"""Users that ask the digits model, one row a request; a scenario adds what it looks for."""

from __future__ import annotations

from itertools import count
from typing import Any, Final

from locust import FastHttpUser, constant_throughput, task

from loadtests.caller import digit_rows

ROWS: Final = digit_rows()
_numbers: Final = count()


class DigitsUser(FastHttpUser):
    """Row after row at a steady pace; `before` and `fault` are what a scenario overrides."""

    abstract = True
    wait_time = constant_throughput(25)
    path = "/v1/models/digits:predict"

    @task
    def predict(self) -> None:
        """One row; a failure unless it is answered 200 with one label, and the scenario finds no fault."""
        number = next(_numbers)
        noted, headers = self.before(number)
        with self.client.post(
            self.path,
            data=ROWS[number % len(ROWS)],  # type: ignore[arg-type]  # bytes are what it sends
            headers={"content-type": "application/json", **headers},
            name="digits v1",
            catch_response=True,
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}: {(answer.text or '')[:160]}")
            elif len(answer.json().get("predictions", ())) != 1:
                answer.failure("not one prediction for one row")
            elif fault := self.fault(noted, answer.headers):
                answer.failure(fault)

    def before(self, number: int) -> tuple[Any, dict[str, str]]:
        """Called before request `number` is sent: what to hand to `fault`, and headers to send."""
        return None, {}

    def fault(self, noted: Any, headers: Any) -> str | None:
        """What is wrong with a good answer's headers, if anything."""
        return None if headers.get("x-model-version") else "an answer without x-model-version"
