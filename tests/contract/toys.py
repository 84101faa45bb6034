"""Small ONNX models with known answers, and the upload that registers them; nothing here is a test."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import httpx
import numpy as np
import onnx
import yaml
from onnx import helper, numpy_helper

from loadtests.fleet import Fleet
from tests.services.models import centring, external, identity, model, one_node, value

__all__ = ["centring", "external", "identity", "one_node"]

MANY = {
    "i": "INT32",
    "u": "UINT8",
    "l": "INT64",
    "g": "UINT64",
    "f": "FP32",
    "d": "FP64",
    "s": "BYTES",
    "b": "BOOL",
}
"""Inputs of `many`, each [-1]; `NAME_out` is the input itself, but `f` gives `f_missing` and `f_value`."""


def many() -> bytes:
    """One input of each kind, each answered as it came; a missing `f` is told by `f_missing`."""
    echoed = [name for name in MANY if name != "f"]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in echoed]
    nodes += [
        helper.make_node("IsNaN", ["f"], ["f_missing"]),
        helper.make_node("Where", ["f_missing", "zero", "f"], ["f_value"]),
    ]
    outputs = [value(f"{name}_out", [None], MANY[name]) for name in echoed]
    outputs += [value("f_missing", [None], "BOOL"), value("f_value", [None])]
    inputs = [value(name, [None], kind) for name, kind in MANY.items()]
    return model(nodes, inputs, outputs, [numpy_helper.from_array(np.float32(0), "zero")])


def many_manifest() -> dict[str, Any]:
    """The manifest of `many`: null is allowed in `f`."""
    inputs: list[dict[str, Any]] = [
        {"name": name, "datatype": kind, "shape": [-1]} for name, kind in MANY.items()
    ]
    for spec in inputs:
        if spec["name"] == "f":
            spec["missing"] = "allow"
    outputs = [{"name": f"{n}_out", "datatype": k, "shape": [-1]} for n, k in MANY.items() if n != "f"]
    outputs += [
        {"name": "f_missing", "datatype": "BOOL", "shape": [-1]},
        {"name": "f_value", "datatype": "FP32", "shape": [-1]},
    ]
    return {"signature": {"inputs": inputs, "outputs": outputs}, "rowwise": True}


def picky() -> bytes:
    """y = log(x), which is not finite for x ≤ 0; z = 10 · i, which fails the whole call for i > 9."""
    return model(
        [helper.make_node("Log", ["x"], ["y"]), helper.make_node("Gather", ["table", "i"], ["z"])],
        [value("x", [None, 1]), value("i", [None], "INT64")],
        [value("y", [None, 1]), value("z", [None], "INT64")],
        [numpy_helper.from_array(np.arange(10, dtype=np.int64) * 10, "table")],
    )


def picky_golden() -> dict[str, Any]:
    """Its golden vectors."""
    x = np.arange(1, 9, dtype=np.float32).reshape(8, 1)
    i = np.arange(8, dtype=np.int64)
    return {"x": x, "i": i, "out:y": np.log(x), "out:z": i * 10}


def slow() -> bytes:
    """Multiplies large matrices n times: some milliseconds for each of n; answers the mean."""
    weights = numpy_helper.from_array(np.eye(400, dtype=np.float32), "w")
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["goes"]),
            helper.make_node("MatMul", ["state", "w"], ["next"]),
        ],
        "body",
        [value("turn", [], "INT64"), value("going", [], "BOOL"), value("state", [400, 400])],
        [value("goes", [], "BOOL"), value("next", [400, 400])],
    )
    nodes = [
        helper.make_node("Loop", ["n", "yes", "w"], ["last"], body=body),
        helper.make_node("ReduceMean", ["last"], ["mean"], axes=[0, 1], keepdims=0),
        helper.make_node("Reshape", ["mean", "one"], ["y"]),
    ]
    initializers = [
        weights,
        numpy_helper.from_array(np.array(True), "yes"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
    ]
    return model(nodes, [value("n", [1], "INT64")], [value("y", [1])], initializers)


def unknown_operator() -> bytes:
    """A node no runtime of ours has."""
    node = helper.make_node("Teleport", ["x"], ["y"], domain="org.example")
    return model([node], [value("x", [None, 3])], [value("y", [None, 3])], domains=("org.example",))


def outside(location: str) -> bytes:
    """A model whose external data lies at `location`."""
    return external(location, np.ones(3, np.float32))


def tar(members: dict[str, bytes]) -> bytes:
    """A tar of plain files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def tar_with_link(name: str, target: str) -> bytes:
    """A tar with a model and a symbolic link beside it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        data = outside(name)
        info = tarfile.TarInfo("model.onnx")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, target
        archive.addfile(link)
    return buffer.getvalue()


def golden_file(arrays: dict[str, Any]) -> bytes:
    """Golden vectors as an npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def upload(
    fleet: Fleet,
    name: str,
    artifact: bytes,
    *,
    manifest: dict[str, Any] | bytes | None = None,
    golden: dict[str, Any] | None = None,
    filename: str = "model.onnx",
    **texts: str,
) -> httpx.Response:
    """`POST /models/NAME/versions` as multipart; `texts` are further fields such as `version`."""
    if golden is not None:
        artifact = tar({"model.onnx": artifact, "golden.npz": golden_file(golden)})
        filename = "artifact.tar"
        assert isinstance(manifest, dict)
        manifest = {**manifest, "golden": {"inputs": "golden.npz", "atol": 1e-5}}
    files: dict[str, Any] = {"artifact": (filename, artifact)}
    if manifest is not None:
        text = manifest if isinstance(manifest, bytes) else yaml.safe_dump(stated(manifest)).encode()
        files["manifest"] = ("manifest.yaml", text)
    return fleet.control.post(f"/models/{name}/versions", files=files, data=texts)


def stated(manifest: dict[str, Any]) -> dict[str, Any]:
    """`manifest` with the two fields every one begins with."""
    return {"apiVersion": "pointsman/v1", "kind": "Version", **manifest}


def release(fleet: Fleet, name: str, artifact: bytes, *, promote: bool = True, **options: Any) -> None:
    """Registers, deploys and (unless told not to) promotes a toy."""
    answer = upload(fleet, name, artifact, **options)
    assert answer.status_code == 201, answer.text
    version = answer.json()["version"]
    fleet.ask("POST", f"/models/{name}/versions/{version}/deploy", params={"wait": 60}, json={})
    if promote:
        fleet.ask("POST", f"/models/{name}/promote", json={"version": version})


def parsed(data: bytes) -> Any:
    """The ModelProto of `data`."""
    return onnx.load_from_string(data)
