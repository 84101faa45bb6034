"""Bentos over the control API: looked up where `up` was started, copied, numbered; and what is refused how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.control.installation import Installation
from tests.services.bentos import write_bento


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The BentoML home of whoever started `up`."""
    found = tmp_path / "users-bentoml"
    monkeypatch.setenv("BENTOML_HOME", str(found))
    write_bento(found)
    return found


def post(here: Installation, **body: Any) -> httpx.Response:
    return here.post("/models/sums/versions", body)


def refused(answer: httpx.Response, status: int, code: str, field: str | None = None) -> None:
    body = answer.json()
    assert (answer.status_code, body["code"], body.get("field")) == (status, code, field), body


def test_a_bento_is_registered_by_its_tag(here: Installation, home: Path) -> None:
    answer = post(here, bento="sums:abc", manifest={"python": "gateway"}, reason="because")
    assert answer.status_code == 201, answer.text
    document = answer.json()
    assert (document["version"], document["runtime"]) == ("1", "bento")
    assert document["bento"]["python"] == "gateway"
    copy = here.settings.data_dir / "bentoml" / "bentos" / document["store"].replace(":", "/")
    assert (copy / "src" / "service.py").is_file()
    assert post(here, bento="sums").json()["version"] == "2"
    assert post(here, bento="sums", version="blue").json()["version"] == "blue"
    assert post(here, bento="sums", manifest={"version": "red"}).json()["version"] == "red"
    listed = here.client.get("/models/sums").json()["versions"]
    assert [each["version"] for each in listed] == ["1", "2", "blue", "red"]
    assert listed[0]["signature"] is None
    assert list((here.settings.data_dir / "spool").iterdir()) == []
    history = here.call(here.registry.versions("sums"))
    assert history["1"]["digest"] == document["digest"]


def test_what_is_refused(here: Installation, home: Path) -> None:
    refused(post(here, bento="fraud:1"), 404, "unknown_bento", "bento")
    refused(post(here, bento="--help"), 404, "unknown_bento", "bento")
    refused(post(here, bento=str(home / "bentos/sums/abc")), 404, "unknown_bento", "bento")
    refused(post(here, url="http://x"), 400, "unknown_field", "url")
    refused(post(here), 400, "bad_input", "bento")
    refused(post(here, bento="sums", manifest="x"), 400, "bad_input", "manifest")
    refused(post(here, bento="sums", manifest={"pyton": "x"}), 400, "bad_manifest", "pyton")
    refused(post(here, bento="sums", version="Blue"), 400, "bad_name", "version")
    mismatch = {"version": "1"}
    refused(post(here, bento="sums", version="2", manifest=mismatch), 400, "manifest_mismatch", "version")
    assert post(here, bento="sums", version="1").status_code == 201
    refused(post(here, bento="sums", version="1"), 409, "version_exists", "version")


def test_a_size_cap(redis_url: str, tmp_path: Path, home: Path) -> None:
    (home / "bentos/sums/abc/src/large.bin").write_bytes(b"x" * 4096)
    with Installation(redis_url, tmp_path / "small", artifact_bytes=2048) as small:
        refused(post(small, bento="sums"), 413, "bento_too_large", "bento")
