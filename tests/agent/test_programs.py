"""Router ids fit into record ids, and children read the settings that `up` was given."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.agent.place import Place
from router.agent.programs import Programs, environment, router_id
from router.settings import Settings

PROGRAMS = Programs(Place(Path("/data"), Path("/run")), "node1", "unix:///run/redis.sock", 3, 4, 5)


@given(st.integers(0, 63), st.floats(0, 1e11))
def test_a_router_id_names_an_incarnation(slot: int, now: float) -> None:
    assert re.fullmatch(r"r\d+\.[0-9a-z]+", router_id(slot, now))
    assert router_id(slot, now) != router_id(slot, now + 0.002 + now * 1e-12)


def test_settings_come_through_the_environment_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    given_ = Settings(port=0, control_port=0, log_bytes=1 << 21, log_on_full="serve", data_dir=Path("rel"))
    env = environment(given_, PROGRAMS, (4001, 4002), {"PATH": "/bin", "POINTSMAN_PORT": "1"})
    assert env["PATH"] == "/bin"
    assert env["POINTSMAN_NODE"] == "node1"
    assert env["POINTSMAN_RUNTIME_DIR"] == "/run"
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    read = Settings()
    changed = {
        "port": 4001,
        "control_port": 4002,
        "data_dir": Path("/data"),
        "redis_url": "unix:///run/redis.sock",
    }
    assert read == given_.model_copy(update=changed)


def test_only_what_sees_to_others_outlives_up() -> None:
    assert PROGRAMS.router(2, lambda: 1.0).fds == (3, 4)
    assert PROGRAMS.control().fds == (3, 5)
    assert not PROGRAMS.agent().dies_with_us
    assert all(launch.dies_with_us for launch in (PROGRAMS.control(), PROGRAMS.shipper()))
