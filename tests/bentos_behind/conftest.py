"""One installation for these tests, started with a BentoML home of its user."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from loadtests.fleet import Fleet, wait_for
from tests.bentos_behind.sources import BROKEN, SUMS, build, folder_of


class Behind:
    """The installation, the user's home, and the tags of the bentos in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "bentoml"
        self.fleet = Fleet(env={"BENTOML_HOME": str(self.home)})
        self.fleet.start()
        self.tag = build(folder_of(folder, "sums", SUMS), self.home)
        self.broken = build(folder_of(folder, "broken", BROKEN), self.home)

    def register(self, tag: str, model: str, manifest: dict[str, Any] | None = None) -> dict[str, Any]:
        """By tag, to run in the gateway's own environment."""
        path = self.folder / f"{model}.yaml"
        path.write_text(yaml.safe_dump({"python": "gateway"} | (manifest or {})))
        words = ("register", "--bento", tag, "--model", model, "--manifest", str(path), "--json")
        done = self.fleet.cli(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(httpx.Response(200, content=done.stdout).json())

    def deploy(self, model: str, version: str = "1", *, wait: int = 60, replicas: int = 1) -> httpx.Response:
        """Whatever the answer."""
        return self.fleet.control.post(
            f"/models/{model}/versions/{version}/deploy",
            params={"wait": wait},
            json={"replicas": replicas},
            timeout=wait + 10,
        )

    def replicas(self, model: str, state: str = "ready") -> list[dict[str, Any]]:
        """The replicas of a model in a state."""
        found = self.fleet.status()["replicas"]
        return [each for each in found if each["model"] == model and each["state"] == state]

    def direct(self, model: str, route: str, body: dict[str, Any]) -> Any:
        """The service itself, past the gateway."""
        address = self.replicas(model)[0]["address"].removeprefix("tcp:")
        return httpx.post(f"http://{address}{route}", json=body, timeout=10).raise_for_status().json()

    def running(self) -> list[int]:
        """Every process in a home of this installation's replicas."""
        homes = str(self.fleet.data_dir / "homes")
        return [
            process.pid
            for process in psutil.process_iter(["environ"])
            if (process.info["environ"] or {}).get("BENTOML_HOME", "").startswith(homes)
            and process.pid != os.getpid()
        ]


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    found = Behind(tmp_path_factory.mktemp("behind"))
    yield found
    found.fleet.remove()
    wait_for(lambda: not found.running(), 5)
