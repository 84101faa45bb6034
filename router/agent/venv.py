"""Virtual environments of users' bentos: built once for each requirements digest, then only reused."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

LOOK_S = 0.2
LAST_LINES = 3
TAIL_BYTES = 16 << 10


class BuildFailed(Exception):
    """The environment cannot be had; the text ends with the last lines of the log."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """`requirements` is a text for pip, run in folder `here` (for the wheels it may name)."""

    sha256: str
    requirements: str
    here: Path


def interpreter(wanted: Wanted, venvs: Path, log: Path, timeout: float) -> Path:
    """The Python of the environment, which is built first where it is not there yet.

    Waits for another process that is building it. Raises BuildFailed within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    target = venvs / wanted.sha256
    python = target / "bin" / "python"
    if python.exists():
        return python
    venvs.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _held(venvs / f"{wanted.sha256}.lock", deadline):
        if not python.exists():  # nobody else has built it meanwhile
            _build(wanted, target, log, deadline)
    return python


@contextlib.contextmanager
def _held(path: Path, deadline: float) -> Iterator[None]:
    """The lock ends with this process, however that ends."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() >= deadline:
                raise BuildFailed("another process is building the environment and does not get done")
            time.sleep(LOOK_S)
        yield
    finally:
        os.close(fd)


def _build(wanted: Wanted, target: Path, log: Path, deadline: float) -> None:
    for left in target.parent.glob(f".{wanted.sha256}.*"):  # of a build that was killed: we hold the lock
        shutil.rmtree(left, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)  # its interpreter is gone
    beside = target.with_name(f".{wanted.sha256}.{os.getpid()}")
    listed = beside / "requirements.txt"
    python = str(beside / "bin" / "python")
    make, pip = [sys.executable, "-m", "venv"], [python, "-m", "pip"]
    if importlib.util.find_spec("pip") is not None:  # our own saves the seconds of unpacking another
        make, pip = [*make, "--without-pip"], [sys.executable, "-m", "pip", "--python", python]
    with log.open("wb", buffering=0) as out:
        _run([*make, str(beside)], wanted.here, out.fileno(), log, deadline)
        listed.write_text(wanted.requirements)
        install = ["install", "--no-input", "--disable-pip-version-check", "-r", str(listed)]
        _run([*pip, *install], wanted.here, out.fileno(), log, deadline)
    _rename_in_scripts(beside, target)
    beside.rename(target)


def _run(command: Sequence[str], here: Path, out: int, log: Path, deadline: float) -> None:
    process = subprocess.Popen(
        command, cwd=here, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=_environment(),
        start_new_session=True,
    )  # fmt: skip
    try:
        status = process.wait(max(deadline - time.monotonic(), 0.001))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # what pip has started too
        process.wait()
        raise BuildFailed(f"building the environment took too long; {_tail(log)}") from None
    if status:
        raise BuildFailed(f"the environment cannot be built: {_tail(log)}")


def _environment() -> dict[str, str]:
    """Ours, so that pip finds its configuration; without what would show it our own packages."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in hidden}


def _rename_in_scripts(beside: Path, target: Path) -> None:
    """Scripts name their interpreter by its path: that of the folder they will be in."""
    old, new = os.fsencode(beside), os.fsencode(target)
    for script in (beside / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        content = script.read_bytes()
        if old in content:
            script.write_bytes(content.replace(old, new))


def _tail(log: Path) -> str:
    """The last complaints in the log, or its last lines."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return " | ".join((errors or lines)[-LAST_LINES:]) or "pip said nothing"
