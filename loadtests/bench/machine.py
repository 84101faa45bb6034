"""What the figures depend on: machine, versions, date; reads only."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Final

import psutil

from loadtests.bench.proxies import installed as nginx

LIBRARIES: Final = (
    "bentoml", "starlette", "uvicorn", "uvloop", "httptools", "onnxruntime", "numpy", "orjson", "msgspec", "redis",
)  # fmt: skip


def facts() -> dict[str, str]:
    """By name, in the order they are shown."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    memory = psutil.virtual_memory().total / (1 << 30)
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _said("git", "describe", "--always", "--dirty"),
        "machine": f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB",
        "load before": " ".join(f"{value:.2f}" for value in os.getloadavg()),
        "system": f"{platform.system()} {platform.release()}, {_distribution()}",
        "Python": platform.python_version(),
        "libraries": versions,
        "wrk": _said("wrk", "-v", pattern=r"wrk \S+"),
        "nginx": "not installed" if (path := nginx()) is None else _said(path, "-v", pattern=r"nginx/\S+"),
    }


def _said(*command: str, pattern: str = r".+") -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=False, cwd=Path(__file__).parent
        )
    except OSError:
        return "unknown"
    match = re.search(pattern, done.stdout + done.stderr)
    return match[0] if match else "unknown"


def _processor() -> str:
    match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    return match[1] if match else platform.machine()


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return "unknown distribution"
