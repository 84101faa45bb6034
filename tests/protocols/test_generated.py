"""Any ONNX model that onnxruntime loads is served right: models made at random, served for real, compared."""

from __future__ import annotations

import math
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from loadtests.fleet import Fleet
from router.tensors import NAMES
from tests.protocols.generated import Generated, inputs, models

pytestmark = pytest.mark.fleet
COUNT = 4
EXAMPLES = 100
SEED = int(os.environ.get("POINTSMAN_TEST_SEED", 0)) or secrets.randbits(32)


@pytest.fixture(scope="module")
def served(fleet: Fleet) -> list[Generated]:
    """The models, registered through the control API and active; the seed is in every failure's message."""
    made = models(COUNT, SEED)

    def serve(each: Generated) -> None:
        files = {"artifact": ("model.onnx", each.data)}
        fleet.ask("POST", f"/models/{each.name}/versions", files=files)
        fleet.ask("POST", f"/models/{each.name}/versions/1/deploy", params={"wait": 60}, json={})
        assert fleet.promote(each.name, "1")["status"] == 200

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(serve, each) for each in made]:
            done.result()
    return made


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_answers_are_those_of_onnxruntime(
    served: list[Generated], http: httpx.Client, data: st.DataObject
) -> None:
    made = data.draw(st.sampled_from(served), label=f"model (POINTSMAN_TEST_SEED={SEED})")
    sent = data.draw(inputs(made))
    expected = made.expected(sent)
    for form in ("json", "nested", "binary"):
        check(v2(http, made.name, sent, form), expected, form)
    found = v1(http, made.name, sent)
    if found is not None:
        check(typed(found, expected), expected, "v1")


def test_the_models_have_every_datatype_and_rank(served: list[Generated]) -> None:
    specs = [spec for each in served for spec in each.inputs]
    assert {spec.datatype for spec in specs} == set(NAMES.values())
    assert {len(spec.dims) for spec in specs} == set(range(6))


def check(found: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]], form: str) -> None:
    """The same names, dtypes, shapes and values."""
    assert found.keys() == expected.keys(), form
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, (form, name)
        assert found[name].shape == array.shape, (form, name)
        assert found[name].tolist() == array.tolist(), (form, name)


def v2(http: httpx.Client, model: str, sent: dict[str, NDArray[Any]], form: str) -> dict[str, NDArray[Any]]:
    """One call with all tensors in one form, the outputs in it too."""
    tensors, tails = [], []
    for name, array in sent.items():
        tensor: dict[str, Any] = {"name": name, "datatype": NAMES[array.dtype], "shape": list(array.shape)}
        if form == "binary":
            tails.append(packed(array))
            tensor["parameters"] = {"binary_data_size": len(tails[-1])}
        else:
            tensor["data"] = (array if form == "nested" else array.ravel()).tolist()
        tensors.append(tensor)
    head = orjson.dumps({"inputs": tensors, "parameters": {"binary_data_output": form == "binary"}})
    headers = {"inference-header-content-length": str(len(head))} if form == "binary" else {}
    answer = http.post(f"/v2/models/{model}/infer", content=b"".join((head, *tails)), headers=headers)
    assert answer.status_code == 200, answer.text
    length = int(answer.headers.get("inference-header-content-length", len(answer.content)))
    position, found = length, {}
    for each in orjson.loads(answer.content[:length])["outputs"]:
        dtype = next(dtype for dtype, name in NAMES.items() if name == each["datatype"])
        if form == "binary":
            size = each["parameters"]["binary_data_size"]
            flat = unpacked(answer.content[position : position + size], dtype)
            position += size
        else:
            flat = np.array(each["data"], dtype)
        found[each["name"]] = flat.reshape(each["shape"])
    assert position == len(answer.content)
    return found


def v1(http: httpx.Client, model: str, sent: dict[str, NDArray[Any]]) -> Any:
    """The columnar form; None where JSON lists cannot say the shape of an empty tensor."""
    if any(array.size == 0 and np.array(array.tolist()).shape != array.shape for array in sent.values()):
        return None
    body = orjson.dumps({"inputs": {name: array.tolist() for name, array in sent.items()}})
    answer = http.post(f"/v1/models/{model}:predict", content=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["outputs"]


def typed(found: Any, expected: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """v1's bare values in the dtypes (and, where empty, the shapes) they must have come from."""
    named = {next(iter(expected)): found} if len(expected) == 1 else found
    arrays = {}
    for name, values in named.items():
        wanted = expected[name]
        array = np.array(values, wanted.dtype)
        arrays[name] = array.reshape(wanted.shape) if wanted.size == 0 else array
    return arrays


def packed(array: NDArray[Any]) -> bytes:
    """Raw bytes, written without our codec."""
    if array.dtype != object:
        return array.astype(array.dtype.newbyteorder("<")).tobytes()
    parts = [text.encode() for text in array.ravel().tolist()]
    return b"".join(len(part).to_bytes(4, "little") + part for part in parts)


def unpacked(raw: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The flat tensor of raw bytes."""
    if dtype.kind != "O":
        return np.frombuffer(raw, dtype)
    found, position = [], 0
    while position < len(raw):
        size = int.from_bytes(raw[position : position + 4], "little")
        found.append(raw[position + 4 : position + 4 + size].decode())
        position += 4 + size
    return np.array(found, object)


def test_the_readers_above_read_what_they_wrote() -> None:
    for array in (np.arange(6, dtype=np.float16), np.array(["a", "", "ß"], object)):
        assert unpacked(packed(array), array.dtype).tolist() == array.tolist()
        assert math.prod(array.shape) == array.size
