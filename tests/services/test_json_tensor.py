"""JSON values as tensors: nothing is lost or invented on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from services.document import TensorSpec
from services.json_tensor import to_array
from services.session import InputError


def spec(datatype: str) -> TensorSpec:
    return TensorSpec(name="x", datatype=datatype, shape=(-1,))


@pytest.mark.parametrize(
    ("datatype", "value", "dtype"),
    [
        ("FP32", [[1, 2.5]], np.float32),
        ("FP16", [1], np.float16),
        ("INT8", [-128, 127], np.int8),
        ("UINT64", [2**64 - 1], np.uint64),
        ("INT64", [], np.int64),
        ("BOOL", [True, False], np.bool_),
        ("BYTES", ["a", "größe"], np.object_),
        ("FP64", 3, np.float64),
    ],
)
def test_values_that_fit(datatype: str, value: Any, dtype: Any) -> None:
    found = to_array(spec(datatype), value)
    assert found.dtype == dtype
    assert found.tolist() == value


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("INT8", [128]),
        ("UINT8", [-1]),
        ("INT64", [1.5]),
        ("INT64", [True]),
        ("BOOL", [1]),
        ("FP32", ["1"]),
        ("FP32", [None]),
        ("FP32", [1e39]),
        ("FP16", [70000.0]),
        ("FP32", [[1], [1, 2]]),
        ("FP32", {"a": 1}),
        ("BYTES", [1]),
        ("BYTES", [None]),
        ("INT64", [2**70]),
    ],
)
def test_values_that_do_not_fit_name_the_input(datatype: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        to_array(spec(datatype), value)
    assert caught.value.field == "x"
