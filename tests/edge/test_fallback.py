"""The same request by another version: when, who, once, and what the record and the caller are told."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from router.documents import ModelState, Replica, Route, Signature, TensorSpec, Version
from router.edge.answer import Answer
from router.edge.codec import Address
from router.edge.desk import Desk
from router.edge.inbound import Inbound
from router.edge.prediction import Prediction
from router.edge.v1 import CODEC
from router.errors import BadInput, ModelFailed, PointsmanError, Unavailable, UpstreamFailed
from router.route.table import Table, Target, build, fallback_of
from router.settings import Settings
from router.upstream.outputs import Outputs
from router.upstream.work import Attempt, Item, Result

Lane = Callable[[Item], None]


def version(name: str, width: int = 1) -> Version:
    """A row-wise version with rows of `width` numbers."""
    signature = Signature(
        inputs=(TensorSpec(name="x", datatype="FP64", shape=(-1, width)),),
        outputs=(TensorSpec(name="y", datatype="FP64", shape=(-1, width)),),
    )
    return Version(model="m", version=name, digest=f"d{name}", signature=signature, rowwise=True)


def replica(name: str) -> Replica:
    """A ready one."""
    return Replica(
        id=f"m.{name}.a",
        model="m",
        version=name,
        node="n",
        address="unix:/x",
        pid=1,
        state="ready",
        digest="d",
        since="t",
    )


class Scene:
    """A prediction with lanes that do as the test says; `asked` are the versions in their order."""

    def __init__(self, route: Route, lanes: dict[str, Lane], widths: dict[str, int] | None = None) -> None:
        self.asked: list[str] = []
        self.answer: Answer | None = None
        self.records: list[dict[str, Any]] = []
        self.fallen: list[str] = []
        self.items: list[Item] = []
        self._lanes = lanes
        state = ModelState(
            model="m", route=route, replicas=tuple(map(replica, lanes)), desired=dict.fromkeys(lanes, 1)
        )
        versions = {name: version(name, (widths or {}).get(name, 1)) for name in lanes}
        table = Table(1, {"m": build(state, versions, frozenset(lanes))})
        watch: Any = SimpleNamespace(table=table, synced=True, fresh=True, draining=False)
        ledger: Any = SimpleNamespace(
            router="r0",
            push=self._push,
            count=lambda *_: None,
            count_fallback=lambda _, name: self.fallen.append(name),
        )
        stub: Any = SimpleNamespace(submit=self._submit)
        self.desk = Desk(Settings(), watch, stub, ledger, stub)

    def _submit(self, target: Target, item: Item) -> None:
        self.asked.append(target.version.version)
        self.items.append(item)
        self._lanes[target.version.version](item)

    def _push(self, record: bytes, written: Callable[[str, None], None]) -> None:
        self.records.append(orjson.loads(record))
        written("", None)

    def predict(self, headers: dict[bytes, bytes] | None = None) -> Prediction:
        """Sends `[[3.0]]`."""

        def keep(answer: Answer) -> None:
            assert self.answer is None, "answered twice"
            self.answer = answer

        prediction = Prediction(self.desk, Inbound(headers or {}, "r-1"), CODEC, keep)
        prediction.begin(Address("m", None), b'{"instances":[[3.0]]}')
        return prediction


def times(factor: float) -> Lane:
    """Answers at once."""

    def answer(item: Item) -> None:
        outputs = {"y": item.inputs["x"] * factor}
        item.attempts.append(Attempt("v", "a", 200, None, 1.0))
        item.future.set_result(Result(Outputs(outputs, item.rows), item.rows, 0, item.rows))

    return answer


def failing(error: PointsmanError) -> Lane:
    """Fails after an attempt."""

    def fail(item: Item) -> None:
        item.attempts.append(Attempt("v", "a", error.status, error.message, 1.0))
        item.future.set_exception(error)

    return fail


def refusing(error: PointsmanError) -> Lane:
    """Takes nothing."""

    def refuse(_: Item) -> None:
        raise error

    return refuse


def silent(_: Item) -> None:
    """Never answers."""


BOTH = Route(model="m", epoch=5, active="2", previous="1")
NOT_READY = Unavailable("nobody", code="not_ready")


@pytest.mark.parametrize(
    "lane",
    [failing(ModelFailed("no")), failing(UpstreamFailed("cut")), refusing(NOT_READY), failing(NOT_READY),
     times(float("inf"))],
)  # fmt: skip
def test_the_previous_version_answers_marked_and_counted(lane: Lane) -> None:
    scene = Scene(BOTH, {"1": times(10), "2": lane})
    prediction = scene.predict()
    assert scene.asked == ["2", "1"]
    assert scene.answer is not None
    assert (scene.answer.status, scene.answer.body) == (200, b'{"predictions":[[30.0]]}')
    told = dict(prediction.passage.headers())
    assert (told[b"x-model-version"], told[b"x-route-reason"], told[b"x-route-epoch"]) == (
        b"1",
        b"fallback",
        b"5",
    )
    (record,) = scene.records
    assert (record["version"], record["reason"], record["digest"]) == ("1", "fallback", "d1")
    assert len(record["attempts"]) == 2
    assert record["attempts"][-1]["status"] == 200
    assert scene.fallen == ["2"]


@pytest.mark.parametrize(
    ("route", "headers", "lane", "status"),
    [
        (BOTH, {b"x-model-version": b"2"}, failing(ModelFailed("no")), 500),
        (Route(model="m", epoch=5, active="2"), {}, failing(ModelFailed("no")), 500),
        (Route(model="m", epoch=5, active="2", previous="1", fallback="none"), {}, refusing(NOT_READY), 503),
        (BOTH, {}, failing(BadInput("row 3")), 400),
        (BOTH, {}, refusing(Unavailable("full", code="overloaded")), 503),
    ],
    ids=["pinned", "no previous", "switched off", "bad input", "overload"],
)  # fmt: skip
def test_where_nobody_stands_in_the_error_is_the_callers(
    route: Route, headers: dict[bytes, bytes], lane: Lane, status: int
) -> None:
    scene = Scene(route, {"1": times(10), "2": lane})
    scene.predict(headers)
    assert scene.asked == ["2"]
    assert scene.answer is not None
    assert scene.answer.status == status
    assert scene.records[0]["version"] == "2"
    assert scene.fallen == []


@pytest.mark.parametrize("second", [refusing(NOT_READY), refusing(Unavailable("full", code="overloaded"))])
def test_where_the_other_cannot_even_take_it_the_first_error_is_told(second: Lane) -> None:
    scene = Scene(BOTH, {"1": second, "2": failing(ModelFailed("no", code="model_error"))})
    scene.predict()
    assert scene.answer is not None
    assert orjson.loads(scene.answer.body)["code"] == "model_error"
    assert (scene.records[0]["version"], scene.records[0]["reason"]) == ("2", "active")


def test_another_shape_of_input_is_no_fallback() -> None:
    scene = Scene(BOTH, {"1": times(10), "2": failing(ModelFailed("no"))}, {"1": 4})
    scene.predict()
    assert scene.asked == ["2"]
    assert scene.answer is not None
    assert scene.answer.status == 500


def test_there_is_no_third_try() -> None:
    scene = Scene(BOTH, {"1": failing(UpstreamFailed("cut")), "2": failing(ModelFailed("no"))})
    scene.predict()
    assert scene.asked == ["2", "1"]
    assert scene.answer is not None
    assert scene.answer.status == 502
    assert [attempt["status"] for attempt in scene.records[0]["attempts"]] == [500, 502]


def test_a_version_that_is_only_late_is_left_behind() -> None:
    scene = Scene(BOTH, {"1": times(10), "2": silent})
    prediction = scene.predict()
    assert scene.answer is None
    assert prediction.overdue()
    assert scene.answer is not None
    assert scene.answer.body == b'{"predictions":[[30.0]]}'
    assert scene.items[0].abandoned
    times(2)(scene.items[0])  # its answer comes after all: nobody gets it
    assert len(scene.records) == 1
    assert not prediction.overdue()


def test_a_late_version_is_waited_for_where_nobody_stands_in() -> None:
    scene = Scene(BOTH, {"1": refusing(NOT_READY), "2": silent})
    prediction = scene.predict()
    assert not prediction.overdue()
    assert not scene.items[0].abandoned
    times(2)(scene.items[0])
    assert scene.answer is not None
    assert scene.answer.body == b'{"predictions":[[6.0]]}'


def test_a_caller_who_left_is_computed_for_by_nobody() -> None:
    scene = Scene(BOTH, {"1": silent, "2": failing(ModelFailed("no"))})
    prediction = scene.predict()
    assert not scene.items[1].abandoned
    prediction.abandon()
    assert scene.items[1].abandoned


@pytest.mark.parametrize(
    ("route", "of", "other"),
    [
        (BOTH, "2", "1"),
        (BOTH, "3", "2"),
        (BOTH, "1", "2"),
        (Route(model="m", active="2", previous="1", fallback="3"), "2", "3"),
        (Route(model="m", active="2", previous="1", fallback="3"), "3", None),
        (Route(model="m", active="2", previous="2"), "2", None),
        (Route(model="m", active="2", previous="1", fallback="none"), "2", None),
    ],
)
def test_who_stands_in(route: Route, of: str, other: str | None) -> None:
    assert fallback_of(route, of) == other


def test_a_large_body_is_read_again_beside_the_loop() -> None:
    scene = Scene(BOTH, {"1": times(10), "2": silent})

    async def run(_: float, work: Callable[[], Any]) -> Any:
        return work()

    scene.desk.offload = SimpleNamespace(run=run)  # type: ignore[assignment]

    async def main() -> None:
        prediction = scene.predict()
        prediction.body += b" " * (65 << 10)
        prediction.set_exception(ModelFailed("no"))
        for _ in range(5):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert scene.asked == ["2", "1"]
    assert scene.answer is not None
    assert scene.answer.body == b'{"predictions":[[30.0]]}'
