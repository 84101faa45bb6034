"""v2 bodies, JSON and binary: BadInput, or tensors that mean the same when they are sent the other way."""

from __future__ import annotations

import numpy as np
import orjson

from router.documents import Signature
from router.edge import v2
from router.edge.codec import Call
from router.edge.inbound import Inbound
from router.edge.v2_binary import to_raw
from router.errors import BadInput
from router.tensors import DTYPES, check_shape, json_ready
from tests.fuzz.exact import same
from tests.fuzz.signatures import signature


def check(data: bytes) -> None:
    """Byte 0: signature; byte 1: how many bytes of the header that says where binary data begins follow."""
    if len(data) < 2:
        return
    asked, size = signature(data[0]), data[1] % 32
    headers = {v2.LENGTH: data[2 : 2 + size]} if size else {}
    inbound, body = Inbound(headers, "the-id"), data[2 + size :]
    for limit in (0, 40, 1 << 20):
        assert len(orjson.dumps(v2.CODEC.excerpt(inbound, body, limit).value)) <= 6 * limit + 64
    try:
        call = v2.CODEC.decode(inbound, body, asked)
    except BadInput as error:
        orjson.dumps(error.body())
        return
    length = v2.json_length(inbound, len(body))
    assert length is None or length == int(headers[v2.LENGTH])
    for spec in asked.inputs:
        array = call.inputs[spec.name]
        assert array.dtype == DTYPES[spec.datatype]
        check_shape(array, spec, "")
    if length is None:
        given = {item["name"]: item for item in orjson.loads(body)["inputs"]}
        for spec in asked.inputs:
            if call.inputs[spec.name].size:
                same(call.inputs[spec.name], given[spec.name]["data"], spec)
    _both_ways(call, asked)


def _both_ways(call: Call, asked: Signature) -> None:
    answer = v2.encode(call.memo, call.inputs, "m", "1")
    head = dict(answer.headers).get(v2.LENGTH)
    orjson.loads(answer.body if head is None else answer.body[: int(head)])
    finite = all(a.dtype.kind != "f" or np.isfinite(a).all() for a in call.inputs.values())
    for binary in (True, False) if finite else (True,):
        tails, inputs = [], []
        for name, array in call.inputs.items():
            spec = next(spec for spec in asked.inputs if spec.name == name)
            tensor = {"name": name, "datatype": spec.datatype, "shape": list(array.shape)}
            if binary:
                tails.append(to_raw(array))
                tensor["parameters"] = {"binary_data_size": len(tails[-1])}
            else:
                tensor["data"] = json_ready(array.reshape(-1))
            inputs.append(tensor)
        document = orjson.dumps({"inputs": inputs}, option=orjson.OPT_SERIALIZE_NUMPY)
        headers = {v2.LENGTH: b"%d" % len(document)} if binary else {}
        again = v2.CODEC.decode(Inbound(headers, "i"), b"".join([document, *tails]), asked)
        for name, array in call.inputs.items():
            have = again.inputs[name]
            assert have.shape == array.shape, name
            assert np.array_equal(have, array, equal_nan=array.dtype.kind == "f"), name
