"""The same rows through every tensor protocol: equal predictions, and records with the same fields."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import tritonclient.http as triton

from loadtests.fleet import Fleet, wait_for
from tests.protocols import rows

pytestmark = pytest.mark.fleet
ROWS = rows.digits(5, start=1200)


def test_equal_predictions_and_equal_records(fleet: Fleet, http: httpx.Client) -> None:
    v1, v2 = "/v1/models/digits:predict", "/v2/models/digits/infer"
    found: dict[str, dict[str, Any]] = {}

    def ask(name: str, path: str, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        answer = http.post(path, content=body, headers={"x-request-id": f"equal-{name}", **(headers or {})})
        assert answer.status_code == 200, answer.text
        return answer

    by_rows = ask("v1-rows", v1, orjson.dumps({"instances": ROWS.tolist()})).json()["predictions"]
    found["v1-rows"] = {key: [row[key] for row in by_rows] for key in by_rows[0]}
    by_name = orjson.dumps({"instances": [{"x": row} for row in ROWS.tolist()]})
    by_names = ask("v1-names", v1, by_name).json()["predictions"]
    found["v1-names"] = {key: [row[key] for row in by_names] for key in by_names[0]}
    found["v1-columns"] = ask("v1-columns", v1, orjson.dumps({"inputs": ROWS.tolist()})).json()["outputs"]
    found["v2-json"] = rows.outputs(ask("v2-json", v2, rows.in_json(ROWS)).json())
    body, header = rows.in_binary(ROWS)
    found["v2-binary"] = rows.outputs(ask("v2-binary", v2, body, header).json())
    with triton.InferenceServerClient(f"127.0.0.1:{fleet.port}") as client:
        tensor = triton.InferInput("x", list(ROWS.shape), "FP32").set_data_from_numpy(ROWS)
        answer = client.infer("digits", [tensor], headers={"x-request-id": "equal-triton"})
    exact = {name: answer.as_numpy(name) for name in ("label", "probabilities")}
    for name, outputs in found.items():
        assert outputs.keys() == exact.keys(), name
        for key, array in exact.items():
            assert np.array_equal(np.array(outputs[key], array.dtype), array), (name, key)

    names = [f"equal-{name}" for name in (*found, "triton")]

    def records() -> list[dict[str, Any]]:
        return [each for each in fleet.records(model="digits") if each["request_id"] in names]

    wait_for(lambda: len(records()) == len(names), 5)
    lines = records()
    first = lines[0]
    for line in lines:
        assert line.keys() == first.keys()
        assert line["payload"].keys() == first["payload"].keys()
        for same in ("model", "version", "digest", "epoch", "reason", "status", "rows", "error", "router"):
            assert line[same] == first[same], same
        assert line["attempts"][0].keys() == first["attempts"][0].keys()
    assert {line["protocol"] for line in lines} == {"v1", "v2"}
    by_id = {line["request_id"]: line for line in lines}
    assert by_id["equal-v2-json"]["payload"]["request"] == orjson.loads(rows.in_json(ROWS))
    logged = by_id["equal-triton"]["payload"]
    assert logged["request"]["json"]["inputs"][0]["name"] == "x"
    assert logged["request"]["b64"]
    assert logged["response"]["json"]["model_name"] == "digits"
