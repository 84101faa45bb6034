"""The asyncio client is the blocking one, line for line."""

from __future__ import annotations

import inspect

import pytest

from router.client import AsyncControlClient, AsyncDataClient, ControlClient, DataClient
from router.control import openapi as control
from tests.client.twins import ROOM, TWINS, made

# Operations that the client leaves to other tools.
LEFT_OUT = {"livez", "readyz", "openapi", "api_metrics"}


@pytest.mark.parametrize("name", TWINS)
def test_the_twin_is_made_from_the_blocking_client(name: str) -> None:
    told = "python -m tests.client.twins writes it anew"
    assert (ROOM / TWINS[name]).read_text() == made(name), told


@pytest.mark.parametrize(
    ("blocking", "other"), [(ControlClient, AsyncControlClient), (DataClient, AsyncDataClient)]
)
def test_both_have_the_same_methods(blocking: type, other: type) -> None:
    names = {name for name in vars(blocking) if not name.startswith("_")}
    assert names == {name for name in vars(other) if not name.startswith("_")}
    for name in names:
        one, two = getattr(blocking, name), getattr(other, name)
        assert inspect.iscoroutinefunction(two)
        assert inspect.signature(one) == inspect.signature(two)


def test_every_operation_of_the_control_listener_has_a_method() -> None:
    names = {operation.name for operation in control.OPERATIONS} - LEFT_OUT
    methods = {name for name in vars(ControlClient) if not name.startswith("_")}
    assert names <= methods, f"add to router/client/control.py: {sorted(names - methods)}"
