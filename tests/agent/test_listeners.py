"""Who reaches a listener, and what `up` asks before others do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router.agent.listeners import is_loopback
from router.agent.up import KeysNeeded, require_keys
from router.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_only_this_machine_reaches_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.7", "::ffff:192.0.2.7", "fe80::1"])
def test_others_reach_everything_else(host: str) -> None:
    assert not is_loopback(host)


def settings(folder: Path, **given: Any) -> Settings:
    """Settings with a data directory of the test's own."""
    return Settings(data_dir=folder, **given)


def test_nobody_listens_for_others_without_keys(tmp_path: Path) -> None:
    require_keys(settings(tmp_path))
    require_keys(settings(tmp_path, host="0.0.0.0", data_keys="required"))
    with pytest.raises(KeysNeeded, match="POINTSMAN_DATA_KEYS=required"):
        require_keys(settings(tmp_path, host="0.0.0.0"))


def test_an_issuer_that_cannot_be_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="belong together"):
        require_keys(settings(tmp_path, jwt_issuer="https://issuer.test"))
