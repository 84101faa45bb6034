"""Tensors of the Open Inference Protocol as numpy arrays: datatypes, strict casts, checks against a signature."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.documents import Signature, TensorSpec
from router.errors import BadInput

Array = NDArray[Any]

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{
        f"{kind}{bits}": np.dtype(f"{kind.lower()}{bits}")
        for kind in ("INT", "UINT")
        for bits in (8, 16, 32, 64)
    },
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(object),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
# The largest whole number below which a float of this size holds every integer.
_EXACT = {"FP16": 2**11, "FP32": 2**24, "FP64": 2**53}


def tensor_from_json(value: object, spec: TensorSpec, field: str) -> Array:
    """The array of a JSON value, cast to the signature's datatype without loss.

    Whole numbers and booleans become floats where the float holds them exactly; floats become integers
    where they are whole and in range; decimal fractions are rounded to the nearest float. `null` becomes NaN
    where the signature says `missing: allow`. Raises BadInput naming the input and `field` otherwise.
    """
    if spec.datatype == "BYTES":
        return _strings(value, spec, field)
    wanted = DTYPES[spec.datatype]
    array = _read(value, spec, field)
    exact = _EXACT.get(spec.datatype)
    if exact is not None and array.dtype == np.float64 and _below(array, exact):
        return array.astype(wanted)
    array = _numbers(array, value, spec, field)
    if array.dtype == wanted:
        return array
    return _cast(array, wanted, spec, field)


def check_shape(array: Array, spec: TensorSpec, field: str) -> None:
    """Raises BadInput unless rank and fixed dimensions are those of the signature."""
    check_dims(array.shape, spec, field)


def check_dims(shape: tuple[int, ...], spec: TensorSpec, field: str) -> None:
    """The same for a shape alone."""
    wanted = spec.shape
    if shape == wanted or (len(shape) == len(wanted) and wanted[0] == -1 and shape[1:] == wanted[1:]):
        return
    if len(shape) == len(wanted) and all(
        want in (-1, have) for want, have in zip(wanted, shape, strict=True)
    ):
        return
    raise BadInput(
        f"input {spec.name}: expected shape {list(spec.shape)}, got {list(shape)}"[:500],
        code="bad_shape",
        field=field,
    )


def check_rows(inputs: dict[str, Array], signature: Signature) -> int:
    """The common leading dimension of all inputs of a row-wise version; raises BadInput naming the odd one."""
    rows = -1
    for spec in signature.inputs:
        count = inputs[spec.name].shape[0]
        if rows == -1:
            rows = count
        elif count != rows:
            raise BadInput(
                f"input {spec.name}: has {count} rows where {signature.inputs[0].name} has {rows}",
                code="unequal_rows",
                field=spec.name,
            )
    return rows


def check_extent(inputs: Mapping[str, Array], tensors: int, rows: int) -> None:
    """Raises BadInput for more than so many tensors, or a leading dimension of more than so many rows."""
    if len(inputs) > tensors:
        raise BadInput(
            f"the request has {len(inputs)} input tensors, the limit is {tensors}", code="too_many_tensors"
        )
    for name, array in inputs.items():
        if array.ndim and array.shape[0] > rows:
            raise BadInput(
                f"input {name}: has {array.shape[0]} rows, the limit is {rows}",
                code="too_many_rows",
                field=name,
            )


def has_text(value: object) -> bool:
    """Whether a text stands in nested lists: numpy would give each of their elements the room of the longest."""
    if type(value) is not list:
        return type(value) is str
    depth, first = 0, value
    while type(first) is list and first:
        depth, first = depth + 1, first[0]
    level: Any = value
    for _ in range(depth - 1):
        level = chain.from_iterable(level)
    try:
        sum(level)  # numbers only, as nearly always: the cheapest way to know
    except TypeError:
        return _looks_for_text(value)
    return False


def _looks_for_text(value: object) -> bool:
    level: Iterable[Any] = (value,)
    while True:
        kinds = set(map(type, level))
        if str in kinds:
            return True
        if list not in kinds:
            return False
        level = [item for part in level if type(part) is list for item in part]


def _read(value: object, spec: TensorSpec, field: str) -> Array:
    if has_text(value):
        raise BadInput(
            f"input {spec.name}: expected {spec.datatype}, got text", code="bad_datatype", field=field
        )
    try:
        return np.array(value)
    except (ValueError, OverflowError) as error:
        raise BadInput(f"input {spec.name}: rows of unequal length", code="bad_shape", field=field) from error


def _below(array: Array, bound: int) -> bool:
    """Whether no number reaches `bound` in magnitude, told by the sum of their squares: false if unsure."""
    return bool(np.vdot(array, array) < bound * bound)


def _numbers(array: Array, value: object, spec: TensorSpec, field: str) -> Array:
    if array.dtype.kind in "iufb":
        if array.size == 0:
            return array.astype(DTYPES[spec.datatype])
        if array.dtype == np.float64 and spec.datatype in ("INT64", "UINT64"):
            return _exact(array, value, spec, field)
        if array.dtype == np.float64 and spec.datatype in _EXACT:
            _refuse_rounded(array, value, spec, field)
        return array
    return _with_missing(array, spec, field)


def _exact(array: Array, value: object, spec: TensorSpec, field: str) -> Array:
    """numpy reads whole numbers on both sides of 2**63, or beside a fraction, as floats: rounded beyond 2**53."""
    if not bool((np.abs(array) >= 2**53).any()):
        return array
    items = np.array(value, dtype=object).ravel().tolist()
    # A float up there may be a rounded number itself: the cast refuses it, as it does fractions.
    if any(type(item) is float and (item != int(item) or abs(item) > 2**53) for item in items):
        return array
    try:
        return np.array([int(item) for item in items], dtype=DTYPES[spec.datatype]).reshape(array.shape)
    except OverflowError as error:
        raise BadInput(
            f"input {spec.name}: a number is out of range", code="out_of_range", field=field
        ) from error


def _refuse_rounded(array: Array, value: object, spec: TensorSpec, field: str) -> None:
    """Whole numbers beside a fraction or a `null` became floats: each must be one that the datatype holds."""
    bound = _EXACT.get(spec.datatype, 2**53)
    if not bool((np.abs(array) >= bound).any()):
        return
    kind: Any = DTYPES[spec.datatype].type if spec.datatype in _EXACT else float
    for item in np.array(value, dtype=object).ravel().tolist():
        if type(item) is int and abs(item) > bound:
            with np.errstate(over="ignore"):
                held = kind(item)
            if not np.isfinite(held) or int(held) != item:
                raise BadInput(
                    f"input {spec.name}: a whole number that {spec.datatype} cannot hold exactly",
                    code="inexact",
                    field=field,
                )


def _with_missing(array: Array, spec: TensorSpec, field: str) -> Array:
    """Numbers with `null` among them (or something that is no number at all)."""
    kinds = {type(item) for item in array.flat}
    if dict in kinds or list in kinds:
        found = "an object" if dict in kinds else "rows of unequal length"
        raise BadInput(
            f"input {spec.name}: expected {spec.datatype}, got {found}", code="bad_datatype", field=field
        )
    if type(None) in kinds and not (spec.missing == "allow" and spec.datatype.startswith("FP")):
        raise BadInput(
            f"input {spec.name}: null is not allowed (missing: refuse)", code="missing_value", field=field
        )
    try:
        numbers = array.astype(np.float64)
        _refuse_rounded(numbers, array, spec, field)
        return numbers
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInput(
            f"input {spec.name}: a number is out of range", code="out_of_range", field=field
        ) from error


def _cast(array: Array, wanted: np.dtype[Any], spec: TensorSpec, field: str) -> Array:
    kind = array.dtype.kind
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(wanted)
    if wanted.kind == "f":
        if kind in "iu" and not _holds(array, spec.datatype, cast):
            raise BadInput(
                f"input {spec.name}: a whole number that {spec.datatype} cannot hold exactly",
                code="inexact",
                field=field,
            )
        if kind == "f" and not np.array_equal(np.isinf(array), np.isinf(cast)):
            raise BadInput(
                f"input {spec.name}: a number is out of the range of {spec.datatype}",
                code="out_of_range",
                field=field,
            )
        return cast
    # Integers and booleans: the way there and back must give the same numbers. A float beyond 2**53 may
    # itself be a rounded integer.
    if kind == "f" and bool((np.abs(array) > 2**53).any()):
        raise BadInput(f"input {spec.name}: a number is out of range", code="out_of_range", field=field)
    if not np.array_equal(cast.astype(array.dtype), array) or _wrapped(array, cast):
        raise BadInput(
            f"input {spec.name}: a number that {spec.datatype} cannot hold", code="inexact", field=field
        )
    return cast


def _holds(array: Array, datatype: str, cast: Array) -> bool:
    """Whether every whole number survives as a float."""
    low, high = int(array.min()), int(array.max())
    bound = _EXACT[datatype]
    if -bound <= low and high <= bound:
        return True
    if not bool(np.isfinite(cast).all()):
        return False
    return all(int(have) == int(item) for have, item in zip(cast.flat, array.flat, strict=True))


def _wrapped(array: Array, cast: Array) -> bool:
    """Whether a sign was lost: -1 as UINT64 comes back as -1, so the round trip does not see it."""
    if array.dtype.kind == "b" or cast.dtype.kind == "b":
        return False
    return bool(((array < 0) != (cast < 0)).any())


def _strings(value: object, spec: TensorSpec, field: str) -> Array:
    array: Array = np.empty((), dtype=object)
    if isinstance(value, list):
        array = np.array(value, dtype=object)
    else:
        array[()] = value
    flat = array.reshape(-1)
    for index, item in enumerate(flat):
        flat[index] = _text(item, spec, field)
    return flat.reshape(array.shape)


def _text(item: object, spec: TensorSpec, field: str) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, dict) and set(item) == {"b64"} and isinstance(item["b64"], str):
        try:
            return base64.b64decode(item["b64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadInput(f"input {spec.name}: bad base64", code="bad_base64", field=field) from error
    found = "rows of unequal length" if isinstance(item, list) else type(item).__name__
    raise BadInput(f"input {spec.name}: expected text, got {found}", code="bad_datatype", field=field)


def json_ready(array: Array) -> Any:
    """What orjson (with numpy) writes as JSON: FP16 widened, BYTES as text or `{"b64": …}`."""
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    if array.dtype != object:
        return np.ascontiguousarray(array) if array.ndim else array[()]
    out: Array = np.empty(array.shape, dtype=object)
    flat = out.reshape(-1)
    for index, item in enumerate(array.reshape(-1)):
        try:
            flat[index] = item.decode()
        except UnicodeDecodeError:
            flat[index] = {"b64": base64.b64encode(item).decode()}
    return flat.reshape(out.shape).tolist()


def nonfinite(outputs: Mapping[str, Array]) -> str | None:
    """The name of the first output with NaN or infinity, or None."""
    for name, array in outputs.items():
        if array.dtype.kind != "f":
            continue
        # A finite sum of squares has only finite terms; an infinite one may be an overflow.
        if array.dtype != np.float16 and math.isfinite(np.vdot(array, array)):
            continue
        if not bool(np.isfinite(array).all()):
            return name
    return None
