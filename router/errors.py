"""Every error a caller can see, in one table of status and code; it may not know HTTP servers or Redis."""

from __future__ import annotations

from typing import Any

from router.outward import without_places


class PointsmanError(Exception):
    """An error with an outward form: `{"error": text, "code": slug, "field"?: path}` and a status."""

    status = 500
    code = "internal"
    retry_after: int | None = None
    closes = False  # part of the request is unread: the connection cannot carry another

    def __init__(self, message: str, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.field = field

    def body(self) -> dict[str, Any]:
        """The JSON object sent to the caller; places of this machine stay inside."""
        out: dict[str, Any] = {"error": without_places(self.message), "code": self.code}
        if self.field is not None:
            out["field"] = self.field
        return out


class BadInput(PointsmanError):
    """The caller's request cannot be understood; `field` names the place."""

    status = 400
    code = "bad_input"


class Denied(PointsmanError):
    """Who asks may not: nothing that was sent along is kept."""


class Unauthorized(Denied):
    """No key or token, or one that does not count."""

    status = 401
    code = "unauthorized"


class Forbidden(Denied):
    """The key or token counts, and its roles do not allow this."""

    status = 403
    code = "forbidden"


class NotFound(PointsmanError):
    """No such model, version, request or path."""

    status = 404
    code = "not_found"


class MethodNotAllowed(PointsmanError):
    """The path exists, the method does not."""

    status = 405
    code = "method_not_allowed"


class Conflict(PointsmanError):
    """The registry's state forbids the change (exists, not deployed, not warm, still routed)."""

    status = 409
    code = "conflict"


class PreconditionFailed(PointsmanError):
    """`If-Match` named an epoch that is no longer the route's."""

    status = 412
    code = "epoch_mismatch"


class TooLarge(PointsmanError):
    """A body, or a header, is over its limit."""

    status = 413
    code = "too_large"
    closes = True


class ModelFailed(PointsmanError):
    """The version answered, but not with something a caller may have (its error, a non-finite value)."""

    status = 500
    code = "model_failed"


class UpstreamFailed(PointsmanError):
    """The replica broke the exchange; whether it computed is unknown."""

    status = 502
    code = "upstream_failed"


class Unavailable(PointsmanError):
    """Not now: not ready, overloaded, no active version, log or Redis away; try again."""

    status = 503
    code = "unavailable"
    retry_after = 1


class DeadlineExceeded(PointsmanError):
    """The request's deadline passed before an answer was there."""

    status = 504
    code = "deadline_exceeded"


class ReceiveTimeout(DeadlineExceeded):
    """The caller did not send its request in time."""

    code = "receive_timeout"
    closes = True
