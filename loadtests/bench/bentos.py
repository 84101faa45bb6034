"""`bentoml serve` as a contender: bentos built from services/, started by public means alone.

Each server has its own folder of metrics files: two in one BENTOML_HOME wipe each other's otherwise. No server
reports home (BENTOML_DO_NOT_TRACK), as there may be no network.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

import bentos.custom
from loadtests.bench.tree import Root
from loadtests.fleet import free_ports, wait_for

SERVICES: Final = Path(__file__).with_name("services")
READY_S: Final = 60.0

QUIET: Final = """\
services:
  workers: {workers}
  metrics: {{enabled: false}}
  logging: {{access: {{enabled: false}}}}
  tracing: {{sample_rate: 0.0}}
"""
"""BENTOML_CONFIG of the fastest set-up: what BentoML lets one switch off in public.

No `version: 2` in it: BentoML 1.4.39 reads the file twice, as version 1 first, and refuses it then.
"""


@dataclass(frozen=True, slots=True)
class Setup:
    """How a service is served: `quiet` workers (None: BentoML's defaults), and the API's route."""

    service: str
    route: str
    quiet: int | None = None


DEFAULTS: Final = Setup("plain", "/predict")
PICTURE: Final = Setup("picture", "/predict")
TRIED: Final = tuple(
    Setup("fast", route, workers) for route in ("/pydantic", "/text", "/batched") for workers in (1, 2)
)
FASTEST: Final = Setup("fast", "/text", 2)
"""Of TRIED by `python -m loadtests.bench --tune`; FOUND says what that showed."""
FOUND: Final = (
    "metrics, access log and tracing off, two workers, the answer as JSON text of orjson's. At 64 connections"
    " this was ahead of a pydantic answer (2,308/s against 2,019), of one worker (1,614) and of adaptive"
    " batching (1,351 with one worker, 594 with two); at one connection one worker with a pydantic answer was"
    " ahead of it (2,020/s against 1,750). `python -m loadtests.bench --tune` tries them again."
)


def bento(service: str, model: Path, folder: Path) -> str:
    """Builds services/SERVICE with `model` beside its code into the home `folder`/home; its tag."""
    source = folder / "sources" / service / "1"
    if not source.exists():
        source.mkdir(parents=True)
        shutil.copy(SERVICES / service / "1" / "service.py", source)
        shutil.copy(model, source / "model.onnx")
    return bentos.custom.build(source, folder / "home")


@dataclass(slots=True)
class Server:
    """One running `bentoml serve`."""

    setup: Setup
    tag: str
    folder: Path
    port: int = field(init=False)
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        (self.port,) = free_ports(1)
        place = self.folder / f"serve-{self.port}"
        metrics = place / "metrics"
        metrics.mkdir(parents=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
        environment |= {
            "BENTOML_HOME": str(self.folder / "home"),
            "BENTOML_DO_NOT_TRACK": "True",
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        }
        if self.setup.quiet is not None:
            config = place / "quiet.yaml"
            config.write_text(QUIET.format(workers=self.setup.quiet))
            environment |= {"BENTOML_CONFIG": str(config), "OTEL_SDK_DISABLED": "true"}
        with (place / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bentoml", *self._words],
                env=environment,
                stdout=log,
                stderr=log,
                cwd=place,
                start_new_session=True,
            )

        def told() -> str:
            return f"bentoml serve {self.tag}: " + (place / "log").read_text()[-2000:]

        try:
            wait_for(lambda: self._ready(told), READY_S, told)
        except BaseException:
            self.close()
            raise

    @property
    def _words(self) -> list[str]:
        return ["serve", self.tag, "--host", "127.0.0.1", "--port", str(self.port)]

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self.port}{self.setup.route}"

    @property
    def command(self) -> str:
        """The command line, with what the environment adds to BentoML's defaults."""
        words = shlex.join(["bentoml", *self._words])
        if self.setup.quiet is None:
            return words
        return f"OTEL_SDK_DISABLED=true BENTOML_CONFIG=quiet.yaml {words}  # workers: {self.setup.quiet}"

    @property
    def roots(self) -> tuple[Root, ...]:
        """Its processes: arbiter and workers."""
        return (Root(self.process.pid, lambda _: "bentoml"),)

    def close(self) -> None:
        """Ends it, its workers with it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _ready(self, told: Callable[[], str]) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"it ended with {self.process.returncode}: {told()}")
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False
