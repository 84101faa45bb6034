"""Small services as users write them, put into folders and built with BentoML; nothing here is a test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

SUMS = '''
"""Adds up rows; says which process and batch it was."""

from __future__ import annotations

import os
from typing import Any

import bentoml
import numpy as np
import pydantic


class Answer(pydantic.BaseModel):
    total: list[float]
    rows: list[int]


@bentoml.service(name="sums", traffic={"timeout": 30})
class Sums:
    @bentoml.api
    def add(self, rows: list[list[float]]) -> Answer:
        if any(row[0] == 13.0 for row in rows):
            raise bentoml.exceptions.InvalidArgument("13 brings bad luck")
        total = np.asarray(rows, np.float32).sum(axis=1)
        return Answer(total=total.tolist(), rows=[len(rows)] * len(rows))

    @bentoml.api
    def mean(self, rows: list[list[float]]) -> Answer:
        """Not row-wise: a row's answer depends on the rows beside it."""
        found = np.asarray(rows, np.float32)
        total = found.sum(axis=1) - found.mean()
        return Answer(total=total.tolist(), rows=[len(rows)] * len(rows))

    @bentoml.api
    def who(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "parent": os.getppid(),
            "home": os.environ["BENTOML_HOME"],
            "settings": sorted(name for name in os.environ if name.startswith("POINTSMAN_")),
        }
'''

VERSION = '''
"""Says which version of a library it has got."""

from __future__ import annotations

from typing import Any

import bentoml


@bentoml.service(name="library")
class Library:
    @bentoml.api
    def version(self) -> dict[str, Any]:
        import orjson
        import sys

        return {"orjson": orjson.__version__, "prefix": sys.prefix}
'''

BROKEN = """
import bentoml


@bentoml.service(name="broken")
class Broken:
    def __init__(self) -> None:
        import no_such_library

    @bentoml.api
    def answer(self) -> int:
        return 1
"""

MODELLED = """
from __future__ import annotations

from pathlib import Path
from typing import Any

import bentoml


@bentoml.service(name="modelled")
class Modelled:
    weights = bentoml.models.BentoModel("weights:latest")

    @bentoml.api
    def tell(self) -> dict[str, Any]:
        return {
            "reference": (Path(self.weights.path) / "weights.txt").read_text(),
            "by_tag": (Path(bentoml.models.get("weights:1").path) / "weights.txt").read_text(),
        }
"""

CONTRACT: dict[str, Any] = {
    "tensors": {"route": "/add", "argument": "rows", "output": {"y": "total"}},
    "signature": {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
    },
    "rowwise": True,
    "golden": {"rows": {"x": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}, "outputs": {"y": [6, 15, 24]}},
}


def folder_of(parent: Path, name: str, code: str, packages: tuple[str, ...] = ()) -> Path:
    """A folder with a service.py, and a bentofile.yaml where there are packages to name."""
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / "service.py").write_text(code)
    if packages:
        python = {"packages": list(packages), "lock_packages": False}
        service = code.split("class ")[-1].split(":")[0].split("(")[0]
        described = {"service": f"service:{service}", "include": ["service.py"], "python": python}
        (folder / "bentofile.yaml").write_text(yaml.safe_dump(described))
    return folder


def add_model(home: Path, tag: str, text: str) -> None:
    """A model with one file in the BentoML home."""
    code = "import bentoml, pathlib, sys\n"
    code += "with bentoml.models.create(sys.argv[1]) as model:\n"
    code += "    pathlib.Path(model.path, 'weights.txt').write_text(sys.argv[2])\n"
    env = os.environ | {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    subprocess.run([sys.executable, "-c", code, tag, text], env=env, timeout=60, check=True)


def build(folder: Path, home: Path) -> str:
    """Builds it into the BentoML home; its tag."""
    env = os.environ | {
        "BENTOML_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "True",
        "OTEL_SDK_DISABLED": "true",
    }
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "-o", "tag"],
        cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split("__tag__:")[1].split()[0]
