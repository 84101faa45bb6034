"""The one error of the command line: `error: text (code)` on stderr, exit status 1."""

from __future__ import annotations

from typing import Any

import click


class Refused(click.ClickException):
    """A refusal of the server, or none to be had; `document` is what `--json` prints."""

    exit_code = 1

    def __init__(self, message: str, code: str, document: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.document = document or {"error": message, "code": code}

    def show(self, file: Any = None) -> None:
        """To stderr."""
        click.echo(f"error: {self.message} ({self.code})", file=file, err=file is None)
