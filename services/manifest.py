"""A version's manifest as people write it (YAML): parsed, checked, and refused by field name; no files read."""

from __future__ import annotations

import datetime
import math
import re
from typing import Any, Final, Literal, TypeVar

import msgspec
import yaml

from services.datatype import DATATYPES
from services.document import ArtifactFile, Signature, TensorSpec
from services.refusal import Refusal
from services.story import SHA256, check_story, split_complaint

MAX_BYTES: Final = 1 << 20
_MAX_DEPTH: Final = 32
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")


class _Tensor(TensorSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tensor of a manifest: a misspelt key is refused, not lost."""


class _Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    inputs: tuple[_Tensor, ...]
    outputs: tuple[_Tensor, ...]


class GoldenEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The golden vectors of a manifest: a file beside it."""

    inputs: str
    atol: float = 1e-5
    sha256: str | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a manifest may say. Free-form parts are dicts; `apiVersion` and `kind` are fixed."""

    apiVersion: Literal["pointsman/v1"] = "pointsman/v1"
    kind: Literal["Version"] = "Version"
    model: str | None = None
    version: str | None = None
    artifacts: tuple[ArtifactFile, ...] = ()
    signature: _Signature | None = None
    rowwise: bool | None = None
    lineage: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    golden: GoldenEntry | None = None
    baseline: dict[str, Any] | None = None
    card: dict[str, Any] | None = None

    def stated_signature(self) -> Signature | None:
        """The signature, if the manifest states one."""
        if self.signature is None:
            return None
        return Signature(
            inputs=tuple(map(_plain_spec, self.signature.inputs)),
            outputs=tuple(map(_plain_spec, self.signature.outputs)),
        )

    def rest(self) -> dict[str, Any]:
        """The parts kept as given."""
        found = {
            "lineage": self.lineage,
            "metrics": self.metrics,
            "baseline": self.baseline,
            "card": self.card,
        }
        return {name: value for name, value in found.items() if value is not None}


_Kind = TypeVar("_Kind", bound=Manifest)


def _plain_spec(spec: _Tensor) -> TensorSpec:
    return TensorSpec(
        name=spec.name,
        datatype=spec.datatype,
        shape=spec.shape,
        missing=spec.missing,
        sensitive=spec.sensitive,
    )


def read_manifest(data: bytes) -> Manifest:
    """The manifest in `data`; raises Refusal `bad_manifest` naming the field."""
    return parse_manifest(data, Manifest)


def parse_manifest(data: bytes, kind: type[_Kind]) -> _Kind:
    """The same as a manifest of that `kind`."""
    raw = _plain(_parse(data), "", 0)
    try:
        manifest = msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise bad(*_split(str(error))) from None
    _check(manifest)
    check_story(manifest.lineage, manifest.metrics, manifest.baseline, manifest.card)
    return manifest


def bad(text: str, field: str | None) -> Refusal:
    """The refusal of a manifest, naming the field where there is one."""
    return Refusal(f"{field}: {text}" if field else text, code="bad_manifest", field=field)


def check_name(value: str, field: str) -> str:
    """A model's or version's name; raises Refusal `bad_name`."""
    if NAME.match(value):
        return value
    raise Refusal(
        f"{field} must match [a-z0-9][a-z0-9._-]{{0,62}}, got {value[:80]!r}", code="bad_name", field=field
    )


class _Loader(yaml.SafeLoader):
    """Safe loading without aliases: an alias lets a few lines stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise bad("YAML aliases are not accepted", None)
        return super().compose_node(parent, index)


def _parse(data: bytes) -> Any:
    if len(data) > MAX_BYTES:
        raise bad(f"a manifest may have {MAX_BYTES} bytes", None)
    try:
        return yaml.load(data, _Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise bad(f"the manifest is no YAML: {' '.join(str(error).split())[:300]}", None) from None


def _plain(value: Any, field: str, depth: int) -> Any:
    """`value` as JSON can hold it: dates as ISO text; what has no JSON form is refused."""
    if depth > _MAX_DEPTH:
        raise bad("the manifest is nested too deeply", field)
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise bad(f"keys are text, got {key!r}", field or None)
        return {key: _plain(item, f"{field}.{key}".lstrip("."), depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, f"{field}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        raise bad("must be a finite number", field)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise bad("must be a number of 64 bits", field)
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise bad(f"{type(value).__name__} has no JSON form", field)


def _split(message: str) -> tuple[str, str | None]:
    text, field = split_complaint(message)
    if text.startswith("Expected `str`") and field in ("version", "model"):
        text += "; put it in quotes"
    return text, field


def _check(manifest: Manifest) -> None:
    if manifest.model is not None:
        check_name(manifest.model, "model")
    if manifest.version is not None:
        check_name(manifest.version, "version")
    for index, file in enumerate(manifest.artifacts):
        if not SHA256.match(file.sha256):
            raise bad("must be 64 lower-case hex digits", f"artifacts[{index}].sha256")
    if manifest.golden is not None and not 0 <= manifest.golden.atol <= 1:
        raise bad("must be from 0 to 1", "golden.atol")
    if manifest.golden is not None and not SHA256.match(manifest.golden.sha256 or "0" * 64):
        raise bad("must be 64 lower-case hex digits", "golden.sha256")
    if manifest.signature is not None:
        _check_tensors(manifest.signature.inputs, "signature.inputs")
        _check_tensors(manifest.signature.outputs, "signature.outputs")


def _check_tensors(tensors: tuple[_Tensor, ...], field: str) -> None:
    if not tensors:
        raise bad("names no tensor", field)
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise bad("names a tensor twice", field)
    for index, tensor in enumerate(tensors):
        if tensor.datatype not in DATATYPES:
            raise bad(f"{tensor.datatype!r} is none of {sorted(DATATYPES)}", f"{field}[{index}].datatype")
        if any(size < -1 for size in tensor.shape):
            raise bad("sizes are -1 (variable) or not negative", f"{field}[{index}].shape")
        if tensor.missing == "allow" and not tensor.datatype.startswith("FP"):
            raise bad("only FP tensors can hold NaN for what is missing", f"{field}[{index}].missing")
