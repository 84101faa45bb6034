"""Request bodies and query parameters as typed values; what is unknown or wrong is a 400 that names it."""

from __future__ import annotations

import asyncio
import re
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from router.clock import parse_rfc3339
from router.control.plane import plane_of
from router.errors import BadInput, ReceiveTimeout, TooLarge

BODY_BYTES = 1 << 20
REASON_CHARS = 2_000
WHERE = re.compile(r" - at `\$\.?([^`]*)`$")
MISSING = re.compile(r"missing required field `([^`]+)`")
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)\Z")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

Form = TypeVar("Form", bound=msgspec.Struct)


class Promote(msgspec.Struct, frozen=True):
    """Body of `promote`."""

    version: str
    reason: str | None = None
    allow_breaking: bool = False


class Restore(msgspec.Struct, frozen=True):
    """Body of `registry/restore`; it may be empty."""

    reason: str | None = None


class Rollback(msgspec.Struct, frozen=True):
    """Body of `rollback`; it may be empty."""

    to: str | None = None
    reason: str | None = None
    allow_breaking: bool = False


class Fallback(msgspec.Struct, frozen=True):
    """Body of `fallback`: a version, `auto` or `none`."""

    to: str
    reason: str | None = None


class Split(msgspec.Struct, frozen=True):
    """Body of `split`; weights in percent."""

    weights: dict[str, float]
    reason: str | None = None
    allow_breaking: bool = False


class Deploy(msgspec.Struct, frozen=True):
    """Body of `deploy`; it may be empty."""

    replicas: int = 1
    reason: str | None = None


class Undeploy(msgspec.Struct, frozen=True):
    """Body of `undeploy`; it may be empty."""

    force: bool = False
    reason: str | None = None


class Bento(msgspec.Struct, frozen=True):
    """Body of a registration by tag; the manifest as an object."""

    bento: str
    version: str | None = None
    manifest: dict[str, Any] | None = None
    reason: str | None = None


async def read_form(request: Request, form: type[Form]) -> Form:
    """The JSON object of the body as `form`; an empty body is `{}`. Raises BadInput, TooLarge, ReceiveTimeout."""
    raw = await _received(request)
    try:
        document = msgspec.json.decode(bytes(raw) or b"{}")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadInput(f"the body is no JSON: {error}", code="bad_json") from None
    if not isinstance(document, dict):
        raise BadInput("the body must be a JSON object")
    for name in document:
        if name not in form.__struct_fields__:
            known = ", ".join(form.__struct_fields__)
            raise BadInput(
                f"unknown field {name[:80]!r}; known: {known}", code="unknown_field", field=name[:80]
            )
    try:
        found = msgspec.convert(document, form)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None
    reason = getattr(found, "reason", None)
    if reason is not None and len(reason) > REASON_CHARS:
        raise BadInput(f"reason is over {REASON_CHARS} characters", field="reason")
    return found


async def _received(request: Request) -> bytearray:
    raw = bytearray()
    try:
        async with asyncio.timeout(plane_of(request).settings.receive_timeout_ms / 1e3):
            async for chunk in request.stream():
                raw += chunk
                if len(raw) > BODY_BYTES:
                    raise TooLarge(f"the body is over {BODY_BYTES} bytes")
    except TimeoutError as error:
        raise ReceiveTimeout("the body did not arrive in time") from error
    return raw


def _wrong(text: str) -> BadInput:
    """msgspec's complaint with the place as our `field`."""
    missing = MISSING.search(text)
    if missing:
        return BadInput(f"{missing[1]} is missing", field=missing[1])
    where = WHERE.search(text)
    if where is None:
        return BadInput(text)
    return BadInput(f"{where[1]}: {text[: where.start()].lower()}", field=where[1])


def only(request: Request, *names: str) -> None:
    """Raises BadInput naming a query parameter that is not among `names`, or is there twice."""
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in names or given.count(name) > 1:
            known = ", ".join(names) or "none"
            text = f"query parameter {name[:80]!r} is unknown or repeated; known: {known}"
            raise BadInput(text, code="unknown_field", field=name[:80])


def integer(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A query parameter as a whole number of `low`…`high`."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 18 or not low <= int(text) <= high:
        raise BadInput(f"{name} must be a whole number from {low} to {high}", field=name)
    return int(text)


def seconds(request: Request, name: str, high: float) -> float | None:
    """A query parameter as seconds of 0…`high`; None where it is not there."""
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= high:
        raise BadInput(f"{name} must be a number of seconds from 0 to {high:g}", field=name)
    return found


def moment(text: str, now: float, field: str) -> float:
    """Unix seconds of an RFC 3339 time, or of a duration before `now` such as `10m`. Raises BadInput."""
    duration = DURATION.match(text)
    try:
        if duration is not None:
            return now - float(duration[1]) * UNITS[duration[2]]
        return parse_rfc3339(text)
    except (ValueError, OverflowError):
        raise BadInput(
            f"{field} must be a time such as 2026-11-24T07:00:00Z or a duration such as 10m", field=field
        ) from None
