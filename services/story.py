"""What a manifest tells of a version: lineage, metrics, baseline, card; checked by field name, kept as given."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.refusal import Refusal

SHA256: Final = re.compile(r"[0-9a-f]{64}\Z")
# A parent is a version of the same model, or of another as MODEL/VERSION.
_PARENT: Final = re.compile(r"([a-z0-9][a-z0-9._-]{0,62}/)?[a-z0-9][a-z0-9._-]{0,62}\Z")
_KEY: Final = re.compile(r"[^\s\x00-\x1f\x7f]{1,128}\Z")
_TEXT_CHARS: Final = 10_000


class _Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """Other keys than these are kept, and mean nothing here."""

    name: str
    uri: str | None = None
    sha256: str | None = None
    rows: int | None = None
    since: str | None = msgspec.field(default=None, name="from")
    until: str | None = msgspec.field(default=None, name="to")
    transform: str | None = None


class _Lineage(msgspec.Struct, frozen=True, kw_only=True):
    commit: str | None = None
    parent: str | None = None
    recipe: str | None = None
    params: dict[str, Any] | None = None
    libraries: dict[str, str] | None = None
    datasets: tuple[_Dataset, ...] = ()


class _Baseline(msgspec.Struct, frozen=True, kw_only=True):
    file: str
    label: str | None = None
    sha256: str | None = None


class _Card(msgspec.Struct, frozen=True, kw_only=True):
    owner: str | None = None
    purpose: str | None = None
    limits: str | None = None
    riskTier: str | None = None


def check_story(
    lineage: Mapping[str, Any] | None,
    metrics: Mapping[str, Any] | None,
    baseline: Mapping[str, Any] | None,
    card: Mapping[str, Any] | None,
) -> None:
    """Raises Refusal `bad_manifest` naming the field; None means that the part was left out."""
    if lineage is not None:
        _lineage(_typed(lineage, _Lineage, "lineage"))
    if metrics is not None:
        _keys(metrics, "metrics")
        for name, value in metrics.items():
            if not isinstance(value, str | int | float | bool):
                raise _bad("must be a number, text or a boolean", f"metrics.{name}")
    if baseline is not None:
        found = _typed(baseline, _Baseline, "baseline")
        _plain_path(found.file, "baseline.file")
        _digest(found.sha256, "baseline.sha256")
    if card is not None:
        told = _typed(card, _Card, "card")
        for name in told.__struct_fields__:
            text = getattr(told, name)
            if text is not None and not 0 < len(text.strip()) <= _TEXT_CHARS:
                raise _bad(f"must be text of 1 to {_TEXT_CHARS} characters", f"card.{name}")


def split_complaint(message: str) -> tuple[str, str | None]:
    """msgspec's "text - at `$.path`" as text and path."""
    text, _, path = message.partition(" - at `")
    unknown = re.search(r"unknown field `([^`]*)`|missing required field `([^`]*)`", text)
    field = path.rstrip("`").removeprefix("$").lstrip(".")
    if unknown:
        field = f"{field}.{unknown.group(1) or unknown.group(2)}".lstrip(".")
    return text, field or None


def _typed(value: Mapping[str, Any], kind: type[Any], prefix: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        text, field = split_complaint(str(error))
        if text.startswith("Expected `str`") and field is not None:
            text += "; put it in quotes"
        if field is not None and field.endswith("[...]"):  # msgspec does not say which key of a map
            place, inner = field.removesuffix("[...]"), value.get(field.removesuffix("[...]"), {})
            wrong = next((name for name, each in inner.items() if not isinstance(each, str)), "…")
            field = f"{place}.{wrong}"
        raise _bad(text, f"{prefix}.{field}" if field else prefix) from None


def _lineage(found: _Lineage) -> None:
    if found.parent is not None and not _PARENT.match(found.parent):
        raise _bad("must be a version, or MODEL/VERSION", "lineage.parent")
    for name, texts in (("params", found.params), ("libraries", found.libraries)):
        _keys(texts or {}, f"lineage.{name}")
    names = [dataset.name for dataset in found.datasets]
    for index, dataset in enumerate(found.datasets):
        field = f"lineage.datasets[{index}]"
        if not dataset.name.strip() or dataset.name in names[:index]:
            raise _bad("must be a name that no other data set here has", f"{field}.name")
        _digest(dataset.sha256, f"{field}.sha256")
        if dataset.rows is not None and dataset.rows < 0:
            raise _bad("must not be negative", f"{field}.rows")
        since, until = _moment(dataset.since), _moment(dataset.until)
        if since is not None and until is not None and until < since:
            raise _bad("lies before `from`", f"{field}.to")


def _moment(text: str | None) -> datetime.datetime | None:
    """A date or a time as a time, without a zone UTC's; None for another kind of bound, such as `row 1200`."""
    try:
        found = None if text is None else datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found is None or found.tzinfo is not None else found.replace(tzinfo=datetime.UTC)


def _digest(text: str | None, field: str) -> None:
    if text is not None and not SHA256.match(text):
        raise _bad("must be 64 lower-case hex digits", field)


def _keys(named: Mapping[str, Any], field: str) -> None:
    for name in named:
        if not _KEY.match(name):
            raise _bad(f"{name[:80]!r}: names are 1 to 128 characters without spaces", field)


def _plain_path(text: str, field: str) -> None:
    parts = text.split("/")
    if not text or text.startswith("/") or "\\" in text or any(part in ("", ".", "..") for part in parts):
        raise _bad("must be a path beside the manifest, without ..", field)


def _bad(text: str, field: str) -> Refusal:
    return Refusal(f"{field}: {text}", code="bad_manifest", field=field)
