"""Finds out whether a model answers each row by itself; pure but for the run it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.datatype import DTYPES
from services.document import Signature, TensorSpec
from services.golden import Arrays, close

MAX_ROWS: Final = 32

Run = Callable[[Arrays], Arrays]


def batchable_shape(signature: Signature) -> str | None:
    """Why the shapes alone rule out batching, or None: each tensor must lead with a variable dimension."""
    for spec in (*signature.inputs, *signature.outputs):
        if not spec.shape or spec.shape[0] != -1:
            return f"{spec.name!r} does not lead with a variable dimension (shape {list(spec.shape)})"
    return None


def not_rowwise(run: Run, inputs: Arrays, atol: float) -> str | None:
    """Why the model is not row-wise as far as `inputs` show, or None.

    At most 32 rows are run together, permuted, in two halves and each alone; every output must lead with the
    rows and agree within `atol` (services/golden.py: close). What `run` raises is passed on.
    """
    counts = {name: len(array) if array.ndim else 0 for name, array in inputs.items()}
    rows = min(min(counts.values(), default=0), MAX_ROWS)
    if len(set(counts.values())) != 1:
        return f"the inputs lead with unequal dimensions: {counts}"
    inputs = {name: array[:rows] for name, array in inputs.items()}
    if not _differ(inputs, rows):
        return "there are no two different rows to tell by"
    together = run(inputs)
    for name, array in together.items():
        if not array.ndim or len(array) != rows:
            return f"output {name!r} has shape {list(array.shape)} for {rows} rows"
    order = np.random.default_rng(0).permutation(rows)
    everything = np.arange(rows)
    ways = [
        ("permuted", order),
        ("in a half", everything[: rows // 2]),
        ("in a half", everything[rows // 2 :]),
    ]
    ways += [("alone", everything[row : row + 1]) for row in range(rows)]
    for way, chosen in ways:
        found = run({name: array[chosen] for name, array in inputs.items()})
        for name, array in together.items():
            if not close(found[name], array[chosen], atol):
                return f"output {name!r} of a row changes with the rows beside it (seen {way})"
    return None


def _differ(inputs: Arrays, rows: int) -> bool:
    return rows > 1 and any(bool((array[1:] != array[:1]).any()) for array in inputs.values())


def generated_inputs(signature: Signature, rows: int, size: int) -> Arrays:
    """Made-up inputs: `rows` where a tensor leads with a variable dimension, `size` for the other variable ones.

    Floats are normal, integers and booleans 0 or 1, strings single letters; always the same ones.
    """
    random = np.random.default_rng(20)
    return {spec.name: _generate(spec, rows, size, random) for spec in signature.inputs}


def _generate(spec: TensorSpec, rows: int, size: int, random: np.random.Generator) -> NDArray[Any]:
    shape = [have if have != -1 else size if place else rows for place, have in enumerate(spec.shape)]
    if spec.datatype == "BYTES":
        return random.choice(np.array(["a", "b", "c"], object), size=shape)
    if spec.datatype.startswith("FP"):
        return np.asarray(random.normal(size=shape), DTYPES[spec.datatype])
    return np.asarray(random.integers(0, 2, size=shape), DTYPES[spec.datatype])
