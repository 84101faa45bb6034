"""Scenario stream: server-sent events through the gateway while versions flip. See README.md."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final

from locust import FastHttpUser, constant, task
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS

from loadtests.locust import tally
from loadtests.locust.flipper import FlippingUser
from loadtests.locust.ledger import Flips

COUNT: Final = 40
PAUSE_MS: Final = 25
EVENTS: Final = {"1": COUNT, "2": COUNT + 1}  # version 2 ends with `done`
FLIPS: Final = Flips()


class Listener(FastHttpUser):
    """Reads one stream after another, event by event as they arrive."""

    wait_time = constant(0.1)

    @task
    def listen(self) -> None:
        """One stream: it must be whole, of one version, of no older route than the last confirmed one."""
        floor, began = FLIPS.epoch, time.perf_counter()
        with self.client.post(
            "/models/stream/events",
            json={"count": COUNT, "pause_ms": PAUSE_MS},
            headers={"accept": "text/event-stream"},
            name="stream, whole",
            stream=True,
            catch_response=True,
        ) as answer:
            try:
                fault = self._read(answer, began) if answer.status_code == 200 else None
            except FAILURE_EXCEPTIONS as error:
                fault = f"broken off: {error!r}"
            answer.request_meta["response_time"] = (time.perf_counter() - began) * 1e3
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")
            elif fault := fault or FLIPS.fault(floor, answer.headers):
                answer.failure(fault)

    def _read(self, answer: Any, began: float) -> str | None:
        """Reads to the end; what is wrong, if anything."""
        version = answer.headers.get("x-model-version", "")
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            return f"content type {answer.headers.get('content-type')}"
        number, first = 0, 0.0
        for number, told in enumerate(events(answer.stream), 1):
            first = first or time.perf_counter() - began
            if told != {"number": number - 1, "version": version}:
                return f"event {number} of version {version} says {told}"
        if number != EVENTS.get(version):
            return f"{number} events of version {version}"
        self._first(answer, first, time.perf_counter() - began)
        return None

    def _first(self, answer: Any, took: float, whole: float) -> None:
        """A row of its own: the service pauses after each event, so a late first one was held back on its way."""
        late = f"the first event after {took:.3f} s of {whole:.3f} s" if took > whole / 2 else None
        self.environment.events.request.fire(
            request_type="POST",
            name="stream, first event",
            response_time=took * 1e3,
            response_length=0,
            response=answer,
            exception=late,
            context={},
        )


def events(stream: Any) -> Iterator[Any]:
    """The data of each event, parsed, as soon as its line is here."""
    while line := stream.readline(b"\n"):
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


class Flipper(FlippingUser):
    """Flips slowly enough that streams begin on both versions, often enough that they see a flip."""

    wait_time = constant(0.4)
    model = "stream"
    flips = FLIPS


@tally.check("every stream is of the version its epoch names")
def _strangers() -> tuple[str, bool]:
    strangers = FLIPS.strangers()
    return "; ".join(strangers[:3]) or f"{len(FLIPS.routes)} flips", not strangers and len(FLIPS.routes) > 1
