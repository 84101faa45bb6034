"""The error codes of the control listener by status, in the groups that its operations are described by."""

from __future__ import annotations

from router.openapi import Refusals, together

OPEN: Refusals = {
    400: ("bad_http",),
    404: ("not_found",),
    405: ("method_not_allowed",),
    408: ("head_timeout",),
    429: ("too_many_connections",),
    431: ("head_too_large",),
    500: ("internal",),
    503: ("too_many_connections",),
}
KEYED: Refusals = together(
    OPEN, {400: ("unknown_field",), 401: ("unauthorized",), 403: ("forbidden",), 503: ("redis_away",)}
)
"""Of a key other than the data directory's, Redis is asked."""
REDIS: Refusals = {503: ("redis_away", "unavailable")}
WRITES: Refusals = together(REDIS, {503: ("redis_full", "redis_readonly", "contended")})
PAGED: Refusals = {400: ("bad_input",)}
BODY: Refusals = {
    400: ("bad_json", "bad_input", "bad_name", "hung_up"),
    413: ("too_large",),
    504: ("receive_timeout",),
}
MODEL: Refusals = {404: ("unknown_model",)}
VERSION: Refusals = {404: ("unknown_model", "unknown_version")}
FLIP: Refusals = together(
    *(KEYED, WRITES, BODY, VERSION),
    {409: ("not_deployed", "not_warm", "no_active_version", "conflict"), 412: ("epoch_mismatch",)},
)
JUDGED: Refusals = {
    400: (
        *("not_onnx", "unknown_operator", "unsupported_model", "unsupported_type", "unloadable"),
        *("path_outside", "artifact_missing", "artifact_link", "artifact_altered"),
        *("archive_bad", "archive_link", "archive_too_large"),
        *("bad_manifest", "manifest_mismatch", "signature_mismatch", "signature_needed"),
        *("golden_missing", "golden_invalid", "golden_mismatch", "golden_needed", "model_failed"),
        *("not_rowwise", "time_limit", "cpu_limit", "memory_limit", "crashed"),
        *("bento_invalid", "bento_altered", "bad_multipart"),
    ),
    404: ("unknown_bento",),
    409: ("version_exists",),
    413: ("bento_too_large",),
    503: ("registrations_busy", "inspection_failed"),
    504: ("upload_timeout",),
}
