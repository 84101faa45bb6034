"""What a client raises: a refusal of the gateway, or that none of its answers came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """Anything that went wrong; `code` is a slug for programs."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(f"{message} ({code})")
        self.message = message
        self.code = code


class Refusal(ClientError):
    """The gateway answered with an error: its status, code and field; `document` is the whole body."""

    def __init__(self, status: int, document: dict[str, Any], headers: Mapping[str, str]) -> None:
        super().__init__(str(document.get("error")), str(document.get("code")))
        self.status = status
        self.document = document
        self.headers = headers
        place = document.get("field")
        self.field: str | None = None if place is None else str(place)

    @property
    def retry_after(self) -> int | None:
        """Seconds after which another attempt makes sense; None: it says nothing."""
        text = self.headers.get("retry-after", "")
        return int(text) if text.isascii() and text.isdigit() else None


class NoAnswer(ClientError):
    """No answer that counts: `unreachable`, `no_answer` in time, or `bad_answer` of somebody else."""
