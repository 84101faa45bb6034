"""Mixes what exists into requests of schemathesis, and keeps them from doing what takes long; not a test."""

from __future__ import annotations

from random import Random
from typing import Any

from schemathesis import Case

from tests.contract.asking import DIGIT

MODELS = ("digits", "digits", "digits", "spare", "nobody")
VERSIONS = ("1", "1", "2", "9")
TENSOR = {"name": "x", "datatype": "FP32", "shape": [1, 64], "data": DIGIT}
LONGEST_MS = 1000

BODIES: dict[str, tuple[Any, ...]] = {
    "/v1/models/{model}:predict": (
        {"instances": [DIGIT]},
        {"inputs": [DIGIT, DIGIT]},
        {"instances": [[1, "x"]]},
    ),
    "/v2/models/{model}/infer": (
        {"inputs": [TENSOR]},
        {"inputs": [TENSOR], "outputs": [{"name": "label"}], "id": "mine"},
        {"inputs": [{**TENSOR, "shape": [64]}]},
    ),
    "/v2/repository/index": ({}, {"ready": True}),
    "/v2/repository/models/{model}/load": (
        {},
        {"parameters": {"version": "2"}},
        {"parameters": {"version": "9"}},
    ),
    "/v2/repository/models/{model}/unload": ({}, {"parameters": {"version": "2"}}),
    "/api/v1/models/{model}/promote": (
        {"version": "1"},
        {"version": "2", "reason": "a try"},
        {"version": "9"},
    ),
    "/api/v1/models/{model}/rollback": ({}, {"to": "2"}),
    "/api/v1/models/{model}/split": (
        {"weights": {"1": 60, "2": 40}},
        {"weights": {"1": 100}},
        {"weights": {"1": 60}},
    ),
    "/api/v1/models/{model}/fallback": ({"to": "auto"}, {"to": "none"}, {"to": "2"}),
    "/api/v1/models/{model}/versions/{version}/deploy": ({}, {"replicas": 1}, {"replicas": 0}),
    "/api/v1/models/{model}/versions/{version}/undeploy": ({}, {"force": False}),
    "/api/v1/registry/restore": ({}, {"reason": "a try"}),
    "/api/v1/restart": ({"what": "replicas", "model": "nobody"}, {"what": "agent", "model": "digits"}),
}


def mix(case: Case, random: Random) -> None:
    """Changes a request in place."""
    path = case.operation.path
    names = case.path_parameters or {}
    for name, known in (("model", MODELS), ("version", VERSIONS)):
        if name in names and random.random() < 0.8:
            names[name] = random.choice(known)
    case.path_parameters = names
    plain = path.replace("/versions/{version}:predict", ":predict").replace(
        "/versions/{version}/infer", "/infer"
    )
    bodies = BODIES.get(plain)
    if bodies is not None and random.random() < 0.5:
        case.body, case.media_type = random.choice(bodies), "application/json"
        headers = case.headers or {}
        for name in ("content-type", "inference-header-content-length", "content-encoding"):
            headers = {key: value for key, value in headers.items() if key.lower() != name}
        case.headers = headers
    _bounded(case)


def _bounded(case: Case) -> None:
    """No request may hold the run up, start many processes or end those of the installation."""
    path = case.operation.path
    if path.endswith("/load"):
        case.headers = {**(case.headers or {}), "x-request-timeout-ms": str(LONGEST_MS)}
    if path.endswith("/deploy"):
        query = case.query or {}
        if "wait" in query:
            case.query = {**query, "wait": _short(query["wait"])}
        if isinstance(case.body, dict) and _many(case.body.get("replicas")):
            case.body = {**case.body, "replicas": 1}
    if path.endswith("/restart") and isinstance(case.body, dict) and case.body.get("model") is None:
        case.body = {**case.body, "what": "agent", "model": "nobody"}


def _short(wait: Any) -> Any:
    try:
        return wait if float(wait) < 0.2 else 0.2
    except (TypeError, ValueError):
        return wait


def _many(replicas: Any) -> bool:
    return isinstance(replicas, int | float) and 1 < replicas <= 64
