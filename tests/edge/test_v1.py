"""The v1 codec: what is cast, what is refused and by which name, and how answers are written."""

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from router.documents import Signature, TensorSpec
from router.edge import v1
from router.errors import BadInput
from router.tensors import DTYPES, Array, nonfinite


def signature(*inputs: tuple[str, str, tuple[int, ...]], missing: str = "refuse") -> Signature:
    """A signature of the given inputs and one output."""
    specs = tuple(
        TensorSpec(name=name, datatype=datatype, shape=shape, missing=missing)  # type: ignore[arg-type]
        for name, datatype, shape in inputs
    )
    return Signature(inputs=specs, outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1,)),))


ONE = signature(("x", "FP32", (-1, 2)))
TWO = signature(("a", "FP32", (-1, 2)), ("n", "INT64", (-1,)))


def decode(body: bytes, sig: Signature) -> dict[str, Array]:
    """The tensors of a body."""
    return v1.decode(v1.parse(body), sig)[1]


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [[1, 2], [3, 4.5]]}',
        b'{"instances": [{"x": [1, 2]}, {"x": [3, 4.5]}]}',
        b'{"inputs": [[1, 2], [3, 4.5]]}',
        b'{"inputs": {"x": [[1, 2], [3, 4.5]]}, "signature_name": "serving_default"}',
    ],
)
def test_every_form_of_one_input(body: bytes) -> None:
    array = decode(body, ONE)["x"]
    assert array.dtype == np.float32
    assert array.tolist() == [[1.0, 2.0], [3.0, 4.5]]


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [{"a": [1, 2], "n": 3}, {"n": 4, "a": [5, 6]}]}',
        b'{"inputs": {"a": [[1, 2], [5, 6]], "n": [3, 4]}}',
    ],
)
def test_every_form_of_two_inputs(body: bytes) -> None:
    tensors = decode(body, TWO)
    assert tensors["a"].tolist() == [[1, 2], [5, 6]]
    assert tensors["n"].tolist() == [3, 4]
    assert tensors["n"].dtype == np.int64


@pytest.mark.parametrize(
    ("body", "sig", "code", "field"),
    [
        (b"", ONE, "bad_json", None),
        (b"\xff", ONE, "bad_json", None),
        (b'{"instances": [[NaN, 1]]}', ONE, "bad_json", None),
        (b'{"instances": [[Infinity, 1]]}', ONE, "bad_json", None),
        (b'{"instances": [[1e999, 1]]}', ONE, "bad_json", None),
        (b'{"instances": ' + b"[" * 5000 + b"]" * 5000 + b"}", ONE, "bad_json", None),
        (b"[[1, 2]]", ONE, "bad_request", None),
        (b"{}", ONE, "bad_request", "instances"),
        (b'{"instances": [[1, 2]], "inputs": [[1, 2]]}', ONE, "bad_request", "instances"),
        (b'{"instances": [[1, 2]], "foo": 1}', ONE, "unknown_field", "foo"),
        (b'{"instances": []}', ONE, "bad_request", "instances"),
        (b'{"instances": {"x": 1}}', ONE, "bad_request", "instances"),
        (b'{"instances": [[1, 2, 3]]}', ONE, "bad_shape", "instances"),
        (b'{"instances": [1, 2]}', ONE, "bad_shape", "instances"),
        (b'{"instances": [[1, 2], [3]]}', ONE, "bad_shape", "instances"),
        (b'{"instances": [["1", "2"]]}', ONE, "bad_datatype", "instances"),
        (b'{"instances": [["1", 2]]}', ONE, "bad_datatype", "instances"),
        (b'{"instances": [[{}, 2]]}', ONE, "bad_datatype", "instances"),
        (b'{"instances": [[null, 2]]}', ONE, "missing_value", "instances"),
        (b'{"instances": [[1e39, 2]]}', ONE, "out_of_range", "instances"),
        (b'{"instances": [[16777217, 2]]}', ONE, "inexact", "instances"),
        (b'{"inputs": {"z": [[1, 2]]}}', ONE, "unknown_input", "inputs.z"),
        (b'{"inputs": {}}', ONE, "missing_input", "inputs.x"),
        (b'{"inputs": [[1, 2]]}', TWO, "bad_request", "inputs"),
        (b'{"instances": [[1, 2]]}', TWO, "bad_request", "instances[0]"),
        (b'{"instances": [{"a": [1, 2], "n": 1}, 3]}', TWO, "bad_request", "instances[1]"),
        (b'{"instances": [{"a": [1, 2]}]}', TWO, "missing_input", "instances[0].n"),
        (b'{"inputs": {"a": [[1, 2]], "n": [1.5]}}', TWO, "inexact", "inputs.n"),
        (b'{"inputs": {"a": [[1, 2]], "n": [9223372036854775808]}}', TWO, "inexact", "inputs.n"),
        (b'{"inputs": {"a": [[1, 2]], "n": [1e300]}}', TWO, "out_of_range", "inputs.n"),
        (b'{"inputs": {"a": [[1, 2]], "n": [null]}}', TWO, "missing_value", "inputs.n"),
    ],
)
def test_bad_input_is_named(body: bytes, sig: Signature, code: str, field: str | None) -> None:
    with pytest.raises(BadInput) as caught:
        decode(body, sig)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert caught.value.status == 400


def test_null_is_missing_only_where_the_signature_allows_it() -> None:
    array = decode(b'{"instances": [[null, 2]]}', signature(("x", "FP32", (-1, 2)), missing="allow"))["x"]
    assert np.isnan(array[0, 0])
    assert array[0, 1] == 2


@pytest.mark.parametrize(
    ("datatype", "values", "good"),
    [
        ("UINT8", [0, 255], True),
        ("UINT8", [256], False),
        ("UINT8", [-1], False),
        ("UINT64", [18446744073709551615], True),
        ("UINT64", [-1], False),
        ("INT64", [9007199254740993], True),
        ("INT8", [-128, 127.0], True),
        ("INT8", [128], False),
        ("BOOL", [True, False], True),
        ("BOOL", [0, 1], True),
        ("BOOL", [2], False),
        ("FP16", [65504], True),
        ("FP16", [70000.5], False),
        ("FP32", [True], True),
        ("FP32", [0.1], True),
        ("FP64", [9007199254740993], False),
        ("FP64", [9007199254740993, 0.5], False),
        ("FP32", [16777217, 0.5], False),
        ("FP32", [16777217.0, 0.5], True),
        ("FP32", [1e30, 0.5, 16777216], True),
        ("BYTES", ["é"], True),
        ("BYTES", [1], False),
    ],
)
def test_casts_are_lossless_or_refused(datatype: str, values: list[Any], good: bool) -> None:
    body = orjson.dumps({"inputs": values})
    sig = signature(("x", datatype, (-1,)))
    if not good:
        with pytest.raises(BadInput, match="input x"):
            decode(body, sig)
        return
    array = decode(body, sig)["x"]
    assert array.dtype == DTYPES[datatype]
    if datatype == "BYTES":
        assert array.tolist() == [value.encode() for value in values]
    elif datatype.startswith(("INT", "UINT")):
        assert array.tolist() == [int(value) for value in values]


def test_binary_text() -> None:
    sig = signature(("x", "BYTES", (-1,)))
    assert decode(b'{"instances": [{"b64": "/w=="}, "a"]}', sig)["x"].tolist() == [b"\xff", b"a"]
    with pytest.raises(BadInput, match="base64"):
        decode(b'{"instances": [{"b64": "!"}]}', sig)


NUMERIC = [name for name in DTYPES if name not in ("BYTES", "FP16")]


@given(st.data())
def test_what_json_carries_comes_back(data: st.DataObject) -> None:
    datatype = data.draw(st.sampled_from(NUMERIC))
    options = {"allow_nan": False, "allow_infinity": False} if datatype.startswith("FP") else {}
    dtype = DTYPES[datatype]
    elements = hnp.from_dtype(dtype, **options)  # type: ignore[arg-type]
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4), elements=elements))
    sig = signature(("x", datatype, (-1,) * array.ndim))
    written = v1.encode("inputs", {"y": array})
    values = orjson.loads(written)["outputs"]
    back = decode(orjson.dumps({"inputs": values}), sig)["x"]
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)


def test_several_outputs_are_objects_by_name() -> None:
    outputs = {"label": np.array([3, 4]), "p": np.array([[0.5, 0.25], [0.75, 1.0]], np.float32)}
    assert orjson.loads(v1.encode("instances", outputs)) == {
        "predictions": [{"label": 3, "p": [0.5, 0.25]}, {"label": 4, "p": [0.75, 1.0]}]
    }
    assert orjson.loads(v1.encode("inputs", outputs)) == {
        "outputs": {"label": [3, 4], "p": [[0.5, 0.25], [0.75, 1.0]]}
    }


def test_one_output_is_a_bare_value() -> None:
    outputs = {"y": np.array([1.5, 2.5], np.float16)}
    assert v1.encode("instances", outputs) == b'{"predictions":[1.5,2.5]}'
    assert v1.encode("inputs", outputs) == b'{"outputs":[1.5,2.5]}'


@pytest.mark.parametrize("datatype", [name for name in DTYPES if name != "BYTES"])
def test_a_scalar_output(datatype: str) -> None:
    written = v1.encode("inputs", {"y": np.array(1, DTYPES[datatype])})
    assert orjson.loads(written) == {"outputs": 1}


def test_bytes_outputs_are_text_or_base64() -> None:
    outputs: dict[str, Array] = {"y": np.array([b"ok", b"\xff"], dtype=object)}
    assert orjson.loads(v1.encode("instances", outputs)) == {"predictions": ["ok", {"b64": "/w=="}]}


def test_rows_cannot_be_made_of_outputs_that_do_not_share_them() -> None:
    with pytest.raises(BadInput, match="columns"):
        v1.encode("instances", {"a": np.zeros(2), "b": np.zeros(3)})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_non_finite_output_is_named(bad: float) -> None:
    assert nonfinite({"a": np.zeros(2), "b": np.array([1.0, bad])}) == "b"
    assert nonfinite({"a": np.zeros(2), "n": np.zeros(2, np.int64)}) is None
