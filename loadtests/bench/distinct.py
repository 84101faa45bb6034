"""Very many distinct rows at 64 clients: each answer must belong to its own row, and be what onnxruntime says."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from loadtests.bench import models
from loadtests.bench.account import Account
from loadtests.bench.asker import Answers, Way, ask
from loadtests.bench.bodies import V1, V2, v2_binary
from loadtests.bench.installation import Installation
from loadtests.bench.run import Told
from loadtests.bench.workshop import Workshop

CLIENTS: Final = 64
MODEL: Final = "distinct"
ATOL: Final = 1e-5
BLOCK: Final = 1 << 16
SLOWEST: Final = 300.0
"""Rows a second below which it gives up."""

MOST: Final = 1 << 24
"""Beyond it a row number is no FP32 any more."""


@dataclass(frozen=True, slots=True)
class Judged:
    """How many rows got another row's answer, a wrong one, or none."""

    misrouted: int
    wrong: int
    unanswered: int


def distinct(shop: Workshop, stack: ExitStack, rows: int, told: Told) -> Account:
    """So many rows, no two alike; raises TimeoutError."""
    folder = models.numbered(shop.folder)
    made = shop.installation(stack)
    made.serve(MODEL, folder)
    table = numbered_rows(rows)
    expected = scores(folder / "model.onnx", table)
    told(f"distinct: {rows:,} rows at {CLIENTS} clients")
    ways = (
        Way(f"/v1/models/{MODEL}:predict", V1),
        Way(f"/v2/models/{MODEL}/infer", V2),
        Way(f"/v2/models/{MODEL}/infer", v2_binary("x", (1, models.FEATURES))),
    )
    began = time.monotonic()
    answers = ask(made.fleet.port, ways, table, models.NUMBERED_SCORES, CLIENTS, 60 + rows / SLOWEST)
    took = time.monotonic() - began
    found = judged(answers, expected)
    told(f"distinct: {found}, {took:.0f} s")
    for failure, count in answers.failures.most_common(3):
        told(f"distinct: {count} × {failure}")
    return Account(
        "distinct",
        "Distinct rows: is each answer its own row's, and right?",
        ("rows", "misrouted", "wrong", "no answer", "rows/s", "rows a batch"),
        (
            (
                f"{rows:,}",
                f"{found.misrouted:,}",
                f"{found.wrong:,}",
                f"{found.unanswered:,}",
                f"{rows / took:,.0f}",
                f"{batched(made):.1f}",
            ),
        ),
        {
            "rows": rows,
            "misrouted": found.misrouted,
            "wrong": found.wrong,
            "unanswered": found.unanswered,
        },
        made.command,
        (
            f"{CLIENTS} clients of one process in Python, which takes its share of the cores (the rate is no"
            " figure of the gateway), a third each with v1 JSON, v2 JSON and v2 binary. The model gives back the"
            " number of the row it was asked, and scores that depend on all of it; misrouted is another number,"
            " wrong are scores that are not those of onnxruntime in the benchmark's process, which ran all rows"
            f" in batches of {BLOCK:,}.",
        ),
    )


def numbered_rows(count: int) -> npt.NDArray[np.float32]:
    """FP32 [count, FEATURES]: the row's number, then noise of its own. ValueError beyond 2^24 rows."""
    if count > MOST:
        raise ValueError(f"{count} rows: FP32 holds whole numbers up to {MOST}")
    table = np.random.default_rng(23).standard_normal((count, models.FEATURES)).astype(np.float32)
    table[:, 0] = np.arange(count)
    return table


def scores(model: Path, table: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What onnxruntime says in this process, FP32 [n, NUMBERED_SCORES]."""
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    blocks = [table[at : at + BLOCK] for at in range(0, len(table), BLOCK)]
    return np.concatenate([session.run(["score"], {"x": block})[0] for block in blocks])


def judged(answers: Answers, expected: npt.NDArray[np.float32]) -> Judged:
    """A row counts once: without an answer, else misrouted, else wrong."""
    answered = ~np.isnan(answers.score).all(axis=1)
    own = answers.row == np.arange(len(expected))
    right = (np.abs(answers.score - expected) <= ATOL).all(axis=1)
    return Judged(
        misrouted=int((answered & ~own).sum()),
        wrong=int((answered & own & ~right).sum()),
        unanswered=int((~answered).sum()),
    )


def batched(made: Installation) -> float:
    """Rows of the batch that a request travelled in, on average; 0 where none was counted."""
    text = made.fleet.control.get("/metrics").text

    def total(suffix: str) -> float:
        return sum(map(float, re.findall(rf"^pointsman_batch_rows_{suffix}{{.*}} (\S+)$", text, re.M)))

    return total("sum") / (total("count") or 1.0)
