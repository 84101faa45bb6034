"""What can be asked of the data listener, as values; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from router.client.call import Answered, Call, given, place
from router.inference import Inference

if TYPE_CHECKING:
    from router.tensors import Array

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A prediction's value, and who answered by which rule: the headers of the answer."""

    value: T
    version: str
    epoch: int
    reason: str
    stale: bool
    request_id: str


def answer_of(answered: Answered[T], value: Any) -> Answer[Any]:
    """The value with the headers it came with."""
    told = answered.headers
    epoch = told.get("x-route-epoch", "")
    return Answer(
        value,
        told.get("x-model-version", ""),
        int(epoch) if epoch.isdigit() else 0,
        told.get("x-route-reason", ""),
        "x-route-stale" in told,
        told.get("x-request-id", ""),
    )


def tensor(name: str, array: Array) -> dict[str, Any]:
    """An input of `infer` from a numpy array, of the datatype that is the array's own; text becomes BYTES.

    Raises KeyError for a dtype that the protocol does not have.
    """
    from router.tensors import NAMES  # numpy: only for those who use it

    text = array.dtype.kind in "OU"
    datatype = "BYTES" if text else NAMES[array.dtype]
    return {
        "name": name,
        "datatype": datatype,
        "shape": list(array.shape),
        "data": array.reshape(-1).tolist(),
    }


def predict(model: str, body: dict[str, Any], version: str | None, asked: Asked) -> Call[dict[str, Any]]:
    """Rows or columns."""
    path = place("v1", "models", model) + ("" if version is None else place("versions", version))
    return Call("POST", f"{path}:predict", dict[str, Any], json=body, **asked.options())


def infer(
    model: str,
    inputs: Sequence[Mapping[str, Any]],
    outputs: Sequence[str] | None,
    version: str | None,
    asked: Asked,
) -> Call[Inference]:
    """The Open Inference Protocol."""
    path = place("v2", "models", model) + ("" if version is None else place("versions", version))
    wanted = None if outputs is None else [{"name": name} for name in outputs]
    body = given(inputs=[dict(each) for each in inputs], outputs=wanted)
    return Call("POST", f"{path}/infer", Inference, json=body, **asked.options())


def read(kind: type[T], protocol: str, model: str, version: str | None, tail: str) -> Call[T]:
    """A GET about a model."""
    path = place(protocol, "models", model) + ("" if version is None else place("versions", version))
    return Call("GET", path + tail, kind)


def passed(
    method: str, model: str, path: str, version: str | None, json: Any, headers: Mapping[str, str] | None
) -> Call[Any]:
    """A request for the replica; `path` goes as it is."""
    below = place("models", model) + ("" if version is None else place("versions", version))
    return Call(method, f"{below}/{path.lstrip('/')}", dict, json=json, headers=headers)


@dataclass(frozen=True, slots=True)
class Asked:
    """The headers of a prediction."""

    routing_key: str | None = None
    request_id: str | None = None
    timeout_ms: int | None = None

    def options(self) -> dict[str, Any]:
        """For a Call. The gateway's time is the request's; ours is a little longer."""
        told = {
            "x-routing-key": self.routing_key,
            "x-request-id": self.request_id,
            "x-request-timeout-ms": None if self.timeout_ms is None else str(self.timeout_ms),
        }
        headers = {name: value for name, value in told.items() if value is not None}
        answer_s = None if self.timeout_ms is None else self.timeout_ms / 1e3 + 1.0
        return {"headers": headers, "answer_s": answer_s}
