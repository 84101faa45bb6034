"""`pointsman up`: from options to settings, and the lines of the parent process as a banner."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from router.cli.command import show_json, with_json

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="[default: .pointsman]")
@click.option("--host", help="Address of both listeners. [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Data listener. [default: 8000]")
@click.option("--control-port", type=click.IntRange(0, 65535), help="Control listener. [default: 8001]")
@click.option("--tls-cert", type=FILE, help="Certificate of both listeners (PEM, with its chain).")
@click.option("--tls-key", type=FILE, help="Its key, without a password.")
@click.option("--routers", type=click.IntRange(1, 64), help="Router processes. [default: 1]")
@click.option("--redis-url", metavar="URL", help="An external Redis; without it one is started.")
@with_json
def up(as_json: bool, **given: Any) -> None:
    """Start everything on this machine and serve until Ctrl-C.

    Every option is a setting as well: POINTSMAN_DATA_DIR, POINTSMAN_PORT and so on.
    """
    from pydantic import ValidationError

    from router.agent.up import run
    from router.settings import Settings

    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        raise click.UsageError(f"setting {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    banner = Banner(as_json, settings.tls_cert)
    sys.exit(asyncio.run(run(settings, report=banner.line)))


class Banner:
    """Keeps the addresses until all is ready, then says what to try."""

    def __init__(self, as_json: bool, cert: Path | None = None) -> None:
        self._as_json = as_json
        self._curl = "curl" if cert is None else f"curl --cacert {cert}"
        self._said: dict[str, str] = {}

    def line(self, text: str) -> None:
        """One line of the parent process."""
        word, _, rest = text.partition(" ")
        if word in ("data", "control", "key"):
            self._said[word] = rest
            return
        if word != "ready":
            click.echo(text, err=True)
            return
        if self._as_json:
            show_json(self._said | {"ready_s": float(rest.split()[0])})
            return
        click.echo(self._banner(rest))

    def _banner(self, after: str) -> str:
        data, control = self._said.get("data", ""), self._said.get("control", "")
        return "\n".join(
            [
                f"Pointsman is ready after {after.split()[0]} s. Ctrl-C drains and stops everything.",
                "",
                f"  predictions  {data}",
                f"  control      {control}/api/v1",
                f"  key          {self._said.get('key', '')}",
                "",
                "Try, in another terminal:",
                "  pointsman status",
                "  pointsman register model.onnx --model my-model",
                "  pointsman deploy my-model 1 && pointsman promote my-model 1",
                f"  {self._curl} {data}/v1/models/my-model:predict -d '{{\"instances\": [[1, 2, 3]]}}'",
                "  pointsman logs -f",
            ]
        )
