"""What the Open Inference Protocol tells of server and models: metadata, readiness, configuration; no Redis."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router import __version__
from router.documents import TensorSpec, Version
from router.edge.endpoint import endpoint
from router.edge.readiness import Readiness
from router.errors import BadInput, Unavailable
from router.names import version_order
from router.route.choice import choose, entry_of
from router.route.deployment import idle_reason
from router.route.table import Entry, Target
from router.route.watch import Watch
from router.settings import Settings

EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics"]
MODEL, VERSION = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
PLATFORMS = {"onnx": "onnxruntime_onnx", "bento": "bentoml"}


class Metadata:
    """The GET paths of the v2 protocol, answered from the routing table."""

    def __init__(self, settings: Settings, watch: Watch, readiness: Readiness) -> None:
        self._settings = settings
        self._watch = watch
        self._readiness = readiness
        self.routes = [
            endpoint("/v2", self._server),
            endpoint("/v2/health/live", self._live),
            Path("/v2/health/ready", self._ready, methods=["GET"]),
        ]
        for model in (MODEL, VERSION):
            self.routes += [
                endpoint(model, self._model),
                endpoint(f"{model}/ready", self._model_ready),
                endpoint(f"{model}/config", self._config),
            ]

    async def _server(self, _: Request) -> Any:
        return {"name": "pointsman", "version": __version__, "extensions": EXTENSIONS}

    async def _live(self, _: Request) -> Any:
        return {"live": True, "ready": True}  # one client reads the one, another the other

    async def _ready(self, _: Request) -> Response:
        missing = self._readiness.missing()
        if missing is None:
            return _json({"live": True, "ready": True})
        body = {"live": True, "ready": False, "error": missing, "code": "not_ready"}
        return _json(body, 503, {"retry-after": "1"})

    async def _model(self, request: Request) -> Any:
        entry, version = described(self._watch, request)
        pinned = "version" in request.path_params
        signature = version.signature
        return {
            "name": version.model,
            "versions": [version.version] if pinned else available(self._watch, entry),
            "platform": PLATFORMS[version.runtime],
            "inputs": [] if signature is None else [_tensor(spec) for spec in signature.inputs],
            "outputs": [] if signature is None else [_tensor(spec) for spec in signature.outputs],
        }

    async def _model_ready(self, request: Request) -> Any:
        """400 where it is not, as the protocol has it; 404 where there is no such model or version."""
        entry = entry_of(self._watch.table, request.path_params["model"])
        pin = request.path_params.get("version") or entry.route.active
        try:
            chosen = choose(entry, pin, None, 0.0)
        except Unavailable as error:
            raise BadInput(error.message, code=error.code) from error
        model, version = entry.route.model, chosen.version
        state = self._watch.state(model)
        if (why := idle_reason(entry, state, version)) is not None:
            code = "not_ready" if version in state.desired else "not_deployed"
            raise BadInput(f"version {version} of model {model} is not ready: {why}", code=code)
        return {"name": model, "version": version, "ready": True}

    async def _config(self, request: Request) -> Any:
        """Triton's model configuration. Where rows of several callers may share a call, `dims` leave them out."""
        entry, version = described(self._watch, request)
        signature, batched = version.signature, version.rowwise
        target = entry.targets[version.version]
        return {
            "name": version.model,
            "platform": PLATFORMS[version.runtime],
            "backend": "onnxruntime" if version.runtime == "onnx" else "bentoml",
            "max_batch_size": self._settings.batch_rows if batched else 0,
            "input": [] if signature is None else [_dims(spec, batched) for spec in signature.inputs],
            "output": [] if signature is None else [_dims(spec, batched) for spec in signature.outputs],
            "instance_group": [_group(version, target)],
        }


def described(watch: Watch, request: Request) -> tuple[Entry, Version]:
    """The version a path means: the one it names, else the active one. Raises what `choose` raises."""
    entry = entry_of(watch.table, request.path_params["model"])
    pin = request.path_params.get("version") or entry.route.active
    return entry, choose(entry, pin, None, 0.0).target.version


def available(watch: Watch, entry: Entry) -> list[str]:
    """The versions that would answer a pin now, in their order."""
    state = watch.state(entry.route.model)
    names = [name for name in entry.targets if idle_reason(entry, state, name) is None]
    return sorted(names, key=version_order)


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


def _dims(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    datatype = "TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}"
    return {"name": spec.name, "data_type": datatype, "dims": spec.shape[1:] if batched else spec.shape}


def _group(version: Version, target: Target) -> dict[str, Any]:
    return {"name": version.version, "kind": "KIND_CPU", "count": len(target.replicas)}


def _json(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(document), status, headers, media_type="application/json")
