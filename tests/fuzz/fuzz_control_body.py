"""Bodies and query parameters of the control API: typed values or errors of ours, whatever is sent."""

# ruff: noqa: PT017 (an error is one of the two right outcomes)

from __future__ import annotations

import math

import msgspec
import orjson
from starlette.requests import ClientDisconnect

from router.control import body as forms
from router.control.body import integer, moment, only, read_form, seconds
from router.control.routes import expected_epoch
from router.errors import PointsmanError
from tests.fuzz.asgi import request, run

KINDS = (
    forms.Promote, forms.Restore, forms.Rollback, forms.Fallback, forms.Split, forms.Deploy, forms.Undeploy,
    forms.Bento,
)  # fmt: skip


def check(data: bytes) -> None:
    """The first byte chooses: a form, or parameters and headers."""
    if not data:
        return
    if data[0] & 0x80:
        _parameters(data[1:])
        return
    kind = KINDS[data[0] % len(KINDS)]
    try:
        found = run(read_form(request(data[1:]), kind))
    except PointsmanError as error:
        assert error.status in (400, 413)
        orjson.dumps(error.body())
        return
    # What was read says the same when it is written.
    assert run(read_form(request(msgspec.json.encode(found)), kind)) == found


def _parameters(data: bytes) -> None:
    head, _, query = data.partition(b"\n")
    asked = request(b"", query=query, headers=[(b"if-match", head)])
    text = query.decode("latin-1")
    for look in (
        lambda: only(asked, "limit", "since", "cursor"),
        lambda: integer(asked, "limit", 100, 1, 1000),
        lambda: seconds(asked, "timeout", 600.0),
        lambda: moment(text, 1.8e9, "since"),
        lambda: expected_epoch(asked),
    ):
        try:
            found = look()
        except (PointsmanError, ClientDisconnect) as error:
            assert isinstance(error, PointsmanError)
            assert error.status == 400
            orjson.dumps(error.body())
            continue
        assert found is None or math.isfinite(found), found
