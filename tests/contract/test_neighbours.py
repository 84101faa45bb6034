"""One caller's bad row never fails another's: good and bad callers at once, on the same replica."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from tests.contract.asking import Data, record_of
from tests.contract.wire import Wire, post

PATH = "/v1/models/picky:predict"
ROUNDS = 60


def good(caller: int, n: int) -> tuple[Any, dict[str, Any]]:
    """Inputs nobody else sends, and their answer."""
    x, i = 1.0 + caller * ROUNDS + n, (caller + n) % 10
    return {"x": [[x]], "i": [i]}, {"y": [[math.log(x)]], "z": [i * 10]}


def callers(data: Data, caller: int, kind: str) -> list[str]:
    """One kept-alive caller of one kind; what went wrong for it."""
    wrong = []
    with Wire(data.port, 20) as wire:
        for n in range(ROUNDS):
            inputs, wanted = good(caller, n)
            if kind == "infinite":
                inputs["x"] = [[0.0]]
            elif kind == "failing":
                inputs["i"] = [99]
            elif kind == "misshapen":
                inputs["x"] = [[1.0, 2.0]]
            wire.send(post(PATH, orjson.dumps({"inputs": inputs}), f"x-request-id: n{caller}-{n}"))
            reply = wire.reply()
            if reply.headers["x-request-id"] != f"n{caller}-{n}":
                wrong.append(f"another's answer {reply}")
            if kind == "good":
                outputs = reply.json().get("outputs", {})
                exact = reply.status == 200 and outputs["z"] == wanted["z"]
                if not exact or not math.isclose(outputs["y"][0][0], wanted["y"][0][0], rel_tol=1e-5):
                    wrong.append(f"{inputs}: {reply}")
            elif reply.status != {"infinite": 500, "failing": 500, "misshapen": 400}[kind]:
                wrong.append(f"{kind} {inputs}: {reply}")
    return wrong


def test_a_bad_row_fails_its_own_caller_alone(data: Data) -> None:
    kinds = [
        "good",
        "infinite",
        "good",
        "failing",
        "good",
        "misshapen",
        "good",
        "infinite",
        "good",
        "failing",
    ]
    with ThreadPoolExecutor(len(kinds)) as pool:
        found = [pool.submit(callers, data, n, kind) for n, kind in enumerate(kinds)]
        wrong = [each for one in found for each in one.result()]
    assert not wrong, (len(wrong), wrong[:3])
    batches = [record_of(data.fleet, f"n{n}-{ROUNDS - 1}") for n, kind in enumerate(kinds) if kind == "good"]
    assert {record["status"] for record in batches} == {200}


def test_rows_of_several_callers_did_share_a_batch(data: Data) -> None:
    """Else the test above would show nothing: with ten callers on one replica some must travel together."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: callers(data, n + 20, "good"), range(8)))
    records = data.fleet.records(model="picky")
    assert any((record["batch_rows"] or 0) > record["rows"] for record in records if record["rows"])
