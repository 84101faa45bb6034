"""What sections are made of: bodies, servers and installations, ended with the section that started them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from loadtests.bench import bentos, models
from loadtests.bench.bentos import Server, Setup
from loadtests.bench.bodies import Array, Bodies, Form, Outputs, answers, make, pictures, rows
from loadtests.bench.contender import Contender
from loadtests.bench.installation import Installation, Log

GATEWAY_MODEL = "breast-cancer"
V1_PATH = f"/v1/models/{GATEWAY_MODEL}:predict"
V2_PATH = f"/v2/models/{GATEWAY_MODEL}/infer"


@dataclass(slots=True)
class Payload:
    """Tensors and the answers to them."""

    tensors: list[Array]
    expected: list[Outputs]


@dataclass
class Workshop:
    """Owns `folder`; `routers` and `replicas` are those of every installation."""

    folder: Path
    routers: int = 1
    replicas: int = 1
    _files: Iterator[int] = field(default_factory=lambda: iter(range(1 << 20)))

    @cached_property
    def gradient_boosting(self) -> Path:
        """The folder of breast-cancer 2."""
        return models.gradient_boosting()

    @cached_property
    def picture(self) -> Path:
        """The folder of the image model."""
        return models.picture(self.folder)

    def rows(self, per_request: int) -> Payload:
        """Requests of so many rows of breast-cancer."""
        tensors = rows(per_request)
        return Payload(tensors, answers((self.gradient_boosting / "model.onnx").read_bytes(), tensors))

    def pictures(self) -> Payload:
        """Requests of an image."""
        tensors = pictures()
        return Payload(tensors, answers((self.picture / "model.onnx").read_bytes(), tensors))

    def bodies(self, form: Form, payload: Payload) -> Bodies:
        """Written in a form, to a file of its own."""
        return make(form, payload.tensors, payload.expected, self.folder / f"bodies-{next(self._files)}")

    def installation(self, stack: ExitStack, log: Log = "full") -> Installation:
        """A running one without versions."""
        made = Installation(routers=self.routers, replicas=self.replicas, home=self.folder / "home", log=log)
        stack.callback(made.close)
        return made

    def server(self, stack: ExitStack, setup: Setup) -> Server:
        """A running `bentoml serve`."""
        model = self.picture if setup.service == "picture" else self.gradient_boosting
        made = Server(setup, bentos.bento(setup.service, model / "model.onnx", self.folder), self.folder)
        stack.callback(made.close)
        return made


def gateway(
    installation: Installation,
    key: str,
    title: str,
    path: str,
    bodies: Bodies,
    during: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Contender:
    """A path of an installation as a contender."""
    return Contender(
        key,
        title,
        installation.url(path),
        bodies,
        installation.roots,
        installation.command,
        installation.settled,
        during,
    )


def direct(server: Server, key: str, title: str, bodies: Bodies) -> Contender:
    """A `bentoml serve` as a contender."""
    return Contender(key, title, server.url, bodies, server.roots, server.command)
