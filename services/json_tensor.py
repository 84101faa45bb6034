"""JSON values as tensors for BentoML's own API: nothing is lost or invented; refuses by the input's name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.datatype import DTYPES
from services.document import TensorSpec
from services.session import InputError


def to_array(spec: TensorSpec, value: Any) -> NDArray[Any]:
    """A JSON value as the input's tensor; raises InputError where that would lose or invent something."""
    try:
        if spec.datatype == "BYTES":
            return _strings(spec, value)
        if _has_text(value):
            raise InputError(f"input {spec.name!r} takes {spec.datatype}, got text", spec.name)
        found = np.asarray(value)
        wanted = DTYPES[spec.datatype]
        if found.size and (
            found.dtype.kind not in "biuf" or (found.dtype.kind == "b") != (wanted.kind == "b")
        ):
            raise InputError(f"input {spec.name!r} takes {spec.datatype}, got {found.dtype}", spec.name)
        with np.errstate(over="ignore", invalid="ignore"):
            cast = found.astype(wanted)
        if wanted.kind in "iu" and not np.array_equal(cast, found):
            raise InputError(f"input {spec.name!r} has a value that {spec.datatype} cannot hold", spec.name)
        if wanted.kind == "f" and not np.isfinite(cast).all():
            raise InputError(
                f"input {spec.name!r} has a value that is not finite in {spec.datatype}", spec.name
            )
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"input {spec.name!r} is no regular array: {error}"[:300], spec.name) from None
    return cast


def _has_text(value: Any) -> bool:
    """Whether a text stands in nested lists: numpy would give each of their elements the room of the longest."""
    level: list[Any] = [value]
    while True:
        kinds = set(map(type, level))
        if str in kinds:
            return True
        if list not in kinds:
            return False
        level = [item for part in level if type(part) is list for item in part]


def _strings(spec: TensorSpec, value: Any) -> NDArray[Any]:
    found = np.array(value, object)
    if not all(isinstance(item, str) for item in found.ravel().tolist()):
        raise InputError(f"input {spec.name!r} takes strings only", spec.name)
    return found
