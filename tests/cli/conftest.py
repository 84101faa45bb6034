"""A control listener, and the command line pointed at it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from router.cli.main import main
from tests.control.conftest import control_redis, here, redis_url
from tests.control.installation import KEY, Installation

__all__ = ["control_redis", "here", "redis_url"]

Run = Callable[..., Result]


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's state folder, with nothing noted."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.delenv("POINTSMAN_URL", raising=False)
    monkeypatch.delenv("POINTSMAN_KEY", raising=False)
    (folder / "pointsman").mkdir()
    return folder / "pointsman"


@pytest.fixture
def run(here: Installation, state: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs one command against `here`, found by the note that `up` leaves."""
    key = state / "admin.key"
    key.write_text(KEY)
    note = {"url": here.url, "key_path": str(key), "data_dir": str(here.settings.data_dir), "pid": 1}
    (state / "up.json").write_text(json.dumps(note))

    def one(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments), catch_exceptions=False)

    return one
