"""How a batch becomes a request and an answer becomes outputs, for each kind of replica; it sends nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import orjson

from router.contract import ContractBroken, read_outputs, request_body
from router.documents import Signature, TensorRoute, Version
from router.errors import BadInput, DeadlineExceeded, ModelFailed, PointsmanError, Unavailable
from router.tensors import Array
from router.upstream.frame import BadFrame, decode_answer, encode_request
from router.upstream.link import Reply

BENTOML_IDLE_S = 2.0
"""BentoML closes idle connections after 5 s; a batch sent on one that is just closing would be lost."""

JSON_BATCH_BYTES = 256 << 10
"""Batches are written and read as JSON on the router's loop: larger ones would hold up everybody."""


class BadAnswer(Exception):
    """A replica's answer does not hold the outputs that were asked for; nobody may get any of it."""


class Dialect(Protocol):
    """One way to speak to a replica."""

    @property
    def idle_s(self) -> float:
        """How long a connection may rest before it is not used again, in seconds."""

    @property
    def batch_bytes(self) -> int:
        """Most tensor bytes that are joined to one batch."""

    def request(self, inputs: dict[str, Array], deadline_ms: int) -> bytes:
        """The whole HTTP request; `deadline_ms` is what is left of the callers' time."""

    def outputs(self, reply: Reply) -> dict[str, Array]:
        """The outputs by name of an answer with status 200. Raises BadAnswer."""

    def failure(self, whose: str, reply: Reply) -> PointsmanError:
        """Any other answer in our words; `whose` names the version."""


class Lean:
    """Binary frames to our own launcher."""

    idle_s = float("inf")
    batch_bytes = 1 << 62

    def request(self, inputs: dict[str, Array], deadline_ms: int) -> bytes:
        """A frame under /_pm/infer."""
        frame = encode_request(inputs, deadline_ms)
        return b"POST /_pm/infer HTTP/1.1\r\nhost: replica\r\ncontent-length: %d\r\n\r\n" % len(frame) + frame

    def outputs(self, reply: Reply) -> dict[str, Array]:
        """Views of the answer's frame."""
        try:
            return decode_answer(reply.body)[1]
        except BadFrame as bad:
            raise BadAnswer(f"answer is not a frame: {bad}") from bad

    def failure(self, whose: str, reply: Reply) -> PointsmanError:
        """The replica's text is kept: it names inputs and causes, never paths."""
        try:
            told = orjson.loads(reply.body)
            text, code, field = str(told["error"]), str(told["code"]), told.get("field")
        except (orjson.JSONDecodeError, KeyError, TypeError):
            text, code, field = "the replica failed", "model_failed", None
        kinds: dict[int, type[PointsmanError]] = {400: BadInput, 503: Unavailable, 504: DeadlineExceeded}
        return kinds.get(reply.status, ModelFailed)(f"{whose}: {text}", code=code, field=field)


LEAN = Lean()


@dataclass(frozen=True, slots=True)
class Json:
    """JSON to an API of a user's bento, by the tensor contract of its manifest."""

    contract: TensorRoute
    signature: Signature
    idle_s: float = BENTOML_IDLE_S
    batch_bytes: int = JSON_BATCH_BYTES

    def request(self, inputs: dict[str, Array], deadline_ms: int) -> bytes:
        """A POST of the arguments. BentoML knows no deadline of its callers."""
        body = request_body(self.contract, inputs)
        head = (
            f"POST {self.contract.route} HTTP/1.1\r\nhost: replica\r\naccept: application/json\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def outputs(self, reply: Reply) -> dict[str, Array]:
        """Strictly by the signature."""
        try:
            return read_outputs(self.contract, self.signature, reply.body)
        except ContractBroken as broken:
            raise BadAnswer(str(broken)) from broken

    def failure(self, whose: str, reply: Reply) -> PointsmanError:
        """What the service says to a 400 is meant for its callers; of its own faults it tells nothing."""
        if reply.status in (400, 422):
            return BadInput(f"{whose}: {_told(reply)}", code="refused_by_model")
        if reply.status in (429, 503):
            return Unavailable(f"{whose}: the service is overloaded", code="overloaded")
        if reply.status in (408, 504):
            return DeadlineExceeded(f"{whose}: the service took too long", code="deadline_exceeded")
        text = f"{self.contract.route} answered {reply.status}"
        return ModelFailed(f"{whose}: {text}", code="model_failed")


def dialect_of(version: Version) -> Dialect:
    """How replicas of a version are spoken to."""
    if version.tensors is None or version.signature is None:
        return LEAN
    return Json(version.tensors, version.signature)


def _told(reply: Reply) -> str:
    try:
        found = orjson.loads(reply.body)
        text = (found[0] if isinstance(found, list) else found)["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        return "the service refused the input"
    return str(text)[:500]
