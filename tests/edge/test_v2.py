"""The v2 codec: JSON and binary both ways, what is refused and by which name, and what stands in the log."""

import contextlib
import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from router.documents import Signature, TensorSpec
from router.edge.answer import Answer
from router.edge.codec import Call
from router.edge.inbound import Inbound
from router.edge.v2 import CODEC, LENGTH, address
from router.edge.v2_binary import to_raw
from router.errors import BadInput, NotFound
from router.tensors import DTYPES, NAMES, Array, json_ready


def signature(
    *inputs: tuple[str, str, tuple[int, ...]],
    outputs: tuple[tuple[str, str, tuple[int, ...]], ...] = (("y", "FP32", (-1,)),),
    missing: str = "refuse",
) -> Signature:
    """A signature of inputs and outputs, each name, datatype and shape."""
    return Signature(
        inputs=tuple(
            TensorSpec(name=name, datatype=datatype, shape=shape, missing=missing)  # type: ignore[arg-type]
            for name, datatype, shape in inputs
        ),
        outputs=tuple(
            TensorSpec(name=name, datatype=datatype, shape=shape) for name, datatype, shape in outputs
        ),
    )


ONE = signature(("x", "FP32", (-1, 2)), outputs=(("y", "FP32", (-1,)), ("label", "INT64", (-1,))))
TWO = signature(("a", "FP32", (-1, 2)), ("n", "INT64", (-1,)))


def inbound(length: int | str | None = None) -> Inbound:
    """Headers with or without the length of the JSON part."""
    headers = {} if length is None else {LENGTH: str(length).encode()}
    return Inbound(headers, "request-7")


def tensor(**fields: Any) -> dict[str, Any]:
    """A good input of ONE with `fields` changed; a field that is `...` is left out."""
    whole = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2], **fields}
    return {name: value for name, value in whole.items() if value is not ...}


def body(*inputs: Any, **fields: Any) -> bytes:
    """A request in JSON."""
    return orjson.dumps({"inputs": list(inputs), **fields})


def decode(sent: bytes, sig: Signature = ONE, length: int | str | None = None) -> Call:
    """The call of a body."""
    return CODEC.decode(inbound(length), sent, sig)


def binary(head: dict[str, Any], *tails: bytes) -> tuple[bytes, int]:
    """A body with binary data, and the length of its JSON."""
    text = orjson.dumps(head)
    return b"".join((text, *tails)), len(text)


# -- what is accepted --------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [[1, 2, 3, 4.5], [[1, 2], [3, 4.5]]])
def test_data_is_flat_or_nested(data: Any) -> None:
    array = decode(body(tensor(shape=[2, 2], data=data))).inputs["x"]
    assert array.dtype == np.float32
    assert array.tolist() == [[1.0, 2.0], [3.0, 4.5]]


@pytest.mark.parametrize("optional", ["id", "parameters", "outputs"])
def test_null_is_as_if_it_were_not_there(optional: str) -> None:
    assert decode(body(tensor(parameters=None), **{optional: None})).inputs["x"].tolist() == [[1, 2]]


def test_inputs_in_any_order_in_json_and_binary() -> None:
    raw = np.array([7, 8], "<i8").tobytes()
    second = {"name": "n", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": 16}}
    first = {"name": "a", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}
    sent, length = binary({"inputs": [second, first]}, raw)
    inputs = decode(sent, TWO, length).inputs
    assert inputs["n"].tolist() == [7, 8]
    assert inputs["a"].tolist() == [[1, 2], [3, 4]]


def test_two_binary_inputs_follow_in_their_listed_order() -> None:
    n = {"name": "n", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}}
    a = {"name": "a", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    sent, length = binary(
        {"inputs": [n, a]}, np.array([5], "<i8").tobytes(), np.array([1, 2], "<f4").tobytes()
    )
    inputs = decode(sent, TWO, length).inputs
    assert (inputs["n"].tolist(), inputs["a"].tolist()) == ([5], [[1, 2]])


def test_a_length_header_that_covers_the_whole_body() -> None:
    sent = body(tensor())
    assert decode(sent, length=len(sent)).inputs["x"].tolist() == [[1, 2]]


def test_a_raw_body_is_the_only_input() -> None:
    call = decode(np.array([1, 2, 3, 4], "<f4").tobytes(), length=0)
    assert call.inputs["x"].tolist() == [[1, 2], [3, 4]]
    assert call.memo.outputs == (("y", True), ("label", True))
    text = signature(("x", "BYTES", (-1, 1)))
    assert decode(b"any\xff", text, 0).inputs["x"].tolist() == [[b"any\xff"]]
    scalar = signature(("x", "INT64", ()))
    assert decode(np.int64(9).tobytes(), scalar, 0).inputs["x"].tolist() == 9


@pytest.mark.parametrize(
    ("sig", "sent", "code"),
    [
        (ONE, b"1234567", "bad_size"),
        (ONE, b"", None),
        (TWO, b"12345678", "bad_request"),
        (signature(("x", "FP32", (-1, -1))), b"1234", "bad_shape"),
        (signature(("x", "BYTES", (-1, 2))), b"1234", "bad_shape"),
        (signature(("x", "FP32", (2,))), b"1234", "bad_size"),
    ],
)
def test_raw_bodies_that_fit_no_shape(sig: Signature, sent: bytes, code: str | None) -> None:
    if code is None:
        assert decode(sent, sig, 0).inputs["x"].shape == (0, 2)
        return
    with pytest.raises(BadInput) as caught:
        decode(sent, sig, 0)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("datatype", "data", "good"),
    [
        ("UINT64", [2**63, 0], True),
        ("UINT64", [2**64 - 1, 1.0], True),
        ("UINT64", [2**63, -1], False),
        ("UINT64", [2**63, 0.5], False),
        ("INT64", [2**53 + 1, 1.0], True),
        ("INT64", [-(2**63), 2**63 - 1], True),
        ("INT64", [2**63, 0], False),
        ("INT64", [1e300, 0], False),
    ],
)
def test_whole_numbers_are_exact_whatever_is_beside_them(datatype: str, data: list[Any], good: bool) -> None:
    sig = signature(("x", datatype, (-1, 2)))
    sent = body(tensor(datatype=datatype, data=data))
    if good:
        assert decode(sent, sig).inputs["x"].tolist() == [[int(item) for item in data]]
        return
    with pytest.raises(BadInput, match="input x"):
        decode(sent, sig)


def test_null_is_missing_only_where_the_signature_allows_it() -> None:
    allowing = signature(("x", "FP32", (-1, 2)), missing="allow")
    array = decode(body(tensor(data=[None, 2])), allowing).inputs["x"]
    assert np.isnan(array[0, 0])
    assert array[0, 1] == 2


@pytest.mark.parametrize(
    ("value", "missing", "code"),
    [
        (np.nan, "refuse", "missing_value"),
        (np.nan, "allow", None),
        (np.inf, "refuse", "out_of_range"),
        (-np.inf, "allow", "out_of_range"),
    ],
)
@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_what_json_cannot_say_is_not_said_in_binary(
    value: float, missing: str, code: str | None, datatype: str
) -> None:
    sig = signature(("x", datatype, (-1, 2)), missing=missing)
    raw = np.array([[value, 1]], DTYPES[datatype]).tobytes()
    given = tensor(datatype=datatype, data=..., parameters={"binary_data_size": len(raw)})
    sent, length = binary({"inputs": [given]}, raw)
    if code is None:
        assert np.isnan(decode(sent, sig, length).inputs["x"][0, 0])
        return
    with pytest.raises(BadInput, match="input x") as caught:
        decode(sent, sig, length)
    assert caught.value.code == code


# -- what is refused ---------------------------------------------------------------------------------------

TEXT = signature(("x", "BYTES", (-1, 2)))


def text_tensor(**fields: Any) -> dict[str, Any]:
    """The same for TEXT."""
    return tensor(**{"datatype": "BYTES", "data": ["a", "b"], **fields})


@pytest.mark.parametrize(
    ("sent", "code", "field"),
    [
        (b"", "bad_json", None),
        (b"\xff", "bad_json", None),
        (b"[]", "bad_request", None),
        (b'{"inputs": [{"data": NaN}]}', "bad_json", None),
        (b"[" * 5000 + b"]" * 5000, "too_deep", None),
        (b"{}", "bad_request", "inputs"),
        (orjson.dumps({"inputs": {}}), "bad_request", "inputs"),
        (body(), "missing_input", "inputs"),
        (body(1), "bad_request", "inputs[0]"),
        (body(tensor(), extra=1), "unknown_field", "extra"),
        (body(tensor(), id=7), "bad_request", "id"),
        (body(tensor(), parameters=[]), "bad_request", "parameters"),
        (body(tensor(), parameters={"a": {}}), "bad_parameter", "parameters.a"),
        (
            body(tensor(), parameters={"binary_data_output": 1}),
            "bad_parameter",
            "parameters.binary_data_output",
        ),
        (body(tensor(extra=1)), "unknown_field", "inputs[0].extra"),
        (body(tensor(name=...)), "unknown_input", "inputs[0].name"),
        (body(tensor(name="z")), "unknown_input", "inputs[0].name"),
        (body(tensor(name=["x"])), "unknown_input", "inputs[0].name"),
        (body(tensor(), tensor()), "repeated_input", "inputs[1]"),
        (body(tensor(datatype="FP64")), "bad_datatype", "inputs[0].datatype"),
        (body(tensor(datatype=...)), "bad_datatype", "inputs[0].datatype"),
        (body(tensor(datatype={})), "bad_datatype", "inputs[0].datatype"),
        (body(tensor(shape=...)), "bad_shape", "inputs[0].shape"),
        (body(tensor(shape=2)), "bad_shape", "inputs[0].shape"),
        (body(tensor(shape=[2])), "bad_shape", "inputs[0].shape"),
        (body(tensor(shape=[1, 3], data=[1, 2, 3])), "bad_shape", "inputs[0].shape"),
        (body(tensor(shape=[-1, 2])), "bad_shape", "inputs[0].shape"),
        (body(tensor(shape=[True, 2])), "bad_shape", "inputs[0].shape"),
        (body(tensor(shape=[1.0, 2])), "bad_shape", "inputs[0].shape"),
        (body(tensor(shape=[2**62, 2])), "bad_shape", "inputs[0].shape"),
        (body(tensor(shape=[2, 2])), "bad_shape", "inputs[0].data"),
        (body(tensor(shape=[2, 2], data=[[1, 2, 3, 4]])), "bad_shape", "inputs[0].data"),
        (body(tensor(data=5)), "bad_shape", "inputs[0].data"),
        (body(tensor(data=[[1], [2, 3]])), "bad_shape", "inputs[0].data"),
        (body(tensor(data=[[[1, 2]]])), "bad_shape", "inputs[0].data"),
        (body(tensor(data=...)), "missing_data", "inputs[0].data"),
        (body(tensor(data=None)), "missing_value", "inputs[0].data"),
        (body(tensor(data=[None, 1])), "missing_value", "inputs[0].data"),
        (body(tensor(data=["1", "2"])), "bad_datatype", "inputs[0].data"),
        (body(tensor(data=[{}, 2])), "bad_datatype", "inputs[0].data"),
        (body(tensor(data=[1e39, 2])), "out_of_range", "inputs[0].data"),
        (body(tensor(data=[16777217, 2])), "inexact", "inputs[0].data"),
        (body(tensor(parameters=3)), "bad_request", "inputs[0].parameters"),
        (body(tensor(), outputs={}), "bad_request", "outputs"),
        (body(tensor(), outputs=["y"]), "bad_request", "outputs[0]"),
        (body(tensor(), outputs=[{}]), "unknown_output", "outputs[0].name"),
        (body(tensor(), outputs=[{"name": "z"}]), "unknown_output", "outputs[0].name"),
        (body(tensor(), outputs=[{"name": "y"}, {"name": "y"}]), "repeated_output", "outputs[1]"),
        (body(tensor(), outputs=[{"name": "y", "data": 1}]), "unknown_field", "outputs[0].data"),
        (
            body(tensor(), outputs=[{"name": "y", "parameters": {"binary_data": "yes"}}]),
            "bad_parameter",
            "outputs[0].parameters.binary_data",
        ),
        (
            body(tensor(), outputs=[{"name": "y", "parameters": {"classification": 3}}]),
            "unsupported_parameter",
            "outputs[0].parameters.classification",
        ),
    ],
)
def test_bad_json_is_named(sent: bytes, code: str, field: str | None) -> None:
    with pytest.raises(BadInput) as caught:
        decode(sent)
    assert (caught.value.code, caught.value.field) == (code, field)


SIZE = "inputs[0].parameters.binary_data_size"


@pytest.mark.parametrize(
    ("fields", "tail", "code", "field"),
    [
        ({"parameters": {"binary_data_size": 8}}, b"1234567", "bad_size", SIZE),
        ({"parameters": {"binary_data_size": 8}}, b"123456789", "bad_size", "inputs"),
        ({"parameters": {"binary_data_size": 4}}, b"1234", "bad_size", SIZE),
        ({"parameters": {"binary_data_size": -8}}, b"", "bad_size", SIZE),
        ({"parameters": {"binary_data_size": 8.0}}, b"12345678", "bad_size", SIZE),
        ({"parameters": {"binary_data_size": True}}, b"1", "bad_size", SIZE),
        ({"parameters": {"binary_data_size": "8"}}, b"12345678", "bad_size", SIZE),
        ({"parameters": {"binary_data_size": 2**63}}, b"12345678", "bad_size", SIZE),
        ({"parameters": {"binary_data_size": 8}, "data": [1, 2]}, b"12345678", "bad_request", SIZE),
        ({"parameters": {"shared_memory_region": "r"}}, b"", "missing_data", "inputs[0].data"),
        ({"parameters": {"binary_data_size": 0}, "shape": [0, 2**62]}, b"", "bad_shape", "inputs[0].shape"),
    ],
)
def test_bad_binary_is_named(fields: dict[str, Any], tail: bytes, code: str, field: str) -> None:
    sent, length = binary({"inputs": [tensor(**{"data": ..., **fields})]}, tail)
    with pytest.raises(BadInput) as caught:
        decode(sent, length=length)
    assert (caught.value.code, caught.value.field) == (code, field)


def test_binary_data_without_its_header() -> None:
    sent = body(tensor(data=..., parameters={"binary_data_size": 0}))
    with pytest.raises(BadInput, match="inference-header-content-length"):
        decode(sent)


@pytest.mark.parametrize("length", ["x", "-1", "", "1e3", "99999999999999999999", "1000", "+5", "0x10"])
def test_a_length_header_that_is_none(length: str) -> None:
    with pytest.raises(BadInput) as caught:
        decode(body(tensor()), length=length)
    assert caught.value.field == "inference-header-content-length"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\1\0\0\0a",  # one element of two
        b"\1\0\0\0a\2\0\0\0b",  # the second is cut
        b"\1\0\0\0a\1\0\0",  # a length is cut
        b"\xff\xff\xff\xffab\0\0\0\0",
        b"\1\0\0\0a\1\0\0\0b!",  # something follows
    ],
)
def test_strings_that_do_not_fit_their_size(raw: bytes) -> None:
    given = text_tensor(data=..., parameters={"binary_data_size": len(raw)})
    sent, length = binary({"inputs": [given]}, raw)
    with pytest.raises(BadInput, match="input x") as caught:
        decode(sent, TEXT, length)
    assert caught.value.code == "bad_size"


def test_a_bool_is_0_or_1() -> None:
    sig = signature(("x", "BOOL", (-1, 2)))
    given = tensor(datatype="BOOL", data=..., parameters={"binary_data_size": 2})
    good, length = binary({"inputs": [given]}, b"\0\1")
    assert decode(good, sig, length).inputs["x"].tolist() == [[False, True]]
    bad, length = binary({"inputs": [given]}, b"\0\2")
    with pytest.raises(BadInput, match="0 or 1"):
        decode(bad, sig, length)


@given(st.binary(max_size=300), st.none() | st.integers(0, 400))
def test_no_bytes_at_all_raise_anything_but_a_refusal(sent: bytes, length: int | None) -> None:
    with contextlib.suppress(BadInput):
        decode(sent, length=length)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
def test_no_value_in_any_place_raises_anything_but_a_refusal(data: st.DataObject) -> None:
    datatype = data.draw(st.sampled_from(list(DTYPES)))
    fields = data.draw(
        st.dictionaries(st.sampled_from(["name", "datatype", "shape", "data", "parameters"]), JSON)
    )
    document = {"inputs": [tensor(**{"datatype": datatype, **fields})]}
    document |= data.draw(st.dictionaries(st.sampled_from(["id", "parameters", "outputs", "inputs"]), JSON))
    try:
        sent = orjson.dumps(document)
    except orjson.JSONEncodeError:
        return  # a surrogate
    with contextlib.suppress(BadInput):
        decode(sent, signature(("x", datatype, (-1, 2))), data.draw(st.none() | st.just(len(sent))))


# -- there and back ----------------------------------------------------------------------------------------


def elements(datatype: str) -> st.SearchStrategy[Any]:
    """What a tensor of this datatype may hold."""
    if datatype == "BYTES":
        return st.binary(max_size=12) | st.text(max_size=6).map(str.encode)
    if datatype.startswith("FP"):
        return hnp.from_dtype(DTYPES[datatype], allow_nan=False, allow_infinity=False)
    return hnp.from_dtype(DTYPES[datatype])


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    """Any datatype, ranks 0–5, empty ones too."""
    datatype = draw(st.sampled_from(list(DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=3))
    if datatype != "BYTES":
        return draw(hnp.arrays(DTYPES[datatype], shape, elements=elements(datatype)))
    count = math.prod(shape)
    flat: Array = np.empty(count, dtype=object)
    flat[:] = draw(st.lists(elements("BYTES"), min_size=count, max_size=count))
    return flat.reshape(shape)


def described(array: Array, name: str) -> dict[str, Any]:
    """Name, datatype and shape as they stand in a request."""
    return {"name": name, "datatype": NAMES[array.dtype], "shape": list(array.shape)}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_goes_in_comes_out(data: st.DataObject) -> None:
    sent = {
        f"t{index}": array
        for index, array in enumerate(data.draw(st.lists(arrays(), min_size=1, max_size=3)))
    }
    specs = tuple((name, NAMES[array.dtype], (-1,) * array.ndim) for name, array in sent.items())
    sig = signature(*specs, outputs=specs)
    inputs, tails = [], []
    for name, array in sent.items():
        form = data.draw(st.sampled_from(["flat", "nested", "binary"]))
        given = described(array, name)
        if form == "binary":
            tails.append(to_raw(array))
            given["parameters"] = {"binary_data_size": len(tails[-1])}
        else:
            given["data"] = json_ready(array.reshape(-1) if form == "flat" else array)
        inputs.append(given)
    asked = [
        {"name": name, "parameters": {"binary_data": data.draw(st.booleans())}}
        for name in data.draw(st.permutations(list(sent)))
    ]
    head = orjson.dumps(
        {"id": "n1", "inputs": inputs, "outputs": asked, "parameters": {"k": 1}},
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
    call = CODEC.decode(inbound(len(head) if tails else None), b"".join((head, *tails)), sig)
    check(call.inputs, sent)
    answer = CODEC.encode(call, call.inputs, "m", "3")
    document, found = read(answer)
    assert (document["model_name"], document["model_version"], document["id"]) == ("m", "3", "n1")
    assert document["parameters"] == {"k": 1}
    assert list(found) == [each["name"] for each in asked]
    check(found, sent)


def check(found: dict[str, Array], sent: dict[str, Array]) -> None:
    """The same names, dtypes, shapes and values."""
    assert found.keys() == sent.keys()
    for name, array in sent.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tolist() == array.tolist()


def read(answer: Answer) -> tuple[dict[str, Any], dict[str, Array]]:
    """An answer as a client reads it: the JSON, and the outputs."""
    length = next((int(value) for name, value in answer.headers if name == LENGTH), None)
    assert answer.kind == (b"application/json" if length is None else b"application/octet-stream")
    document = orjson.loads(answer.body[:length])
    position = len(answer.body) if length is None else length
    outputs: dict[str, Array] = {}
    for each in document["outputs"]:
        size = each.get("parameters", {}).get("binary_data_size")
        given = {"name": each["name"], "datatype": each["datatype"], "shape": each["shape"]}
        sig = signature((each["name"], each["datatype"], (-1,) * len(each["shape"])))
        if size is None:
            sent, cut = orjson.dumps({"inputs": [given | {"data": each["data"]}]}), None
        else:
            tail = answer.body[position : position + size]
            position += size
            sent, cut = binary({"inputs": [given | {"parameters": {"binary_data_size": size}}]}, tail)
        outputs |= CODEC.decode(inbound(cut), sent, sig).inputs
    assert position == len(answer.body)
    return document, outputs


# -- the answer --------------------------------------------------------------------------------------------

OUTPUTS: dict[str, Array] = {"y": np.array([0.5, 2], np.float32), "label": np.array([3, 4])}


def test_json_answers_are_flat_in_the_signature_s_order() -> None:
    answer = CODEC.encode(decode(body(tensor())), OUTPUTS, "m", "2")
    assert orjson.loads(answer.body) == {
        "model_name": "m",
        "model_version": "2",
        "id": "request-7",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [2], "data": [0.5, 2.0]},
            {"name": "label", "datatype": "INT64", "shape": [2], "data": [3, 4]},
        ],
    }


def test_binary_output_for_all_but_one() -> None:
    call = decode(
        body(
            tensor(),
            outputs=[{"name": "label", "parameters": {"binary_data": False}}, {"name": "y"}],
            parameters={"binary_data_output": True},
        )
    )
    answer = CODEC.encode(call, OUTPUTS, "m", "2")
    length = int(dict(answer.headers)[LENGTH])
    assert answer.body[length:] == OUTPUTS["y"].tobytes()
    document = orjson.loads(answer.body[:length])
    assert document["parameters"] == {"binary_data_output": True}
    assert [each["name"] for each in document["outputs"]] == ["label", "y"]
    assert document["outputs"][0]["data"] == [3, 4]
    assert "data" not in document["outputs"][1]


# -- the log -----------------------------------------------------------------------------------------------


def logged(value: Any) -> Any:
    """As it stands in a line of the journal."""
    line = orjson.dumps({"value": value})
    assert b"\n" not in line
    return orjson.loads(line)["value"]


def test_json_is_logged_as_json() -> None:
    sent = b'{"inputs":\n[]}'
    found = CODEC.excerpt(inbound(), sent, 1000)
    assert (logged(found.value), found.truncated) == ({"inputs": []}, False)
    cut = CODEC.excerpt(inbound(), sent, 5)
    assert (logged(cut.value), cut.truncated) == ('{"inp', True)


def test_binary_is_logged_as_base64_within_the_limit() -> None:
    sent, length = binary({"a": 1}, bytes(range(30)))
    whole = CODEC.excerpt(inbound(length), sent, 1000)
    assert logged(whole.value) == {"json": {"a": 1}, "b64": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"}
    assert not whole.truncated
    cut = CODEC.excerpt(inbound(length), sent, length + 9)
    assert logged(cut.value) == {"json": {"a": 1}, "b64": "AAECAwQF"}
    assert cut.truncated
    assert CODEC.excerpt(inbound(length), sent, length - 1).truncated
    assert logged(CODEC.excerpt(inbound(0), b"\n\r\0", 1000).value) == {"b64": "Cg0A"}


@pytest.mark.parametrize("length", ["x", "0", "3", "999", "-1"])
@pytest.mark.parametrize("limit", [0, 3, 1000])
@pytest.mark.parametrize("sent", [b"", b"\xff\xfe\n{", b"{}\0\0\0\0"])
def test_nothing_that_is_sent_breaks_the_log(length: str, limit: int, sent: bytes) -> None:
    logged(CODEC.excerpt(inbound(length), sent, limit).value)


def test_binary_answers_are_logged_likewise() -> None:
    call = decode(body(tensor(), parameters={"binary_data_output": True}))
    answer = CODEC.encode(call, OUTPUTS, "m", "2")
    found = CODEC.answer_excerpt(answer, 1000)
    assert logged(found.value)["json"]["model_name"] == "m"
    assert not found.truncated


# -- paths -------------------------------------------------------------------------------------------------


def test_paths() -> None:
    assert (address("/v2/models/m/infer").model, address("/v2/models/m/infer").pin) == ("m", None)
    found = address("/v2/models/m/versions/3/infer")
    assert (found.model, found.pin) == ("m", "3")


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models//infer",
        "/v2/models/M/infer",
        "/v2/models/a/b/infer",
        "/v2/models/a/versions/infer",
        "/v2/models/a/versions//infer",
        "/v2/models/a/versions/1/2/infer",
        "/v2/models/../infer",
    ],
)
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(NotFound):
        address(path)
