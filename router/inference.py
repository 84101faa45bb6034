"""What the data listener answers, as types: OpenAPI describes them, the client reads them; values only, no I/O."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Alive(msgspec.Struct, frozen=True, kw_only=True):
    """KServe's liveness."""

    status: Literal["alive"]


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The router has a table."""

    ready: bool


class ServerLive(msgspec.Struct, frozen=True, kw_only=True):
    """Liveness and readiness of the Open Inference Protocol; `error` and `code` where it is not ready."""

    live: bool
    ready: bool
    error: str | None = None
    code: Literal["not_ready"] | None = None


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers, and which extensions of the protocol it has."""

    name: str
    version: str
    extensions: list[str]


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """An output; `data` is flat, row-major, and absent where it follows the JSON in binary."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: dict[str, Any] = {}


class Inference(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of the Open Inference Protocol."""

    model_name: str
    model_version: str
    id: str
    outputs: list[Tensor]
    parameters: dict[str, Any] = {}


class TensorMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output; -1 is a variable dimension."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """`versions` are those that would answer a pin now."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(msgspec.Struct, frozen=True, kw_only=True):
    """A version that would be answered now."""

    name: str
    version: str
    ready: bool


class ConfigTensor(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output in Triton's configuration."""

    name: str
    data_type: str
    dims: list[int]


class InstanceGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The replicas of a version."""

    name: str
    kind: str
    count: int


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Triton's model configuration."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[ConfigTensor]
    output: list[ConfigTensor]
    instance_group: list[InstanceGroup]


class Duration(msgspec.Struct, frozen=True, kw_only=True):
    """How many, and how long together, in nanoseconds."""

    count: int
    ns: int


class InferenceStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Sums since this router began."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_infer: Duration


class ModelStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Of one version, at this router."""

    name: str
    version: str
    inference_count: int
    inference_stats: InferenceStatistics
    batch_stats: list[Any]


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """Triton's statistics."""

    model_stats: list[ModelStatistics]


class IndexEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A version in the model repository."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A version that answers now."""

    name: str
    version: str
    state: Literal["READY"]


class Unloaded(msgspec.Struct, frozen=True, kw_only=True):
    """The versions that are not asked for any more."""

    name: str
    unloaded: list[str]


class VersionCondition(msgspec.Struct, frozen=True, kw_only=True):
    """TensorFlow Serving's error of a version."""

    error_code: str
    error_message: str


class VersionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """TensorFlow Serving's state of a version."""

    version: str
    state: Literal["AVAILABLE", "LOADING", "END"]
    status: VersionCondition


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """TensorFlow Serving's and KServe's model status in one."""

    name: str
    ready: bool
    model_version_status: list[VersionStatus]


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """TensorFlow Serving's name of a version."""

    name: str
    signature_name: str
    version: str


class ServingMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """TensorFlow Serving's metadata; the signature stands under `metadata`."""

    model_spec: ModelSpec
    metadata: dict[str, Any]
