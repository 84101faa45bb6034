"""The table of the data listener's operations, and the OpenAPI document made of it once at the start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from router import answers, inference
from router.openapi import (
    JSON,
    NAME,
    REQUEST_ID,
    TEXT,
    Content,
    Operation,
    Parameter,
    Refusals,
    Schema,
    encoded,
    json_of,
    together,
)
from router.openapi import document as build

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""What is described of `ANY`; HEAD follows GET."""

ANY: Refusals = {
    400: ("bad_http",),
    404: ("unknown_path",),
    405: ("method_not_allowed",),
    408: ("head_timeout",),
    429: ("too_many_connections",),
    431: ("head_too_large",),
    500: ("internal",),
    503: ("too_many_connections",),
}
ASKING: Refusals = {401: ("unauthorized",), 403: ("forbidden",)}
"""Where callers need keys."""
MODEL: Refusals = together(ANY, ASKING, {404: ("unknown_model", "unknown_version")})
CHOICE: Refusals = together(MODEL, {503: ("no_active_version", "not_deployed")})
BODY: Refusals = {
    400: ("bad_header", "bad_encoding"),
    413: ("body_too_large",),
    504: ("receive_timeout",),
}
EXCHANGE: Refusals = {
    500: ("model_error", "model_failed"),
    502: ("upstream_failed",),
    503: ("not_ready", "overloaded", "log_unavailable"),
    504: ("deadline_exceeded",),
}
VALUES: Refusals = {
    400: (
        *("bad_json", "bad_request", "unknown_field", "unknown_input", "missing_input", "bad_shape"),
        *("too_deep", "too_many_rows", "too_many_tensors"),
        *("bad_datatype", "bad_base64", "missing_value", "inexact", "out_of_range", "unequal_rows"),
        *("pin_mismatch", "bad_input", "bad_frame", "refused_by_model"),
    ),
    404: ("no_tensors",),
    500: ("nonfinite_output", "bad_answer"),
}
PREDICTION: Refusals = together(CHOICE, BODY, VALUES, EXCHANGE)
V1: Refusals = together(PREDICTION, {400: ("use_columns",)})
V2: Refusals = together(
    PREDICTION,
    {
        400: (
            *("bad_size", "missing_data", "repeated_input", "repeated_output", "unknown_output"),
            *("bad_parameter", "unsupported_parameter"),
        )
    },
)
PASS: Refusals = together(
    CHOICE,
    BODY,
    EXCHANGE,
    {400: ("bad_upgrade", "pin_mismatch"), 415: ("unsupported_media_type",), 503: ("replica_gone",)},
)
SMALL_BODY: Refusals = together(ANY, ASKING, BODY, {400: ("bad_json", "bad_request", "too_deep")})
CHANGE: Refusals = together(
    SMALL_BODY,
    {
        400: ("unsupported_parameter", "not_deployed", "still_routed", "replica_failed"),
        404: ("unknown_model", "unknown_version"),
        503: ("redis_away", "not_ready"),
    },
)

ASKED = (
    Parameter("x-model-version", NAME, "This version; must agree with the path.", "header"),
    Parameter("x-routing-key", TEXT, "Callers with the same key get the same version.", "header"),
    Parameter("x-request-id", REQUEST_ID, "Kept in the log; a correlator that may repeat.", "header"),
    Parameter(
        "x-request-timeout-ms",
        {"type": "integer", "minimum": 1, "maximum": 999_999_999_999},
        "The request's time.",
        "header",
    ),
)
TOLD: Mapping[str, Schema] = {
    "x-request-id": TEXT,
    "x-model-version": TEXT,
    "x-route-epoch": {"type": "integer"},
    "x-route-reason": {"enum": ["pin", "rule", "active", "sticky", "split", "fallback"]},
    "x-route-stale": {"const": "1"},
}
ROWS: Schema = {
    "type": "object",
    "properties": {
        "instances": {"type": "array", "minItems": 1, "description": "Rows."},
        "inputs": {"description": "Whole tensors: an object by input name, or the tensor of the only input."},
        "signature_name": {"description": "Accepted and not used."},
    },
    "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
    "additionalProperties": False,
}
PREDICTED: Schema = {
    "type": "object",
    "properties": {"predictions": {"type": "array"}, "outputs": {}},
    "oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}],
    "additionalProperties": False,
}
PARAMETERS: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}
TENSORS: Schema = {
    "type": "object",
    "properties": {
        "id": TEXT,
        "parameters": PARAMETERS,
        "inputs": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": TEXT,
                    "datatype": TEXT,
                    "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                    "data": {"type": "array", "description": "Flat (row-major) or nested."},
                    "parameters": PARAMETERS,
                },
                "required": ["name", "datatype", "shape"],
                "additionalProperties": False,
            },
        },
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": TEXT, "parameters": PARAMETERS},
                "required": ["name"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["inputs"],
    "additionalProperties": False,
}
BINARY = "application/octet-stream"
WISHES: Schema = {
    "type": "object",
    "properties": {
        "parameters": {
            "type": "object",
            "properties": {"version": TEXT, "unload_dependents": {"type": "boolean"}},
            "additionalProperties": False,
        }
    },
}
READY_ONLY: Schema = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
SOMETHING: Schema = {}
REPLICAS_OWN = Content("The replica's own answer.", {})


def _get(name: str, path: str, tag: str, text: str, kind: Any, refusals: Refusals = ANY) -> Operation:
    keyed = None if 401 in refusals else False
    return Operation(name, "GET", path, tag, text, {200: json_of(text, kind)}, refusals, keyed=keyed)


def _both(operation: Operation, model: str, tail: str) -> tuple[Operation, Operation]:
    """The same by the route's choice and of one version."""
    pinned, below = f"{operation.name}_of_version", f"{model}/versions/{{version}}{tail}"
    return replace(operation, path=f"{model}{tail}"), replace(operation, name=pinned, path=below)


def _v1() -> Operation:
    answer = json_of("Predictions by rows, or outputs by columns.", PREDICTED, TOLD)
    body = json_of("Rows or columns.", ROWS)
    text = "A prediction, by rows or columns."
    return Operation("predict", "POST", "", "v1", text, {200: answer}, V1, body, parameters=ASKED, keyed=None)


def _v2() -> Operation:
    told = {**TOLD, "inference-header-content-length": {"type": "integer"}}
    text = "Outputs; with the header, binary data follow that many bytes of JSON."
    answer = Content(text, {JSON: inference.Inference, BINARY: SOMETHING}, told)
    body = Content("Tensors; binary data may follow the JSON.", {JSON: TENSORS, BINARY: SOMETHING})
    length = Parameter(
        "inference-header-content-length",
        {"type": "integer", "minimum": 0},
        "Length of the JSON before binary data; 0: the body is the only input's raw bytes.",
        "header",
    )
    text = "A prediction in the Open Inference Protocol."
    return Operation(
        "infer", "POST", "", "v2", text, {200: answer}, V2, body, parameters=(*ASKED, length), keyed=None
    )


def _passed(method: str) -> Operation:
    text = "Handed to a replica of the chosen version, both ways streamed."
    body = Content("Whatever the replica takes; no pickle.", {"*/*": SOMETHING})
    asked = None if method in ("GET", "DELETE", "OPTIONS") else body
    places = {"path": {"type": "string", "description": "It may hold more slashes."}}
    return Operation(
        f"pass_{method.lower()}",
        *(method, "", "pass-through", text, {}, PASS, asked),
        body_needed=False,
        parameters=ASKED,
        places=places,
        keyed=None,
        default=REPLICAS_OWN,
    )


def _change(name: str, verb: str, text: str, kind: Any) -> Operation:
    path = f"/v2/repository/models/{{model}}/{verb}"
    body = json_of("`parameters.version` names the version.", WISHES)
    answers_ = {200: json_of(text, kind)}
    return Operation(
        name,
        *("POST", path, "v2 repository", text, answers_, CHANGE, body),
        body_needed=False,
        parameters=ASKED[3:],
        keyed=True,
    )


OPERATIONS: tuple[Operation, ...] = (
    *_both(_v1(), "/v1/models/{model}", ":predict"),
    *_both(_v2(), "/v2/models/{model}", "/infer"),
    *(each for method in METHODS for each in _both(_passed(method), "/models/{model}", "/{path}")),
    *_both(
        _get(
            "model_status",
            "",
            "v1",
            "TensorFlow Serving's and KServe's status.",
            inference.ModelStatus,
            MODEL,
        ),
        *("/v1/models/{model}", ""),
    ),
    *_both(
        _get(
            "serving_metadata", "", "v1", "TensorFlow Serving's metadata.", inference.ServingMetadata, CHOICE
        ),
        *("/v1/models/{model}", "/metadata"),
    ),
    _get("server", "/v2", "v2", "Name, version and extensions of the server.", inference.Server),
    _get("server_live", "/v2/health/live", "health", "As /livez.", inference.ServerLive),
    Operation(
        *("server_ready", "GET", "/v2/health/ready", "health", "As /readyz."),
        {
            200: json_of("Ready.", inference.ServerLive),
            503: json_of("Not ready; what is waited for.", inference.ServerLive),
        },
        ANY,
    ),
    *_both(
        _get("model_metadata", "", "v2", "Versions, inputs and outputs.", inference.ModelMetadata, CHOICE),
        *("/v2/models/{model}", ""),
    ),
    *_both(
        _get(
            *("model_ready", "", "v2", "Whether it would be answered now.", inference.ModelReady),
            together(MODEL, {400: ("not_ready", "not_deployed", "no_active_version")}),
        ),
        *("/v2/models/{model}", "/ready"),
    ),
    *_both(
        _get("model_config", "", "v2", "Triton's model configuration.", inference.ModelConfig, CHOICE),
        *("/v2/models/{model}", "/config"),
    ),
    _get(
        "statistics",
        "/v2/models/stats",
        "v2",
        "Of all models, at this router.",
        inference.Statistics,
        together(ANY, ASKING),
    ),
    *_both(
        _get("model_statistics", "", "v2", "Of one model, at this router.", inference.Statistics, MODEL),
        *("/v2/models/{model}", "/stats"),
    ),
    Operation(
        *(
            "repository_index",
            "POST",
            "/v2/repository/index",
            "v2 repository",
            "Every version with its state.",
        ),
        {
            200: json_of(
                "Every version.", {"type": "array", "items": {"$ref": "#/components/schemas/IndexEntry"}}
            )
        },
        SMALL_BODY,
        json_of("`ready` leaves out those that do not answer.", READY_ONLY),
        body_needed=False,
        keyed=None,
    ),
    _change("load", "load", "Deploys a version and waits for it.", inference.Loaded),
    _change("unload", "unload", "Undeploys a version, or all that no route needs.", inference.Unloaded),
    _get("alive", "/", "health", "As KServe has it.", inference.Alive),
    _get("livez", "/livez", "health", "The router's loop turns.", answers.Live),
    _get(
        "readyz",
        "/readyz",
        "health",
        "The router has a table.",
        inference.Ready,
        together(ANY, {503: ("not_ready",)}),
    ),
    _get("openapi", "/openapi.json", "health", "This document.", {"type": "object"}, together(ANY, ASKING)),
)


def document() -> Schema:
    """OpenAPI 3.1 of the data listener."""
    text = "Predictions and pass-through. Bodies are JSON in UTF-8 where nothing else is said."
    return build("Pointsman: data listener", text, OPERATIONS, inference.IndexEntry)


BODY_JSON = encoded(document())
