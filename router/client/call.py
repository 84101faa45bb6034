"""One request as a value, and how its answer becomes a typed one or an exception; no I/O, no HTTP client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from router.client.errors import NoAnswer, Refusal

T = TypeVar("T")

ANSWER_S = 15.0


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request whose answer is a `kind`, awaited for `answer_s` seconds; None: as long as the client says."""

    method: str
    path: str
    kind: type[T]
    json: Any = None
    params: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    files: Mapping[str, Any] | None = None
    data: Mapping[str, str] | None = None
    answer_s: float | None = None

    @property
    def repeatable(self) -> bool:
        """Reads are."""
        return self.method in ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """An answer that is no error: `document` is the JSON as it came, `value` the typed form of it."""

    status: int
    value: T
    document: Any
    headers: Mapping[str, str] = field(default_factory=dict)


def place(*parts: str) -> str:
    """A path; whatever a part holds stays within its place."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def given(**values: Any) -> dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def texts(**values: Any) -> dict[str, str]:
    """Query parameters: those that are not None, as text."""
    return {name: _text(value) for name, value in values.items() if value is not None}


def understood(kind: type[T], status: int, body: bytes, headers: Mapping[str, str]) -> Answered[T]:
    """The answer to a call. Raises Refusal where it is an error, NoAnswer where it is none of ours."""
    good = 200 <= status < 300
    if good and kind is str:
        return Answered(status, body.decode("utf-8", "replace"), None, headers)  # type: ignore[arg-type]
    if good and kind is bytes:
        return Answered(status, body, None, headers)  # type: ignore[arg-type]
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = None
    if not good and isinstance(document, dict) and "error" in document:
        raise Refusal(status, document, headers)
    said = f"not an answer of Pointsman: HTTP {status} {body[:200].decode('utf-8', 'replace')!r}"
    if not good:
        raise Refusal(status, {"error": said, "code": f"http_{status}"}, headers)
    if document is None:
        raise NoAnswer(said, "bad_answer")
    try:
        return Answered(status, msgspec.convert(document, kind), document, headers)
    except msgspec.ValidationError as error:
        raise NoAnswer(f"not an answer of Pointsman: {error}", "bad_answer") from None


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
