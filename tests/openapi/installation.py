"""The installation that is fuzzed; not a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from loadtests.fleet import Fleet
from tests.contract import toys
from tests.openapi.harness import Listener, Seen
from tests.openapi.mixing import mix

SLOW = {"POST /api/v1/models/{model}/versions": 4}
"""An inspection is a process of its own; one in so many requests of the others."""


@contextmanager
def started() -> Iterator[Fleet]:
    """digits 1 and 2 deployed, 1 active; spare 1 registered and nothing more."""
    made = Fleet(routers=2)
    try:
        made.start()
        made.release("digits", "1", "2")
        assert made.promote("digits", "1")["status"] == 200
        assert toys.upload(made, "spare", toys.identity()).status_code == 201
        yield made
    finally:
        made.remove()


def key_of(fleet: Fleet) -> str:
    """The administrator's key."""
    return (fleet.data_dir / "admin.key").read_text().strip()


def fuzzed(fleet: Fleet, listener: str, examples: int, begin: int | None = None) -> Seen:
    """Requests for every operation of `data` or `control`; `begin`: the seed, else always the same requests."""
    port = fleet.port if listener == "data" else fleet.control_port
    asked = Listener(f"http://127.0.0.1:{port}", key_of(fleet))
    return asked.run(
        lambda label: max(2, examples // SLOW.get(label, 1)), mix, begin=begin or 1, derandomize=begin is None
    )
