"""The JSON envelope of an inference request: every field checked, what was asked of the answer kept; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from router.documents import Signature, TensorSpec
from router.edge.v1 import parse
from router.edge.v2_binary import from_raw, shaped
from router.errors import BadInput
from router.tensors import DTYPES, Array, check_dims, tensor_from_json

LARGEST = 1 << 25  # elements; an empty tensor may not name more either, a model could make outputs of them

_TOP = frozenset({"id", "parameters", "inputs", "outputs"})
_INPUT = frozenset({"name", "shape", "datatype", "parameters", "data"})
_OUTPUT = frozenset({"name", "parameters"})


@dataclass(frozen=True, slots=True)
class Wish:
    """What the answer takes from the request: `outputs` are names, and whether each is wanted in binary."""

    id: str
    parameters: dict[str, Any] | None
    outputs: tuple[tuple[str, bool], ...]


def decode(body: bytes, length: int | None, signature: Signature, fallback_id: str) -> tuple[Any, Wish]:
    """Tensors by input name, and the wish. `length` is that of the JSON before binary data; None: all is JSON.

    A length of 0 means that the body is the raw bytes of the only input. Every array has its signature's dtype
    and a shape that fits it. Raises BadInput naming the input and the field.
    """
    if length == 0:
        outputs = tuple((spec.name, True) for spec in signature.outputs)
        return _raw(body, signature), Wish(fallback_id, None, outputs)
    document = parse(body if length is None else body[:length])
    if not isinstance(document, dict):
        raise BadInput("the body must be a JSON object", code="bad_request")
    _known(document, _TOP, "")
    name = document.get("id")
    if name is not None and not isinstance(name, str):
        raise BadInput("id must be text", code="bad_request", field="id")
    parameters = _parameters(document, "")
    tensors = _Tensors(body, length, signature).read(document.get("inputs"))
    binary = _flag(parameters, "binary_data_output", "", default=False)
    outputs = _outputs(document.get("outputs"), signature, binary)
    return tensors, Wish(fallback_id if name is None else name, parameters, outputs)


class _Tensors:
    """Reads `inputs` in their order, which is also that of the binary data behind the JSON."""

    def __init__(self, body: bytes, length: int | None, signature: Signature) -> None:
        self._body = body
        self._binary = length is not None
        self._position = len(body) if length is None else length
        self._specs = {spec.name: spec for spec in signature.inputs}

    def read(self, inputs: Any) -> dict[str, Array]:
        """The tensors by name."""
        if not isinstance(inputs, list):
            raise BadInput("inputs must be a list of tensors", code="bad_request", field="inputs")
        tensors: dict[str, Array] = {}
        for index, given in enumerate(inputs):
            field = f"inputs[{index}]"
            spec = self._spec(given, field)
            if spec.name in tensors:
                raise BadInput(f"input {spec.name} is given twice", code="repeated_input", field=field)
            tensors[spec.name] = self._tensor(given, spec, field)
        for name in self._specs:
            if name not in tensors:
                raise BadInput(f"input {name} is missing", code="missing_input", field="inputs")
        if self._position != len(self._body):
            raise BadInput(
                f"{len(self._body) - self._position} bytes of binary data belong to no input",
                code="bad_size",
                field="inputs",
            )
        return tensors

    def _spec(self, given: Any, field: str) -> TensorSpec:
        if not isinstance(given, dict):
            raise BadInput(f"{field} must be an object", code="bad_request", field=field)
        _known(given, _INPUT, f"{field}.")
        name = given.get("name")
        spec = self._specs.get(name) if isinstance(name, str) else None
        if spec is None:
            raise BadInput(f"unknown input {str(name)[:80]!r}", code="unknown_input", field=f"{field}.name")
        datatype = given.get("datatype")
        if datatype != spec.datatype:
            raise BadInput(
                f"input {spec.name}: expected {spec.datatype}, got {str(datatype)[:80]}",
                code="bad_datatype",
                field=f"{field}.datatype",
            )
        return spec

    def _tensor(self, given: dict[str, Any], spec: TensorSpec, field: str) -> Array:
        shape = _shape(given.get("shape"), spec, f"{field}.shape")
        parameters = _parameters(given, f"{field}.")
        size = None if parameters is None else parameters.get("binary_data_size")
        if size is None:
            if "data" not in given:
                raise BadInput(f"input {spec.name} has no data", code="missing_data", field=f"{field}.data")
            return from_json(given["data"], shape, spec, f"{field}.data")
        place = f"{field}.parameters.binary_data_size"
        if given.get("data") is not None:
            raise BadInput(
                f"input {spec.name} has data in JSON and in binary", code="bad_request", field=place
            )
        if type(size) is not int or size < 0:
            raise BadInput(
                f"input {spec.name}: a size is a whole number of bytes", code="bad_size", field=place
            )
        if not self._binary:
            raise BadInput(
                "binary data needs the header inference-header-content-length", code="bad_size", field=place
            )
        start = self._position
        if size > len(self._body) - start:
            raise BadInput(
                f"input {spec.name}: {size} bytes are announced, {len(self._body) - start} are left",
                code="bad_size",
                field=place,
            )
        self._position += size
        return from_raw(self._body, start, size, shape, spec, place)


def from_json(data: Any, shape: tuple[int, ...], spec: TensorSpec, field: str) -> Array:
    """The tensor of JSON data, nested as its shape or flat (row-major); raises BadInput."""
    array = tensor_from_json(data, spec, field)
    if array.shape == shape:
        return array
    count = math.prod(shape)
    # JSON cannot nest below an empty list: what there is must lead the way to the shape.
    empty = count == 0 and array.shape == shape[: array.ndim]
    if array.size == count and (array.ndim == 1 or empty):
        return shaped(array.reshape(-1), shape, spec, field)
    text = f"{array.size} elements" if array.ndim == 1 else f"the shape {list(array.shape)}"
    raise BadInput(
        f"input {spec.name}: the data has {text}, its shape says {list(shape)}", code="bad_shape", field=field
    )


def _raw(body: bytes, signature: Signature) -> dict[str, Array]:
    """The whole body as the only input; one variable dimension follows from the size."""
    if len(signature.inputs) != 1:
        names = ", ".join(spec.name for spec in signature.inputs)
        raise BadInput(
            f"a raw body is for versions with one input, this one has {names}"[:300],
            code="bad_request",
            field="inference-header-content-length",
        )
    spec = signature.inputs[0]
    if spec.datatype == "BYTES":
        shape = tuple(1 if size == -1 else size for size in spec.shape)
        if math.prod(shape) != 1:
            raise BadInput(
                f"input {spec.name}: a raw body is one BYTES element, its shape is {list(spec.shape)}",
                code="bad_shape",
                field=spec.name,
            )
        framed = len(body).to_bytes(4, "little") + body
        return {spec.name: from_raw(framed, 0, len(framed), shape, spec, spec.name)}
    shape = _inferred(spec, len(body) // DTYPES[spec.datatype].itemsize)
    return {spec.name: from_raw(body, 0, len(body), shape, spec, spec.name)}


def _inferred(spec: TensorSpec, count: int) -> tuple[int, ...]:
    unknown = spec.shape.count(-1)
    if unknown > 1:
        raise BadInput(
            f"input {spec.name}: the shape {list(spec.shape)} does not follow from a number of bytes",
            code="bad_shape",
            field=spec.name,
        )
    known = math.prod(size for size in spec.shape if size != -1)
    return tuple(count // max(known, 1) if size == -1 else size for size in spec.shape)


def _shape(value: Any, spec: TensorSpec, field: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(size) is int and size >= 0 for size in value):
        raise BadInput(
            f"input {spec.name}: shape must be a list of whole numbers", code="bad_shape", field=field
        )
    shape = tuple(value)
    check_dims(shape, spec, field)
    if math.prod(size for size in shape if size) > LARGEST:
        raise BadInput(f"input {spec.name}: the shape is too large", code="bad_shape", field=field)
    return shape


def _outputs(value: Any, signature: Signature, binary: bool) -> tuple[tuple[str, bool], ...]:
    """The outputs asked for, in the caller's order; all of them where none is named."""
    names = [spec.name for spec in signature.outputs]
    if value is None or value == []:
        return tuple((name, binary) for name in names)
    if not isinstance(value, list):
        raise BadInput("outputs must be a list", code="bad_request", field="outputs")
    found: dict[str, bool] = {}
    for index, given in enumerate(value):
        field = f"outputs[{index}]"
        if not isinstance(given, dict):
            raise BadInput(f"{field} must be an object", code="bad_request", field=field)
        _known(given, _OUTPUT, f"{field}.")
        name = given.get("name")
        if not isinstance(name, str) or name not in names:
            raise BadInput(f"unknown output {str(name)[:80]!r}", code="unknown_output", field=f"{field}.name")
        if name in found:
            raise BadInput(f"output {name} is asked for twice", code="repeated_output", field=field)
        parameters = _parameters(given, f"{field}.")
        if parameters is not None and "classification" in parameters:
            raise BadInput(
                "the classification extension is not offered",
                code="unsupported_parameter",
                field=f"{field}.parameters.classification",
            )
        found[name] = _flag(parameters, "binary_data", f"{field}.", default=binary)
    return tuple(found.items())


def _parameters(document: dict[str, Any], where: str) -> dict[str, Any] | None:
    value = document.get("parameters")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadInput("parameters must be an object", code="bad_request", field=f"{where}parameters")
    for name, item in value.items():
        if not isinstance(item, (str, int, float)):
            raise BadInput(
                f"parameter {name[:80]!r} must be text, a number or a boolean",
                code="bad_parameter",
                field=f"{where}parameters.{name[:80]}",
            )
    return value


def _flag(parameters: dict[str, Any] | None, name: str, where: str, *, default: bool) -> bool:
    value = default if parameters is None else parameters.get(name, default)
    if not isinstance(value, bool):
        raise BadInput(
            f"{name} must be true or false", code="bad_parameter", field=f"{where}parameters.{name}"
        )
    return value


def _known(document: dict[str, Any], names: frozenset[str], where: str) -> None:
    if unknown := document.keys() - names:
        name = min(unknown)[:80]
        raise BadInput(f"unknown field {name!r}", code="unknown_field", field=f"{where}{name}")
