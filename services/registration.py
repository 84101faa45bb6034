"""Decides whether a file may become a version and writes its document; runs where limits already hold."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from services.archive import unpack
from services.artifact import Artifact, read_plain, sha256, split_path
from services.datatype import datatype_of
from services.document import ArtifactFile, Golden, Signature, TensorSpec, digest_of
from services.golden import Arrays, GoldenVectors, compare, read_golden, write_golden
from services.graph import Graph, examine
from services.manifest import Manifest, read_manifest
from services.probe import batchable_shape, generated_inputs, not_rowwise
from services.refusal import Refusal
from services.session import InputError, ModelError, Session
from services.store import GOLDEN_FILE, tag_of

MODEL_FILE: Final = "model.onnx"
_RESERVED: Final = frozenset({MODEL_FILE, GOLDEN_FILE, "model.yaml"})
_GENERATED_ROWS: Final = 8


@dataclass(frozen=True, slots=True)
class Source:
    """What was handed in: a folder, the model's file in it where known, a manifest where given."""

    folder: Path
    file: str | None
    manifest: Manifest


def open_source(artifact: Path, manifest: Path | None, scratch: Path) -> Source:
    """`artifact` as a folder: itself, its own folder, or `scratch` with the tar unpacked; raises Refusal."""
    if artifact.is_symlink():
        raise Refusal(f"{artifact.name} is a link", code="artifact_link")
    if artifact.is_dir():
        folder, file = artifact, None
    elif not artifact.is_file():
        raise Refusal(f"{artifact.name} is not there", code="artifact_missing")
    elif artifact.suffix == ".tar" or artifact.name.endswith((".tar.gz", ".tgz", ".tar.xz")):
        folder, file = scratch / "unpacked", None
        folder.mkdir()
        unpack(artifact, folder)
    else:
        folder, file = artifact.parent, artifact.name
    if manifest is not None:
        return Source(folder, file, read_manifest(manifest.read_bytes()))
    if file is None and (folder / "manifest.yaml").is_file():
        return Source(folder, file, read_manifest(read_plain(folder, "manifest.yaml")))
    return Source(folder, file, Manifest())


def register(source: Source, model: str, version: str, stage: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The version document and a report; the files to be stored are left in `stage`.

    Raises Refusal with the reason; `services.inspect` documents the codes.
    """
    manifest = source.manifest
    for field, written, asked in (("model", manifest.model, model), ("version", manifest.version, version)):
        if written not in (None, asked):
            raise Refusal(
                f"the manifest is for {field} {written!r}, not {asked!r}",
                code="manifest_mismatch",
                field=field,
            )
    artifact, graph = _read(source)
    started = time.perf_counter()
    stated = manifest.stated_signature()
    session = Session(artifact, graph, signature=stated)
    report: dict[str, Any] = {"load_ms": round((time.perf_counter() - started) * 1000, 1)}
    if graph.classes:
        report["zipmap"] = {name: list(labels) for name, labels in graph.classes.items()}
    golden, inputs = _golden_inputs(source, session.signature, graph)
    outputs = _outputs(session, inputs, golden is not None)
    signature = stated or _observed(session.own_signature, outputs, graph)
    _check_outputs(signature, outputs)
    atol = manifest.golden.atol if manifest.golden is not None else 1e-5
    if golden is not None:
        _check_golden(golden, outputs, signature, atol)
        report["golden"] = {"outputs": sorted(golden.outputs), "generated": False}
    else:
        golden = GoldenVectors(inputs, outputs)
        report["golden"] = {"outputs": sorted(outputs), "generated": True}
    rowwise, reason = _rowwise(session, signature, manifest.rowwise, inputs, atol)
    report["rowwise"] = {"rowwise": rowwise, "reason": reason}
    vectors = _golden_bytes(source, golden, report["golden"]["generated"])
    document = _document(source, model, version, artifact, signature, rowwise)
    document["golden"] = _plain(
        Golden(inputs=GOLDEN_FILE, atol=atol, sha256=sha256(vectors), generated=report["golden"]["generated"])
    )
    document["golden"]["atol"] = atol
    files = {MODEL_FILE: artifact.model, **artifact.external, GOLDEN_FILE: vectors}
    document["store"] = tag_of(model, files)
    _stage(stage, files)
    return document, report


def _read(source: Source) -> tuple[Artifact, Graph]:
    """The model and its external data, digests compared with those the manifest states."""
    name = source.file or _model_name(source)
    stated = {file.path: file.sha256 for file in source.manifest.artifacts}
    data = read_plain(source.folder, name)
    graph = examine(data)
    external = {}
    for location in graph.external:
        if location in _RESERVED:
            raise Refusal(f"external data may not be called {location}", code="path_outside")
        external[location] = read_plain(source.folder, location)
    read = {MODEL_FILE: data, name: data, **external}
    for index, file in enumerate(source.manifest.artifacts):
        # One .onnx file uploaded under another name is still the artifact that is meant.
        found = read.get("/".join(split_path(file.path)), data if len(stated) == 1 else None)
        field = f"artifacts[{index}]"
        if found is None:
            raise Refusal(
                f"{file.path} is no part of this model", code="artifact_missing", field=f"{field}.path"
            )
        if sha256(found) != file.sha256:
            raise Refusal(
                f"{file.path} has the SHA-256 {sha256(found)}, the manifest says {file.sha256}",
                code="artifact_altered",
                field=f"{field}.sha256",
            )
    files = (
        ArtifactFile(path=MODEL_FILE, sha256=sha256(data)),
        *(ArtifactFile(path=path, sha256=sha256(found)) for path, found in external.items()),
    )
    return Artifact(data, external, files), graph


def _model_name(source: Source) -> str:
    listed = [file.path for file in source.manifest.artifacts if file.path.endswith(".onnx")]
    names = listed or sorted(path.name for path in source.folder.iterdir() if path.name.endswith(".onnx"))
    if MODEL_FILE in names:
        return MODEL_FILE
    if len(names) == 1:
        return names[0]
    raise Refusal(f"there must be one .onnx file, found {names[:10]}", code="artifact_missing")


def _golden_inputs(source: Source, signature: Signature, graph: Graph) -> tuple[GoldenVectors | None, Arrays]:
    stated = source.manifest.golden
    if stated is None:
        for spec in signature.inputs:
            if not spec.shape and spec.name not in graph.ranked and source.manifest.signature is None:
                raise Refusal(
                    f"the model does not state the shape of {spec.name!r}: give a signature",
                    code="signature_needed",
                    field="signature",
                )
        return None, generated_inputs(signature, _GENERATED_ROWS, 3)
    try:
        data = read_plain(source.folder, stated.inputs)
    except Refusal as error:
        raise Refusal(
            f"the golden vectors: {error.text}; send them with the model in one tar",
            code="golden_missing",
            field="golden.inputs",
        ) from None
    if stated.sha256 not in (None, sha256(data)):
        raise Refusal("the golden vectors were altered", code="artifact_altered", field="golden.sha256")
    golden = read_golden(data)
    return golden, golden.inputs


def _golden_bytes(source: Source, golden: GoldenVectors, generated: bool) -> bytes:
    if generated or source.manifest.golden is None:
        return write_golden(golden)
    return read_plain(source.folder, source.manifest.golden.inputs)


def _outputs(session: Session, inputs: Arrays, given: bool) -> Arrays:
    try:
        return dict(session.run(inputs)[0])
    except InputError as error:
        raise Refusal(
            f"the golden vectors do not fit: {error}", code="golden_invalid", field=error.field
        ) from None
    except ModelError as error:
        if "allocate" in str(error) or "bad_alloc" in str(error):
            raise MemoryError from None
        if given:
            raise Refusal(f"the model fails on its golden vectors: {error}", code="model_failed") from None
        raise Refusal(
            f"the model fails on made-up inputs ({error}): give golden vectors to judge it by",
            code="golden_needed",
            field="golden",
        ) from None


def _observed(own: Signature, outputs: Arrays, graph: Graph) -> Signature:
    """The file's signature; an output whose rank nothing states takes that of its golden output."""
    return Signature(inputs=own.inputs, outputs=tuple(_seen(spec, outputs, graph) for spec in own.outputs))


def _seen(spec: TensorSpec, outputs: Arrays, graph: Graph) -> TensorSpec:
    if spec.shape or spec.name in graph.ranked:
        return spec
    return msgspec.structs.replace(spec, shape=(-1,) * outputs[spec.name].ndim)


def _check_outputs(signature: Signature, outputs: Arrays) -> None:
    """Raises Refusal `signature_mismatch` where the model's answer is not what the signature says."""
    for index, spec in enumerate(signature.outputs):
        array = outputs[spec.name]
        fits = len(spec.shape) == array.ndim and all(
            want in (-1, have) for want, have in zip(spec.shape, array.shape, strict=True)
        )
        if not fits or datatype_of(array) != spec.datatype:
            raise Refusal(
                f"output {spec.name!r} came as {datatype_of(array)} {list(array.shape)}, not {spec.datatype}"
                f" {list(spec.shape)}",
                code="signature_mismatch",
                field=f"signature.outputs[{index}].shape",
            )


def _check_golden(golden: GoldenVectors, outputs: Arrays, signature: Signature, atol: float) -> None:
    missing = {spec.name for spec in signature.outputs} - set(golden.outputs)
    if missing:
        raise Refusal(
            f"the golden vectors lack the outputs {sorted(missing)} (arrays named out:NAME)",
            code="golden_invalid",
            field="golden.inputs",
        )
    compare(outputs, golden.outputs, atol)


def _rowwise(
    session: Session, signature: Signature, stated: bool | None, inputs: Arrays, atol: float
) -> tuple[bool, str | None]:
    """Whether rows of several callers may share a call, and why not; a stated yes that fails is refused."""
    if stated is False:
        return False, "the manifest says so"
    reason = batchable_shape(signature)
    if reason is None:
        names = [spec.name for spec in signature.outputs]
        # One golden row says nothing about rows together: then made-up rows are the witness.
        enough = min((len(array) if array.ndim else 0 for array in inputs.values()), default=0) > 1
        rows = inputs if enough else generated_inputs(signature, _GENERATED_ROWS, 3)
        try:
            reason = not_rowwise(lambda given: dict(session.run(given, names)[0]), rows, atol)
        except (ModelError, InputError) as error:
            reason = f"the probe fails: {error}"
    if reason is not None and stated:
        raise Refusal(f"the manifest says rowwise: true, but {reason}", code="not_rowwise", field="rowwise")
    return reason is None, reason


def _document(
    source: Source, model: str, version: str, artifact: Artifact, signature: Signature, rowwise: bool
) -> dict[str, Any]:
    return {
        "apiVersion": "pointsman/v1",
        "kind": "Version",
        "model": model,
        "version": version,
        "runtime": "onnx",
        "store": None,
        "digest": digest_of(artifact.files),
        "artifacts": _plain(artifact.files),
        "signature": _plain(signature),
        "rowwise": rowwise,
        "golden": None,
        **source.manifest.rest(),
    }


def _plain(value: Any) -> Any:
    """`value` as JSON reads it back: tuples as lists."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _stage(stage: Path, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        target = stage / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
