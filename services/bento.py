"""The registration tool of users' bentos: judges a stored bento by its files and copies it; runs none of its code.

`python -m services.bento --tag TAG --home FOLDER --model NAME --version V [--manifest FILE] [--store]` looks the
tag up in the BentoML home FOLDER and, with `--store`, copies the bento and the models it refers to into the home
that BENTOML_HOME names. It prints one JSON document as services.inspect does: `{"ok": true, "document", "report"}`
or `{"ok": false, "error", "code", "field"?}`, and exits with 0.

Codes: unknown_bento, bento_invalid, bento_too_large, bento_altered; artifact_link, artifact_missing,
path_outside; bad_manifest, bad_name, manifest_mismatch, signature_needed, golden_missing, golden_invalid,
golden_needed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from services.bento_manifest import BentoManifest, TensorRoute, read_bento_manifest
from services.bento_store import StoredBento, find_bento, put_bento
from services.document import digest_of
from services.golden import read_golden
from services.manifest import check_name
from services.refusal import Refusal
from services.requirements import Requirements, requirements_of

GOLDEN_ROWS = 32


def main(arguments: list[str] | None = None) -> int:
    """Judges one bento and prints the verdict; returns 0."""
    options = _options(arguments)
    try:
        verdict = _verdict(options)
    except Refusal as refusal:
        verdict = {"ok": False, **refusal.body()}
    except OSError as error:
        text = f"the bento's files cannot be copied: {error.strerror or error}"
        verdict = {"ok": False, "error": text, "code": "artifact_missing"}
    print(json.dumps(verdict, allow_nan=False), flush=True)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="services.bento", description=__doc__)
    parser.add_argument("--tag", required=True, help="NAME:VERSION, or NAME for the latest")
    parser.add_argument("--home", type=Path, required=True, help="the BentoML home to look in")
    parser.add_argument("--model", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--max-bytes", type=int, default=4 << 30, help="of the bento and its models")
    parser.add_argument("--store", action="store_true", help="copy it into the home BENTOML_HOME names")
    return parser.parse_args(arguments)


def _verdict(options: argparse.Namespace) -> dict[str, Any]:
    started = time.perf_counter()
    check_name(options.model, "model")
    check_name(options.version, "version")
    data = b"" if options.manifest is None else options.manifest.read_bytes()
    manifest = read_bento_manifest(data) if data else BentoManifest()
    for field, written, asked in (
        ("model", manifest.model, options.model),
        ("version", manifest.version, options.version),
    ):
        if written not in (None, asked):
            raise Refusal(
                f"the manifest is for {field} {written!r}, not {asked!r}",
                code="manifest_mismatch",
                field=field,
            )
    bento = find_bento(options.home, options.tag, options.max_bytes)
    document = describe(bento, manifest, options.model, options.version)
    if options.store:
        document["store"] = put_bento(bento, Path(os.environ["BENTOML_HOME"]))
    report = {
        "files": len(bento.files),
        "bytes": bento.size,
        "models": list(bento.models),
        "warnings": list(bento.warnings),
        "took_s": round(time.perf_counter() - started, 2),
    }
    return {"ok": True, "document": document, "report": report}


def describe(bento: StoredBento, manifest: BentoManifest, model: str, version: str) -> dict[str, Any]:
    """The version document of a bento; raises Refusal where manifest and bento do not go together."""
    requirements = requirements_of(bento)
    signature, tensors = manifest.stated_signature(), manifest.tensor_route()
    if tensors is not None:
        bento.require_route(tensors.route)
    rowwise = bool(manifest.rowwise)
    golden = _golden(bento, manifest, tensors)
    if rowwise and golden is None:
        raise Refusal(
            "rowwise: true needs golden rows to prove it by: golden: {rows: {INPUT: [ROW, …]}}, two at least",
            code="golden_needed",
            field="golden",
        )
    return {
        "apiVersion": "pointsman/v1",
        "kind": "Version",
        "model": model,
        "version": version,
        "runtime": "bento",
        "store": None,
        "digest": digest_of(bento.files),
        "artifacts": [{"path": file.path, "sha256": file.sha256} for file in bento.files],
        "signature": _plain(signature),
        "rowwise": rowwise,
        "golden": golden,
        "tensors": _plain(tensors),
        "bento": _about(bento, manifest, requirements),
        **manifest.rest(),
    }


def _about(bento: StoredBento, manifest: BentoManifest, requirements: Requirements) -> dict[str, Any]:
    """What running it needs: `python` null means an environment of its own from `requirements`."""
    return {
        "tag": bento.tag,
        "service": bento.service,
        "bentoml": bento.bentoml,
        "python": manifest.python,
        "tracing": manifest.tracing,
        "requirements": {"sha256": requirements.sha256, "text": requirements.text},
    }


def _golden(
    bento: StoredBento, manifest: BentoManifest, tensors: TensorRoute | None
) -> dict[str, Any] | None:
    """Golden rows as JSON values in the document, from the manifest or from an npz file inside the bento."""
    stated = manifest.golden
    if stated is None:
        return None
    if tensors is None:
        raise Refusal(
            "golden rows are for bentos with a tensor contract", code="bad_manifest", field="golden"
        )
    rows, outputs = stated.rows, stated.outputs
    if rows is None:
        found = read_golden(bento.read(stated.inputs))
        rows = {name: array.tolist() for name, array in found.inputs.items()}
        outputs = {name: array.tolist() for name, array in found.outputs.items()} or None
    signature = manifest.signature
    assert signature is not None  # a tensor contract has one
    names = {spec.name for spec in signature.inputs}
    if set(rows) != names:
        raise Refusal(
            f"the golden rows are of {sorted(rows)}, the inputs are {sorted(names)}",
            code="golden_invalid",
            field="golden.rows",
        )
    lengths = {len(value) if isinstance(value, list) else -1 for value in rows.values()}
    if manifest.rowwise and (len(lengths) != 1 or not 2 <= min(lengths) <= GOLDEN_ROWS):
        raise Refusal(
            f"there must be 2 to {GOLDEN_ROWS} golden rows, as many of each input",
            code="golden_invalid",
            field="golden.rows",
        )
    return {"rows": rows, "outputs": outputs, "atol": stated.atol}


def _plain(value: Any) -> Any:
    import msgspec

    return msgspec.json.decode(msgspec.json.encode(value))


if __name__ == "__main__":
    sys.exit(main())
