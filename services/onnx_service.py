"""The generic ONNX service: one BentoML service that runs any stored ONNX version; JSON in, JSON out.

The gateway's tensors do not come this way (services/front.py has their lane); this is what `bentoml serve`,
BentoML's clients and the pass-through lane see.
"""

from __future__ import annotations

from typing import Any

import bentoml
import numpy as np
import pydantic
from bentoml.exceptions import BentoMLException, InvalidArgument

from services.json_tensor import to_array
from services.session import InputError, ModelError
from services.version import current


class Prediction(pydantic.BaseModel):
    """Outputs by name as nested lists, and the microseconds the model took."""

    # A pydantic answer: for a plain dict BentoML rebuilds the JSON schema at each request.
    outputs: dict[str, Any]
    model_us: int


@bentoml.service(
    name="pointsman-onnx",
    workers=1,
    threads=1,
    traffic={"timeout": 60},
    logging={"access": {"enabled": False}},
)
class OnnxService:
    """Runs the ONNX model version this process was started for."""

    def __init__(self) -> None:
        self._version = current()

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, inputs: dict[str, Any], outputs: list[str] | None = None) -> Prediction:
        """`inputs` by name as nested lists, shaped as the signature says; `outputs` picks some by name."""
        session = self._version.session
        specs = {spec.name: spec for spec in session.signature.inputs}
        try:
            tensors = {
                name: to_array(specs[name], value) if name in specs else np.zeros(0)
                for name, value in inputs.items()
            }
            found, taken = session.run(tensors, outputs)
        except InputError as error:
            raise InvalidArgument(str(error)) from None
        except ModelError as error:
            raise BentoMLException(str(error)) from error
        for name, array in found:
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise BentoMLException(f"output {name!r} is not finite")
        return Prediction(outputs={name: array.tolist() for name, array in found}, model_us=taken)

    def __is_ready__(self) -> bool:
        """What /readyz asks: runs the model, not only the process."""
        return self._version.healthy()
