"""One scenario's run: what it needs in an installation, locust as a process, and what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from bentos import custom
from loadtests.fleet import Fleet

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
STOP_S: Final = 10  # for exchanges under way at the end


@dataclass(frozen=True, slots=True)
class Scenario:
    """A file of this folder, how many users it has, and the versions it needs: examples and users' bentos."""

    name: str
    users: int
    models: dict[str, tuple[str, ...]] = field(default_factory=dict)
    bentos: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def prepare(self, fleet: Fleet, released: set[tuple[str, str]]) -> None:
        """Releases what is missing (noted in `released`) and makes each model's first version active."""
        for model, versions in self.models.items():
            for version in versions:
                if (model, version) not in released:
                    fleet.release(model, version)
                    released.add((model, version))
        for model, versions in self.bentos.items():
            for version in versions:
                if (model, version) not in released:
                    release_bento(fleet, model, version)
                    released.add((model, version))
        for model, versions in (self.models | self.bentos).items():
            promoted = fleet.promote(model, versions[0])
            if promoted["status"] != 200:
                raise AssertionError(f"promote {model} {versions[0]}: {promoted}")

    def run(self, fleet: Fleet, seconds: float) -> Outcome:
        """Runs locust for so long; never longer than a minute over."""
        with tempfile.TemporaryDirectory(prefix="pm-locust-") as folder:
            report = Path(folder) / "report.json"
            words = ["-f", str(HERE / f"{self.name}.py"), "--headless", "--host", fleet.data]
            words += ["-u", str(self.users), "-r", str(self.users), "-t", f"{max(1, round(seconds))}s"]
            words += ["--stop-timeout", str(STOP_S), "--only-summary", "--loglevel", "WARNING"]
            key = (fleet.data_dir / "admin.key").read_text().strip()
            where = {"POINTSMAN_URL": f"http://127.0.0.1:{fleet.control_port}", "POINTSMAN_KEY": key}
            done = subprocess.run(
                [sys.executable, "-m", "locust", *words],
                cwd=ROOT,
                env={**os.environ, **where, "POINTSMAN_LOAD_REPORT": str(report)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=seconds + 60,
                check=False,
            )
            if not report.exists():
                return Outcome(self.name, error=f"locust gave no report:\n{done.stdout[-3000:]}")
            told: dict[str, Any] = json.loads(report.read_text())
        outcome = Outcome(self.name, **told)
        if done.returncode and not outcome.failed:
            return replace(outcome, error=f"locust ended with {done.returncode}:\n{done.stdout[-3000:]}")
        return outcome


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario measured: rows by request and version (times in ms), checks, and why it did not run."""

    scenario: str
    seconds: float = 0.0  # of load, without what comes before and after it
    requests: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""

    @property
    def failed(self) -> bool:
        """An error, a failed request, a check that does not hold, or nothing asked at all."""
        broken = [each for each in self.requests if each["failures"]]
        broken += [each for each in self.checks if not each["holds"]]
        return bool(self.error or broken or not self.requests)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "failed": self.failed}


def release_bento(fleet: Fleet, model: str, version: str) -> None:
    """Builds an example service into the store of the installation's user, registers and deploys it."""
    (folder,) = custom.examples((f"{model}/{version}",))
    tag = custom.build(folder, Path(fleet.env["BENTOML_HOME"]))
    words = ["register", "--bento", tag, "--model", model, "--version", version, "--json"]
    done = fleet.cli(*words)
    if done.returncode:
        raise AssertionError(f"pointsman {' '.join(words)}: {done.stderr or done.stdout}")
    # Its environment may have to be built first.
    place = f"/models/{model}/versions/{version}/deploy"
    fleet.ask("POST", place, params={"wait": 600}, json={"replicas": 1}, timeout=620)
