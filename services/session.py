"""One ONNX model in memory: checked inputs in, outputs out, pinned to its threads; knows nothing of HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from services.artifact import Artifact
from services.datatype import DTYPES, FROM_ONNX, datatype_of
from services.document import Signature, TensorSpec
from services.golden import Arrays, GoldenVectors, compare
from services.graph import Graph
from services.refusal import Refusal


class InputError(ValueError):
    """Inputs that do not fit the signature; `field` names the input."""

    def __init__(self, text: str, field: str | None = None) -> None:
        super().__init__(text)
        self.field = field


class ModelError(RuntimeError):
    """onnxruntime failed on inputs that fit the signature."""


class Stats(msgspec.Struct):
    """Counters of one session: requests, rows, and microseconds in the model."""

    requests: int = 0
    rows: int = 0
    busy_us: int = 0


class Session:
    """An onnxruntime session on verified bytes.

    `signature` is the version document's where there is one, else the file's own. Running is thread-safe, as
    onnxruntime's is.
    """

    def __init__(
        self, artifact: Artifact, graph: Graph, *, threads: int = 1, signature: Signature | None = None
    ) -> None:
        """Raises Refusal `unloadable`, `unknown_operator`, `unsupported_type` or `signature_mismatch`."""
        self._session = _load(artifact, graph, threads)
        self.own_signature = _signature(self._session)
        self.signature = signature or self.own_signature
        if signature is not None:
            check_signature(signature, self.own_signature, graph.ranked)
        self.stats = Stats()
        self._counting = threading.Lock()
        self._inputs = {spec.name: _Expected(spec) for spec in self.signature.inputs}
        self._outputs = [spec.name for spec in self.signature.outputs]

    def run(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> tuple[list[tuple[str, NDArray[Any]]], int]:
        """Named outputs in the order asked for (all of the signature's by default), and microseconds taken.

        BYTES are object arrays of str both ways. Raises InputError or ModelError.
        """
        return self.run_checked(dict(inputs), self.check(inputs), outputs)

    def run_checked(
        self, inputs: Arrays, rows: int, outputs: Sequence[str] | None = None
    ) -> tuple[list[tuple[str, NDArray[Any]]], int]:
        """As `run`, for inputs that `check` has passed and found to have `rows` rows."""
        names = self._outputs if outputs is None else self._asked(outputs)
        started = time.perf_counter_ns()
        try:
            found = self._session.run(names, inputs)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise ModelError(_reason(error)) from error
        taken = (time.perf_counter_ns() - started) // 1000
        with self._counting:
            self.stats.requests += 1
            self.stats.rows += rows
            self.stats.busy_us += taken
        return list(zip(names, found, strict=True)), taken

    def check(self, inputs: Mapping[str, NDArray[Any]]) -> int:
        """The rows of `inputs` (leading dimension of the first, 1 for a scalar); raises InputError."""
        rows = None
        for name, expected in self._inputs.items():
            array = inputs.get(name)
            if array is None:
                self._refuse_unknown(inputs)
                raise InputError(f"input {name!r} is missing", name)
            shape = array.shape
            # The usual case by two comparisons; the rest is looked at closely.
            if array.dtype is not expected.dtype or shape[1:] != expected.row or not shape:
                self._refuse_unknown(inputs)
                _check_tensor(expected.spec, array)
            if rows is None:
                rows = shape[0] if shape else 1
        if len(inputs) != len(self._inputs):
            self._refuse_unknown(inputs)
        return 1 if rows is None else rows

    def _refuse_unknown(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        for name in inputs:
            if name not in self._inputs:
                raise InputError(f"there is no input {name!r}; inputs are {list(self._inputs)}"[:500], name)

    def _asked(self, outputs: Sequence[str]) -> Sequence[str]:
        for name in outputs:
            if name not in self._outputs:
                raise InputError(f"there is no output {name!r}; outputs are {self._outputs}"[:500], name)
        if not outputs or len(set(outputs)) != len(outputs):
            raise InputError("outputs must name at least one output, and each once", "outputs")
        return outputs

    def warm(self, golden: GoldenVectors | None, atol: float) -> None:
        """Runs the golden vectors, or rows of zeros, and compares; the counters start from zero afterwards.

        Raises Refusal `golden_invalid`, `golden_mismatch`, or `model_failed`.
        """
        inputs = zero_inputs(self.signature) if golden is None else golden.inputs
        wanted: Arrays = {} if golden is None else golden.outputs
        try:
            found = dict(self.run(inputs)[0])
        except InputError as error:
            raise Refusal(
                f"the golden inputs do not fit: {error}", code="golden_invalid", field=error.field
            ) from None
        except ModelError as error:
            # Zeros may be nonsense to a model (an index, a category); golden vectors may not.
            if golden is not None:
                raise Refusal(
                    f"the model fails on its golden vectors: {error}", code="model_failed"
                ) from None
            found = {}
        compare(found, wanted, atol)
        self.stats = Stats()

    def works(self, inputs: Mapping[str, NDArray[Any]]) -> bool:
        """Whether the model runs on `inputs` now; leaves the counters alone."""
        try:
            self._session.run(self._outputs, dict(inputs))
        except Exception:  # onnxruntime's exceptions share no base class
            return False
        return True


class _Expected:
    """An input as the signature has it: any number of rows of `row`, where that alone says it all."""

    __slots__ = ("dtype", "row", "spec")

    def __init__(self, spec: TensorSpec) -> None:
        self.spec = spec
        self.dtype = DTYPES.get(spec.datatype)
        simple = spec.shape[:1] == (-1,) and -1 not in spec.shape[1:]
        self.row = spec.shape[1:] if simple else None


def zero_inputs(signature: Signature) -> Arrays:
    """One row of zeros (empty strings) for each input, variable dimensions as 1."""
    return {spec.name: _zeros(spec) for spec in signature.inputs}


def _zeros(spec: TensorSpec) -> NDArray[Any]:
    shape = [1 if size == -1 else size for size in spec.shape]
    if spec.datatype == "BYTES":
        return np.full(shape, "", object)
    return np.zeros(shape, DTYPES[spec.datatype])


def _check_tensor(spec: TensorSpec, array: NDArray[Any]) -> None:
    datatype = datatype_of(array)
    if datatype != spec.datatype:
        raise InputError(f"input {spec.name!r} is {spec.datatype}, got {datatype}", spec.name)
    shape = array.shape
    if len(shape) != len(spec.shape) or any(
        want not in (-1, have) for want, have in zip(spec.shape, shape, strict=True)
    ):
        raise InputError(
            f"input {spec.name!r} has shape {list(spec.shape)}, got {list(shape)}"[:500], spec.name
        )


def check_signature(stated: Signature, own: Signature, ranked: frozenset[str]) -> None:
    """Whether a stated signature is true of the model; raises Refusal `signature_mismatch` naming the field.

    A stated dimension may be narrower than the model's (fixed where the model's is variable), never wider.
    Outputs may be left out, inputs may not. Ranks the file does not state are taken as stated.
    """
    for kind, stated_specs, own_specs in (
        ("inputs", stated.inputs, own.inputs),
        ("outputs", stated.outputs, own.outputs),
    ):
        real = {spec.name: spec for spec in own_specs}
        for index, spec in enumerate(stated_specs):
            field = f"signature.{kind}[{index}]"
            if spec.name not in real:
                raise _mismatch(
                    f"the model has no {kind[:-1]} {spec.name!r}, only {list(real)}", f"{field}.name"
                )
            _check_spec(spec, real[spec.name], spec.name in ranked, field)
        missing = set(real) - {spec.name for spec in stated_specs}
        if missing and kind == "inputs":
            raise _mismatch(f"the signature leaves out the inputs {sorted(missing)}", "signature.inputs")


def _check_spec(stated: TensorSpec, own: TensorSpec, ranked: bool, field: str) -> None:
    if stated.datatype != own.datatype:
        raise _mismatch(f"{stated.name!r} is {own.datatype} in the model", f"{field}.datatype")
    if not ranked and not own.shape:
        return
    if len(stated.shape) != len(own.shape) or any(
        real not in (-1, want) for want, real in zip(stated.shape, own.shape, strict=True)
    ):
        raise _mismatch(f"{stated.name!r} has shape {list(own.shape)} in the model", f"{field}.shape")


def _mismatch(text: str, field: str) -> Refusal:
    return Refusal(text, code="signature_mismatch", field=field)


def _load(artifact: Artifact, graph: Graph, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # A spinning thread takes a core from another replica.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    missing = set(graph.external) - set(artifact.external)
    if missing:
        # Without this onnxruntime would look for the file in the working directory.
        raise Refusal(f"external data {sorted(missing)} is not in the artifact", code="artifact_missing")
    if graph.external:
        buffers = [artifact.external[name] for name in graph.external]
        options.add_external_initializers_from_files_in_memory(
            list(graph.external), buffers, [len(buffer) for buffer in buffers]
        )
    try:
        return ort.InferenceSession(graph.data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class
        text = _reason(error)
        if "allocate" in text or "bad_alloc" in text:
            raise MemoryError from None
        unknown = "No Op registered" in text or "not a registered" in text
        raise Refusal(
            f"onnxruntime refuses the model: {text}", code="unknown_operator" if unknown else "unloadable"
        ) from None


def _reason(error: Exception) -> str:
    """onnxruntime's message without its bracketed prefix, one line, at most 300 characters."""
    text = str(error).removeprefix("[ONNXRuntimeError] : ")
    return " ".join(text.split())[:300]


def _signature(session: Any) -> Signature:
    return Signature(
        inputs=tuple(_spec(node) for node in session.get_inputs()),
        outputs=tuple(_spec(node) for node in session.get_outputs()),
    )


def _spec(node: Any) -> TensorSpec:
    datatype = FROM_ONNX.get(node.type)
    if datatype is None:
        raise Refusal(
            f"{node.name!r} has the type {node.type}, which has no datatype", code="unsupported_type"
        )
    shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in node.shape)
    return TensorSpec(name=node.name, datatype=datatype, shape=shape)
