"""What runs before `bentoml serve` of a user's bento, in the same process: home, environment, port, then exec.

`python -m router.agent.bento --document FILE --store HOME --home FOLDER --venvs FOLDER --logs FOLDER --timeout S`.
Once the port is written to FOLDER/port nothing but the service's own start is left. A failure is one JSON line
on stderr, `{"event": "replica_failed", "error", "code", "final"}`, and exit status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import orjson

from router.agent import snapshot
from router.agent.home import Altered, assemble
from router.agent.venv import BuildFailed, Wanted, interpreter

GATEWAY = "gateway"
PORT = "port"
HOST = "127.0.0.1"
WORK = "work"
"""An empty working folder: nothing beside the service can be imported by mistake."""


def main(arguments: list[str] | None = None) -> int:
    """Becomes `bentoml serve`; returns only where that cannot be."""
    parser = argparse.ArgumentParser(prog="router.agent.bento")
    for name in ("--document", "--store", "--home", "--venvs", "--logs"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--timeout", type=float, required=True, help="seconds for building an environment")
    options = parser.parse_args(arguments)
    try:
        document = orjson.loads(options.document.read_bytes())
        tag = assemble(document, options.store, options.home)
        python = _python(document, options)
    except Altered as error:
        return _failed(str(error), code="artifact_altered")
    except BuildFailed as error:
        return _failed(str(error), code="environment_failed")
    except OSError as error:
        return _failed(str(error), code="replica_failed", final=False)
    os.chdir(options.home / WORK)
    port = free_port()
    snapshot.write_bytes(options.home / PORT, str(port).encode())
    command = [python, "-m", "bentoml", "serve", tag, "--host", HOST, "--port", str(port)]
    try:
        os.execve(python, [*command, "--api-workers", "1"], environment(python, os.environ))
    except OSError as error:
        return _failed(f"{python}: {error.strerror}", code="environment_failed")


def environment(python: str, ours: Any) -> dict[str, str]:
    """Of the service: an interpreter that is not ours sees nothing of our packages, and its own programs first."""
    kept = dict(ours)
    if python != sys.executable:
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
            kept.pop(name, None)
        kept["PATH"] = os.pathsep.join((os.path.dirname(python), kept.get("PATH", os.defpath)))
    return kept


def free_port() -> int:
    """A port nobody listens on at this moment; whether it is still so is seen when the service binds it."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _python(document: dict[str, Any], options: argparse.Namespace) -> str:
    about = document["bento"]
    if about["python"] == GATEWAY:
        return sys.executable
    if about["python"] is not None:
        return str(about["python"])
    wanted = about["requirements"]
    here = options.home / "bentos" / document["store"].replace(":", "/") / "env" / "python"
    here.mkdir(parents=True, exist_ok=True)
    log = options.logs / f"venv-{wanted['sha256'][:16]}.log"
    found = interpreter(Wanted(wanted["sha256"], wanted["text"], here), options.venvs, log, options.timeout)
    return str(found)


def _failed(text: str, *, code: str, final: bool = True) -> int:
    line = {"event": "replica_failed", "error": text, "code": code, "final": final}
    print(json.dumps(line), file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
