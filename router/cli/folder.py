"""A folder with a service becomes a bento of the user's store, by BentoML's own builder; it registers nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from router.cli.refused import Refused

BUILD_S = 600.0
GATEWAY = "gateway"
FILES = ("bentofile.yaml", "service.py")
_TAG = re.compile(r"^__tag__:(\S+)$", re.MULTILINE)


def build(folder: Path, python: str | None) -> str:
    """The tag of the bento built from `folder` by `python` (a path; None or `gateway`: ours). Raises Refused."""
    if not any((folder / name).is_file() for name in FILES):
        raise Refused(f"{folder} has neither {' nor '.join(FILES)}", "no_service")
    interpreter = sys.executable if python in (None, GATEWAY) else str(python)
    environment = {**os.environ, "BENTOML_DO_NOT_TRACK": "True", "OTEL_SDK_DISABLED": "true"}
    command = [interpreter, "-m", "bentoml", "build", "-o", "tag"]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=BUILD_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"building {folder} took over {BUILD_S:g} s", "build_failed") from None
    except OSError as error:
        raise Refused(f"{interpreter}: {error.strerror}", "build_failed") from None
    found = _TAG.search(done.stdout)
    if done.returncode or found is None:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise Refused(f"bentoml build of {folder} failed: {' | '.join(said[-3:])[:600]}", "build_failed")
    return found[1]
