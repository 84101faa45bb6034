"""The table of the control listener's operations, and the OpenAPI document made of it once at the start."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router import answers
from router.control.body import Bento, Deploy, Fallback, Promote, Restore, Rollback, Split, Undeploy, only
from router.control.keys import CreateKey, RevokeKey, RotateKey
from router.control.openapi_stories import STORIES
from router.control.refusals import BODY, FLIP, JUDGED, KEYED, MODEL, OPEN, PAGED, REDIS, VERSION, WRITES
from router.control.restart import Restart
from router.openapi import (
    JSON,
    NAME,
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

API = "/api/v1"

BREAKING: Refusals = {409: ("breaking_signature",)}
KEY_ID = "^(pm_)?[a-z0-9]{8}$"
LIMIT = Parameter("limit", {"type": "integer", "minimum": 1, "maximum": 1000}, "Most items of a page.")
CURSOR = Parameter("cursor", TEXT, "The `next` of the page before.")
IF_MATCH = Parameter(
    "if-match",
    {"type": "string", "pattern": r'^("[0-9]{1,18}"|[0-9]{1,18}|\*)$'},
    "Only at this epoch.",
    "header",
)
ETAG = {"etag": TEXT}
UPLOAD: Schema = {
    "type": "object",
    "properties": {
        "artifact": {"type": "string", "format": "binary", "description": "An .onnx, or a tar."},
        "manifest": {"type": "string", "format": "binary"},
        "version": NAME,
        "reason": TEXT,
    },
    "required": ["artifact"],
    "additionalProperties": False,
}
LINES = Content("One entry a line, oldest first.", {"application/jsonl": {"type": "string"}})
ZIP = Content("The folder, zipped.", {"application/zip": {"type": "string", "format": "binary"}})
PERIOD = (Parameter("from", TEXT, "A time, or a duration before now."), Parameter("to", TEXT, "Likewise."))
PROMETHEUS = Content("Prometheus text.", {"text/plain": {"type": "string"}})


def _read(name: str, path: str, text: str, kind: Any, refusals: Refusals, *asked: Parameter) -> Operation:
    found = {200: json_of(text, kind)}
    return Operation(name, "GET", path, "reads", text, found, refusals, parameters=asked, keyed=True)


def _flip(name: str, text: str, form: type, refusals: Refusals = FLIP, *, needed: bool = True) -> Operation:
    found = {
        200: json_of("Every known router has acknowledged.", answers.Change, ETAG),
        202: json_of("The change stands; laggards are not known to have it.", answers.Change, ETAG),
    }
    path = f"{API}/models/{{model}}/{name}"
    body = json_of("Versions are strings.", form)
    asked = (IF_MATCH,)
    return Operation(name, "POST", path, "routes", text, found, refusals, body, needed, asked, keyed=True)


def _key(name: str, tail: str, status: int, text: str, form: type, refusals: Refusals) -> Operation:
    found = {
        status: json_of("Every known router has it.", answers.KeyChange),
        202: json_of("It is so; laggards are not known to have it.", answers.KeyChange),
    }
    return Operation(
        name,
        *("POST", f"{API}/keys{tail}", "keys", text, found, together(KEYED, WRITES, BODY, refusals)),
        json_of("Durations as 90d or 24h.", form),
        body_needed=status == 201,
        places={"key": {"type": "string", "pattern": KEY_ID}},
        keyed=True,
    )


def _audit(
    name: str, tail: str, text: str, found: Content, refusals: Refusals, *asked: Parameter
) -> Operation:
    told = together(KEYED, REDIS, {503: ("audit_busy",)}, refusals)
    return Operation(
        name, "GET", f"{API}{tail}", "audit", text, {200: found}, told, parameters=asked, keyed=True
    )


VERDICT = json_of("What a verification finds.", {"type": "object"})
AUDIT: tuple[Operation, ...] = (
    _audit("audit", "/models/{model}/audit", "A model's chain.", LINES, together(MODEL, PAGED), *PERIOD),
    _audit(
        "verify_audit",
        "/models/{model}/audit/verify",
        "Holds it against itself and the state.",
        VERDICT,
        MODEL,
    ),
    _audit(
        *("export_audit", "/models/{model}/audit/export", "The folder for an auditor.", ZIP),
        *(together(MODEL, PAGED), *PERIOD),
    ),
    _audit(
        "audit_keys",
        "/audit",
        "The public keys that are trusted here.",
        json_of("They.", answers.PublicKeys),
        {},
    ),
    _audit("chain", "/audit/{chain}", "A chain that is no model's.", LINES, PAGED, *PERIOD),
    _audit("verify_chain", "/audit/{chain}/verify", "Holds it against itself and the state.", VERDICT, {}),
)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        *("livez", "GET", "/livez", "health", "The process answers."),
        {200: json_of("It does.", answers.Live)},
        OPEN,
    ),
    Operation(
        *("readyz", "GET", "/readyz", "health", "Changes could be made."),
        {200: json_of("Redis answers.", answers.Ready)},
        together(OPEN, REDIS),
    ),
    Operation(
        *("metrics", "GET", "/metrics", "metrics", "All counters, of all routers."),
        {200: PROMETHEUS},
        KEYED,
        keyed=True,
    ),
    Operation(
        *("api_metrics", "GET", f"{API}/metrics", "metrics", "The same."),
        {200: PROMETHEUS},
        KEYED,
        keyed=True,
    ),
    _read("openapi", "/openapi.json", "This document.", {"type": "object"}, KEYED),
    _read("status", f"{API}/status", "All on one page.", answers.Status, together(KEYED, REDIS)),
    _read(
        *("models", f"{API}/models", "Models by name.", answers.Models, together(KEYED, REDIS, PAGED)),
        *(LIMIT, CURSOR),
    ),
    _read("model", f"{API}/models/{{model}}", "One model.", answers.Model, together(KEYED, REDIS, MODEL)),
    Operation(
        *("register", "POST", f"{API}/models/{{model}}/versions", "versions", "Registers a version."),
        {201: json_of("The version's document.", answers.Registered, {"location": TEXT})},
        together(KEYED, WRITES, BODY, JUDGED),
        Content(
            "A file with its manifest, or the tag of a bento.", {"multipart/form-data": UPLOAD, JSON: Bento}
        ),
        keyed=True,
    ),
    Operation(
        "deploy",
        *("POST", f"{API}/models/{{model}}/versions/{{version}}/deploy", "versions", "Asks for replicas."),
        {
            200: json_of("They are ready.", answers.Deployed),
            202: json_of("They are asked for.", answers.Deployed),
        },
        together(
            KEYED, WRITES, BODY, VERSION, {409: ("replica_failed", "conflict"), 504: ("deploy_timeout",)}
        ),
        json_of("It may be empty.", Deploy),
        body_needed=False,
        parameters=(
            Parameter("wait", {"type": "number", "minimum": 0, "maximum": 3600}, "Seconds to wait for them."),
        ),
        keyed=True,
    ),
    Operation(
        "undeploy",
        *("POST", f"{API}/models/{{model}}/versions/{{version}}/undeploy", "versions", "Asks for none."),
        {202: json_of("They are not asked for any more.", answers.Deployed)},
        together(KEYED, WRITES, BODY, VERSION, {409: ("still_routed", "not_deployed", "conflict")}),
        json_of("It may be empty.", Undeploy),
        body_needed=False,
        keyed=True,
    ),
    _flip("promote", "Makes a version active.", Promote, together(FLIP, BREAKING)),
    _flip(
        *("rollback", "Goes back to the previous version.", Rollback),
        together(FLIP, BREAKING, {409: ("no_previous",)}),
        needed=False,
    ),
    _flip("split", "Shares the traffic.", Split, together(FLIP, BREAKING, {400: ("bad_weights",)})),
    _flip("fallback", "Who answers where the chosen version cannot.", Fallback),
    _read(
        *("history", f"{API}/models/{{model}}/history", "Changes, oldest first.", answers.History),
        together(KEYED, REDIS, MODEL, PAGED),
        *(
            LIMIT,
            Parameter(
                "cursor", {"type": "string", "pattern": "^[0-9]{1,15}$"}, "The `next` of the page before."
            ),
        ),
        Parameter(
            "epoch", {"type": "integer", "minimum": 0, "maximum": 10**15}, "Only the change that made it."
        ),
    ),
    _read(
        *("requests", f"{API}/requests", "Records, oldest first.", answers.Records),
        together(KEYED, {400: ("bad_input", "bad_name", "bad_cursor"), 503: ("log_busy",)}),
        *(
            LIMIT,
            CURSOR,
            Parameter("model", NAME, "Of this model."),
            Parameter("version", NAME, "Of this version."),
        ),
        Parameter("since", TEXT, "From then on: 10m, or 2026-11-24T07:00:00Z."),
    ),
    Operation(
        "request",
        *("GET", f"{API}/requests/{{request_id}}", "reads", "The records of a request id or a record id."),
        {200: json_of("At least one.", answers.Records)},
        together(KEYED, {404: ("unknown_request",), 503: ("log_busy",)}),
        places={"request_id": {"type": "string", "pattern": r"^[A-Za-z0-9._:-]{1,128}$"}},
        keyed=True,
    ),
    _read("routers", f"{API}/routers", "The known routers.", answers.Routers, together(KEYED, REDIS)),
    Operation(
        *("forget_router", "DELETE", f"{API}/routers/{{router}}", "operations", "Forgets a router."),
        {200: json_of("Nobody waits for it any more.", answers.Forgotten)},
        together(KEYED, WRITES, {404: ("unknown_router",)}),
        keyed=True,
    ),
    _read("keys", f"{API}/keys", "Every key.", answers.CallerKeys, together(KEYED, REDIS)),
    _key(
        "create_key", "", 201, "Makes a key.", CreateKey, {409: ("key_exists", "too_many_keys", "conflict")}
    ),
    _key(
        *("rotate_key", "/{key}/rotate", 200, "Gives a key a new secret.", RotateKey),
        {404: ("unknown_key",), 409: ("key_ended", "conflict")},
    ),
    _key(
        *("revoke_key", "/{key}/revoke", 200, "Ends a key for good.", RevokeKey),
        {404: ("unknown_key",), 409: ("conflict",)},
    ),
    Operation(
        *("restore", "POST", f"{API}/registry/restore", "operations", "Writes back what Redis lost."),
        {200: json_of("What was written.", answers.Restored)},
        together(KEYED, WRITES, BODY, {409: ("nothing_known", "conflict")}),
        json_of("It may be empty.", Restore),
        body_needed=False,
        keyed=True,
    ),
    Operation(
        *(
            "begin_restart",
            "POST",
            f"{API}/restart",
            "operations",
            "Restarts processes of this host one by one.",
        ),
        {202: json_of("It has begun.", answers.RestartAnswer)},
        together(KEYED, REDIS, BODY, VERSION, {409: ("restart_running",), 503: ("up_away",)}),
        json_of("Model and version only with replicas.", Restart),
        keyed=True,
    ),
    *AUDIT,
    *STORIES,
    _read(
        "restart",
        f"{API}/restart",
        "The restart that runs, else the last.",
        answers.RestartAnswer,
        together(KEYED, {503: ("up_away",)}),
    ),
)


def document() -> Schema:
    """OpenAPI 3.1 of the control listener."""
    text = "Registration, deployment and routes. All but the health paths need the key."
    return build("Pointsman: control listener", text, OPERATIONS)


_BODY = encoded(document())


async def openapi(request: Request) -> Response:
    """The document, made once."""
    only(request)
    return Response(_BODY, media_type="application/json")


PATHS = [Path("/openapi.json", openapi)]
