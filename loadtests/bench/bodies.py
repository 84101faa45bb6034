"""Distinct request bodies from the real data plus noise, in each contender's form, and the answers they must get.

The answers come from onnxruntime in this process, a body at a time; nothing here sends anything.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import orjson

Array = npt.NDArray[Any]
Outputs = dict[str, Array]

DISTINCT = 1024
PICTURES = 64
"""Distinct images: 38 MB are enough to be larger than a core's cache, and 1,024 would be 616 MB."""

LENGTH = "inference-header-content-length"
BOUNDARY = "pointsman-bench"


@dataclass(frozen=True, slots=True)
class Form:
    """How a contender wants a tensor and gives its outputs."""

    name: str
    write: Callable[[Array], bytes]
    read: Callable[[bytes, Mapping[str, str]], Outputs]
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


@dataclass(frozen=True, slots=True)
class Bodies:
    """Requests and what they must be answered; `file` is what wrk's script reads."""

    form: Form
    requests: Sequence[bytes]
    expected: Sequence[Outputs]
    file: Path
    atol: float = 1e-5


def rows(per_request: int, count: int = DISTINCT) -> list[Array]:
    """`count` arrays [per_request, 30] FP32: rows of breast-cancer with 1 % noise, no two alike."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer().data.astype(np.float32)
    draw = np.random.default_rng(20)
    picked = data[draw.integers(0, len(data), count * per_request)]
    noisy = (picked * (1 + 0.01 * draw.standard_normal(picked.shape))).astype(np.float32)
    return list(noisy.reshape(count, per_request, -1))


def pictures(count: int = PICTURES) -> list[Array]:
    """`count` arrays [1, 3, 224, 224] FP32 of noise around a brightness of their own."""
    draw = np.random.default_rng(21)
    return [
        (draw.standard_normal((1, 3, 224, 224)) + draw.uniform(-2, 2, (1, 3, 1, 1))).astype(np.float32)
        for _ in range(count)
    ]


def answers(model: bytes, tensors: Sequence[Array]) -> list[Outputs]:
    """What onnxruntime says in this process, each request alone."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    outputs = [output.name for output in session.get_outputs()]
    return [dict(zip(outputs, session.run(None, {name: each}), strict=True)) for each in tensors]


def make(form: Form, tensors: Sequence[Array], expected: Sequence[Outputs], file: Path) -> Bodies:
    """Writes the bodies for wrk; raises ValueError if two are alike."""
    requests = [form.write(tensor) for tensor in tensors]
    if len(set(requests)) != len(requests):
        raise ValueError(f"{form.name}: two bodies are alike")
    with file.open("wb") as out:
        out.write(b"%d\n" % len(requests))
        for body in requests:
            out.write(b"%d\n" % len(body) + body)
    return Bodies(form, requests, expected, file)


def _json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _v1_read(body: bytes, _: Mapping[str, str]) -> Outputs:
    found = orjson.loads(body)["predictions"]
    return {name: np.array([row[name] for row in found]) for name in found[0]}


def _v2_write(tensor: Array) -> bytes:
    given = {"name": "x", "datatype": "FP32", "shape": tensor.shape, "data": tensor.reshape(-1)}
    return _json({"inputs": [given]})


def _v2_read(body: bytes, headers: Mapping[str, str]) -> Outputs:
    size = int(headers.get(LENGTH, len(body)))
    outputs, at = {}, size
    for tensor in orjson.loads(body[:size])["outputs"]:
        if "data" in tensor:
            flat: Array = np.array(tensor["data"])
        else:
            end = at + tensor["parameters"]["binary_data_size"]
            dtype = {"FP32": np.float32, "INT64": np.int64}[tensor["datatype"]]
            flat, at = np.frombuffer(body[at:end], dtype), end
        outputs[tensor["name"]] = flat.reshape(tensor["shape"])
    return outputs


def _bento_read(body: bytes, _: Mapping[str, str]) -> Outputs:
    return {name: np.array(value) for name, value in orjson.loads(body).items()}


def _batched_read(body: bytes, _: Mapping[str, str]) -> Outputs:
    table = np.array(orjson.loads(body))
    return {"label": table[:, 0], "probabilities": table[:, 1:]}


def _npy_write(tensor: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, tensor)
    head = (
        f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="image"; filename="image.npy"\r\n'
        "content-type: application/octet-stream\r\n\r\n"
    )
    return head.encode() + buffer.getvalue() + f"\r\n--{BOUNDARY}--\r\n".encode()


def v2_binary(name: str, shape: Sequence[int]) -> Form:
    """v2 with binary tensors both ways; the shape decides the header's length, which wrk sends with each."""
    size = 4 * int(np.prod(shape))
    given = {
        "name": name,
        "datatype": "FP32",
        "shape": list(shape),
        "parameters": {"binary_data_size": size},
    }
    head = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True}}).encode()
    return Form(
        "v2 binary",
        lambda tensor: head + tensor.tobytes(),
        _v2_read,
        {"content-type": "application/octet-stream", LENGTH: str(len(head))},
    )


V1 = Form("v1 JSON", lambda tensor: _json({"instances": tensor}), _v1_read)
V2 = Form("v2 JSON", _v2_write, _v2_read)
BENTO = Form("JSON", lambda tensor: _json({"x": tensor}), _bento_read)
BATCHED = Form("JSON", lambda tensor: _json({"x": tensor}), _batched_read)
NPY = Form(
    "multipart .npy",
    _npy_write,
    _bento_read,
    {"content-type": f"multipart/form-data; boundary={BOUNDARY}"},
)
