"""v1 bodies: BadInput, or tensors equal to a slow reading; rows and columns mean the same; answers read back."""

# ruff: noqa: PT017 (an error is one of the two right outcomes)

from __future__ import annotations

import numpy as np
import orjson

from router.documents import Signature
from router.edge import v1
from router.errors import BadInput
from router.tensors import DTYPES, check_shape
from tests.fuzz.exact import same
from tests.fuzz.signatures import signature


def check(data: bytes) -> None:
    """The first byte chooses the signature."""
    if not data:
        return
    asked = signature(data[0])
    try:
        document = v1.parse(data[1:])
        form, found = v1.decode(document, asked)
    except BadInput as error:
        orjson.dumps(error.body())
        return
    columns = _columns(document, asked)
    for spec in asked.inputs:
        array = found[spec.name]
        assert array.dtype == DTYPES[spec.datatype]
        check_shape(array, spec, "")
        same(array, columns[spec.name], spec)
    if any(array.dtype.kind == "f" and not np.isfinite(array).all() for array in found.values()):
        return  # NaN where it is allowed: an answer with it is refused elsewhere
    _reads_back(form, found, asked)


def _columns(document: dict[str, object], asked: Signature) -> dict[str, object]:
    """The values by input, by the letter of the document."""
    names = [spec.name for spec in asked.inputs]
    if "inputs" in document:
        value = document["inputs"]
        keyed = isinstance(value, dict) and set(value) == set(names)
        return value if keyed else {names[0]: value}  # type: ignore[return-value]
    rows = document["instances"]
    assert isinstance(rows, list)
    if isinstance(rows[0], dict) and set(rows[0]) == set(names):
        return {name: [row[name] for row in rows] for name in names}
    return {names[0]: rows}


def _reads_back(form: v1.Form, found: dict[str, np.ndarray], asked: Signature) -> None:
    try:
        body = v1.encode(form, found)
    except BadInput as error:
        assert error.code == "use_columns"
        return
    answer = orjson.loads(body)
    key = "predictions" if form == "instances" else "outputs"
    as_request = {"instances" if form == "instances" else "inputs": answer[key]}
    if any(not array.size for array in found.values()):
        return  # JSON cannot say the shape of nothing
    _, again = v1.decode(as_request, asked)
    for name, array in found.items():
        assert again[name].shape == array.shape, name
        assert again[name].tolist() == array.tolist(), name
