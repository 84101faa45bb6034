"""The Python client against an installation: the examples of docs/client.md, and every method once."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from loadtests.fleet import Fleet
from router import answers
from router.client import (
    AsyncControlClient,
    AsyncDataClient,
    ControlClient,
    DataClient,
    Refusal,
)
from tests.contract import toys
from tests.contract.asking import DIGIT

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "client.md"


def addresses(fleet: Fleet) -> tuple[str, str, str]:
    """Data, control, key."""
    key = (fleet.data_dir / "admin.key").read_text().strip()
    return fleet.data, f"http://127.0.0.1:{fleet.control_port}", key


def test_the_examples_of_the_document_run(
    digits: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, control, key = addresses(digits)
    (tmp_path / "model.onnx").write_bytes(toys.identity())
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S)
    assert len(blocks) >= 4
    names: dict[str, object] = {"KEY": key, "PIXELS": DIGIT}
    for block in blocks:
        text = block.replace("http://127.0.0.1:8000", data).replace("http://127.0.0.1:8001", control)
        exec(compile(text, str(DOCUMENT), "exec"), names)


def test_versions_and_routes(fleet: Fleet) -> None:
    _, url, key = addresses(fleet)
    with ControlClient(url, key) as control:
        made = control.register("client", toys.identity(), reason="a try")
        assert (made.version, made.runtime) == ("1", "onnx")
        assert made.signature is not None
        control.register("client", toys.identity())
        for version in ("1", "2"):
            assert control.deploy("client", version, wait=60.0).ready == 1
        first = control.promote("client", "1", if_epoch=0)
        assert (first.changed, first.routers.laggards) == (True, [])
        assert first.route is not None
        assert first.route.active == "1"
        assert control.split("client", {"1": 60, "2": 40}).epoch > first.epoch
        assert control.fallback("client", "none").changed
        control.promote("client", "2", reason="better")
        back = control.rollback("client")
        with pytest.raises(Refusal) as caught:
            control.rollback("client")
        assert (caught.value.status, caught.value.code) == (409, "no_previous")
        with pytest.raises(Refusal) as late:
            control.promote("client", "2", if_epoch=first.epoch)
        assert (late.value.status, late.value.code, late.value.field) == (412, "epoch_mismatch", "if-match")
        history = control.history("client")
        assert [entry.action for entry in history.history][-2:] == ["promote", "rollback"]
        assert control.history("client", epoch=back.epoch).history[0].after.active == "1"
        model = control.model("client")
        assert [each.version for each in model.versions] == ["1", "2"]
        assert all(each.acknowledged for each in model.acknowledgements)
        assert control.undeploy("client", "2").replicas == 0
        assert "client" in [each.model for each in control.models(limit=1000).models]


def test_reads_and_operations(fleet: Fleet) -> None:
    data_url, url, key = addresses(fleet)
    with ControlClient(url, key) as control, DataClient(data_url) as data:
        asked = data.predict("digits", [DIGIT], request_id="by-the-client", timeout_ms=5000)
        assert asked.request_id == "by-the-client"
        (record,) = control.request("by-the-client").requests
        assert (record.status, record.version) == (200, asked.version)
        page = control.requests(model="digits", since="10m", limit=1)
        assert (len(page.requests), page.cursor is not None) == (1, True)
        status = control.status()
        assert {router.state for router in status.routers} == {"serving"}
        assert control.routers().revision >= status.revision
        assert "pointsman_requests_total" in control.metrics()
        assert control.restore().incomplete == []
        with pytest.raises(Refusal) as caught:
            control.forget_router("r9.nobody")
        assert caught.value.code == "unknown_router"
        with pytest.raises(Refusal) as wrong:
            control.begin_restart("replicas", model="nobody")
        assert wrong.value.code == "unknown_model"
        assert isinstance(control.restart(), answers.RestartAnswer)
        with pytest.raises(Refusal) as bento:
            control.register_bento("client", "no-such:1")
        assert bento.value.code == "unknown_bento"


def test_keys(fleet: Fleet) -> None:
    _, url, key = addresses(fleet)
    with ControlClient(url, key) as control:
        made = control.create_key(
            "client-test", [answers.KeyGrant(role="viewer", models="dig*")], expires="1h"
        )
        assert made.secret is not None
        with ControlClient(url, made.secret) as viewer:
            assert viewer.model("digits").model == "digits"
            with pytest.raises(Refusal) as caught:
                viewer.promote("digits", "1")
            assert (caught.value.status, caught.value.code) == (403, "forbidden")
        assert control.rotate_key(made.key.id, overlap="0s").secret != made.secret
        assert control.revoke_key(made.key.id).key.state == "revoked"
        assert made.key.id in [each.id for each in control.keys().keys]


def test_predictions(fleet: Fleet) -> None:
    data_url, _, _ = addresses(fleet)
    with DataClient(data_url) as data:
        columns = data.predict_columns("digits", {"x": [DIGIT, DIGIT]}, version="1")
        assert (len(columns.value["label"]), columns.reason, columns.version) == (2, "pin", "1")
        found = data.infer(
            "digits",
            [{"name": "x", "datatype": "FP32", "shape": [1, 64], "data": DIGIT}],
            outputs=["label"],
            routing_key="me",
        )
        assert [each.name for each in found.value.outputs] == ["label"]
        assert data.metadata("digits", version="1").versions == ["1"]
        assert data.model_status("digits").ready
        assert data.model_ready("digits").ready
        assert data.passed("GET", "digits", "/readyz").status_code == 200
        with pytest.raises(Refusal) as caught:
            data.predict("digits", [[1, 2]])
        assert (caught.value.status, caught.value.code) == (400, "bad_shape")
        assert caught.value.field is not None


def test_the_client_for_asyncio(fleet: Fleet) -> None:
    data_url, url, key = addresses(fleet)

    async def work() -> None:
        async with AsyncControlClient(url, key) as control, AsyncDataClient(data_url) as data:
            found = await asyncio.gather(*(data.predict("digits", [DIGIT]) for _ in range(8)))
            assert len({each.value[0]["label"] for each in found}) == 1
            assert (await control.model("digits")).model == "digits"
            with pytest.raises(Refusal) as caught:
                await control.model("nobody")
            assert caught.value.code == "unknown_model"

    asyncio.run(work())
