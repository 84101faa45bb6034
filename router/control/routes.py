"""Promote, rollback, split and fallback over HTTP: one change of the pointer, then the wait for every router."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router.control.answer import answer
from router.control.away import answering
from router.control.body import Fallback, Promote, Rollback, Split, only, read_form
from router.control.plane import Plane, actor_of, model_of, plane_of
from router.control.signatures import Breaking, Unread
from router.documents import ModelState, Route
from router.errors import BadInput, Conflict, NotFound, PreconditionFailed
from router.names import check_name
from router.registry.audit import Actor
from router.registry.registry import Committed
from router.registry.told import served_before
from router.route import transition

EPOCH = re.compile(r'(?:"(\d{1,18})"|(\d{1,18}))\Z')

UNSAFE = ("redis", "no replica of Redis has confirmed the change: a fail-over now could lose it")

Transition = Callable[[Route | None], Route | None]
"""A present route to the wanted one; None: nothing to change."""


async def promote(request: Request) -> Response:
    """Makes a version active for all."""
    started = time.perf_counter()
    model, form = model_of(request), await read_form(request, Promote)
    version = check_name(form.version, "version")
    flip = Flip(request, model, "promote", form.reason, {version: "version"}, breaking=form.allow_breaking)
    return await flip.run(lambda route: transition.promote(route, model, version), started)


async def rollback(request: Request) -> Response:
    """Goes back to the previous version, or to one that is named."""
    started = time.perf_counter()
    model, form = model_of(request), await read_form(request, Rollback)
    to = None if form.to is None else check_name(form.to, "to")
    named = {} if to is None else {to: "to"}
    # Who goes back to the previous version is in a hurry, and callers had its signature before.
    flip = Flip(request, model, "rollback", form.reason, named, breaking=to is None or form.allow_breaking)
    return await flip.run(lambda route: transition.rollback(route, to), started)


async def split(request: Request) -> Response:
    """Shares the traffic by weights."""
    started = time.perf_counter()
    model, form = model_of(request), await read_form(request, Split)
    named = {check_name(version, f"weights.{version}"[:80]): f"weights.{version}" for version in form.weights}
    flip = Flip(request, model, "split", form.reason, named, breaking=form.allow_breaking)
    salt = secrets.token_hex(8)
    return await flip.run(lambda route: transition.split(route, form.weights, salt), started)


async def fallback(request: Request) -> Response:
    """Says which version answers where the chosen one cannot."""
    started = time.perf_counter()
    model, form = model_of(request), await read_form(request, Fallback)
    to = check_name(form.to, "to")
    named = {} if to in ("auto", "none") else {to: "to"}
    flip = Flip(request, model, "fallback", form.reason, named)
    return await flip.run(lambda route: transition.fall_back(route, to), started)


class Flip:
    """One asked-for change of a route. `named` are the versions the caller named, and in which field.

    `breaking`: a version whose signature breaks callers of the active one may join. `warm`: all must be ready.
    """

    def __init__(
        self,
        request: Request,
        model: str,
        action: str,
        reason: str | None,
        named: dict[str, str],
        breaking: bool = True,
        warm: bool = True,
    ) -> None:
        only(request)
        self._plane: Plane = plane_of(request)
        self._model, self._action, self._named = model, action, named
        self._actor: Actor = actor_of(request, reason)
        self._epoch = expected_epoch(request)
        self._breaking, self._warm = breaking, warm

    async def run(self, decide: Transition, started: float) -> Response:
        """Commits and waits; `started` is when the request was received (perf_counter)."""
        done = await self._commit(decide)
        epoch = done.after.epoch if done.after else 0
        verdict = await self._plane.acknowledgements.wait(self._model, epoch)
        if not done.safe:
            verdict = replace(verdict, laggards=(*verdict.laggards, UNSAFE))
        document = {
            "epoch": epoch,
            "applied": True,
            "changed": done.changed,
            "routers": verdict.document(),
            "took_ms": round((time.perf_counter() - started) * 1000, 3),
            "model": self._model,
            "route": done.after,
        }
        return answer(document, 200 if verdict.complete else 202, {"etag": f'"{epoch}"'})

    async def _commit(self, decide: Transition) -> Committed:
        async with answering() as sent:

            def wanted(state: ModelState) -> Route | None:
                sent.maybe = False  # asked again means that the last attempt did not win
                expect(self._epoch, state)
                after = decide(state.route)
                if after is None or after == state.route:
                    return None
                for version in {*_joining(after), *self._named} if self._warm else ():
                    require_warm(state, version, self._named.get(version))
                if not self._breaking:
                    self._require_fitting(state.route, after)
                sent.maybe = True
                return after

            try:
                async with self._plane.turn(self._model):
                    return await self._changed(wanted)
            except (Conflict, PreconditionFailed):
                # Only now: a change that goes through needs no look whether its versions exist.
                await self._require_existing()
                raise

    async def _changed(self, wanted: Callable[[ModelState], Route | None]) -> Committed:
        """Commits; reads signatures, and whether a version served before, only where the verdict needs it."""
        registry = self._plane.registry
        while True:
            try:
                return await registry.change_route(self._model, wanted, self._actor, self._action)
            except Unread as unread:
                await self._plane.signatures.read(registry, self._model, unread.versions)
            except Breaking as refusal:
                again = self._action == "rollback" and not self._breaking
                if not again or not await served_before(registry, self._model, refusal.version):
                    raise
                self._breaking = True

    def _require_fitting(self, present: Route | None, after: Route) -> None:
        """Raises Breaking where a version joins that breaks callers; one in the split already may stay."""
        there = present.targets() if present is not None and after.weights is not None else frozenset()
        joining = [(each, self._named.get(each)) for each in _joining(after) if each not in there]
        self._plane.signatures.require(present, after, joining)

    async def _require_existing(self) -> None:
        """Raises NotFound where the model, or a version that was named, is not there at all."""
        registry = self._plane.registry
        if not await registry.exists(self._model):
            raise unknown_model(self._model)
        found = await registry.version_documents([(self._model, version) for version in self._named])
        for version, field in self._named.items():
            if (self._model, version) not in found:
                raise unknown_version(self._model, version, field)


def _joining(after: Route) -> tuple[str, ...]:
    """The versions that will answer by this change."""
    if after.weights is not None:
        return tuple(after.weights)
    return () if after.active is None else (after.active,)


def expected_epoch(request: Request) -> int | None:
    """`If-Match` as an epoch; None where there is none, or `*`. Raises BadInput."""
    given = request.headers.getlist("if-match")
    if not given or given == ["*"]:
        return None
    match = EPOCH.match(given[0].strip())
    if len(given) > 1 or match is None:
        raise BadInput("If-Match must be one epoch, such as 41", field="if-match")
    return int(match[1] or match[2])


def expect(epoch: int | None, state: ModelState) -> None:
    """Raises PreconditionFailed where the route's epoch (0: no route) is another one."""
    present = state.route.epoch if state.route else 0
    if epoch is not None and epoch != present:
        raise PreconditionFailed(
            f"model {state.model} is at epoch {present}, not {epoch}: somebody was faster", field="if-match"
        )


def require_warm(state: ModelState, version: str, field: str | None) -> None:
    """Raises Conflict `not_deployed` or `not_warm` where nobody could answer for the version."""
    name = f"version {version} of model {state.model}"
    if version not in state.desired:
        raise Conflict(f"{name} is not deployed: deploy it first", code="not_deployed", field=field)
    replicas = [replica for replica in state.replicas if replica.version == version]
    if any(replica.state == "ready" for replica in replicas):
        return
    states = ", ".join(sorted(replica.state for replica in replicas)) or "none started yet"
    errors = "".join(f"; {replica.id}: {replica.error}" for replica in replicas if replica.error)
    raise Conflict(f"{name} has no ready replica ({states}){errors}", code="not_warm", field=field)


def unknown_model(model: str) -> NotFound:
    """There is no such model."""
    return NotFound(f"there is no model {model}", code="unknown_model", field="model")


def unknown_version(model: str, version: str, field: str = "version") -> NotFound:
    """There is no such version."""
    return NotFound(f"model {model} has no version {version}", code="unknown_version", field=field)


PATHS = [
    Path("/models/{model}/promote", promote, methods=["POST"]),
    Path("/models/{model}/rollback", rollback, methods=["POST"]),
    Path("/models/{model}/split", split, methods=["POST"]),
    Path("/models/{model}/fallback", fallback, methods=["POST"]),
]
