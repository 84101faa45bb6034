"""Triton's own HTTP clients, sync and aio, for everything they can do against us."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from loadtests.fleet import Fleet
from tests.protocols import rows

pytestmark = pytest.mark.fleet
ROWS = rows.digits(40)


@pytest.fixture
def client(fleet: Fleet) -> Iterator[Any]:
    """The sync client."""
    with triton.InferenceServerClient(f"127.0.0.1:{fleet.port}", network_timeout=40.0) as made:
        yield made


def given(module: Any = triton, *, binary: bool = True, data: NDArray[np.float32] = ROWS) -> list[Any]:
    """The inputs of a call."""
    tensor = module.InferInput("x", list(data.shape), "FP32")
    tensor.set_data_from_numpy(data, binary_data=binary)
    return [tensor]


@pytest.fixture(scope="module")
def wanted(fleet: Fleet) -> dict[str, Any]:
    """Both outputs for ROWS, from a JSON call."""
    with triton.InferenceServerClient(f"127.0.0.1:{fleet.port}") as made:
        outputs = [
            triton.InferRequestedOutput(name, binary_data=False) for name in ("label", "probabilities")
        ]
        answer = made.infer("digits", given(binary=False), outputs=outputs)
        found = {name: answer.as_numpy(name) for name in ("label", "probabilities")}
    assert found["label"].shape == (40,)
    assert found["probabilities"].shape == (40, 10)
    return found


def test_server_and_models(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata()["name"] == "pointsman"
    assert client.is_model_ready("digits")
    assert client.is_model_ready("digits", "2")
    assert not client.is_model_ready("digits", "99")
    assert not client.is_model_ready("nobody")
    metadata = client.get_model_metadata("digits", "1")
    assert [each["name"] for each in metadata["outputs"]] == ["label", "probabilities"]
    assert client.get_model_config("digits")["input"][0]["dims"] == [64]
    with pytest.raises(InferenceServerException) as caught:
        client.get_model_metadata("nobody")
    assert caught.value.status() == "404"
    assert "nobody" in caught.value.message()


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("asked", [None, True, False])
def test_infer(client: Any, wanted: dict[str, Any], binary: bool, asked: bool | None) -> None:
    outputs = None
    if asked is not None:
        outputs = [
            triton.InferRequestedOutput(name, binary_data=asked) for name in ("probabilities", "label")
        ]
    answer = client.infer(
        "digits", given(binary=binary), outputs=outputs, request_id="t-1", model_version="1"
    )
    assert answer.get_response()["id"] == "t-1"
    assert answer.get_response()["model_version"] == "1"
    for name, array in wanted.items():
        assert answer.as_numpy(name).dtype == array.dtype
        assert np.array_equal(answer.as_numpy(name), array)


def test_requested_outputs(client: Any, wanted: dict[str, Any]) -> None:
    answer = client.infer("digits", given(), outputs=[triton.InferRequestedOutput("label")])
    assert answer.as_numpy("probabilities") is None
    assert np.array_equal(answer.as_numpy("label"), wanted["label"])
    with pytest.raises(InferenceServerException, match="unknown output"):
        client.infer("digits", given(), outputs=[triton.InferRequestedOutput("z")])
    with pytest.raises(InferenceServerException, match="classification"):
        client.infer("digits", given(), outputs=[triton.InferRequestedOutput("label", class_count=3)])


@pytest.mark.parametrize("request_coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_coding", [None, "gzip", "deflate"])
def test_codings(
    client: Any, wanted: dict[str, Any], request_coding: str | None, response_coding: str | None
) -> None:
    for binary in (True, False):
        answer = client.infer(
            "digits",
            given(binary=binary),
            request_compression_algorithm=request_coding,
            response_compression_algorithm=response_coding,
        )
        assert np.array_equal(answer.as_numpy("probabilities"), wanted["probabilities"])


def test_parameters_and_async(client: Any, wanted: dict[str, Any]) -> None:
    pending = [
        client.async_infer(
            "digits", given(), sequence_id=7, priority=2, timeout=1_000_000, parameters={"a": 1}
        )
        for _ in range(3)
    ]
    for each in pending:
        answer = each.get_result(timeout=20)
        assert answer.get_response()["parameters"]["sequence_id"] == 7
        assert answer.get_response()["parameters"]["a"] == 1
        assert np.array_equal(answer.as_numpy("label"), wanted["label"])


def test_what_is_wrong_is_said(client: Any) -> None:
    tensor = triton.InferInput("x", [1, 64], "FP64")
    tensor.set_data_from_numpy(np.zeros((1, 64)))
    with pytest.raises(InferenceServerException, match="input x: expected FP32, got FP64"):
        client.infer("digits", [tensor])
    with pytest.raises(InferenceServerException, match=r"input x: expected shape \[-1, 64\], got \[1, 3\]"):
        client.infer("digits", given(data=np.zeros((1, 3), np.float32)))
    with pytest.raises(InferenceServerException, match="NaN is not allowed"):
        client.infer("digits", given(data=np.full((1, 64), np.nan, np.float32)))
    with pytest.raises(InferenceServerException, match="no version"):
        client.infer("digits", given(), model_version="99")


@pytest.fixture
def _put_back(fleet: Fleet) -> Iterator[None]:
    """Deploys again what the test takes down."""
    yield
    fleet.ask("POST", "/models/digits/versions/2/deploy", params={"wait": 60}, json={})


@pytest.mark.usefixtures("_put_back")
def test_repository_and_statistics(client: Any, key: dict[str, str]) -> None:
    index = client.get_model_repository_index()
    assert {"name": "digits", "version": "1", "state": "READY", "reason": ""} in index
    with pytest.raises(InferenceServerException) as caught:
        client.load_model("digits")
    assert caught.value.status() == "401"
    client.load_model("digits", headers=key)
    with pytest.raises(InferenceServerException, match="config"):
        client.load_model("digits", headers=key, config="{}")
    client.unload_model("digits", headers=key)  # 2, which no route needs
    assert not client.is_model_ready("digits", "2")
    with pytest.raises(InferenceServerException, match="is routed"):
        client.unload_model("digits", headers=key)
    stats = client.get_inference_statistics("digits", "1")["model_stats"]
    assert stats[0]["inference_count"] > 0
    assert client.get_inference_statistics()["model_stats"]


def test_aio(fleet: Fleet, key: dict[str, str], wanted: dict[str, Any]) -> None:
    async def talk() -> None:
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{fleet.port}") as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("digits")
            assert (await client.get_server_metadata())["name"] == "pointsman"
            assert (await client.get_model_metadata("digits"))["versions"][0] == "1"
            assert (await client.get_model_config("digits"))["name"] == "digits"
            assert await client.get_model_repository_index()
            assert (await client.get_inference_statistics("digits"))["model_stats"]
            await client.load_model("digits", headers=key)
            answers = await asyncio.gather(
                *(
                    client.infer(
                        "digits",
                        given(triton_aio, binary=binary),
                        request_compression_algorithm=coding,
                        response_compression_algorithm=coding,
                    )
                    for binary in (True, False)
                    for coding in (None, "gzip", "deflate")
                )
            )
            for answer in answers:
                assert np.array_equal(answer.as_numpy("probabilities"), wanted["probabilities"])
            with pytest.raises(InferenceServerException, match="no model"):
                await client.infer("nobody", given(triton_aio))

    asyncio.run(talk())
