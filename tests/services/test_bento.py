"""The registration tool of bentos: what it takes in, what it copies, what it refuses and under which code."""

from __future__ import annotations

import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.bento import main
from services.document import ArtifactFile, digest_of
from tests.services.bentos import write_bento, write_model

CONTRACT: dict[str, Any] = {
    "tensors": {"route": "/add", "argument": "rows", "output": {"y": "total"}},
    "signature": {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
    },
    "rowwise": True,
    "golden": {"rows": {"x": [[1, 2, 3], [4, 5, 6]]}},
}


class Tool:
    """The tool with a user's home and a store."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self.store, self.manifest = folder / "home", folder / "store", folder / "manifest.json"
        self.home.mkdir()
        self._capsys = capsys

    def __call__(self, tag: str = "sums", manifest: dict[str, Any] | None = None, **options: str) -> Any:
        words = ["--tag", tag, "--home", str(self.home), "--model", "m", "--version", "1", "--store"]
        if manifest is not None:
            self.manifest.write_text(json.dumps(manifest))
            words += ["--manifest", str(self.manifest)]
        for name, value in options.items():
            words += [f"--{name.replace('_', '-')}", value]
        assert main(words) == 0
        return json.loads(self._capsys.readouterr().out)

    def refused(self, *args: Any, **options: Any) -> tuple[str, str | None]:
        found = self(*args, **options)
        assert not found["ok"], found
        return found["code"], found.get("field")


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    found = Tool(tmp_path, capsys)
    monkeypatch.setenv("BENTOML_HOME", str(found.store))
    return found


def test_a_bento_becomes_a_version_with_a_copy_named_by_its_content(tool: Tool) -> None:
    folder = write_bento(tool.home)
    document = tool("sums:abc")["document"]
    files = tuple(ArtifactFile(**file) for file in document["artifacts"])
    assert document["digest"] == digest_of(files)
    assert [file.path for file in files] == sorted(file.path for file in files)
    assert document["store"] == f"sums:{document['digest'][:40]}"
    assert (document["runtime"], document["signature"], document["rowwise"]) == ("bento", None, False)
    copy = tool.store / "bentos" / document["store"].replace(":", "/")
    assert (copy / "src" / "service.py").read_text() == "# a service\n"
    again = tool("sums")["document"]  # the latest
    assert (again["store"], again["bento"]["tag"]) == (document["store"], "sums:abc")
    (folder / "src" / "service.py").write_text("# another\n")
    other = tool()["document"]
    assert other["store"] != document["store"]
    assert (copy / "src" / "service.py").read_text() == "# a service\n"


def test_a_damaged_copy_is_made_anew(tool: Tool) -> None:
    write_bento(tool.home)
    copy = tool.store / "bentos" / tool()["document"]["store"].replace(":", "/")
    (copy / "src" / "service.py").chmod(0o600)
    (copy / "src" / "service.py").write_text("# evil\n")
    tool()
    assert (copy / "src" / "service.py").read_text() == "# a service\n"


def test_its_models_come_along_and_count(tool: Tool) -> None:
    write_bento(tool.home, models=[{"tag": "w:1"}, {"tag": "hub/x:2", "registry": "huggingface"}])
    model = write_model(tool.home, "w", "1", b"one")
    found = tool()
    assert found["report"]["models"] == ["w:1"]
    document = found["document"]
    copy = tool.store / "bentos" / document["store"].replace(":", "/")
    assert (copy / "models/w/1/weights.bin").read_bytes() == b"one"
    (model / "weights.bin").write_bytes(b"two")
    assert tool()["document"]["digest"] != document["digest"]


def test_unknown_bentos(tool: Tool) -> None:
    write_bento(tool.home)
    for tag in ("sums:nope", "other", "../../etc:passwd", "sums:..", "Sums:abc", "", "sums:abc/../x"):
        assert tool.refused(tag) == ("unknown_bento", "bento"), tag


def test_what_is_not_copied(tool: Tool) -> None:
    folder = write_bento(tool.home)
    inside = folder / "src" / "inside.txt"
    os.symlink("service.py", inside)
    assert "src/inside.txt" in {file["path"] for file in tool()["document"]["artifacts"]}
    outside = folder / "src" / "outside.txt"
    os.symlink("/etc/passwd", outside)
    assert tool.refused() == ("artifact_link", "bento")
    outside.unlink()
    os.symlink("/etc", outside)
    assert tool.refused() == ("artifact_link", "bento")
    outside.unlink()
    os.mkfifo(outside)
    assert tool.refused() == ("bento_invalid", "bento")
    outside.unlink()
    assert tool.refused(max_bytes="100") == ("bento_too_large", "bento")
    (folder / "bento.yaml").write_text("[]")
    assert tool.refused() == ("bento_invalid", "bento")
    write_bento(tool.home, models=[{"tag": "absent:1"}])
    assert tool.refused() == ("bento_invalid", "bento")


def test_bentoml_is_added_where_the_requirements_do_not_name_it(tool: Tool) -> None:
    folder = write_bento(tool.home)
    mine = f"bentoml=={importlib.metadata.version('bentoml')}"
    about = tool()["document"]["bento"]["requirements"]
    assert about["text"].split() == ["orjson==3.10.18", mine]
    written = folder / "env/python/requirements.txt"
    for text in ("bentoml==1.4.1\n", "BentoML[grpc]>=1.4\n", "./wheels/bentoml-1.4.1-py3-none-any.whl\n"):
        written.write_text(text)
        assert tool()["document"]["bento"]["requirements"]["text"] == text
    written.write_text("bentoml-extras==1\n")
    assert mine in tool()["document"]["bento"]["requirements"]["text"]
    (folder / "env/python/requirements.lock.txt").write_text("bentoml==1.4.2\n")
    locked = tool()["document"]["bento"]["requirements"]
    assert locked["text"] == "bentoml==1.4.2\n"
    (folder / "env/python/wheels").mkdir()
    (folder / "env/python/wheels/a.whl").write_bytes(b"a")
    assert tool()["document"]["bento"]["requirements"]["sha256"] != locked["sha256"]


def test_another_python_is_warned_of(tool: Tool) -> None:
    write_bento(tool.home, image={"python_version": "2.7"})
    assert "2.7" in tool()["report"]["warnings"][0]


def test_a_tensor_contract_is_spelt_out(tool: Tool) -> None:
    write_bento(tool.home)
    document = tool(manifest=CONTRACT | {"python": "gateway", "card": {"owner": "me"}})["document"]
    assert document["tensors"] == {"route": "/add", "arguments": {"x": "rows"}, "outputs": {"y": "total"}}
    assert document["rowwise"] is True
    assert document["golden"] == {"rows": CONTRACT["golden"]["rows"], "outputs": None, "atol": 1e-5}
    assert (document["bento"]["python"], document["card"]) == ("gateway", {"owner": "me"})
    plain = tool(manifest=CONTRACT | {"tensors": {"route": "/add"}})["document"]
    assert plain["tensors"] == {"route": "/add", "arguments": {"x": "x"}, "outputs": None}


def test_golden_rows_may_lie_in_the_bento(tool: Tool) -> None:
    folder = write_bento(tool.home)
    arrays = {"x": np.ones((3, 3), np.float32), "out:y": np.full(3, 3, np.float32)}
    np.savez(folder / "src" / "golden.npz", **arrays)  # type: ignore[arg-type]
    golden = tool(manifest=CONTRACT | {"golden": {"inputs": "golden.npz", "atol": 0.1}})["document"]["golden"]
    assert golden == {"rows": {"x": [[1.0] * 3] * 3}, "outputs": {"y": [3.0] * 3}, "atol": 0.1}
    assert tool.refused(manifest=CONTRACT | {"golden": {"inputs": "no.npz"}})[0] == "golden_missing"


@pytest.mark.parametrize(
    ("changed", "code", "field"),
    [
        ({"golden": None}, "golden_needed", "golden"),
        ({"golden": {"rows": {"x": [[1, 2, 3]]}}}, "golden_invalid", "golden.rows"),
        ({"golden": {"rows": {"z": [[1, 2, 3]]}}}, "golden_invalid", "golden.rows"),
        ({"golden": {}}, "bad_manifest", "golden"),
        ({"signature": None}, "signature_needed", "signature"),
        ({"tensors": None}, "bad_manifest", "tensors"),
        ({"tensors": {"route": "/no"}}, "bad_manifest", "tensors.route"),
        ({"tensors": {"route": "/add HTTP/1.1"}}, "bad_manifest", "tensors.route"),
        ({"tensors": {"route": "/add", "argument": {"z": "rows"}}}, "bad_manifest", "tensors.argument"),
        ({"tensors": {"route": "/add", "rout": 1}}, "bad_manifest", "tensors.rout"),
        ({"python": "python3"}, "bad_manifest", "python"),
        ({"artifacts": [{"path": "a", "sha256": "0" * 64}]}, "bad_manifest", "artifacts"),
        ({"model": "other"}, "manifest_mismatch", "model"),
    ],
)
def test_manifests_that_are_refused(tool: Tool, changed: dict[str, Any], code: str, field: str) -> None:
    write_bento(tool.home)
    manifest = {name: value for name, value in (CONTRACT | changed).items() if value is not None}
    assert tool.refused(manifest=manifest) == (code, field)


def test_row_wise_tensors_lead_with_the_rows(tool: Tool) -> None:
    write_bento(tool.home)
    outputs = [{"name": "y", "datatype": "FP32", "shape": [3]}]
    manifest = CONTRACT | {"signature": CONTRACT["signature"] | {"outputs": outputs}}
    assert tool.refused(manifest=manifest) == ("bad_manifest", "signature.outputs[0].shape")
