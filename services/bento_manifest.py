"""The manifest of a user's bento: where it runs, and the tensor contract it may declare; no files read."""

from __future__ import annotations

import os
import re
from typing import Any, Final

import msgspec

from services.manifest import GoldenEntry, Manifest, bad, parse_manifest
from services.refusal import Refusal

GATEWAY: Final = "gateway"
_ROUTE: Final = re.compile(r"/[A-Za-z0-9._~/-]{0,200}\Z")


class TensorRoute(msgspec.Struct, frozen=True, kw_only=True):
    """How tensors reach a service's API: input → argument; output → key, or None where the answer is the value."""

    route: str
    arguments: dict[str, str]
    outputs: dict[str, str] | None


class _Tensors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    route: str
    argument: str | dict[str, str] | None = None
    output: str | dict[str, str] | None = None


class _BentoGolden(GoldenEntry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Golden rows as values, or (`inputs`) an npz file inside the bento."""

    inputs: str = ""
    rows: dict[str, Any] | None = None
    outputs: dict[str, Any] | None = None


class BentoManifest(Manifest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the manifest of a bento may say beside what every manifest may."""

    golden: _BentoGolden | None = None
    python: str | None = None
    tracing: bool = False
    tensors: _Tensors | None = None

    def tensor_route(self) -> TensorRoute | None:
        """The contract with every name spelt out; raises Refusal where the signature does not fit it."""
        if self.tensors is None:
            return None
        signature = self.signature
        if signature is None:
            raise Refusal("a tensor contract needs a signature", code="signature_needed", field="signature")
        inputs = [spec.name for spec in signature.inputs]
        outputs = [spec.name for spec in signature.outputs]
        return TensorRoute(
            route=self.tensors.route,
            arguments=_mapping(self.tensors.argument, inputs, "tensors.argument"),
            outputs=_outputs(self.tensors.output, outputs),
        )


def read_bento_manifest(data: bytes) -> BentoManifest:
    """The manifest in `data` (YAML or JSON); raises Refusal `bad_manifest` naming the field."""
    manifest = parse_manifest(data, BentoManifest)
    if manifest.artifacts:
        raise bad("a bento's artifacts are its own files; they are listed at registration", "artifacts")
    if manifest.python not in (None, GATEWAY) and not os.path.isabs(manifest.python or ""):
        raise bad(f"must be {GATEWAY!r} or the absolute path of an interpreter", "python")
    if manifest.tensors is not None and not _ROUTE.match(manifest.tensors.route):
        raise bad("must be the path of an API, such as /predict", "tensors.route")
    if manifest.tensors is None and (manifest.rowwise or manifest.signature is not None):
        raise bad("a signature and rowwise are for a tensor contract: say which route takes it", "tensors")
    golden = manifest.golden
    if golden is not None and (golden.rows is None) == (not golden.inputs):
        raise bad("give either rows or inputs", "golden")
    if manifest.rowwise and manifest.signature is not None:
        for kind, tensors in (("inputs", manifest.signature.inputs), ("outputs", manifest.signature.outputs)):
            for index, spec in enumerate(tensors):
                if not spec.shape or spec.shape[0] != -1:
                    raise bad("must lead with -1 where rowwise is true", f"signature.{kind}[{index}].shape")
    return manifest


def _mapping(stated: str | dict[str, str] | None, names: list[str], field: str) -> dict[str, str]:
    """Each tensor's name in the service; a text is for the only tensor there is, nothing means: the same."""
    if stated is None:
        return {name: name for name in names}
    if isinstance(stated, str):
        if len(names) != 1:
            raise bad(f"there are {len(names)} tensors: map each of {names}", field)
        return {names[0]: stated}
    if set(stated) != set(names):
        raise bad(f"maps {sorted(stated)}, the signature has {names}", field)
    if len(set(stated.values())) != len(stated):
        raise bad("maps two tensors to one name", field)
    return {name: stated[name] for name in names}


def _outputs(stated: str | dict[str, str] | None, names: list[str]) -> dict[str, str] | None:
    if stated is not None:
        return _mapping(stated, names, "tensors.output")
    if len(names) != 1:
        raise bad(f"the answer can be the value of one output only: map each of {names}", "tensors.output")
    return None
