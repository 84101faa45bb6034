"""The example versions: built twice alike, true to scikit-learn, accepted as versions, up to date when built."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from bentos import build as build_module
from bentos.build import label, main, recipes
from bentos.export import open_session
from services.artifact import sha256
from services.golden import read_golden
from services.manifest import read_manifest
from services.registration import open_source, register

ROOT = Path(__file__).parents[2]
NAMES = ["breast-cancer/1", "breast-cancer/2", "digits/1", "digits/2", "digits/3"]


def run_build(out: Path, *names: str, seed: str = "0") -> str:
    """`python -m bentos.build` in a process of its own, with a hash seed of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bentos.build", "--out", str(out), *names],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("build")
    assert run_build(out).splitlines() == [f"{name} built" for name in NAMES]
    return out


def test_building_twice_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    run_build(tmp_path, seed="1")
    for name in NAMES:
        for file in ("model.onnx", "golden.npz", "manifest.yaml"):
            assert (tmp_path / name / file).read_bytes() == (built / name / file).read_bytes(), (name, file)


def test_what_is_up_to_date_is_not_built_again(built: Path) -> None:
    before = (built / "digits/3/model.onnx").stat().st_mtime_ns
    assert run_build(built, "digits/3") == "digits/3 up to date\n"
    assert (built / "digits/3/model.onnx").stat().st_mtime_ns == before


def test_what_was_damaged_is_built_again(built: Path, tmp_path: Path) -> None:
    target = tmp_path / "3"
    folder = recipes(("digits/3",))[0]
    assert build_module.build(folder, target)
    (target / "model.onnx").write_bytes(b"damaged")
    assert build_module.build(folder, target)
    assert (target / "model.onnx").read_bytes() == (built / "digits/3/model.onnx").read_bytes()
    assert not build_module.build(folder, target)


@pytest.mark.parametrize("name", NAMES)
def test_every_example_is_accepted_and_row_wise(built: Path, tmp_path: Path, name: str) -> None:
    model, _, version = name.partition("/")
    document, report = register(open_source(built / name, None, tmp_path), model, version, tmp_path / "stage")
    assert document["rowwise"] is True
    assert document["golden"]["sha256"] == sha256((built / name / "golden.npz").read_bytes())
    assert report["golden"]["generated"] is False
    assert ("zipmap" in report) == (name == "breast-cancer/1")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "digits/2"])  # it trains for seconds
def test_every_example_answers_as_scikit_learn_does(built: Path, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trained = build_module._recipe(recipes((name,))[0]).train()
    session = open_session((built / name / "model.onnx").read_bytes())
    rows = trained.heldout.features
    found = dict(session.run({"x": np.asarray(rows, np.float32)})[0])
    same = found["label"] == trained.estimator.predict(rows)
    assert same.mean() >= 0.995  # FP32 may fall on the other side of a tree's threshold
    wanted = trained.estimator.predict_proba(rows)
    np.testing.assert_allclose(found["probabilities"][same], wanted[same], atol=1e-3)


def manifest(built: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((built / name / "manifest.yaml").read_bytes())
    return found


def test_metrics_are_those_of_the_artifact_on_unseen_writers(built: Path) -> None:
    scores = {name: manifest(built, name)["metrics"]["heldout.accuracy"] for name in NAMES}
    assert scores["digits/2"] == pytest.approx(0.935, abs=0.005)
    assert scores["digits/1"] > 0.88
    assert scores["digits/3"] < scores["digits/1"] - 0.05
    assert min(scores["breast-cancer/1"], scores["breast-cancer/2"]) > 0.9
    from sklearn.datasets import load_digits

    data = load_digits()
    session = open_session((built / "digits/1/model.onnx").read_bytes())
    found = dict(session.run({"x": data.data[915:].astype(np.float32)})[0])["label"]
    assert scores["digits/1"] == pytest.approx((found == data.target[915:]).mean(), abs=1e-6)


def test_manifests_name_where_a_version_comes_from(built: Path) -> None:
    for name in NAMES:
        found = manifest(built, name)
        read_manifest((built / name / "manifest.yaml").read_bytes())
        lineage = found["lineage"]
        assert set(lineage["libraries"]) == set(build_module.LIBRARIES)
        assert lineage["datasets"][0]["rows"] > 0
        assert len(lineage["datasets"][0]["sha256"]) == 64
        assert found["artifacts"][0]["sha256"] == sha256((built / name / "model.onnx").read_bytes())
    rows = {name: manifest(built, name)["lineage"]["datasets"][0]["rows"] for name in NAMES}
    assert (rows["digits/1"], rows["digits/2"], rows["digits/3"]) == (516, 915, 120)


def test_golden_vectors_are_unseen_rows(built: Path) -> None:
    found = read_golden((built / "digits/2/golden.npz").read_bytes())
    assert found.inputs["x"].shape == (32, 64)
    assert found.outputs["probabilities"].shape == (32, 10)


def test_names_choose_and_unknown_names_are_refused() -> None:
    assert list(map(label, recipes())) == NAMES
    assert list(map(label, recipes(("digits",)))) == NAMES[2:]
    done = CliRunner().invoke(main, ["nonsense"])
    assert done.exit_code == 2
    assert "nonsense" in done.output
