"""Manifests: a Refusal that names its field, or a manifest that reads the same when it is written again."""

# ruff: noqa: PT017 (an error is one of the two right outcomes)

from __future__ import annotations

import msgspec

from services.bento_manifest import read_bento_manifest
from services.manifest import Manifest, read_manifest
from services.refusal import Refusal


def check(data: bytes) -> None:
    """As the manifest of a version, and of a bento."""
    for read in (read_manifest, read_bento_manifest):
        try:
            found: Manifest = read(data)
        except Refusal as refusal:
            assert refusal.code in ("bad_manifest", "bad_name"), refusal.code
            msgspec.json.encode(refusal.body())
            continue
        found.stated_signature()
        found.rest()
        # JSON is YAML: what was read can be stored, and is the same when it is read back.
        again = read(msgspec.json.encode(found))
        assert again == found, (again, found)
    _route(data)


def _route(data: bytes) -> None:
    try:
        read_bento_manifest(data).tensor_route()
    except Refusal as refusal:
        msgspec.json.encode(refusal.body())
