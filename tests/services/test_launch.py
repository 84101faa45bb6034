"""Replicas as real processes: warm before they listen, verified, and gone when they should be."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from services.frame import decode_answer, encode_request
from tests.services import models
from tests.services.processes import ROOT, Replica, environment, inspect, launch


@pytest.fixture(scope="module")
def document(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A stored classifier with ZipMap."""
    path = tmp_path_factory.mktemp("artifact") / "model.onnx"
    path.write_bytes(models.classifier(zipmap=True))
    found: dict[str, Any] = inspect(home, path, "--store", model="launched", version="7")["document"]
    return found


X = np.array([[1, 2], [3, -4]], np.float32)


def exit_within(replica: Replica, seconds: float) -> int:
    started = time.monotonic()
    code = replica.process.wait(seconds)
    assert time.monotonic() - started < seconds
    return code


def test_a_replica_from_its_start_to_its_orderly_end(
    home: Path, document: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "r.sock").touch()  # what a killed predecessor may have left
    with launch(home, document, tmp_path) as replica:
        replica.wait_ready()
        assert stat.S_IMODE(os.stat(replica.socket_path).st_mode) == 0o600
        # The first request ever is answered: whoever connects finds it warm.
        status, headers, body = replica.call("POST", "/_pm/infer", encode_request([("x", X)]))
        assert (status, headers["content-type"]) == (200, "application/x-pointsman-frame")
        found = decode_answer(body).tensors
        assert (found["label"].dtype, found["probabilities"].shape) == (np.dtype(np.int64), (2, 3))
        status, _, body = replica.call("POST", "/predict", json.dumps({"inputs": {"x": X.tolist()}}).encode())
        assert status == 200
        np.testing.assert_allclose(json.loads(body)["outputs"]["probabilities"], found["probabilities"])
        assert json.loads(replica.call("GET", "/_pm/stats")[2])["rows"] == 4
        for path in ("/readyz", "/livez", "/schema.json"):
            assert replica.call("GET", path)[0] == 200, path
        # BentoML's own counters know the model and version, not the generic service.
        metrics = replica.call("GET", "/metrics")[2].decode()
        assert 'service_version="7"' in metrics
        status, _, body = replica.call("POST", "/predict", json.dumps({"inputs": {"x": [[1]]}}).encode())
        assert (status, "shape" in json.loads(body)[0]["error"]) == (400, True)
        replica.process.send_signal(signal.SIGTERM)
        assert exit_within(replica, 10) == 0
        assert not replica.socket_path.exists()


def test_the_end_of_the_life_pipe_ends_it_with_a_request_under_way(
    home: Path, document: dict[str, Any], tmp_path: Path
) -> None:
    with launch(home, document, tmp_path) as replica:
        replica.wait_ready()
        client = replica.connect()
        assert client is not None
        client.sendall(b"POST /_pm/infer HTTP/1.1\r\nhost: r\r\ncontent-length: 9\r\n\r\n12345")
        replica.end_life()
        exit_within(replica, 3)
        client.close()


def test_the_life_pipe_ends_it_before_it_is_ready(
    home: Path, document: dict[str, Any], tmp_path: Path
) -> None:
    with launch(home, document, tmp_path) as replica:
        replica.end_life()
        assert exit_within(replica, 3) != 0
        assert not replica.socket_path.exists()


@pytest.mark.parametrize("host", [b"replica", b"other"])  # read by hand, read by uvicorn
def test_sigterm_lets_the_request_in_flight_finish(
    home: Path, document: dict[str, Any], tmp_path: Path, host: bytes
) -> None:
    with launch(home, document, tmp_path) as replica:
        replica.wait_ready()
        frame = encode_request([("x", X)])
        client = replica.connect()
        assert client is not None
        head = b"POST /_pm/infer HTTP/1.1\r\nhost: %b\r\ncontent-length: %d\r\n\r\n"
        client.sendall(head % (host, len(frame)) + frame[:9])
        replica.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        while (other := replica.connect()) is not None:  # until it has stopped accepting
            other.close()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        client.sendall(frame[9:])
        answer = b""
        while part := client.recv(65536):
            answer += part
        client.close()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
        assert exit_within(replica, 10) == 0


def failure(home: Path, document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The last line of stderr of a replica that must not start."""
    with launch(home, document, folder) as replica:
        assert replica.process.wait(30) == 1
        assert not replica.socket_path.exists()
    lines = (folder / "stderr").read_text().splitlines()
    found: dict[str, Any] = json.loads(lines[-1])
    assert (found["event"], found["replica"]) == ("replica_failed", "r1")
    return found


def test_an_altered_artifact_is_refused_at_launch(home: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(models.identity())
    document = inspect(home, tmp_path / "model.onnx", "--store", model="altered")["document"]
    name, _, version = document["store"].partition(":")
    folder = home / "models" / name / version
    good = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(good.replace(b"test", b"tEst"))
    found = failure(home, document, tmp_path)
    assert found["code"] == "artifact_altered"
    assert "was altered" in found["error"]
    (folder / "model.onnx").write_bytes(good)
    (folder / "golden.npz").write_bytes(b"other")
    assert failure(home, document, tmp_path)["field"] == "golden.inputs"


def test_golden_vectors_that_are_missed_refuse_at_launch(
    home: Path, document: dict[str, Any], tmp_path: Path
) -> None:
    # As if this machine's onnxruntime computed something else.
    from services.artifact import sha256
    from services.golden import GoldenVectors, read_golden, write_golden

    name, _, version = document["store"].partition(":")
    folder = home / "models" / name / version
    data = (folder / "golden.npz").read_bytes()
    vectors = read_golden(data)
    off = GoldenVectors(
        vectors.inputs, {**vectors.outputs, "probabilities": vectors.outputs["probabilities"] + 1}
    )
    altered = write_golden(off)
    try:
        (folder / "golden.npz").write_bytes(altered)
        other = {**document, "golden": {**document["golden"], "sha256": sha256(altered)}}
        assert failure(home, other, tmp_path)["code"] == "golden_mismatch"
    finally:
        (folder / "golden.npz").write_bytes(data)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"store": "absent:1"}, "not_stored"),
        ({"digest": "0" * 64}, "bad_document"),
        ({"signature": {"inputs": [], "outputs": []}}, "signature_mismatch"),
    ],
)
def test_documents_that_are_not_true_refuse_at_launch(
    home: Path, document: dict[str, Any], tmp_path: Path, change: dict[str, Any], code: str
) -> None:
    assert failure(home, {**document, **change}, tmp_path)["code"] == code


def test_strings_travel_through_a_replica(home: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "model.onnx").write_bytes(models.identity("BYTES", [None, 2]))
    document = inspect(home, tmp_path / "in", "--store", model="strings")["document"]
    with launch(home, document, tmp_path) as replica:
        replica.wait_ready()
        given = np.array([["a\0b", "größe"], ["", "日本語"]], object)
        _, _, body = replica.call("POST", "/_pm/infer", encode_request([("x", given)]))
        assert decode_answer(body).tensors["y"].tolist() == given.tolist()
        given = np.array([[b"\xff\xfe", b"x"]], object)
        status, _, body = replica.call("POST", "/_pm/infer", encode_request([("x", given)]))
        assert (status, json.loads(body)["field"]) == (400, "x")


def test_one_of_socket_and_port_must_be_given(home: Path, tmp_path: Path) -> None:
    base = [sys.executable, "-m", "services.launch", "--manifest", "x", "--replica-id", "r"]
    for more in ([], ["--socket", "s", "--port", "1"], ["--socket", "/" + "x" * 200]):
        done = subprocess.run(
            [*base, *more], cwd=ROOT, env=environment(home), capture_output=True, timeout=30, check=False
        )
        assert done.returncode == 2, more


def test_another_bentoml_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import bentoml

    from services.bentoml_seam import asgi_app
    from services.refusal import Refusal

    monkeypatch.setattr(bentoml, "__version__", "9.9")
    with pytest.raises(Refusal, match="bentoml serve"):
        asgi_app(None, model="m", version="1")


def test_the_document_on_the_wire_is_what_a_replica_reads(document: dict[str, Any]) -> None:
    from services.document import VersionDocument, read_document

    found = read_document(msgspec.json.encode(document))
    assert isinstance(found, VersionDocument)
    assert (found.model, found.version, found.golden is not None) == ("launched", "7", True)
