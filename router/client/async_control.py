"""The client of the control listener for asyncio; made from `control.py`, to be changed there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Any, Self

from router import answers, stories
from router.client import control_calls as calls
from router.client.call import ANSWER_S, given
from router.client.line import AsyncLine, Trust


class AsyncControlClient:
    """`async with AsyncControlClient("http://127.0.0.1:8001", key) as control`; all raise Refusal and NoAnswer.

    `timeout`: seconds for an answer. A change is sent once; after NoAnswer it is unknown whether it was made.
    """

    def __init__(self, url: str, key: str, *, timeout: float = ANSWER_S, verify: Trust = True) -> None:
        self._line = AsyncLine(url, key, timeout=timeout, verify=verify)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._line.close()

    # -- reads ---------------------------------------------------------------------------------------------

    async def status(self) -> answers.Status:
        """The installation on one page."""
        return (await self._line.send(calls.read(answers.Status, "status"))).value

    async def models(self, *, limit: int | None = None, cursor: str | None = None) -> answers.Models:
        """A page of models by name."""
        return (await self._line.send(calls.read(answers.Models, "models", limit=limit, cursor=cursor))).value

    async def model(self, model: str) -> answers.Model:
        """One model: versions, route, replicas, acknowledgements."""
        return (await self._line.send(calls.read(answers.Model, "models", model))).value

    async def history(
        self, model: str, *, limit: int | None = None, cursor: str | None = None, epoch: int | None = None
    ) -> answers.History:
        """A page of changes, oldest first; with `epoch` only the change that made it."""
        call = calls.read(
            *(answers.History, "models", model, "history"), limit=limit, cursor=cursor, epoch=epoch
        )
        return (await self._line.send(call)).value

    async def requests(
        self,
        *,
        model: str | None = None,
        version: str | None = None,
        since: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> answers.Records:
        """A page of the log, oldest first; `since` as `10m` or RFC 3339."""
        call = calls.read(
            *(answers.Records, "requests"),
            model=model,
            version=version,
            since=since,
            limit=limit,
            cursor=cursor,
        )
        return (await self._line.send(call)).value

    async def request(self, request_id: str) -> answers.Records:
        """The records of a request id, or the one of a record id."""
        return (await self._line.send(calls.read(answers.Records, "requests", request_id))).value

    async def routers(self) -> answers.Routers:
        """The known routers."""
        return (await self._line.send(calls.read(answers.Routers, "routers"))).value

    async def restart(self) -> answers.RestartAnswer:
        """The restart that runs, else the last."""
        return (await self._line.send(calls.read(answers.RestartAnswer, "restart"))).value

    async def metrics(self) -> str:
        """Prometheus text."""
        return (await self._line.send(calls.metrics())).value

    # -- versions ------------------------------------------------------------------------------------------

    async def register(
        self,
        model: str,
        artifact: bytes | IO[bytes],
        *,
        name: str = "model.onnx",
        manifest: bytes | None = None,
        version: str | None = None,
        reason: str | None = None,
    ) -> answers.Registered:
        """Takes an ONNX file, or a tar of it (say so by `name`), in as a new version."""
        call = calls.register(model, artifact, name, manifest, version, reason)
        return (await self._line.send(call)).value

    async def register_bento(
        self,
        model: str,
        tag: str,
        *,
        version: str | None = None,
        manifest: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> answers.Registered:
        """Takes a bento of the gateway's own store in as a new version."""
        return (await self._line.send(calls.register_bento(model, tag, version, manifest, reason))).value

    async def deploy(
        self,
        model: str,
        version: str,
        *,
        replicas: int = 1,
        wait: float | None = None,
        reason: str | None = None,
    ) -> answers.Deployed:
        """Asks for replicas; with `wait` returns when they are ready, at most so many seconds later."""
        return (await self._line.send(calls.deploy(model, version, replicas, wait, reason))).value

    async def undeploy(
        self, model: str, version: str, *, force: bool = False, reason: str | None = None
    ) -> answers.Deployed:
        """Asks for none."""
        return (await self._line.send(calls.undeploy(model, version, force, reason))).value

    # -- routes --------------------------------------------------------------------------------------------

    async def promote(
        self,
        model: str,
        version: str,
        *,
        reason: str | None = None,
        if_epoch: int | None = None,
        allow_breaking: bool = False,
    ) -> answers.Change:
        """Makes a version active for all."""
        body = given(version=version, reason=reason, allow_breaking=allow_breaking or None)
        return (await self._line.send(calls.flip(model, "promote", body, if_epoch))).value

    async def rollback(
        self,
        model: str,
        *,
        to: str | None = None,
        reason: str | None = None,
        if_epoch: int | None = None,
        allow_breaking: bool = False,
    ) -> answers.Change:
        """Goes back to the previous version, or to the one named."""
        body = given(to=to, reason=reason, allow_breaking=allow_breaking or None)
        return (await self._line.send(calls.flip(model, "rollback", body, if_epoch))).value

    async def split(
        self,
        model: str,
        weights: Mapping[str, float],
        *,
        reason: str | None = None,
        if_epoch: int | None = None,
        allow_breaking: bool = False,
    ) -> answers.Change:
        """Shares the traffic: percent by version, 100 together."""
        body = given(weights=dict(weights), reason=reason, allow_breaking=allow_breaking or None)
        return (await self._line.send(calls.flip(model, "split", body, if_epoch))).value

    async def fallback(
        self, model: str, to: str, *, reason: str | None = None, if_epoch: int | None = None
    ) -> answers.Change:
        """Who answers where the chosen version cannot: a version, `auto` or `none`."""
        body = given(to=to, reason=reason)
        return (await self._line.send(calls.flip(model, "fallback", body, if_epoch))).value

    # -- stories -------------------------------------------------------------------------------------------

    async def story(self, model: str, version: str) -> stories.VersionStory:
        """A version whole: its document, and what was added."""
        return (await self._line.send(calls.of_version(stories.VersionStory, model, version))).value

    async def lineage(self, model: str, version: str) -> stories.Lineage:
        """Data sets, parents, children, and who is served by it."""
        return (await self._line.send(calls.of_version(stories.Lineage, model, version, "lineage"))).value

    async def card(self, model: str, version: str, *, format: str | None = None) -> stories.Card:
        """The model card, as `markdown` or `html`."""
        call = calls.of_version(stories.Card, model, version, "card", format=format)
        return (await self._line.send(call)).value

    async def tag(
        self, model: str, version: str, tags: Mapping[str, str | None], *, reason: str | None = None
    ) -> stories.Tagged:
        """Sets tags of a version; None takes one away."""
        body = {"tags": dict(tags), **given(reason=reason)}
        call = calls.add(stories.Tagged, body, "models", model, "versions", version, "tags")
        return (await self._line.send(call)).value

    async def note(self, model: str, version: str, text: str) -> stories.Noted:
        """Writes a note on a version."""
        call = calls.add(stories.Noted, {"text": text}, "models", model, "versions", version, "notes")
        return (await self._line.send(call)).value

    async def aliases(self, model: str) -> stories.Aliases:
        """The names that stand for versions."""
        return (await self._line.send(calls.read(stories.Aliases, "models", model, "aliases"))).value

    async def alias(
        self,
        model: str,
        name: str,
        version: str | None,
        *,
        reason: str | None = None,
        if_epoch: int | None = None,
    ) -> answers.Change:
        """Lets a name stand for a version; None takes the name away."""
        body = {"name": name, "version": version, **given(reason=reason)}
        return (await self._line.send(calls.flip(model, "aliases", body, if_epoch))).value

    async def review(
        self, model: str, *, every: str | None = None, reviewed: bool = True, reason: str | None = None
    ) -> stories.Reviewed:
        """Marks a model as reviewed; `every` says how often it is to be, such as `90d`, or `never`."""
        body = given(every=every, reviewed=reviewed, reason=reason)
        return (await self._line.send(calls.add(stories.Reviewed, body, "models", model, "review"))).value

    async def additions(
        self, model: str, *, limit: int | None = None, cursor: str | None = None
    ) -> stories.Additions:
        """A page of who added what, oldest first."""
        call = calls.read(stories.Additions, "models", model, "additions", limit=limit, cursor=cursor)
        return (await self._line.send(call)).value

    async def compare(
        self,
        model: str,
        versions: Sequence[str],
        *,
        differing: bool = False,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> stories.Comparison:
        """Two to ten versions side by side; `differing`: only what differs."""
        call = calls.read(
            *(stories.Comparison, "models", model, "compare"),
            versions=",".join(versions),
            differing="true" if differing else None,
            limit=limit,
            cursor=cursor,
        )
        return (await self._line.send(call)).value

    async def dataset(
        self, sha256: str, *, limit: int | None = None, cursor: str | None = None
    ) -> stories.DatasetLineage:
        """The versions that a data set went into, and their requests."""
        call = calls.read(stories.DatasetLineage, "lineage", dataset=sha256, limit=limit, cursor=cursor)
        return (await self._line.send(call)).value

    async def search(
        self,
        query: str,
        *,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> stories.Search:
        """A page of versions that fit a query such as `metrics.auc > 0.9 and tag:fraud`."""
        call = calls.read(stories.Search, "search", q=query, limit=limit, cursor=cursor)
        return (await self._line.send(call)).value

    async def inventory(
        self, *, overdue: bool = False, limit: int | None = None, cursor: str | None = None
    ) -> stories.Inventory:
        """A page of models with owner, risk, use and reviews; `overdue`: only those whose review is."""
        late = "true" if overdue else None
        call = calls.read(stories.Inventory, "inventory", overdue=late, limit=limit, cursor=cursor)
        return (await self._line.send(call)).value

    async def state(
        self, at: str, *, model: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> stories.Past:
        """What was active at a time: RFC 3339, or `10m` for ten minutes ago."""
        call = calls.read(stories.Past, "state", at=at, model=model, limit=limit, cursor=cursor)
        return (await self._line.send(call)).value

    # -- keys ----------------------------------------------------------------------------------------------

    async def keys(self) -> answers.CallerKeys:
        """Every key, also those that ended."""
        return (await self._line.send(calls.read(answers.CallerKeys, "keys"))).value

    async def create_key(
        self,
        name: str,
        grants: Sequence[answers.KeyGrant],
        *,
        expires: str | None = None,
        reason: str | None = None,
    ) -> answers.KeyChange:
        """A new key; its secret is in this answer and nowhere else. `expires` as `90d` or RFC 3339."""
        roles = [{"role": each.role, "models": each.models} for each in grants]
        body = given(name=name, grants=roles, expires=expires, reason=reason)
        return (await self._line.send(calls.key_change((), body))).value

    async def rotate_key(
        self, key_id: str, *, overlap: str | None = None, reason: str | None = None
    ) -> answers.KeyChange:
        """A new secret; the one before counts for `overlap`, such as `24h`."""
        body = given(overlap=overlap, reason=reason)
        return (await self._line.send(calls.key_change((key_id, "rotate"), body))).value

    async def revoke_key(self, key_id: str, *, reason: str | None = None) -> answers.KeyChange:
        """Ends a key for good."""
        return (await self._line.send(calls.key_change((key_id, "revoke"), given(reason=reason)))).value

    # -- audit ---------------------------------------------------------------------------------------------

    async def audit(self, model: str, *, start: str | None = None, end: str | None = None) -> str:
        """A model's chain: one entry a line, oldest first."""
        return (await self._line.send(calls.audit(str, "models", model, "audit", start=start, end=end))).value

    async def verify_audit(self, model: str) -> dict[str, Any]:
        """What a verification of it finds."""
        return (await self._line.send(calls.audit(dict[str, Any], "models", model, "audit", "verify"))).value

    async def export_audit(self, model: str, *, start: str | None = None, end: str | None = None) -> bytes:
        """The folder for an auditor, as a zip."""
        call = calls.audit(bytes, "models", model, "audit", "export", start=start, end=end)
        return (await self._line.send(call)).value

    async def audit_keys(self) -> answers.PublicKeys:
        """The public keys that are trusted here."""
        return (await self._line.send(calls.audit(answers.PublicKeys, "audit"))).value

    async def chain(self, chain: str, *, start: str | None = None, end: str | None = None) -> str:
        """A chain that is no model's: `keys` or `installation`."""
        return (await self._line.send(calls.audit(str, "audit", chain, start=start, end=end))).value

    async def verify_chain(self, chain: str) -> dict[str, Any]:
        """What a verification of it finds."""
        return (await self._line.send(calls.audit(dict[str, Any], "audit", chain, "verify"))).value

    # -- operations ----------------------------------------------------------------------------------------

    async def forget_router(self, router: str) -> answers.Forgotten:
        """Takes a router out of the known ones."""
        return (await self._line.send(calls.forget_router(router))).value

    async def restore(self, *, reason: str | None = None) -> answers.Restored:
        """Writes back what this host knows and Redis lost."""
        return (await self._line.send(calls.restore(reason))).value

    async def begin_restart(
        self, what: calls.What, *, model: str | None = None, version: str | None = None
    ) -> answers.RestartAnswer:
        """Restarts routers, replicas or the agent one by one; `restart` tells how far it is."""
        return (await self._line.send(calls.begin_restart(what, model, version))).value
