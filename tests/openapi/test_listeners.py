"""Every operation of both listeners under requests that fit its description and ones that do not."""

from __future__ import annotations

import io
import socket
import stat
import tarfile
from pathlib import Path

import httpx
import pytest
from onnx import helper

from loadtests.fleet import Fleet
from tests.contract import toys
from tests.openapi.harness import Seen, inward
from tests.openapi.installation import fuzzed, key_of
from tests.services.models import model, value

EXAMPLES = 14  # of each operation
PATHS = {"data": 30, "control": 20}


def judged(seen: Seen) -> None:
    """Nothing undocumented, and most kinds of answers were met: a run that meets only 404 tells nothing."""
    assert not seen.wrong, f"{len(seen.wrong)} wrong answers, of them:\n" + "\n".join(seen.wrong[:10])
    assert seen.of(200) > 20
    assert seen.of(400) > 20
    assert seen.of(404) > 10
    assert not [status for (_, status) in seen.statuses if status in (500, 502)]


@pytest.mark.fleet
@pytest.mark.parametrize("listener", ["control", "data"])
def test_no_answer_is_undocumented_and_none_is_a_fault(fleet: Fleet, listener: str) -> None:
    seen = fuzzed(fleet, listener, EXAMPLES)
    assert len({label for label, _ in seen.statuses}) >= PATHS[listener]
    judged(seen)
    assert fleet.ready()


@pytest.mark.fleet
def test_errors_tell_nothing_of_the_inside(fleet: Fleet) -> None:
    """Kinds of errors that random requests do not meet; the others are looked at in the run above."""
    control, data = f"http://127.0.0.1:{fleet.control_port}", fleet.data
    rubbish = {"artifact": ("model.onnx", b"rubbish")}
    link = {"artifact": ("a.tar", _tar_with_link())}
    with httpx.Client(headers={"authorization": f"Bearer {key_of(fleet)}"}, timeout=30) as client:
        found = [
            client.post(f"{control}/api/v1/models/bad/versions", files=rubbish),
            client.post(f"{control}/api/v1/models/bad/versions", files=link),
            client.post(f"{control}/api/v1/models/bad/versions", files={"artifact": ("a.tar", b"x" * 2000)}),
            client.post(f"{control}/api/v1/models/bad/versions", files={"artifact": ("a.tar", _tar_twice())}),
            client.post(
                f"{control}/api/v1/models/bad/versions", files={"artifact": ("a.onnx", _unloadable())}
            ),
            client.post(f"{control}/api/v1/models/bad/versions", json={"bento": "no-such:1"}),
            client.post(f"{control}/api/v1/models/bad/versions", json={"bento": "../../etc/passwd"}),
            client.post(f"{control}/api/v1/models/bad/versions", json={"bento": "http://127.0.0.1:1/x"}),
            client.post(f"{control}/api/v1/models/spare/promote", json={"version": "1"}),
            client.get(f"{control}/api/v1/requests", params={"cursor": "../../x"}),
            client.post(f"{data}/v1/models/spare:predict", json={"instances": [[1]]}),
            client.post(f"{data}/v1/models/spare/versions/1:predict", json={"instances": [[1]]}),
            client.post(f"{data}/v1/models/digits:predict", content=b"{" * 100_000),
            client.get(f"{data}/models/digits/_pm/infer"),
            client.get(f"{data}/models/digits/..%2f..%2fetc/passwd"),
            client.post(
                f"{data}/models/digits/predict", content=b"x", headers={"content-type": "application/json"}
            ),
        ]
    for answer in found:
        assert 400 <= answer.status_code < 600, (answer.url, answer.status_code)
        assert not inward(answer.text), answer.text
        assert str(fleet.folder) not in answer.text


@pytest.mark.fleet
def test_a_replica_that_cannot_start_tells_no_place(fleet: Fleet) -> None:
    """Its log has everything; the answer names the replica and the reason."""
    artifact = next((fleet.data_dir / "bentoml" / "models" / "spare").rglob("model.onnx"))
    whole, mode = artifact.read_bytes(), artifact.stat().st_mode
    artifact.chmod(0o600)
    artifact.write_bytes(whole[:-1] + b"?")
    try:
        path = "/models/spare/versions/1/deploy"
        answer = fleet.control.post(path, params={"wait": 30}, json={})
        assert answer.status_code == 409, answer.text
        assert answer.json()["code"] == "replica_failed"
        assert "altered" in answer.text
        assert not inward(answer.text), answer.text
        promoted = fleet.control.post("/models/spare/promote", json={"version": "1"})
        assert (promoted.status_code, promoted.json()["code"]) == (409, "not_warm")
        assert not inward(promoted.text), promoted.text
    finally:
        fleet.control.post("/models/spare/versions/1/undeploy", json={})
        artifact.write_bytes(whole)
        artifact.chmod(mode)


@pytest.mark.fleet
def test_no_address_in_a_request_is_ever_connected_to(fleet: Fleet) -> None:
    """Every text that a caller can send is one; whoever followed it would be seen here."""
    control, data = f"http://127.0.0.1:{fleet.control_port}/api/v1", fleet.data
    with socket.create_server(("127.0.0.1", 0)) as canary:
        where = f"127.0.0.1:{canary.getsockname()[1]}"
        url = f"http://{where}/x"
        manifest = (
            f"lineage: {{commit: {url!r}, datasets: [{{name: a, uri: {url!r}}}]}}\ncard: {{owner: {url!r}}}\n"
        )
        tensor = {"name": url, "datatype": url, "shape": [1], "data": [url], "parameters": {"url": url}}
        headers = {
            "authorization": f"Bearer {key_of(fleet)}",
            **dict.fromkeys(("host", "x-forwarded-host", "forwarded", "x-forwarded-for", "origin"), where),
            **dict.fromkeys(("referer", "x-original-url", "x-rewrite-url", "location", "x-routing-key"), url),
        }
        uploads = [
            {"artifact": (url, toys.identity()), "manifest": ("m.yaml", manifest.encode())},
            {"artifact": ("model.onnx", url.encode())},
        ]
        bodies = [{"bento": url}, {"bento": f"a:{where}", "manifest": {"card": {"url": url}}}]
        with httpx.Client(headers=headers, timeout=30) as client:
            for files in uploads:
                client.post(f"{control}/models/canary/versions", files=files, data={"reason": url})
            for body in bodies:
                client.post(f"{control}/models/canary/versions", json=body)
            client.post(f"{control}/models/digits/promote", json={"version": url, "reason": url})
            client.post(f"{control}/models/digits/rollback", json={"to": url})
            client.get(f"{control}/requests", params={"cursor": url, "since": url})
            for body in ({"instances": [url]}, {"instances": [{"url": url}]}, {"inputs": {"x": url}}):
                client.post(f"{data}/v1/models/digits:predict", json=body)
            client.post(f"{data}/v2/models/digits/infer", json={"inputs": [tensor], "id": url})
            client.post(f"{data}/v2/repository/models/digits/load", json={"parameters": {"location": url}})
            client.post(f"{data}/models/digits/predict", json={"x": url, "url": url})
            for path in (
                f"//{where}/x",
                f"/models/digits/{url}",
                f"/models/{where}/x",
                f"/models/digits/@{where}/",
            ):
                client.get(f"{data}{path}")
        canary.setblocking(False)
        with pytest.raises(BlockingIOError):
            canary.accept()


@pytest.mark.fleet
def test_the_key_is_in_no_file_but_its_own_and_in_no_metric(fleet: Fleet) -> None:
    """Every request of this file carried it, on both listeners, well-formed or not."""
    key = key_of(fleet).encode()
    holders = [
        str(path.relative_to(fleet.data_dir))
        for path in fleet.data_dir.rglob("*")
        if path.is_file() and not path.is_symlink() and key in path.read_bytes()
    ]
    assert holders == ["admin.key"]
    assert key not in fleet.log.read_bytes()
    assert key not in fleet.control.get("/metrics").content


@pytest.mark.fleet
def test_files_are_for_their_owner_alone(fleet: Fleet) -> None:
    """After a run with uploads, logs, quarantine and all."""
    wide = [
        f"{stat.filemode(path.lstat().st_mode)} {path.relative_to(fleet.data_dir)}"
        for path in (fleet.data_dir, *fleet.data_dir.rglob("*"))
        if not path.is_symlink() and path.lstat().st_mode & 0o077
    ]
    assert not wide, wide[:20]


@pytest.mark.fleet
def test_sockets_lie_in_a_folder_for_their_owner_alone(fleet: Fleet) -> None:
    status = fleet.status()
    places = [Path(status["redis"]["socket"]).parent]
    places += [Path(replica["address"].removeprefix("unix:")).parent for replica in status["replicas"]]
    assert len(places) > 1
    assert {stat.S_IMODE(place.stat().st_mode) for place in places} == {0o700}


def _tar(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return buffer.getvalue()


def _tar_with_link() -> bytes:
    link = tarfile.TarInfo("model.onnx")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return _tar(link)


def _tar_twice() -> bytes:
    """The system's own error names the file that is there already."""
    return _tar(tarfile.TarInfo("model.onnx"), tarfile.TarInfo("model.onnx"))


def _unloadable() -> bytes:
    """onnxruntime's own error names its source files."""
    node = helper.make_node("Reshape", ["x", "x"], ["y"])
    return model([node], [value("x", [None, 2])], [value("y", [None, 2])])
