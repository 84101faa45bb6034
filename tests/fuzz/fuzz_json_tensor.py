"""JSON at BentoML's own API of a replica: InputError, or the tensor that a slow reading gives."""

from __future__ import annotations

import msgspec
import orjson

from services.document import TensorSpec
from services.json_tensor import to_array
from services.session import InputError
from tests.fuzz.exact import same
from tests.fuzz.signatures import signature


def check(data: bytes) -> None:
    """The first byte chooses the input."""
    if not data:
        return
    asked = signature(data[0]).inputs[0]
    try:
        value = orjson.loads(data[1:])
    except orjson.JSONDecodeError:
        return
    spec = msgspec.convert(msgspec.to_builtins(asked), TensorSpec)
    try:
        found = to_array(spec, value)
    except InputError as error:
        str(error).encode("utf-8", "replace")
        return
    if spec.datatype != "BYTES":
        same(found, value, asked)
