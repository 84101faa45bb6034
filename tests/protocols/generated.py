"""ONNX models made at random: every datatype, ranks 0–5, several inputs and outputs, fixed and variable
dimensions; each small, each with an answer that onnxruntime gives in-process. Not a test."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime as ort
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from onnx import helper

from router.tensors import DTYPES
from tests.services.models import ONNX_TYPES, model, value

Dims = list[int | None]
ARITHMETIC = ("FP32", "FP64", "INT32", "INT64")
SMALL = 1e3  # floats of models that add: a sum may not leave the datatype


@dataclass(frozen=True, slots=True)
class Spec:
    """One input: a variable dimension is None."""

    name: str
    datatype: str
    dims: Dims


@dataclass(frozen=True, slots=True)
class Generated:
    """A model, its inputs, and a session to compare with."""

    name: str
    data: bytes = field(repr=False)
    inputs: tuple[Spec, ...]
    outputs: tuple[str, ...]
    session: Any = field(repr=False)

    def expected(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """What onnxruntime answers; BYTES are object arrays of str."""
        found = self.session.run(list(self.outputs), inputs)
        return dict(zip(self.outputs, found, strict=True))


def models(count: int, seed: int) -> list[Generated]:
    """`count` models that have every datatype and every rank among their inputs."""
    chance = random.Random(seed)
    datatypes = chance.sample(list(DTYPES), len(DTYPES))
    ranks = [index % 6 for index in range(len(datatypes))]
    chance.shuffle(ranks)
    specs: list[list[Spec]] = [[] for _ in range(count)]
    for index, datatype in enumerate(datatypes):
        specs[index % count].append(_spec(chance, f"in{index}", datatype, ranks.pop()))
    for index, group in enumerate(specs):
        if chance.random() < 0.5:
            group.append(_spec(chance, f"more{index}", chance.choice(datatypes), chance.randrange(6)))
    return [_model(chance, f"made-{index}", group) for index, group in enumerate(specs)]


def _spec(chance: random.Random, name: str, datatype: str, rank: int) -> Spec:
    return Spec(name, datatype, [chance.choice([None, None, 1, 2, 3]) for _ in range(rank)])


def _model(chance: random.Random, name: str, specs: list[Spec]) -> Generated:
    nodes, outputs = [], []
    for spec in specs:
        for operator in chance.sample(_operators(spec), k=chance.choice([1, 1, 2])):
            out = f"{spec.name}_{operator}"
            node, datatype, dims = _node(operator, spec, out)
            nodes.append(node)
            outputs.append(value(out, list(dims), datatype))
    inputs = [value(spec.name, list(spec.dims), spec.datatype) for spec in specs]
    data = model(nodes, inputs, outputs)
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    return Generated(name, data, tuple(specs), tuple(each.name for each in outputs), session)


def _operators(spec: Spec) -> list[str]:
    found = ["Identity", "Identity", "Shape"]
    if spec.dims:
        found += ["Concat", "Transpose"]
    if spec.datatype in ARITHMETIC:
        found.append("Add")
    if spec.datatype == "BOOL":
        found.append("Not")
    return list(dict.fromkeys(found))


def _node(operator: str, spec: Spec, out: str) -> tuple[Any, str, Dims]:
    """The node, and datatype and dimensions of its output."""
    if operator == "Concat":
        first = spec.dims[0]
        dims: Dims = [None if first is None else 2 * first, *spec.dims[1:]]
        return helper.make_node("Concat", [spec.name, spec.name], [out], axis=0), spec.datatype, dims
    if operator == "Transpose":
        return helper.make_node("Transpose", [spec.name], [out]), spec.datatype, spec.dims[::-1]
    if operator == "Shape":
        return helper.make_node("Shape", [spec.name], [out]), "INT64", [len(spec.dims)]
    names = [spec.name, spec.name] if operator == "Add" else [spec.name]
    return helper.make_node(operator, names, [out]), spec.datatype, spec.dims


@st.composite
def inputs(draw: st.DrawFn, made: Generated) -> dict[str, NDArray[Any]]:
    """Tensors for every input: variable dimensions are 0–3, one size for all leading ones (rows)."""
    rows = draw(st.integers(0, 3))
    found: dict[str, NDArray[Any]] = {}
    for spec in made.inputs:
        shape = tuple(
            size if size is not None else rows if place == 0 else draw(st.integers(0, 3))
            for place, size in enumerate(spec.dims)
        )
        found[spec.name] = draw(_array(spec.datatype, shape))
    return found


def _array(datatype: str, shape: tuple[int, ...]) -> st.SearchStrategy[NDArray[Any]]:
    if datatype == "BYTES":
        return hnp.arrays(object, shape, elements=st.text(max_size=8))
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(ONNX_TYPES[datatype]))
    if dtype.kind != "f":
        return hnp.arrays(dtype, shape)
    elements = hnp.from_dtype(dtype, min_value=-SMALL, max_value=SMALL, allow_nan=False)
    return hnp.arrays(dtype, shape, elements=elements)
