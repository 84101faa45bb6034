"""The gateway as a contender: a whole installation with everything on, its versions put in by public commands."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from loadtests.bench.tree import Root, gateway_group
from loadtests.fleet import Fleet, wait_for
from router.agent.place import runtime_dir
from router.journal.folder import total_bytes

SETTLE_S: Final = 120.0
UNLOGGED: Final = Path(__file__).with_name("unlogged")

Log = Literal["full", "bare", "none"]
"""With bodies; records without bodies; no record at all, which only the benchmark's own patch can do."""


class Logged(AssertionError):
    """An installation that was to keep no log has one: its figures are not those without."""


class Installation:
    """`pointsman up` on a folder of its own."""

    def __init__(self, *, routers: int, replicas: int, home: Path, log: Log = "full") -> None:
        self.replicas, self.log = replicas, log
        env = {"BENTOML_HOME": str(home)}
        self.settings = {} if log == "full" else {"POINTSMAN_LOG_PAYLOAD_BYTES": "0"}
        if log == "none":
            others = os.environ.get("PYTHONPATH", "")
            env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(UNLOGGED), others)))
        self.fleet = Fleet(routers=routers, env=env | self.settings)
        try:
            self.fleet.start()
        except BaseException:
            self.fleet.remove()
            raise
        given = "".join(f"{name}={value} " for name, value in self.settings.items())
        patched = "PYTHONPATH=loadtests/bench/unlogged " if log == "none" else ""
        self.command = f"{patched}{given}pointsman up --routers {routers}"

    @property
    def runtime(self) -> Path:
        """Where sockets and notes of its processes are."""
        return runtime_dir(self.fleet.data_dir.resolve())

    @property
    def roots(self) -> tuple[Root, ...]:
        """All its processes."""
        assert self.fleet.process is not None
        return (Root(self.fleet.process.pid, gateway_group),)

    def serve(self, model: str, folder: Path) -> None:
        """Registers model.onnx of `folder`, deploys and promotes it."""
        words = ["register", str(folder / "model.onnx"), "--manifest", str(folder / "manifest.yaml")]
        done = self.fleet.cli(*words, "--model", model, "--json")
        if done.returncode:
            raise RuntimeError(f"pointsman register {model}: {done.stderr or done.stdout}")
        self._activate(model, json.loads(done.stdout)["version"])

    def serve_bento(self, model: str, tag: str, manifest: dict[str, Any]) -> None:
        """The same with a user's bento of `home`, by the tensor contract of its manifest."""
        document = self.fleet.ask(
            "POST", f"/models/{model}/versions", json={"bento": tag, "manifest": manifest}
        )
        if not document["rowwise"] or document["tensors"] is None:
            raise RuntimeError(f"{tag} was registered without its contract: {document}")
        self._activate(model, document["version"])

    def _activate(self, model: str, version: str) -> None:
        self.fleet.ask(
            "POST",
            f"/models/{model}/versions/{version}/deploy",
            params={"wait": 120},
            json={"replicas": self.replicas},
            timeout=130,
        )
        answer = self.fleet.promote(model, version)
        if answer["status"] != 200:
            raise RuntimeError(f"promote {model}: {answer}")

    def settled(self) -> float:
        """Waits until every record is in Redis; the seconds that took. Raises TimeoutError, Logged."""
        if self.log == "none":
            if written := total_bytes(self.fleet.data_dir / "journal"):
                raise Logged(
                    f"{written} bytes in the journal: loadtests/bench/unlogged does not fit any more"
                )
            return 0.0
        began, since = time.monotonic(), time.time()

        def caught_up() -> bool:
            # The status is of once a second: one that was written before the load's end says nothing.
            path = self.runtime / "shipper.json"
            return path.stat().st_mtime > since and self.shipper()["lag_bytes"] == 0

        wait_for(caught_up, SETTLE_S, lambda: f"the shipper: {self.shipper()}")
        return time.monotonic() - began

    def shipper(self) -> dict[str, Any]:
        """What it tells about itself."""
        return dict(orjson.loads((self.runtime / "shipper.json").read_bytes()))

    @contextmanager
    def shipper_stopped(self) -> Iterator[None]:
        """While the context lasts, records stay in the journal."""
        pid = int(self.shipper()["pid"])
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def router_pids(self) -> list[int]:
        """Of all routers."""
        told = orjson.loads((self.runtime / "processes.json").read_bytes())
        return [int(router["pid"]) for router in told["routers"]]

    def url(self, path: str) -> str:
        """An address of the data listener."""
        return self.fleet.data + path

    def close(self) -> None:
        """Ends everything and removes the folder."""
        self.fleet.remove()
