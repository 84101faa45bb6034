"""A user that promotes two versions of a model in turn, and notes each 200; at most one runs in a scenario."""

from __future__ import annotations

from itertools import cycle
from typing import Any

from locust import FastHttpUser, constant, task

from loadtests.locust import control
from loadtests.locust.ledger import Flips


class FlippingUser(FastHttpUser):
    """A scenario names the model and the ledger."""

    abstract = True
    fixed_count = 1
    wait_time = constant(0.2)
    model: str
    flips: Flips
    versions: tuple[str, ...] = ("2", "1")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._next = cycle(self.versions)

    @task
    def flip(self) -> None:
        """One promotion; a 202 (a router did not confirm in time) is a failure too."""
        version = next(self._next)
        with self.client.post(
            f"{control.address()}/models/{self.model}/promote",
            json={"version": version},
            headers=control.headers(),
            name=f"{self.model} promote",
            catch_response=True,
        ) as answer:
            if answer.status_code == 200:
                self.flips.applied(answer.json()["epoch"], version)
            else:
                answer.failure(f"status {answer.status_code}: {(answer.text or '')[:160]}")
