"""The v1 forms of a prediction: rows, columns, versioned path, casts and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.contract.asking import CELL, DIGIT, Data, refused

ROW: dict[str, Any] = {"i": 1, "u": 2, "l": 3, "g": 4, "f": 0.5, "d": 0.25, "s": "six", "b": True}


def columns(**changes: Any) -> dict[str, Any]:
    """A column of one row for each input of `many`."""
    return {"inputs": {name: [item] for name, item in ROW.items()} | changes}


def test_rows_of_one_output_are_answered_by_plain_values(data: Data) -> None:
    answer = data.predict("plain", {"instances": [[1, 2.5, -3], [4, 5, 6]]})
    assert (answer.status_code, answer.json()) == (200, {"predictions": [[1.0, 2.5, -3.0], [4.0, 5.0, 6.0]]})
    assert answer.headers["content-type"] == "application/json"


def test_rows_of_several_outputs_are_answered_by_objects_by_output_name(data: Data) -> None:
    predictions = data.predict("digits", {"instances": [DIGIT, DIGIT, DIGIT]}).json()["predictions"]
    assert len(predictions) == 3
    for each in predictions:
        assert each.keys() == {"label", "probabilities"}
        assert len(each["probabilities"]) == 10
        assert each["label"] == int(np.argmax(each["probabilities"]))
        assert math.isclose(sum(each["probabilities"]), 1, abs_tol=1e-4)


def test_columns_of_one_output_are_answered_by_plain_values(data: Data) -> None:
    for inputs in ([[1, 2, 3]], {"x": [[1, 2, 3]]}):
        answer = data.predict("plain", {"inputs": inputs})
        assert (answer.status_code, answer.json()) == (200, {"outputs": [[1.0, 2.0, 3.0]]})


def test_columns_of_several_outputs_are_answered_by_columns_by_output_name(data: Data) -> None:
    by_column = data.predict("digits", {"inputs": [DIGIT, DIGIT]}).json()["outputs"]
    by_row = data.predict("digits", {"instances": [DIGIT, DIGIT]}).json()["predictions"]
    assert by_column.keys() == {"label", "probabilities"}
    assert by_column["label"] == [row["label"] for row in by_row]
    assert np.allclose(by_column["probabilities"], [row["probabilities"] for row in by_row], atol=1e-6)


def test_rows_of_several_inputs_are_objects_by_input_name(data: Data) -> None:
    answer = data.predict("many", {"instances": [ROW, {**ROW, "i": -7, "s": "größe", "b": False}]})
    assert answer.status_code == 200, answer.text
    first, second = answer.json()["predictions"]
    told = {"i": "i_out", "u": "u_out", "l": "l_out", "g": "g_out", "d": "d_out", "s": "s_out", "b": "b_out"}
    assert {name: first[output] for name, output in told.items()} == {k: ROW[k] for k in told}
    assert (first["f_missing"], first["f_value"]) == (False, 0.5)
    assert (second["i_out"], second["s_out"], second["b_out"]) == (-7, "größe", False)


def test_bytes_that_are_no_text_go_in_and_out_as_base64(data: Data) -> None:
    text = data.predict("many", columns(s=[{"b64": "Z3LDtsOfZQ=="}])).json()
    assert text["outputs"]["s_out"] == ["größe"]


def test_a_zip_map_appears_as_one_float_matrix_under_its_name(data: Data, fleet: Any) -> None:
    answer = data.predict("breast-cancer", {"inputs": [CELL, CELL]}).json()["outputs"]
    assert np.array(answer["probabilities"]).shape == (2, 2)
    (version,) = fleet.ask("GET", "/models/breast-cancer")["versions"]
    outputs = {spec["name"]: spec for spec in version["signature"]["outputs"]}
    assert (outputs["probabilities"]["datatype"], outputs["probabilities"]["shape"]) == ("FP32", [-1, 2])


def test_null_becomes_nan_where_the_signature_allows_it(data: Data) -> None:
    two = {name: [item, item] for name, item in ROW.items()} | {"f": [None, 0.5]}
    answer = data.predict("many", {"inputs": two})
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"]["f_missing"] == [True, False]
    rows = data.predict("many", {"instances": [{**ROW, "f": None}]})
    assert rows.json()["predictions"][0]["f_missing"] is True


@pytest.mark.parametrize("name", ["d", "i", "l", "b", "s"])
def test_null_elsewhere_is_refused_naming_the_input(data: Data, name: str) -> None:
    body = refused(data.predict("many", columns(**{name: [None]})), 400)
    assert f"input {name}" in body["error"] or name in body.get("field", ""), body


def test_null_in_a_plain_row_is_refused_naming_the_input(data: Data) -> None:
    for body in ({"instances": [[1, None, 3]]}, {"instances": [None]}, {"inputs": [[None] * 3]}):
        assert "x" in refused(data.predict("plain", body), 400)["error"]


@pytest.mark.parametrize(
    "token", ["NaN", "Infinity", "-Infinity", "nan", "1e999", "-1e999", "01", "+1", "0x1"]
)
def test_tokens_that_json_does_not_have_are_refused(data: Data, token: str) -> None:
    refused(data.predict("plain", f'{{"instances": [[1, {token}, 3]]}}'.encode()), 400)
    refused(data.predict("many", columns_text("f", token)), 400)


def columns_text(name: str, token: str) -> bytes:
    """`columns()` with a raw token in one place."""
    import orjson

    text = orjson.dumps(columns(**{name: ["TOKEN"]}))
    return text.replace(b'"TOKEN"', token.encode())


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("i", 3.0, 3),
        ("i", -(2**31), -(2**31)),
        ("l", 9007199254740993, 9007199254740993),
        ("l", -(2**63), -(2**63)),
        ("g", 2**64 - 1, 2**64 - 1),
        ("u", 255, 255),
        ("d", 0.1, 0.1),
        ("d", 7, 7.0),
        ("f", 16777216, None),
    ],
)
def test_values_that_fit_are_cast(data: Data, name: str, given: Any, kept: Any) -> None:
    answer = data.predict("many", columns(**{name: [given]}))
    assert answer.status_code == 200, answer.text
    outputs = answer.json()["outputs"]
    assert outputs["f_value" if name == "f" else f"{name}_out"] == [given if kept is None else kept]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("i", [1.5]),
        ("i", [2**31]),
        ("i", ["1"]),
        ("u", [256]),
        ("u", [-1]),
        ("g", [-1]),
        ("g", [2**64]),
        ("l", [2**63]),
        ("l", [9007199254740993.5]),
        ("f", [1e39]),
        ("f", [16777217]),
        ("f", ["0.5"]),
        ("f", [{"a": 1}]),
        ("f", [[]]),
        ("d", ["x"]),
        ("b", ["true"]),
        ("b", [2]),
        ("s", [5]),
        ("s", [{"b64": "***"}]),
        ("s", [{"b64": 5}]),
        ("s", [["a"]]),
    ],
)
def test_values_that_do_not_fit_are_refused_naming_the_input(
    data: Data, name: str, column: list[Any]
) -> None:
    body = refused(data.predict("many", columns(**{name: column})), 400)
    assert f"input {name}" in body["error"], body
    assert name in body["field"], body


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("l", [9007199254740993, 1.0]),
        ("f", [16777217, 0.5]),
        ("d", [9007199254740993, 0.5]),
        ("g", [18446744073709551615, 1.0]),
    ],
)
def test_no_whole_number_is_changed_for_what_stands_beside_it(
    data: Data, name: str, column: list[Any]
) -> None:
    """V1 casts losslessly or answers 400: a decimal in the same column is no reason to round a whole number."""
    two = {key: [item, item] for key, item in ROW.items()} | {name: column}
    answer = data.predict("many", {"inputs": two})
    if answer.status_code == 200:
        got = answer.json()["outputs"]["f_value" if name == "f" else f"{name}_out"][0]
        assert int(got) == column[0], answer.text
    else:
        refused(answer, 400)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"instances": [[1, 2]]}, "x"),
        ({"instances": [[1, 2, 3, 4]]}, "x"),
        ({"instances": [[1, 2, 3], [1, 2]]}, "x"),
        ({"instances": [1, 2, 3]}, "x"),
        ({"instances": [[[1, 2, 3]]]}, "x"),
        ({"inputs": [1, 2, 3]}, "x"),
        ({"inputs": 5}, "x"),
        ({"inputs": {"x": [[1, 2]]}}, "x"),
        ({"instances": [{"x": [1, 2, 3]}, {"y": [1, 2, 3]}]}, "y"),
        ({"instances": [{}]}, "x"),
        ({"inputs": {"y": [[1, 2, 3]]}}, "y"),
        ({"inputs": {"x": [[1, 2, 3]], "z": 1}}, "z"),
    ],
)
def test_wrong_shapes_and_names_are_refused_naming_the_input(data: Data, body: Any, place: str) -> None:
    told = refused(data.predict("plain", body), 400)
    assert place in told["error"], told
    assert told["field"].split(".")[0].split("[")[0] in ("inputs", "instances"), told


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"5",
        b"{}",
        b'{"instances": null}',
        b'{"instances": {}}',
        b'{"instances": []}',
        b'{"instances": "rows"}',
        b'{"inputs": null}',
        b'{"instances": [[1,2,3]], "inputs": [[1,2,3]]}',
        b'{"instances": [[1,2,3]]} x',
        b'{"instances": [[1,2,3]],}',
        b'\xff\xfe{"instances": [[1,2,3]]}',
        b'{"instances": ["\xed\xa0\x80"]}',
        b'{"instances": [["\\ud800"]]}',
        b'{"instances": ' + b"[" * 70 + b"1" + b"]" * 70 + b"}",
        b'{"instances": ' + b"[" * 700 + b"1" + b"]" * 700 + b"}",
        b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"instances": [[1,2,' + b"9" * 5000 + b"]]}",
    ],
    ids=lambda body: repr(body[:32]),
)
def test_bodies_that_are_no_request_are_refused(data: Data, body: bytes) -> None:
    refused(data.predict("plain", body), 400)


def test_deep_nesting_is_refused_for_strings_too(data: Data) -> None:
    for depth in (2, 70, 700):
        deep: Any = "a"
        for _ in range(depth):
            deep = [deep]
        refused(data.predict("many", columns(s=deep)), 400)


def test_unequal_leading_dimensions_are_refused_naming_the_input(data: Data) -> None:
    body = refused(data.predict("many", columns(d=[1.0, 2.0])), 400)
    assert "input d" in body["error"], body
    assert "d" in body["field"], body


def test_an_output_that_is_not_finite_is_a_500_naming_it(data: Data) -> None:
    for x in (0, -1):
        answer = data.predict("picky", {"inputs": {"x": [[x]], "i": [0]}})
        body = refused(answer, 500)
        assert "y" in body["error"].split(), body
        assert body["field"] == "y", body
        assert answer.headers["x-model-version"] == "1"


def test_a_row_on_which_the_model_fails_is_a_500(data: Data) -> None:
    refused(data.predict("picky", {"inputs": {"x": [[1]], "i": [99]}}), 500)


def test_a_model_is_found_with_its_colon_escaped(data: Data) -> None:
    assert data.send("/v1/models/plain%3Apredict", {"instances": [[1, 2, 3]]}).status_code == 200
