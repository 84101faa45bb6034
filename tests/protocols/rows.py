"""Rows of the digits data and requests made of them; not a test."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray


def digits(count: int, start: int = 1000) -> NDArray[np.float32]:
    """Rows as FP32 [count, 64]."""
    from sklearn.datasets import load_digits

    return np.asarray(load_digits().data[start : start + count], np.float32)


def tensor(rows: NDArray[np.float32], **fields: Any) -> dict[str, Any]:
    """The input of digits without its data."""
    return {"name": "x", "datatype": "FP32", "shape": list(rows.shape), **fields}


def in_json(rows: NDArray[np.float32], **fields: Any) -> bytes:
    """A v2 request in JSON."""
    return orjson.dumps({"inputs": [tensor(rows, data=rows.ravel().tolist())], **fields})


def in_binary(rows: NDArray[np.float32], **fields: Any) -> tuple[bytes, dict[str, str]]:
    """A v2 request with binary data, and its header."""
    raw = rows.tobytes()
    head = orjson.dumps({"inputs": [tensor(rows, parameters={"binary_data_size": len(raw)})], **fields})
    return head + raw, {"inference-header-content-length": str(len(head))}


def outputs(document: dict[str, Any]) -> dict[str, Any]:
    """JSON outputs by name, in their shapes."""
    return {
        each["name"]: np.array(each["data"]).reshape(each["shape"]).tolist() for each in document["outputs"]
    }
