"""The version document as a replica reads it, its signature and its digest; values only, no files."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec
import rfc8785

from services.refusal import Refusal


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One input or output: name, Open Inference Protocol datatype, shape with -1 for a variable dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    missing: Literal["refuse", "allow"] = "refuse"
    sensitive: Literal["", "drop", "hash"] = ""


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """The tensors a version takes and gives, in the artifact's own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class ArtifactFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the artifact: its path inside the artifact's folder and its SHA-256 in hex."""

    path: str
    sha256: str


class Golden(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Golden vectors: the file inside the artifact's folder, its SHA-256 and the absolute tolerance."""

    inputs: str
    atol: float = 1e-5
    sha256: str | None = None
    generated: bool = False


class VersionDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What running a version needs of its document; everything else in it is passed over."""

    model: str
    version: str
    store: str
    digest: str
    artifacts: tuple[ArtifactFile, ...]
    signature: Signature
    runtime: Literal["onnx"] = "onnx"
    rowwise: bool = False
    golden: Golden | None = None


def read_document(data: bytes) -> VersionDocument:
    """The version document in `data` (JSON); raises Refusal `bad_document` naming the field.

    A document whose digest is not that of its own artifact list is refused too: the digest is what
    requests are logged with.
    """
    try:
        document = msgspec.json.decode(data, type=VersionDocument)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(f"this is no version document of an ONNX model: {error}", code="bad_document") from None
    if document.digest != digest_of(document.artifacts):
        raise Refusal("the digest is not that of the artifacts listed", code="bad_document", field="digest")
    return document


def digest_of(artifacts: tuple[ArtifactFile, ...]) -> str:
    """The version's digest: of one artifact its SHA-256, of several that of their RFC 8785 JSON list."""
    if len(artifacts) == 1:
        return artifacts[0].sha256
    listed: list[Any] = [{"path": item.path, "sha256": item.sha256} for item in artifacts]
    return hashlib.sha256(rfc8785.dumps(listed)).hexdigest()
