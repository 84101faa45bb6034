"""What a protocol has to say to join the tensor lane: bytes to tensors and back; values and one interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from router.documents import Signature
from router.edge.answer import Answer
from router.edge.inbound import Inbound
from router.tensors import Array
from router.upstream.work import Result


@dataclass(slots=True)
class Call:
    """A decoded request: its tensors in the signature's dtypes, and what the codec needs for the answer."""

    inputs: dict[str, Array]
    memo: Any = None


class Excerpt(NamedTuple):
    """A body as it stands in the log: a JSON value (or a fragment of one), and whether it was cut."""

    value: Any
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """Where a prediction path points: the model, and the pinned version if the path names one."""

    model: str
    pin: str | None


class Codec(Protocol):
    """One protocol. `name` is the record's `protocol`."""

    name: str

    def decode(self, inbound: Inbound, body: bytes, signature: Signature) -> Call:
        """The tensors of a body; raises BadInput naming the input."""

    def encode(self, call: Call, outputs: Mapping[str, Array], model: str, version: str) -> Answer:
        """The answer with status 200; raises BadInput where the caller's form cannot carry the outputs."""

    def encode_rows(self, memo: Any, result: Result, model: str, version: str) -> Answer | None:
        """The same, byte for byte, from what the callers of a batch share; None where that does not serve."""

    def json_bytes(self, inbound: Inbound, body: bytes) -> int:
        """How many bytes of a body are JSON: what decoding it costs."""

    def excerpt(self, inbound: Inbound, body: bytes, limit: int, *, read: bool = False) -> Excerpt:
        """A request body for the log, at most `limit` bytes of it; never raises. `read`: it was decoded."""

    def answer_excerpt(self, answer: Answer, limit: int) -> Excerpt:
        """An answer's body for the log, likewise."""
