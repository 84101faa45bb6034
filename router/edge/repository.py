"""Triton's model repository on ours: index, and load and unload as deploy and undeploy with the control key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path as FilePath
from time import monotonic, time
from typing import Any

from redis.exceptions import RedisError
from starlette.requests import Request

from router.access.admission import ADMINISTRATOR
from router.access.roles import Verb
from router.agent.key import read_key
from router.documents import ModelState
from router.edge.endpoint import body_of, endpoint
from router.edge.inbound import Inbound
from router.edge.v1 import parse
from router.errors import BadInput, Conflict, NotFound, PointsmanError, Unavailable
from router.names import version_order
from router.registry.audit import Actor
from router.registry.mentions import Mentions
from router.registry.registry import Registry
from router.route.choice import entry_of
from router.route.deployment import failed, idle_reason, require_unrouted
from router.route.table import Entry
from router.route.watch import Watch
from router.settings import Settings

LOOK_S = 0.05
REDIS_S = 2.2  # longest wait for Redis in one change
IGNORED = frozenset({"unload_dependents"})


class Repository:
    """Changes go through the registry, with the rules and the audit of the control listener.

    Clients of this protocol know no status but 400 for a refusal; the code says which it is.
    """

    def __init__(self, settings: Settings, watch: Watch, registry: Registry) -> None:
        self._settings = settings
        self._watch = watch
        self._registry = registry
        self.routes = [
            endpoint("/v2/repository/index", self._index, "POST"),
            endpoint("/v2/repository/models/{model}/load", self._load, "POST"),
            endpoint("/v2/repository/models/{model}/unload", self._unload, "POST"),
        ]
        self._mentions = Mentions(registry)

    async def _index(self, request: Request) -> Any:
        """Every version there is; `{"ready": true}` leaves out those that do not answer."""
        only_ready = _object(await body_of(request, self._settings)).get("ready", False)
        if not isinstance(only_ready, bool):
            raise BadInput("ready must be true or false", code="bad_request", field="ready")
        found = []
        for model, entry in sorted(self._watch.table.entries.items()):
            state = self._watch.state(model)
            for version in sorted(entry.known, key=version_order):
                why = idle_reason(entry, state, version)
                if why is None or not only_ready:
                    kind = "READY" if why is None else "UNAVAILABLE"
                    found.append({"name": model, "version": version, "state": kind, "reason": why or ""})
        return found

    async def _load(self, request: Request) -> Any:
        """Deploys a version and waits until it answers here: the named one, else the active, else the newest."""
        actor = await self._admit(request, Verb.DEPLOY)
        async with self._mentioned(request, actor):
            return await self._loaded(request, actor)

    async def _loaded(self, request: Request, actor: Actor) -> Any:
        model, entry, asked = await self._asked(request)
        timeout = Inbound.of(request.scope).timeout_ms(self._settings.request_timeout_ms) / 1e3
        version = asked or entry.route.active or await self._newest(model)
        if idle_reason(entry, self._watch.state(model), version) is not None:
            await self._within(self._deploy(model, version, actor))
            await self._warm(model, version, monotonic() + timeout)
        return {"name": model, "version": version, "state": "READY"}

    async def _unload(self, request: Request) -> Any:
        """Undeploys the named version, or every deployed one that no route needs."""
        actor = await self._admit(request, Verb.UNDEPLOY)
        async with self._mentioned(request, actor):
            return await self._unloaded(request, actor)

    async def _unloaded(self, request: Request, actor: Actor) -> Any:
        model, _, asked = await self._asked(request)
        state = await self._within(self._registry.model_state(model))
        deployed = sorted(state.desired, key=version_order)
        versions = [asked] if asked is not None else [name for name in deployed if _is_spare(state, name)]
        if deployed and not versions:
            raise BadInput(f"every deployed version of model {model} is routed", code="still_routed")
        for version in versions:
            await self._within(self._undeploy(model, version, actor))
        await self._watch.confirm()
        return {"name": model, "unloaded": versions}

    async def _asked(self, request: Request) -> tuple[str, Entry, str | None]:
        """Model and entry of an admitted request, and the version in `parameters.version`."""
        parameters = _object(await body_of(request, self._settings)).get("parameters") or {}
        if not isinstance(parameters, dict):
            raise BadInput("parameters must be an object", code="bad_request", field="parameters")
        if others := parameters.keys() - IGNORED - {"version"}:
            name = min(others)[:80]
            raise BadInput(
                f"parameter {name!r} is not offered: versions are registered at the control listener",
                code="unsupported_parameter",
                field=f"parameters.{name}",
            )
        model: str = request.path_params["model"]
        await self._watch.confirm()  # a version registered a moment ago is known then
        entry = entry_of(self._watch.table, model)
        version = parameters.get("version")
        if version is not None and str(version) not in entry.known:
            raise NotFound(f"model {model} has no version {str(version)[:80]!r}", code="unknown_version")
        return model, entry, None if version is None else str(version)

    async def _admit(self, request: Request, verb: Verb) -> Actor:
        """Who asks: they need a key whatever the setting for callers says. Raises Unauthorized, Forbidden."""
        given = Inbound.of(request.scope).credential
        key = await asyncio.to_thread(_key, self._settings.data_dir)
        if (
            key is not None
            and given is not None
            and compare_digest(given.digest, sha256(key.encode()).digest())
        ):
            principal = ADMINISTRATOR
        else:
            await self._watch.confirm()  # a key of a moment ago counts
            principal = self._watch.table.admission.principal(given, time())
        word = request.scope["path"].rpartition("/")[2]
        actor = Actor(name=principal.name, auth=principal.auth, reason=f"model repository: {word}")
        async with self._mentioned(request, actor):
            principal.require(verb, request.path_params["model"])
        return actor

    @asynccontextmanager
    async def _mentioned(self, request: Request, actor: Actor) -> AsyncIterator[None]:
        """What is refused inside stands in the audit."""
        action = "version.deploy" if request.scope["path"].endswith("/load") else "version.undeploy"
        try:
            yield
        except PointsmanError as error:
            model = str(request.path_params["model"])
            await self._mentions.of(error, actor, action, model, request.scope["path"])
            raise

    async def _newest(self, model: str) -> str:
        """The version registered last."""
        chain = await self._within(self._registry.audit_chain(model))
        return next(
            str(item["after"]["version"])
            for item in reversed(chain)
            if item["action"] == "version.register" and item["outcome"] == "applied"
        )

    async def _deploy(self, model: str, version: str, actor: Actor) -> None:
        state = await self._registry.model_state(model)
        for replica in failed(state, version):  # any failure seen later is a new one
            await self._registry.drop_replica(model, replica.id)
        await self._registry.deploy(model, version, state.desired.get(version, 1), actor)

    async def _undeploy(self, model: str, version: str, actor: Actor) -> None:
        def allow(state: ModelState) -> None:
            require_unrouted(state, version, force=False)

        try:
            await self._registry.undeploy(model, version, actor, allow)
        except Conflict as error:
            raise BadInput(error.message, code=error.code, field=error.field) from error

    async def _warm(self, model: str, version: str, deadline: float) -> None:
        """Until this router can send to the version. Raises BadInput `replica_failed`, Unavailable."""
        await self._watch.confirm()
        while True:
            state = self._watch.state(model)
            why = idle_reason(entry_of(self._watch.table, model), state, version)
            if why is None:
                return
            for replica in failed(state, version):
                text = f"replica {replica.id} failed: {replica.error or 'no reason is known'}"
                raise BadInput(text, code="replica_failed")
            if monotonic() > deadline:
                raise Unavailable(f"version {version} of model {model}: {why}", code="not_ready")
            await asyncio.sleep(LOOK_S)

    async def _within(self, work: Any) -> Any:
        try:
            async with asyncio.timeout(REDIS_S):
                return await work
        except (TimeoutError, RedisError, OSError) as error:
            text = "Redis does not answer; whether anything was changed is unknown"
            raise Unavailable(text, code="redis_away") from error


def _is_spare(state: ModelState, version: str) -> bool:
    try:
        require_unrouted(state, version, force=False)
    except Conflict:
        return False
    return True


def _object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; Triton's client posts an empty one where there is nothing to say."""
    document = parse(body) if body.strip() else {}
    if not isinstance(document, dict):
        raise BadInput("the body must be a JSON object", code="bad_request")
    return document


def _key(data_dir: FilePath) -> str | None:
    """The control key; None where this host has none."""
    try:
        return read_key(data_dir)
    except (OSError, ValueError):
        return None
