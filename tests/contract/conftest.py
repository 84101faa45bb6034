"""One installation for all of these tests: two routers, embedded Redis, the example models and a few toys."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from loadtests.fleet import Fleet
from tests.contract import toys
from tests.contract.asking import Data, change

START_S = 15.0  # by contract, on an empty directory


@dataclass(frozen=True, slots=True)
class Started:
    """The installation, and the seconds it took from an empty directory to `/readyz` 200."""

    fleet: Fleet
    ready_after: float


@pytest.fixture(scope="session")
def started() -> Iterator[Started]:
    """digits 1 (active), 2 and 3, breast-cancer 1, and the toys `plain`, `many` and `picky`."""
    made = Fleet(routers=2)
    try:
        ready_after = made.start(ready_s=START_S)
        with ThreadPoolExecutor(2) as pool:
            for work in (pool.submit(_examples, made), pool.submit(_toys, made)):
                work.result()
        yield Started(made, ready_after)
    finally:
        made.remove()


@pytest.fixture(scope="session")
def fleet(started: Started) -> Fleet:
    """The installation."""
    return started.fleet


def _examples(made: Fleet) -> None:
    made.release("digits", "1", "2", "3")
    made.release("breast-cancer", "1")
    for model in ("digits", "breast-cancer"):
        assert made.promote(model, "1")["status"] == 200


def _toys(made: Fleet) -> None:
    toys.release(made, "plain", toys.identity())
    toys.release(made, "many", toys.many(), manifest=toys.many_manifest())
    toys.release(made, "picky", toys.picky(), manifest={"rowwise": True}, golden=toys.picky_golden())


@pytest.fixture(scope="session")
def data(fleet: Fleet) -> Data:
    """The data listener of the installation."""
    return Data(fleet)


@pytest.fixture
def digits(fleet: Fleet) -> Iterator[Fleet]:
    """digits with 2 active and 1 as its previous version, no weights; its tests may move the pointer."""
    for version in ("1", "2"):
        assert change(fleet, "digits", "promote", {"version": version}).status_code == 200
    yield fleet
    assert change(fleet, "digits", "promote", {"version": "1"}).status_code == 200
