"""Any changes of routes in any order, by two clients of a real Redis, against a model that fits on a page."""

# ruff: noqa: PT017 (an error is one of the two right outcomes)

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from router.control.routes import expect, require_warm
from router.documents import ModelState, Route
from router.errors import Conflict, PointsmanError, PreconditionFailed
from router.registry.audit import Actor, broken_at
from router.registry.connection import connect
from router.registry.registry import Picture, Registry
from router.route import transition
from router.route.buckets import BUCKETS
from router.route.deployment import require_unrouted
from tests.control.installation import document, replica

T = TypeVar("T")
VERSIONS = ("1", "2", "3")
NAMES = st.sampled_from(VERSIONS)
WHO = st.integers(0, 1)
SHARES = st.sampled_from((0, 1, 5_000, 9_999, BUCKETS)) | st.integers(0, BUCKETS)
EPOCHS = st.sampled_from(("any", "any", "present", "stale"))
ADA = Actor(name="ada")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Known:
    """What the route must be."""

    active: str | None = None
    previous: str | None = None
    weights: dict[str, float] | None = None
    fallback: str = "auto"

    def targets(self) -> set[str]:
        return {*(self.weights or ()), *([self.active] if self.active else [])}


@dataclass
class Past:
    """What must have been written down."""

    epochs: list[int] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    after: list[Known] = field(default_factory=list)
    audit: list[str] = field(default_factory=list)


class Refused(Exception):
    """The model says no, with this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Changes(RuleBasedStateMachine):
    """One model, new for each example; the revision is everybody's and only grows."""

    runner: asyncio.Runner
    clients: tuple[Registry, Registry]

    @initialize(warm=st.sets(NAMES, min_size=2))
    def begin(self, warm: set[str]) -> None:
        self.name = f"m{next(_numbers)}"
        self.known = Known()
        self.registered: set[str] = set()
        self.desired: dict[str, int] = {}
        self.ready: set[str] = set()
        self.past = Past()
        self.revision = self.followed = self.run(self.clients[0].revision())
        self.seen: ModelState | None = None
        for version in sorted(warm):
            self.deploy(version, 0, 1, warm=True)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    # -- versions ------------------------------------------------------------------------------------------

    @rule(version=NAMES, who=WHO)
    def register(self, version: str, who: int) -> None:
        try:
            self.run(self.clients[who].add_version(document(self.name, version), ADA))
        except Conflict as conflict:
            assert conflict.code == "version_exists"
            assert version in self.registered
        else:
            assert version not in self.registered
            self.registered.add(version)
            self.past.audit.append("version.register")

    @rule(version=NAMES, who=WHO, replicas=st.integers(1, 3), warm=st.booleans())
    def deploy(self, version: str, who: int, replicas: int, warm: bool) -> None:
        if version not in self.registered:
            self.register(version, who)
        self.run(self.clients[who].deploy(self.name, version, replicas, ADA))
        self.desired[version] = replicas
        self.past.audit.append("version.deploy")
        if warm:
            self.run(self.clients[1 - who].put_replica(replica(self.name, version)))
            self.ready.add(version)

    @precondition(lambda self: len(self.ready) > 2)
    @rule(version=NAMES, who=WHO)
    def lose_a_replica(self, version: str, who: int) -> None:
        self.run(self.clients[who].drop_replica(self.name, f"{self.name}-{version}-0"))
        self.ready.discard(version)

    @rule(version=NAMES, who=WHO, force=st.booleans())
    def undeploy(self, version: str, who: int, force: bool) -> None:
        wrong, known = None, self.known
        kept = {*known.targets(), known.fallback, *([] if force else [known.previous])}
        if version in kept:
            wrong = "still_routed"
        elif version not in self.desired:
            wrong = "not_deployed"
        try:
            self.run(self._undeploy(who, version, force))
        except Conflict as conflict:
            assert conflict.code == wrong
            return
        assert wrong is None
        del self.desired[version]
        self.past.audit.append("version.undeploy")

    async def _undeploy(self, who: int, version: str, force: bool) -> None:
        def allow(state: ModelState) -> None:
            require_unrouted(state, version, force=force)

        await self.clients[who].undeploy(self.name, version, ADA, allow)

    # -- routes --------------------------------------------------------------------------------------------

    @rule(version=NAMES, who=WHO, epoch=EPOCHS)
    def promote(self, version: str, who: int, epoch: str) -> None:
        known, after = self.known, None
        if known.active != version:
            after = replace(known, active=version, previous=known.active, weights=None)
        elif known.weights is not None:
            after = replace(known, weights=None)
        self._change(
            who, "promote", epoch, lambda route: transition.promote(route, self.name, version), lambda: after
        )

    @rule(to=st.none() | NAMES, who=WHO, epoch=EPOCHS)
    def rollback(self, to: str | None, who: int, epoch: str) -> None:
        def wanted() -> Known | None:
            if self.known.active is None:
                raise Refused("no_active_version")
            target = to or self.known.previous
            if target is None:
                raise Refused("no_previous")
            return replace(self.known, active=target, previous=None, weights=None)

        self._change(who, "rollback", epoch, lambda route: transition.rollback(route, to), wanted)

    @rule(order=st.permutations(VERSIONS), shares=st.tuples(SHARES, SHARES), who=WHO, epoch=EPOCHS)
    def split(self, order: list[str], shares: tuple[int, int], who: int, epoch: str) -> None:
        low, high = sorted(shares)
        weights = dict(zip(order, (low / 100, (high - low) / 100, (BUCKETS - high) / 100), strict=True))

        def wanted() -> Known | None:
            if self.known.active is None:
                raise Refused("no_active_version")
            left = {version: weight for version, weight in weights.items() if weight}
            return replace(self.known, weights=None if set(left) == {self.known.active} else left)

        self._change(who, "split", epoch, lambda route: transition.split(route, weights, "salt"), wanted)

    @rule(to=st.sampled_from(("auto", "none", *VERSIONS)), who=WHO, epoch=EPOCHS)
    def fall_back(self, to: str, who: int, epoch: str) -> None:
        def wanted() -> Known | None:
            if self.known.active is None:
                raise Refused("no_active_version")
            return replace(self.known, fallback=to)

        self._change(who, "fallback", epoch, lambda route: transition.fall_back(route, to), wanted)

    def _change(
        self,
        who: int,
        action: str,
        epoch: str,
        decide: Callable[[Route | None], Route | None],
        wanted: Callable[[], Known | None],
    ) -> None:
        """The same change to Redis and to the model; they must agree on what becomes of it."""
        present = self.past.epochs[-1] if self.past.epochs else 0
        number = {"any": None, "present": present, "stale": present + 1}[epoch]
        code, after = None, None
        try:
            if epoch == "stale":
                raise Refused("epoch_mismatch")
            after = wanted()
            if after is not None and after != self.known:
                self._must_be_warm(after)
        except Refused as refused:
            code = refused.code
        try:
            done = self.run(self._flip(who, action, number, decide))
        except PointsmanError as error:
            assert error.code == code, (error, code)
            return
        assert code is None, code
        assert done.changed == (after is not None and after != self.known)
        if done.changed:
            assert after is not None
            self._took(action, after, done.revision)

    def _must_be_warm(self, after: Known) -> None:
        joining = sorted(after.weights) if after.weights else [after.active]
        bad = [
            "not_deployed" if v not in self.desired else "not_warm" for v in joining if v not in self._warm()
        ]
        if bad:
            raise Refused(bad[0])

    def _warm(self) -> set[str]:
        return self.ready & set(self.desired)

    async def _flip(
        self, who: int, action: str, epoch: int | None, decide: Callable[[Route | None], Route | None]
    ) -> Any:
        """As the control plane does it."""

        def wanted(state: ModelState) -> Route | None:
            expect(epoch, state)
            after = decide(state.route)
            if after is None or after == state.route:
                return None
            for version in sorted(after.weights or [after.active or ""]):
                require_warm(state, version, None)
            return after

        return await self.clients[who].change_route(self.name, wanted, ADA, action)

    def _took(self, action: str, after: Known, epoch: int) -> None:
        self.known = after
        self.past.epochs.append(epoch)
        self.past.actions.append(action)
        self.past.after.append(after)
        self.past.audit.append(f"route.{action}")

    # -- two at once: the second client is faster, after the first has looked and before it commits -----------

    async def _overtaken(self, slow: Coroutine[Any, Any, T], fast: Coroutine[Any, Any, Any]) -> list[Any]:
        """What became of both, errors included. Who wins is not left to chance: examples must repeat."""
        client, found = self.clients[0], []
        look = client.picture

        async def slowly(model: str) -> Picture:
            seen = await look(model)
            if not found:
                found.extend(await asyncio.gather(fast, return_exceptions=True))
            return seen

        client.picture = slowly  # type: ignore[method-assign]
        try:
            return [*await asyncio.gather(slow, return_exceptions=True), *found]
        finally:
            client.picture = look  # type: ignore[method-assign]

    def _promotion(self, who: int, epoch: int | None, version: str) -> Coroutine[Any, Any, Any]:
        return self._flip(who, "promote", epoch, lambda route: transition.promote(route, self.name, version))

    def _took_promotion(self, version: str, epoch: int) -> None:
        after = replace(self.known, active=version, previous=self.known.active, weights=None)
        self._took("promote", after, epoch)

    @precondition(lambda self: len(self._warm() - {self.known.active}) > 1)
    @rule(same_epoch=st.booleans())
    def a_promotion_overtakes_another(self, same_epoch: bool) -> None:
        one, two = sorted(self._warm() - {self.known.active})[:2]
        present = (self.past.epochs[-1] if self.past.epochs else 0) if same_epoch else None
        lost, won = self.run(
            self._overtaken(self._promotion(0, present, one), self._promotion(1, present, two))
        )
        self._took_promotion(two, won.revision)
        if same_epoch:
            assert isinstance(lost, PreconditionFailed), lost
        else:  # it decided again, on top of the other
            self._took_promotion(one, lost.revision)

    @precondition(lambda self: self._unused())
    @rule(flip_first=st.booleans())
    def a_promotion_meets_an_undeployment(self, flip_first: bool) -> None:
        """Never both: a version that answers is asked for."""
        version = min(self._unused())
        if flip_first:
            lost, won = self.run(
                self._overtaken(self._undeploy(0, version, False), self._promotion(1, None, version))
            )
            assert lost.code == "still_routed"
            self._took_promotion(version, won.revision)
        else:
            lost, won = self.run(
                self._overtaken(self._promotion(0, None, version), self._undeploy(1, version, False))
            )
            assert won is None, won
            assert lost.code == "not_deployed"
            del self.desired[version]
            self.past.audit.append("version.undeploy")

    def _unused(self) -> set[str]:
        known = self.known
        return {v for v in self._warm() - known.targets() if v not in (known.fallback, known.previous)}

    # -- what always holds ---------------------------------------------------------------------------------

    @invariant()
    def the_route_is_the_models(self) -> None:
        states = [self.run(client.model_state(self.name)) for client in self.clients]
        assert states[0] == states[1]
        state = states[0]
        assert state.desired == self.desired
        assert {item.version for item in state.replicas} == self.ready
        if not self.past.epochs:
            assert state.route is None
            return
        route = state.route
        assert route is not None
        assert _said(route) == self.known
        assert route.epoch == self.past.epochs[-1]
        assert route.targets() <= set(state.desired), "a version that answers is not asked for"
        _partition(route)

    @invariant()
    def revision_and_epochs_grow(self) -> None:
        revision = self.run(self.clients[1].revision())
        assert revision >= self.revision
        self.revision = revision
        assert all(a < b for a, b in itertools.pairwise(self.past.epochs))
        assert not self.past.epochs or self.past.epochs[-1] <= revision

    @invariant()
    def history_and_audit_say_what_was_done(self) -> None:
        history = self.run(self.clients[0].history(self.name, 0, 1000))
        assert [entry["epoch"] for entry in history] == self.past.epochs
        assert [entry["action"] for entry in history] == self.past.actions
        befores = [None, *(entry["after"] for entry in history)]
        for entry, before, after in zip(history, befores, self.past.after, strict=False):
            assert entry["before"] == before
            assert entry["after"]["active"] == after.active
            assert entry["after"]["weights"] == after.weights
        chain = self.run(self.clients[1].audit_chain(self.name))
        assert broken_at(chain) is None
        assert [entry["action"] for entry in chain] == self.past.audit

    @invariant()
    def who_follows_the_revision_learns_all(self) -> None:
        changes = self.run(self.clients[0].read_since(self.followed))
        self.followed = changes.revision
        for state in changes.models:
            if state.model == self.name:
                self.seen = state
        present = self.run(self.clients[1].model_state(self.name))
        assert present == (self.seen or ModelState(model=self.name, route=None, replicas=(), desired={}))


def _said(route: Route) -> Known:
    return Known(route.active, route.previous, route.weights, route.fallback)


def _partition(route: Route) -> None:
    """Every bucket has one owner, and each owner as many as its weight says."""
    if route.weights is None:
        assert route.ranges == ()
        return
    assert sum(round(weight * 100) for weight in route.weights.values()) == BUCKETS
    ends = [0, *(end for _, end, _ in route.ranges)]
    assert [start for start, _, _ in route.ranges] == ends[:-1]
    assert ends[-1] == BUCKETS
    sizes: dict[str, int] = dict.fromkeys(route.weights, 0)
    for start, end, version in route.ranges:
        assert start < end
        sizes[version] += end - start
    assert sizes == {version: round(weight * 100) for version, weight in route.weights.items()}


def test_changes_of_routes_by_two_clients(redis_url: str) -> None:
    with asyncio.Runner() as runner:
        clients = tuple(Registry(connect(redis_url)) for _ in range(2))
        machine = type("Machine", (Changes,), {"runner": runner, "clients": clients})
        try:
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=80,
                    stateful_step_count=30,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            for client in clients:
                runner.run(client.close())
