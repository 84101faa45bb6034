"""Manifests: what is wrong is refused by the name of the field."""

from __future__ import annotations

import pytest

from services.document import TensorSpec
from services.manifest import read_manifest
from services.refusal import Refusal

WHOLE = b"""
apiVersion: pointsman/v1
kind: Version
model: digits
version: "2"
artifacts: [{path: model.onnx, sha256: ab00000000000000000000000000000000000000000000000000000000000000}]
signature:
  inputs: [{name: x, datatype: FP32, shape: [-1, 64], missing: allow, sensitive: hash}]
  outputs: [{name: label, datatype: INT64, shape: [-1]}]
rowwise: true
lineage: {commit: abc, parent: "1", recipe: train.py, params: {depth: 3}, libraries: {numpy: "2"},
  datasets: [{name: d, uri: u, sha256: ffff000000000000000000000000000000000000000000000000000000000000, rows: 915,
    from: 2020-01-01, to: 2021-01-01, transform: none}]}
metrics: {heldout.accuracy: 0.935}
golden: {inputs: golden.npz, atol: 1.0e-5}
baseline: {file: ref.parquet, label: y}
card: {owner: me, purpose: p, limits: l, riskTier: high}
"""


def test_the_whole_of_a_manifest_is_read() -> None:
    found = read_manifest(WHOLE)
    signature = found.stated_signature()
    assert signature is not None
    wanted = TensorSpec(name="x", datatype="FP32", shape=(-1, 64), missing="allow", sensitive="hash")
    assert signature.inputs == (wanted,)
    assert found.rest()["lineage"]["datasets"][0]["from"] == "2020-01-01"
    assert set(found.rest()) == {"lineage", "metrics", "baseline", "card"}


def test_everything_may_be_left_out() -> None:
    assert read_manifest(b"{}").rest() == {}


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        (b'version: "2"', b"version: 2", "version"),
        (b"model: digits", b"model: Digits", "model"),
        (b"kind: Version", b"kind: Versions", "kind"),
        (b"rowwise: true", b"rowwize: true", "rowwize"),
        (b"rowwise: true", b"rowwise: 1", "rowwise"),
        (b"datatype: FP32", b"datatype: float32", "signature.inputs[0].datatype"),
        (b"datatype: FP32, ", b"", "signature.inputs[0].datatype"),
        (b"shape: [-1, 64]", b"shape: [-2, 64]", "signature.inputs[0].shape"),
        (b"shape: [-1, 64]", b"shape: [n, 64]", "signature.inputs[0].shape[0]"),
        (b"missing: allow", b"misssing: allow", "signature.inputs[0].misssing"),
        (b"missing: allow", b"missing: maybe", "signature.inputs[0].missing"),
        (b"FP32, shape: [-1, 64]", b"INT64, shape: [-1, 64]", "signature.inputs[0].missing"),
        (
            b"inputs: [{name: x,",
            b"inputs: [{name: x, datatype: FP32, shape: []}, {name: x,",
            "signature.inputs",
        ),
        (b"atol: 1.0e-5", b"atol: -1", "golden.atol"),
        (b"atol: 1.0e-5", b"atol: .nan", "golden.atol"),
        (b"rows: 915", b"rows: many", "lineage.datasets[0].rows"),
        (b"heldout.accuracy: 0.935", b"heldout.accuracy: [1]", "metrics.heldout.accuracy"),
        (b"heldout.accuracy: 0.935", b"held out: 1", "metrics"),
        (b"heldout.accuracy: 0.935", b"a: 99999999999999999999", "metrics.a"),
        (b"commit: abc", b"commit: [a]", "lineage.commit"),
        (b'parent: "1"', b"parent: 1", "lineage.parent"),
        (b'parent: "1"', b"parent: a/b/c", "lineage.parent"),
        (b"recipe: train.py", b"recipe: 3", "lineage.recipe"),
        (b"params: {depth: 3}", b"params: 3", "lineage.params"),
        (b'libraries: {numpy: "2"}', b"libraries: {numpy: 2}", "lineage.libraries.numpy"),
        (b"name: d,", b"", "lineage.datasets[0].name"),
        (b"name: d,", b"name: ' ',", "lineage.datasets[0].name"),
        (b"uri: u", b"uri: 7", "lineage.datasets[0].uri"),
        (b"sha256: ffff", b"sha256: FFFF", "lineage.datasets[0].sha256"),
        (b"rows: 915", b"rows: -1", "lineage.datasets[0].rows"),
        (b"from: 2020-01-01", b"from: 3", "lineage.datasets[0].from"),
        (b"to: 2021-01-01", b"to: 2019-12-31T10:00:00Z", "lineage.datasets[0].to"),
        (b"transform: none", b"transform: [a]", "lineage.datasets[0].transform"),
        (b"file: ref.parquet", b"file: ../ref.parquet", "baseline.file"),
        (b"file: ref.parquet, ", b"", "baseline.file"),
        (b"label: y", b"label: 1", "baseline.label"),
        (b"owner: me", b"owner: [me]", "card.owner"),
        (b"purpose: p", b"purpose: ''", "card.purpose"),
        (b"limits: l", b"limits: 1", "card.limits"),
        (b"riskTier: high", b"riskTier: 1", "card.riskTier"),
        (b"sha256: ab00", b"sha256: ab0", "artifacts[0].sha256"),
        (b"path: model.onnx, ", b"", "artifacts[0].path"),
    ],
)
def test_what_is_wrong_is_refused_by_field(old: bytes, new: bytes, field: str) -> None:
    assert WHOLE.count(old) >= 1
    with pytest.raises(Refusal) as caught:
        read_manifest(WHOLE.replace(old, new, 1))
    assert caught.value.field == field
    assert caught.value.code in ("bad_manifest", "bad_name")


@pytest.mark.parametrize(
    "data",
    [
        b"a: &a [1]\nb: *a",
        b"[" * 5000,
        b"{{{",
        b"\xff\xfe\x00",
        b"- list",
        b"!!python/object/apply:os.system [id]",
        b"card: {a: !!binary aGk=}",
        b"card: {1: x}",
        b"card: " + b"{a: " * 40 + b"1" + b"}" * 40,
        b"#" * (1 << 20) + b"\n{}",
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        read_manifest(data)
    assert caught.value.code == "bad_manifest"
