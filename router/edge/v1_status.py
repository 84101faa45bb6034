"""Status and metadata of TensorFlow Serving and KServe v1, and KServe's liveness; answered from the table."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from router.documents import ModelState, TensorSpec
from router.edge.endpoint import endpoint
from router.edge.metadata import described
from router.errors import NotFound
from router.names import version_order
from router.route.choice import entry_of
from router.route.deployment import idle_reason
from router.route.table import Entry
from router.route.watch import Watch

MODEL, VERSION = "/v1/models/{model}", "/v1/models/{model}/versions/{version}"
# Open Inference Protocol datatypes by TensorFlow's names.
DTYPES = {
    "BOOL": "DT_BOOL",
    "FP16": "DT_HALF",
    "FP32": "DT_FLOAT",
    "FP64": "DT_DOUBLE",
    "BYTES": "DT_STRING",
}


class V1Status:
    """The GET paths of the v1 protocol."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.routes = [endpoint("/", self._alive)]
        for model in (MODEL, VERSION):
            self.routes += [endpoint(model, self._status), endpoint(f"{model}/metadata", self._metadata)]

    async def _alive(self, _: Request) -> Any:
        return {"status": "alive"}

    async def _status(self, request: Request) -> Any:
        """The union of both forms: versions with their states, and name with readiness."""
        model, pin = request.path_params["model"], request.path_params.get("version")
        entry = entry_of(self._watch.table, model)
        if pin is not None and pin not in entry.known:
            raise NotFound(f"model {model} has no version {pin[:80]!r}", code="unknown_version")
        state = self._watch.state(model)
        names = [pin] if pin is not None else sorted(entry.targets, key=version_order)
        target = pin or entry.route.active
        ready = target is not None and idle_reason(entry, state, target) is None
        return {
            "name": model,
            "ready": ready,
            "model_version_status": [_version(entry, state, name) for name in names],
        }

    async def _metadata(self, request: Request) -> Any:
        _, version = described(self._watch, request)
        signature = version.signature
        definition = {
            "inputs": {} if signature is None else {spec.name: _tensor(spec) for spec in signature.inputs},
            "outputs": {} if signature is None else {spec.name: _tensor(spec) for spec in signature.outputs},
            "method_name": "tensorflow/serving/predict",
        }
        return {
            "model_spec": {"name": version.model, "signature_name": "", "version": version.version},
            "metadata": {"signature_def": {"signature_def": {"serving_default": definition}}},
        }


def _version(entry: Entry, state: ModelState, name: str) -> dict[str, Any]:
    why = idle_reason(entry, state, name)
    if why is None:
        status = {"error_code": "OK", "error_message": ""}
        return {"version": name, "state": "AVAILABLE", "status": status}
    status = {"error_code": "UNAVAILABLE", "error_message": why}
    return {"version": name, "state": "LOADING" if name in state.desired else "END", "status": status}


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "dtype": DTYPES.get(spec.datatype, f"DT_{spec.datatype}"),
        "tensor_shape": {
            "dim": [{"size": str(size), "name": ""} for size in spec.shape],
            "unknown_rank": False,
        },
    }
