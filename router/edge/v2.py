"""The Open Inference Protocol v2 form of a prediction, JSON and binary tensors, to arrays and back; pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson

from router.documents import Signature
from router.edge.answer import Answer
from router.edge.codec import Address, Call, Excerpt
from router.edge.inbound import Inbound
from router.edge.paths import checked
from router.edge.record import excerpt, known_json
from router.edge.v1 import refuse_deep
from router.edge.v2_binary import to_raw
from router.edge.v2_request import Wish, decode
from router.errors import BadInput, NotFound
from router.tensors import NAMES, Array, json_ready
from router.upstream.work import Result

LENGTH = b"inference-header-content-length"
OCTETS = b"application/octet-stream"


def json_length(inbound: Inbound, size: int) -> int | None:
    """Where binary data begins in a body of `size` bytes; None where all is JSON.

    Content-Type is not looked at: Triton's client sends none. Raises BadInput `bad_header`.
    """
    given = inbound.headers.get(LENGTH)
    if given is None:
        return None
    if not given.isdigit() or len(given) > 12 or int(given) > size:
        raise BadInput(
            f"inference-header-content-length must be a number of bytes up to the body's {size}",
            code="bad_header",
            field=LENGTH.decode(),
        )
    return int(given)


def encode(wish: Wish, outputs: Mapping[str, Array], model: str, version: str) -> Answer:
    """The answer: outputs in the order asked for, JSON data flat, binary data behind the JSON."""
    tails: list[bytes] = []
    tensors = []
    for name, binary in wish.outputs:
        array = outputs[name]
        tensor: dict[str, Any] = {"name": name, "datatype": NAMES[array.dtype], "shape": array.shape}
        if binary:
            tails.append(to_raw(array))
            tensor["parameters"] = {"binary_data_size": len(tails[-1])}
        else:
            tensor["data"] = json_ready(array.reshape(-1))
        tensors.append(tensor)
    document: dict[str, Any] = {"model_name": model, "model_version": version, "id": wish.id}
    if wish.parameters is not None:
        document["parameters"] = wish.parameters
    document["outputs"] = tensors
    head = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if not tails:
        return Answer(200, head)
    return Answer(200, b"".join((head, *tails)), [(LENGTH, b"%d" % len(head))], OCTETS)


def encode_rows(wish: Wish, result: Result, model: str, version: str) -> bytes | None:
    """The body of `encode` from the texts that all rows of the batch share; None where they do not serve."""
    batch, start, stop = result.batch, result.start, result.stop
    if not stop or wish.parameters is not None:
        return None
    tensors = []
    for name, binary in wish.outputs:
        texts = None if binary else batch.texts(name)
        if texts is None:
            return None
        head = batch.memo.get(("v2", name))
        if head is None:
            head = batch.memo["v2", name] = _head(name, batch.arrays[name])
        tensors.append(head % (stop - start, b",".join(texts[start:stop])))
    names = orjson.dumps(model), orjson.dumps(version), orjson.dumps(wish.id)
    return b'{"model_name":%b,"model_version":%b,"id":%b,"outputs":[%b]}' % (*names, b",".join(tensors))


def _head(name: str, array: Array) -> bytes:
    """An output's object, its rows and data left open."""
    start = orjson.dumps({"name": name, "datatype": NAMES[array.dtype]})[:-1].replace(b"%", b"%%")
    dims = b"".join(b",%d" % size for size in array.shape[1:])
    return start + b',"shape":[%d' + dims + b'],"data":[%b]}'


class V2:
    """The codec of `/v2/models/…/infer`."""

    name = "v2"

    def decode(self, inbound: Inbound, body: bytes, signature: Signature) -> Call:
        """See `v2_request.decode`; the memo is the Wish. Without an `id` the request id takes its place."""
        length = json_length(inbound, len(body))
        try:
            tensors, wish = decode(body, length, signature, inbound.request_id)
        except BadInput as error:
            refuse_deep(body if length is None else body[:length], error)
            raise
        return Call(tensors, wish)

    def encode(self, call: Call, outputs: Mapping[str, Array], model: str, version: str) -> Answer:
        """See `encode`."""
        return encode(call.memo, outputs, model, version)

    def encode_rows(self, memo: Wish, result: Result, model: str, version: str) -> Answer | None:
        """See `encode_rows`."""
        body = encode_rows(memo, result, model, version)
        return None if body is None else Answer(200, body)

    def json_bytes(self, inbound: Inbound, body: bytes) -> int:
        """Those before the binary data."""
        length = json_length(inbound, len(body))
        return len(body) if length is None else length

    def excerpt(self, inbound: Inbound, body: bytes, limit: int, *, read: bool = False) -> Excerpt:
        """JSON as itself; with binary data `{"json": …, "b64": …}`, raw `{"b64": …}`."""
        given = inbound.headers.get(LENGTH, b"")
        length = int(given) if given.isdigit() and len(given) <= 12 else len(body)
        if length >= len(body):
            return excerpt(body, limit, read=read)
        return _with_binary(excerpt(body[:length], limit, read=read), body, length, limit)

    def answer_excerpt(self, answer: Answer, limit: int) -> Excerpt:
        """Likewise."""
        for name, value in answer.headers:
            if name == LENGTH:
                length = int(value)
                return _with_binary(known_json(answer.body[:length], limit), answer.body, length, limit)
        return known_json(answer.body, limit)


def address(path: str) -> Address:
    """Model and pinned version of a v2 inference path; raises NotFound where it is none."""
    model, *rest = path.removeprefix("/v2/models/").removesuffix("/infer").split("/")
    if rest and (len(rest) != 2 or rest[0] != "versions"):
        raise NotFound(f"there is nothing at {path[:200]!r}", code="unknown_path")
    return Address(*checked(model, rest[1:]))


CODEC = V2()


def _with_binary(head: Excerpt, body: bytes, length: int, limit: int) -> Excerpt:
    """`head` and as much of what follows it as base64 may have within the limit."""
    if head.truncated:
        return head
    room = (limit - length) // 4 * 3
    text = base64.b64encode(memoryview(body)[length : length + room]).decode()
    value = {"b64": text} if length == 0 else {"json": head.value, "b64": text}
    return Excerpt(value, truncated=len(body) - length > room)
