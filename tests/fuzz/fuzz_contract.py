"""Answers of a user's bento: ContractBroken, or outputs that are what the answer says, in the right types."""

from __future__ import annotations

import numpy as np
import orjson

from router.contract import ContractBroken, read_outputs
from router.documents import TensorRoute
from router.tensors import DTYPES
from tests.fuzz.exact import same
from tests.fuzz.signatures import signature


def check(data: bytes) -> None:
    """The first byte chooses the signature and whether the answer is an object."""
    if not data:
        return
    asked = signature(data[0] >> 1)
    named = data[0] & 1 or len(asked.outputs) > 1
    outputs = {spec.name: spec.name for spec in asked.outputs} if named else None
    contract = TensorRoute(route="/p", arguments={}, outputs=outputs)
    try:
        found = read_outputs(contract, asked, data[1:])
    except ContractBroken as broken:
        str(broken).encode("utf-8", "replace")
        return
    answer = orjson.loads(data[1:])
    for spec in asked.outputs:
        array = found[spec.name]
        assert array.dtype == DTYPES[spec.datatype]
        assert len(array.shape) == len(spec.shape)
        if array.dtype.kind == "f":
            assert np.isfinite(array).all()
        same(array, answer[spec.name] if named else answer, spec)
