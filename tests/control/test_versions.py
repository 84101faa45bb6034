"""Register, deploy and undeploy over HTTP; registration runs the real inspection on real ONNX files."""

from __future__ import annotations

import io
import socket
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import onnx
import psutil
import redis
from onnx import TensorProto, helper

from tests.control.installation import KEY, Installation, replica, until


def affine(weight: float = 2.0) -> bytes:
    """y = weight * x for rows of two numbers, as an ONNX file."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])
    w = helper.make_tensor("w", TensorProto.FLOAT, [1], [weight])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "affine", [x], [y], [w])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def register(here: Installation, content: bytes, name: str = "model.onnx", **texts: str) -> httpx.Response:
    manifest = texts.pop("manifest", None)
    files: dict[str, Any] = {"artifact": (name, content)}
    if manifest is not None:
        files["manifest"] = ("manifest.yaml", manifest.encode())
    return here.client.post("/models/affine/versions", files=files, data=texts, timeout=60)


def refused(answer: httpx.Response, status: int, code: str, field: str | None = None) -> None:
    body = answer.json()
    assert (answer.status_code, body["code"], body.get("field")) == (status, code, field), answer.text


def leftovers(here: Installation) -> list[Path]:
    return list((here.settings.data_dir / "spool").iterdir())


def test_register_numbers_versions_and_changes_no_route(here: Installation) -> None:
    first = register(here, affine(), reason="the beginning")
    assert first.status_code == 201, first.text
    found = first.json()
    assert (found["model"], found["version"], found["rowwise"]) == ("affine", "1", True)
    assert found["report"]["rowwise"]["rowwise"] is True
    assert found["store"].startswith("affine:")
    second = register(here, affine(3.0), manifest="{apiVersion: pointsman/v1, kind: Version, rowwise: false}")
    assert second.status_code == 201, second.text
    assert (second.json()["version"], second.json()["rowwise"]) == ("2", False)
    assert here.call(here.registry.model_state("affine")).route is None
    assert here.call(here.registry.versions("affine")).keys() == {"1", "2"}
    [entry, _] = here.call(here.registry.audit_chain("affine"))
    assert (entry["action"], entry["reason"]) == ("version.register", "the beginning")
    assert leftovers(here) == []
    assert (here.settings.data_dir / "spool").stat().st_mode & 0o777 == 0o700


def test_versions_are_never_overwritten(here: Installation) -> None:
    here.versions("affine", "1", "7", "blue", warm=False)
    for texts in ({"version": "1"}, {"manifest": 'version: "7"'}, {"manifest": "version: 7"}):
        refused(register(here, b"not even ONNX", **texts), 409, "version_exists", "version")
    refused(
        register(here, affine(), version="1", manifest='version: "2"'), 400, "manifest_mismatch", "version"
    )
    assert register(here, affine()).json()["version"] == "8"


def test_one_version_registered_twice_at_once(here: Installation) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda weight: register(here, affine(weight), version="1"), (2.0, 3.0)))
    assert sorted(answer.status_code for answer in answers) == [201, 409]


def test_a_tar_with_a_manifest_of_its_own(here: Installation) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in (("model.onnx", affine()), ("manifest.yaml", b"rowwise: false\n")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    answer = register(
        here, out.getvalue(), name="model.tar", manifest="apiVersion: pointsman/v1\nkind: Version"
    )
    assert answer.status_code == 201, answer.text


def test_what_the_inspection_refuses(here: Installation) -> None:
    refused(register(here, b"no ONNX at all"), 400, "not_onnx")
    refused(register(here, affine(), version="No Such"), 400, "bad_name", "version")
    refused(register(here, affine(), manifest="a: [1"), 400, "bad_manifest", "manifest")
    assert not here.call(here.registry.exists("affine"))
    assert leftovers(here) == []


def test_bad_forms(here: Installation) -> None:
    place = "/models/affine/versions"
    post = here.client.post
    refused(post(place, files={"artifact": b"x", "artefact": b"y"}), 400, "unknown_field", "artefact")
    refused(post(place, files={"manifest": b"a: 1"}), 400, "bad_input", "artifact")
    refused(post(place, files=[("artifact", b"x"), ("artifact", b"y")]), 400, "bad_input", "artifact")
    refused(post(place, content=b"x"), 400, "bad_input", "content-type")
    refused(post("/models/No/versions", files={"artifact": b"x"}), 400, "bad_name", "model")
    headers = {"content-type": "multipart/form-data; boundary=b"}
    cut = b'--b\r\ncontent-disposition: form-data; name="artifact"\r\n\r\nhalf'
    refused(post(place, content=cut, headers=headers), 400, "bad_multipart")
    refused(post(place, content=b"rubbish", headers=headers), 400, "bad_multipart")
    assert leftovers(here) == []


def test_an_artifact_over_the_limit(redis_url: str, tmp_path: Path) -> None:
    with Installation(redis_url, tmp_path, artifact_bytes=1 << 20) as here:
        refused(register(here, b"x" * (4 << 20)), 413, "too_large", "artifact")
        refused(register(here, b"x" * ((1 << 20) + 1)), 413, "too_large", "artifact")

        def pieces() -> Iterator[bytes]:
            yield b'--b\r\ncontent-disposition: form-data; name="artifact"\r\n\r\n'
            for _ in range(64):
                yield b"x" * (1 << 16)

        headers = {"content-type": "multipart/form-data; boundary=b"}
        answer = here.client.post("/models/affine/versions", content=pieces(), headers=headers)
        refused(answer, 413, "too_large", "artifact")
        assert leftovers(here) == []


def test_more_registrations_than_may_run(here: Installation) -> None:
    async def take() -> None:
        await here.plane.inspections.acquire()
        await here.plane.inspections.acquire()

    here.call(take())
    answer = register(here, affine())
    refused(answer, 503, "registrations_busy")
    assert answer.headers["retry-after"] == "1"


def test_hanging_up_ends_the_inspection(here: Installation) -> None:
    body = b'--b\r\ncontent-disposition: form-data; name="artifact"\r\n\r\n' + affine() + b"\r\n--b--\r\n"
    host, port = here.url.removeprefix("http://").split(":")
    caller = socket.create_connection((host, int(port)), timeout=10)
    head = (
        "POST /api/v1/models/affine/versions HTTP/1.1\r\nhost: x\r\n"
        f"authorization: Bearer {KEY}\r\ncontent-type: multipart/form-data; boundary=b\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    caller.sendall(head.encode() + body)
    until(lambda: len(inspections()) > 0, 10)
    running = inspections()
    caller.close()
    until(lambda: not any(process.is_running() for process in running), 10)
    until(lambda: leftovers(here) == [])
    assert not here.call(here.registry.exists("affine"))
    assert not here.plane.inspections.locked()


def inspections() -> list[psutil.Process]:
    """The inspection tool's processes under this one."""
    found = psutil.Process().children(recursive=True)
    return [process for process in found if "services.inspect" in process.cmdline()]


def test_registering_while_redis_is_away(here: Installation, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as admin:
        admin.client_pause(2700)
        refused(register(here, affine()), 503, "redis_away")
        admin.ping()
    assert leftovers(here) == []


def test_deploy_asks_for_replicas(here: Installation) -> None:
    here.versions("affine", "1", warm=False)
    answer = here.post("/models/affine/versions/1/deploy", {"replicas": 3})
    assert (answer.status_code, answer.json()["replicas"]) == (202, 3)
    assert here.call(here.registry.model_state("affine")).desired == {"1": 3}
    assert here.post("/models/affine/versions/1/deploy").status_code == 202
    assert here.call(here.registry.model_state("affine")).desired == {"1": 1}


def test_deploy_waits_until_ready(here: Installation) -> None:
    here.versions("affine", "1", warm=False)
    later = threading.Timer(0.3, lambda: here.call(here.registry.put_replica(replica("affine", "1"))))
    later.start()
    answer = here.client.post("/models/affine/versions/1/deploy?wait=10", json={})
    later.join()
    assert (answer.status_code, answer.json()["ready"]) == (200, 1)


def test_deploy_tells_a_failure_of_now_and_forgets_one_of_before(here: Installation) -> None:
    here.versions("affine", "1", warm=False)
    old = replica("affine", "1", id="old", state="failed", error="of yesterday")
    here.call(here.registry.put_replica(old))
    timeout = here.client.post("/models/affine/versions/1/deploy?wait=0.3", json={})
    refused(timeout, 504, "deploy_timeout")
    new = replica("affine", "1", state="failed", error="digest differs")
    later = threading.Timer(0.3, lambda: here.call(here.registry.put_replica(new)))
    later.start()
    answer = here.client.post("/models/affine/versions/1/deploy?wait=10", json={})
    later.join()
    refused(answer, 409, "replica_failed")
    assert "digest differs" in answer.json()["error"]


def test_what_cannot_be_deployed(here: Installation) -> None:
    here.versions("affine", "1", warm=False)
    refused(here.post("/models/nobody/versions/1/deploy"), 404, "unknown_model", "model")
    refused(here.post("/models/affine/versions/2/deploy"), 404, "unknown_version", "version")
    for replicas in (0, -1, 65):
        body = {"replicas": replicas}
        refused(here.post("/models/affine/versions/1/deploy", body), 400, "bad_input", "replicas")
    refused(here.post("/models/affine/versions/1/deploy", {"replicas": 1.5}), 400, "bad_input", "replicas")
    refused(here.post("/models/affine/versions/1/deploy?wait=x"), 400, "bad_input", "wait")
    refused(here.post("/models/affine/versions/1/deploy", {"copies": 1}), 400, "unknown_field", "copies")


def test_undeploy_only_what_no_route_needs(here: Installation) -> None:
    here.versions("affine", "1", "2", "3", "4")
    here.versions("affine", "5", warm=False)
    for version in ("1", "2"):
        here.post("/models/affine/promote", {"version": version})
    here.post("/models/affine/split", {"weights": {"2": 90, "3": 10}})

    def undeploy(version: str, **body: object) -> httpx.Response:
        return here.post(f"/models/affine/versions/{version}/undeploy", body)

    for version in ("2", "3"):
        for force in (False, True):
            refused(undeploy(version, force=force), 409, "still_routed", "version")
    refused(undeploy("1"), 409, "still_routed", "version")
    refused(undeploy("5"), 409, "not_deployed", "version")
    refused(undeploy("9"), 404, "unknown_version", "version")
    assert undeploy("4", reason="unused").status_code == 202
    assert undeploy("1", force=True).status_code == 202
    assert here.call(here.registry.model_state("affine")).desired.keys() == {"2", "3"}
    refused(here.post("/models/affine/rollback"), 409, "not_deployed")
    chain = here.call(here.registry.audit_chain("affine"))
    done = [entry for entry in chain if entry["outcome"] == "applied"]
    assert done[-2]["reason"] == "unused"
