"""A control listener's double that passes everything on and keeps the answers: what did the command really get?"""

from __future__ import annotations

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import httpx

from loadtests.fleet import BIN, Fleet


class Witness:
    """Runs `pointsman` with POINTSMAN_URL at itself; `answers` are the HTTP answers of the last command."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.answers: list[tuple[str, str, int, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command, told address and key by the environment alone."""
        self.answers.clear()
        env = {**self.fleet.env, "POINTSMAN_URL": self.url, "POINTSMAN_KEY": self.key}
        env["XDG_STATE_HOME"] = str(self.fleet.folder / "nobody's")
        command = [str(BIN / "pointsman"), *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    def json(self, *words: str, status: int = 0) -> Any:
        """Runs it with `--json`, which must print the last HTTP answer; the document."""
        done = self.run(*words, "--json")
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        document = json.loads(done.stdout)
        assert document == self.answers[-1][3], (document, self.answers[-1])
        return document

    @property
    def key(self) -> str:
        """The installation's key."""
        return (self.fleet.data_dir / "admin.key").read_text().strip()


def _handler(witness: Witness) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            kept = {
                name: text
                for name, text in self.headers.items()
                if name.lower() not in ("host", "connection", "content-length", "accept-encoding")
            }
            url = f"http://127.0.0.1:{witness.fleet.control_port}{self.path}"
            answer = httpx.request(self.command, url, content=body, headers=kept, timeout=60)
            witness.answers.append((self.command, self.path, answer.status_code, answer.json()))
            self.send_response(answer.status_code)
            self.send_header("content-type", answer.headers["content-type"])
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_DELETE = do_PUT = _pass_on

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    return Handler
