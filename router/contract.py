"""The tensor contract of a user's bento: tensors to the JSON its API takes, its answer to tensors; no I/O."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from router.documents import Signature, TensorRoute, TensorSpec
from router.tensors import DTYPES, Array, has_text, json_ready

_KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}
"""Which kinds of JSON values may stand for an output, by the kind of its datatype."""


class ContractBroken(Exception):
    """An answer is not what the signature says; nothing of it may reach a caller."""


def request_body(contract: TensorRoute, inputs: dict[str, Array]) -> bytes:
    """The JSON object of the API's arguments; NaN is written as null."""
    arguments = {contract.arguments[name]: json_ready(array) for name, array in inputs.items()}
    return orjson.dumps(arguments, option=orjson.OPT_SERIALIZE_NUMPY)


def read_outputs(contract: TensorRoute, signature: Signature, body: bytes) -> dict[str, Array]:
    """The outputs in an answer, in the signature's datatypes and shapes. Raises ContractBroken."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ContractBroken(f"the answer is no JSON: {error}") from None
    if contract.outputs is None:
        return {spec.name: _output(answer, spec) for spec in signature.outputs}
    if not isinstance(answer, dict):
        raise ContractBroken(f"the answer is {_kind(answer)}, not an object")
    found = {}
    for spec in signature.outputs:
        key = contract.outputs[spec.name]
        if key not in answer:
            raise ContractBroken(f"the answer has no {key!r}")
        found[spec.name] = _output(answer[key], spec)
    return found


def _output(value: Any, spec: TensorSpec) -> Array:
    array = _strings(value, spec) if spec.datatype == "BYTES" else _numbers(value, spec)
    fits = len(array.shape) == len(spec.shape) and all(
        want in (-1, have) for want, have in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise ContractBroken(
            f"output {spec.name} has shape {list(array.shape)}, the signature says {list(spec.shape)}"
        )
    return array


def _numbers(value: Any, spec: TensorSpec) -> Array:
    wanted = DTYPES[spec.datatype]
    if has_text(value):
        raise ContractBroken(f"output {spec.name} has text, the signature says {spec.datatype}")
    try:
        array: Array = np.array(value)
    except (ValueError, OverflowError):
        raise ContractBroken(f"output {spec.name} has rows of unequal length") from None
    if array.size == 0 and array.dtype != object:
        # `[]` stands for no rows whatever a row is like.
        shape = (0, *(max(size, 0) for size in spec.shape[1:])) if array.shape == (0,) else array.shape
        return np.empty(shape, wanted)
    if array.dtype.kind == "f" and wanted.kind in "iu":
        array = _whole(value, array)
    if array.dtype.kind not in _KINDS[wanted.kind]:
        told = "null or objects" if array.dtype.kind == "O" else str(array.dtype)
        raise ContractBroken(f"output {spec.name} has {told}, the signature says {spec.datatype}")
    if wanted.kind in "iu" and not _holds(array, wanted):
        raise ContractBroken(f"output {spec.name} has a number that {spec.datatype} cannot hold")
    with np.errstate(over="ignore"):
        cast = array.astype(wanted)
    if wanted.kind == "f" and not bool(np.isfinite(cast).all()):
        raise ContractBroken(f"output {spec.name} has a number that {spec.datatype} cannot hold")
    return cast


def _whole(value: Any, array: Array) -> Array:
    """numpy reads whole numbers around 2**63 as floats; the array as it is where other things are among them."""
    items = np.array(value, dtype=object).ravel().tolist()
    if not all(type(item) is int for item in items):
        return array
    try:
        return np.array(items, dtype=np.uint64).reshape(array.shape)
    except OverflowError:
        return array


def _holds(array: Array, wanted: np.dtype[Any]) -> bool:
    limits = np.iinfo(wanted)
    return int(array.min()) >= limits.min and int(array.max()) <= limits.max


def _strings(value: Any, spec: TensorSpec) -> Array:
    array: Array = np.empty((), dtype=object)
    if isinstance(value, list):
        array = np.array(value, dtype=object)
    else:
        array[()] = value
    if array.size == 0:
        return np.empty((0, *(max(size, 0) for size in spec.shape[1:])), dtype=object)
    flat = array.reshape(-1)
    for index, item in enumerate(flat):
        if not isinstance(item, str):
            raise ContractBroken(f"output {spec.name} has {_kind(item)}, the signature says BYTES")
        flat[index] = item.encode()
    return flat.reshape(array.shape)


def _kind(value: object) -> str:
    return {dict: "an object", list: "a list", str: "text", type(None): "null"}.get(type(value), "a number")
