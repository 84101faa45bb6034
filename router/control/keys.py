"""Keys of callers over HTTP: made, listed, rotated, revoked. A secret is in one answer, and nowhere else."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router.access.grant import Grant, checked
from router.access.key import Key, revoked, rotated
from router.access.secret import KEY_ID, digest, new_id, new_key
from router.clock import parse_rfc3339, rfc3339
from router.control.answer import answer
from router.control.away import answering
from router.control.body import only, read_form
from router.control.plane import Plane, actor_of, plane_of
from router.control.routes import UNSAFE
from router.errors import BadInput, NotFound
from router.names import check_name
from router.registry.audit import Actor
from router.registry.keyring import Decide, change_key, new_name
from router.registry.keys import KEYRING

RESERVED = frozenset({"admin"})
MOST_GRANTS = 64
LIFE = re.compile(r"(\d{1,6})(s|m|h|d)\Z")
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST_S = 10 * 366 * UNITS["d"]


class CreateKey(msgspec.Struct, frozen=True):
    """Body of a new key; `expires` is a duration from now such as `90d`, or a time."""

    name: str
    grants: list[Grant]
    expires: str | None = None
    reason: str | None = None


class RotateKey(msgspec.Struct, frozen=True):
    """Body of a rotation; it may be empty. For `overlap` both secrets count."""

    overlap: str = "24h"
    reason: str | None = None


class RevokeKey(msgspec.Struct, frozen=True):
    """Body of a revocation; it may be empty."""

    reason: str | None = None


async def listed(request: Request) -> Response:
    """Every key, the oldest first, also those that ended; no secret and no digest."""
    only(request)
    async with answering():
        found = await plane_of(request).registry.caller_keys()
    now = time.time()
    return answer({"keys": [key.document(now) for key in found]})


async def create(request: Request) -> Response:
    """A new key; the answer has its secret."""
    started, form = time.perf_counter(), await read_form(request, CreateKey)
    only(request)
    name = check_name(form.name, "name")
    if name in RESERVED:
        raise BadInput(f"{name} is the key of the data directory", field="name")
    if not 1 <= len(form.grants) <= MOST_GRANTS:
        raise BadInput(f"grants must be 1 to {MOST_GRANTS} roles", field="grants")
    grants = tuple(checked(grant, f"grants.{number}") for number, grant in enumerate(form.grants))
    now, actor = time.time(), actor_of(request, form.reason)
    ends = None if form.expires is None else rfc3339(_moment(form.expires, now, "expires"))
    key_id = new_id(secrets.choice)
    secret = new_key(key_id, secrets.choice)

    def made(present: Mapping[str, Key]) -> Key | None:
        new_name(present, name, now)
        return Key(
            id=key_id,
            name=name,
            digest=digest(secret),
            grants=grants,
            created=rfc3339(now),
            created_by=actor.name,
            expires=ends,
        )

    return await _turn(plane_of(request), made, actor, "create", started, secret=secret, status=201)


async def rotate(request: Request) -> Response:
    """A new secret for a key; the answer has it. The one before counts until the overlap ends."""
    started, form = time.perf_counter(), await read_form(request, RotateKey)
    only(request)
    key_id, now = _id_of(request), time.time()
    overlap = _seconds(form.overlap, "overlap")
    secret = new_key(key_id, secrets.choice)

    def turned(present: Mapping[str, Key]) -> Key | None:
        return rotated(_present(present, key_id), digest(secret), overlap, now)

    actor = actor_of(request, form.reason)
    return await _turn(plane_of(request), turned, actor, "rotate", started, secret=secret)


async def revoke(request: Request) -> Response:
    """Ends a key for good. 200: every known router refuses it."""
    started, form = time.perf_counter(), await read_form(request, RevokeKey)
    only(request)
    key_id, now = _id_of(request), time.time()

    def ended(present: Mapping[str, Key]) -> Key | None:
        key = _present(present, key_id)
        after = revoked(key, now)
        return None if after == key else after

    return await _turn(
        plane_of(request), ended, actor_of(request, form.reason), "revoke", started, key_id=key_id
    )


async def _turn(
    plane: Plane,
    decide: Decide,
    actor: Actor,
    action: str,
    started: float,
    *,
    secret: str | None = None,
    status: int = 200,
    key_id: str = "",
) -> Response:
    """Commits, and waits for the routers as a change of a route does."""
    async with answering() as sent, plane.turn(KEYRING):
        sent.maybe = True
        done = await change_key(plane.registry, decide, actor, action)
        key = done.key or await plane.registry.caller_key(key_id)
    if key is None:
        raise _unknown(key_id)
    verdict = await plane.acknowledgements.wait(KEYRING, key.revision)
    laggards = verdict.document()
    if not done.safe:
        laggards["laggards"].append({"id": UNSAFE[0], "reason": UNSAFE[1]})
    complete = verdict.complete and done.safe
    document = {
        "key": key.document(time.time()),
        "changed": done.key is not None,
        "routers": laggards,
        "took_ms": round((time.perf_counter() - started) * 1000, 3),
    }
    if secret is not None:
        document["secret"] = secret
    return answer(document, status if complete else 202)


def _id_of(request: Request) -> str:
    """The id that a path names, with or without `pm_`."""
    found = KEY_ID.match(request.path_params["key"])
    if found is None:
        raise NotFound("this is no id of a key: pm_ and eight characters", code="unknown_key")
    return found[1]


def _present(present: Mapping[str, Key], key_id: str) -> Key:
    if key_id not in present:
        raise _unknown(key_id)
    return present[key_id]


def _unknown(key_id: str) -> NotFound:
    return NotFound(f"there is no key pm_{key_id}", code="unknown_key")


def _seconds(text: str, field: str) -> float:
    """A duration such as `90d` or `24h`, at most ten years. Raises BadInput."""
    match = LIFE.match(text)
    found = -1.0 if match is None else float(match[1]) * UNITS[match[2]]
    if not 0 <= found <= LONGEST_S:
        raise BadInput(f"{field} must be a duration such as 90d or 24h, at most ten years", field=field)
    return found


def _moment(text: str, now: float, field: str) -> float:
    """Unix seconds of the end of a duration from now, or of a time; it lies ahead. Raises BadInput."""
    if LIFE.match(text):
        found = now + _seconds(text, field)
    else:
        try:
            found = parse_rfc3339(text)
        except (ValueError, OverflowError):
            raise BadInput(
                f"{field} must be a duration such as 90d, or a time such as 2027-01-01T00:00:00Z", field=field
            ) from None
    if not now < found <= now + LONGEST_S:
        raise BadInput(f"{field} must lie ahead, at most ten years", field=field)
    return found


PATHS = [
    Path("/keys", listed),
    Path("/keys", create, methods=["POST"]),
    Path("/keys/{key}/rotate", rotate, methods=["POST"]),
    Path("/keys/{key}/revoke", revoke, methods=["POST"]),
]
