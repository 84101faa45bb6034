"""The TensorFlow Serving / KServe v1 form of a prediction: JSON rows or columns to tensors and back; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import orjson

from router.documents import Signature, TensorSpec
from router.edge.answer import Answer
from router.edge.codec import Address, Call, Excerpt
from router.edge.depth import DEEPEST, too_deep
from router.edge.inbound import Inbound
from router.edge.paths import checked
from router.edge.record import excerpt, known_json
from router.errors import BadInput, NotFound
from router.tensors import Array, check_shape, json_ready, tensor_from_json
from router.upstream.outputs import Outputs
from router.upstream.work import Result

Form = Literal["instances", "inputs"]


def parse(body: bytes) -> Any:
    """The JSON value of a body; raises BadInput `bad_json`, also for NaN, Infinity and bad UTF-8."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"the body is not JSON: {error}", code="bad_json") from error


def refuse_deep(body: bytes, error: BadInput) -> None:
    """Raises BadInput `too_deep` where JSON that was refused by `error` is over the limit of depth."""
    if too_deep(body):
        text = f"the body's JSON is more than {DEEPEST} lists or objects deep"
        raise BadInput(text, code="too_deep") from error


def decode(document: Any, signature: Signature) -> tuple[Form, dict[str, Array]]:
    """The tensors of `{"instances": […]}` (row form) or `{"inputs": …}` (columnar form), never both.

    Every array has its signature's dtype and a shape that fits it. Raises BadInput naming the input.
    """
    if not isinstance(document, dict):
        raise BadInput("the body must be a JSON object", code="bad_request")
    if unknown := document.keys() - {"instances", "inputs", "signature_name"}:
        name = min(unknown)
        raise BadInput(f"unknown field {name[:80]!r}", code="unknown_field", field=name[:80])
    name = document.get("signature_name")
    if name is not None and not isinstance(name, str):
        raise BadInput("signature_name must be text", code="bad_request", field="signature_name")
    if not isinstance(document.get("signature_name", ""), str):
        raise BadInput("signature_name must be text", code="bad_request", field="signature_name")
    if ("instances" in document) == ("inputs" in document):
        raise BadInput(
            "give either instances (rows) or inputs (columns)", code="bad_request", field="instances"
        )
    if "instances" in document:
        columns, form = _columns_of_rows(document["instances"], signature), "instances"
    else:
        columns, form = _columns(document["inputs"], signature), "inputs"
    tensors: dict[str, Array] = {}
    for spec in signature.inputs:
        value, field = columns[spec.name]
        array = tensor_from_json(value, spec, field)
        check_shape(array, spec, field)
        tensors[spec.name] = array
    return ("instances" if form == "instances" else "inputs"), tensors


def encode(form: Form, outputs: Mapping[str, Array]) -> bytes:
    """The answer's body: one output as plain values, several as objects by output name.

    Raises BadInput `use_columns` where a row form was asked of outputs that do not share their rows.
    """
    ready = {name: json_ready(array) for name, array in outputs.items()}
    if form == "inputs":
        value = next(iter(ready.values())) if len(ready) == 1 else ready
        return orjson.dumps({"outputs": value}, option=orjson.OPT_SERIALIZE_NUMPY)
    if len(ready) == 1:
        return orjson.dumps({"predictions": next(iter(ready.values()))}, option=orjson.OPT_SERIALIZE_NUMPY)
    lengths = {array.shape[0] if array.ndim else -1 for array in outputs.values()}
    if len(lengths) != 1 or -1 in lengths:
        raise BadInput(
            "this version's outputs do not share their rows: ask with inputs (columns)",
            code="use_columns",
            field="instances",
        )
    names = list(ready)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*ready.values(), strict=True)]
    return orjson.dumps({"predictions": rows}, option=orjson.OPT_SERIALIZE_NUMPY)


def encode_rows(form: Form, result: Result) -> bytes | None:
    """The body of `encode` from the texts that all rows of the batch share; None where they do not serve."""
    batch = result.batch
    if form != "instances" or not result.stop:
        return None
    rows = batch.memo.get(("v1",))
    if rows is None:
        rows = batch.memo[("v1",)] = _rows(batch)
    return b'{"predictions":[%b]}' % b",".join(rows[result.start : result.stop]) if rows else None


def _rows(batch: Outputs) -> list[bytes]:
    """Every row as an instance's prediction; empty where there are no texts."""
    columns, parts = [], []
    for name, array in batch.arrays.items():
        texts = batch.texts(name)
        if texts is None:
            return []
        columns.append(texts)
        value = b"%b" if array.ndim == 1 else b"[%b]"
        parts.append(
            value if len(batch.arrays) == 1 else orjson.dumps(name).replace(b"%", b"%%") + b":" + value
        )
    pattern = parts[0] if len(parts) == 1 else b"{" + b",".join(parts) + b"}"
    return [pattern % row for row in zip(*columns, strict=True)]


class V1:
    """The codec of `/v1/models/…:predict`."""

    name = "v1"

    def decode(self, inbound: Inbound, body: bytes, signature: Signature) -> Call:
        """See `decode`; the memo is the form of the request, which the answer takes too."""
        try:
            form, inputs = decode(parse(body), signature)
        except BadInput as error:
            refuse_deep(body, error)
            raise
        return Call(inputs, form)

    def encode(self, call: Call, outputs: Mapping[str, Array], model: str, version: str) -> Answer:
        """See `encode`."""
        return Answer(200, encode(call.memo, outputs))

    def encode_rows(self, memo: Form, result: Result, model: str, version: str) -> Answer | None:
        """See `encode_rows`."""
        body = encode_rows(memo, result)
        return None if body is None else Answer(200, body)

    def json_bytes(self, inbound: Inbound, body: bytes) -> int:
        """All of them."""
        return len(body)

    def excerpt(self, inbound: Inbound, body: bytes, limit: int, *, read: bool = False) -> Excerpt:
        """The JSON itself."""
        return excerpt(body, limit, read=read)

    def answer_excerpt(self, answer: Answer, limit: int) -> Excerpt:
        """The JSON itself."""
        return known_json(answer.body, limit)


def address(path: str) -> Address:
    """Model and pinned version of a v1 prediction path; raises NotFound where it is none."""
    rest, colon, verb = path.removeprefix("/v1/models/").partition(":")
    if not colon or verb != "predict":
        raise NotFound(f"there is nothing at {path[:200]!r}", code="unknown_path")
    model, *pin = rest.split("/versions/")
    return Address(*checked(model, pin))


CODEC = V1()


def _columns(value: Any, signature: Signature) -> dict[str, tuple[Any, str]]:
    """Columnar form: an object by input name, or the bare value where there is one input."""
    specs = signature.inputs
    if isinstance(value, dict) and not _is_binary(value):
        _check_names(value.keys(), specs, "inputs")
        return {spec.name: (value[spec.name], f"inputs.{spec.name}") for spec in specs}
    if len(specs) == 1:
        return {specs[0].name: (value, "inputs")}
    raise BadInput("inputs must be an object by input name", code="bad_request", field="inputs")


def _columns_of_rows(value: Any, signature: Signature) -> dict[str, tuple[Any, str]]:
    """Row form: each instance is an object by input name, or the bare value where there is one input."""
    specs = signature.inputs
    if not isinstance(value, list) or not value:
        raise BadInput(
            "instances must be a list with at least one row", code="bad_request", field="instances"
        )
    first = value[0]
    if not isinstance(first, dict) or _is_binary(first):
        if len(specs) == 1:
            return {specs[0].name: (value, "instances")}
        raise BadInput(
            "each instance must be an object by input name", code="bad_request", field="instances[0]"
        )
    for index, row in enumerate(value):
        if not isinstance(row, dict):
            raise BadInput(
                "instances mix objects and bare values", code="bad_request", field=f"instances[{index}]"
            )
        _check_names(row.keys(), specs, f"instances[{index}]")
    return {spec.name: ([row[spec.name] for row in value], f"instances[*].{spec.name}") for spec in specs}


def _is_binary(value: dict[str, Any]) -> bool:
    return value.keys() == {"b64"}


def _check_names(names: Any, specs: tuple[TensorSpec, ...], field: str) -> None:
    wanted = {spec.name for spec in specs}
    for name in names:
        if name not in wanted:
            raise BadInput(f"unknown input {name[:80]!r}", code="unknown_input", field=f"{field}.{name[:80]}")
    for spec in specs:
        if spec.name not in names:
            raise BadInput(
                f"input {spec.name} is missing", code="missing_input", field=f"{field}.{spec.name}"
            )
