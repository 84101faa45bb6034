"""The Open Inference Protocol datatypes with their numpy and onnxruntime counterparts; a table, nothing else."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_TYPES: Final = (
    ("BOOL", "tensor(bool)", "|b1"),
    ("UINT8", "tensor(uint8)", "|u1"),
    ("UINT16", "tensor(uint16)", "<u2"),
    ("UINT32", "tensor(uint32)", "<u4"),
    ("UINT64", "tensor(uint64)", "<u8"),
    ("INT8", "tensor(int8)", "|i1"),
    ("INT16", "tensor(int16)", "<i2"),
    ("INT32", "tensor(int32)", "<i4"),
    ("INT64", "tensor(int64)", "<i8"),
    ("FP16", "tensor(float16)", "<f2"),
    ("FP32", "tensor(float)", "<f4"),
    ("FP64", "tensor(double)", "<f8"),
)

# Fixed-size datatypes; BYTES is held as an object array of str and has no entry here.
DTYPES: Final[dict[str, np.dtype[Any]]] = {name: np.dtype(code) for name, _, code in _TYPES}
# onnxruntime's spelling of an input's or output's type.
FROM_ONNX: Final[dict[str, str]] = {onnx: name for name, onnx, _ in _TYPES} | {"tensor(string)": "BYTES"}
DATATYPES: Final[frozenset[str]] = frozenset(FROM_ONNX.values())
_BY_DTYPE: Final[dict[np.dtype[Any], str]] = {dtype: name for name, dtype in DTYPES.items()}


def datatype_of(array: NDArray[Any]) -> str:
    """The datatype of `array`; raises KeyError for a dtype that no Open Inference Protocol name has.

    Object, unicode and byte-string arrays are BYTES.
    """
    found = _BY_DTYPE.get(array.dtype)
    if found is not None:
        return found
    if array.dtype.kind in "OUS":
        return "BYTES"
    raise KeyError(array.dtype.str)
