"""The replica process: loads and warms one version, only then binds its address, serves until told to end.

`python -m services.launch --manifest FILE.json --socket PATH --replica-id ID [--life-fd N] [--threads 1]`
(or `--host H --port P`). It ends at once when the other end of `--life-fd` closes, and after its requests in
flight on SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Final

# Before numpy and bentoml are imported, where a starter did not set them.
for _name, _value in {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "OTEL_SDK_DISABLED": "true",
}.items():
    os.environ.setdefault(_name, _value)

# Longer than any client's idle time: the client closes first, so no request meets a closing connection.
KEEP_ALIVE_S: Final = 3600
DRAIN_S: Final = 25
MAX_SOCKET_PATH: Final = 107


def main(arguments: list[str] | None = None) -> int:
    """Runs a replica; returns its exit code. A failure to load leaves one JSON line on stderr."""
    options = _options(arguments)
    if options.life_fd is not None:
        _end_with(options.life_fd)
    signal.signal(signal.SIGTERM, _leave)
    try:
        _serve(options)
    except Exception as error:  # whatever it was, the starter learns it from the last line
        _report(options.replica_id, error)
        return 1
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="services.launch", description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True, help="the version document (JSON)")
    parser.add_argument("--socket", help="Unix socket to listen on, in a folder only the caller may enter")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, help="TCP port to listen on instead")
    parser.add_argument("--life-fd", type=int, help="read end of a pipe; end of file ends the process")
    parser.add_argument("--replica-id", required=True)
    parser.add_argument("--threads", type=int, default=1, help="threads of one model call")
    options = parser.parse_args(arguments)
    if (options.socket is None) == (options.port is None):
        parser.error("give one of --socket and --port")
    if options.socket is not None and len(os.fsencode(options.socket)) > MAX_SOCKET_PATH:
        parser.error(f"--socket may have {MAX_SOCKET_PATH} bytes")
    if options.threads < 1:
        parser.error("--threads must be at least 1")
    return options


def _end_with(descriptor: int) -> None:
    """Ends this process when the pipe's writers are gone, whatever the event loop is doing."""
    os.set_inheritable(descriptor, False)

    def watch() -> None:
        while os.read(descriptor, 64):
            pass
        os._exit(3)

    threading.Thread(target=watch, name="life", daemon=True).start()


def _leave(_signal: int, _frame: object) -> None:
    """SIGTERM before serving; and again after uvicorn has drained, which re-raises what it caught."""
    raise SystemExit(0)


def _serve(options: argparse.Namespace) -> None:
    from services.document import read_document
    from services.version import load_version, provide

    document = read_document(options.manifest.read_bytes())
    version = load_version(document, threads=options.threads)
    provide(version)
    metrics = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if metrics is not None:
        os.makedirs(metrics, mode=0o700, exist_ok=True)

    from services.bentoml_seam import asgi_app
    from services.front import Front
    from services.lane import Lane
    from services.onnx_service import OnnxService
    from services.server import ReplicaServer

    app = asgi_app(OnnxService, model=document.model, version=document.version)
    front = Front(app, Lane(version.session))
    ReplicaServer(front, _address(options), keep_alive_s=KEEP_ALIVE_S, drain_s=DRAIN_S).run()


def _address(options: argparse.Namespace) -> dict[str, Any]:
    if options.socket is not None:
        return {"uds": options.socket}
    return {"host": options.host, "port": options.port}


def _report(replica_id: str, error: Exception) -> None:
    import json

    from services.refusal import Refusal

    body = error.body() if isinstance(error, Refusal) else {"error": f"{type(error).__name__}: {error}"}
    line = json.dumps({"event": "replica_failed", "replica": replica_id, **body})
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
