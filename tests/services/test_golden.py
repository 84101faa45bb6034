"""Golden vectors: the file is the same each time, holds no pickles, and is compared within tolerance."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest

from services.golden import GoldenVectors, close, compare, read_golden, write_golden
from services.refusal import Refusal
from tests.services import models


@pytest.mark.parametrize("datatype", sorted(models.ONNX_TYPES))
def test_written_and_read_again(datatype: str) -> None:
    vectors = GoldenVectors({"x": models.array(datatype, (4, 2))}, {"y/z": models.array(datatype, ())})
    found = read_golden(write_golden(vectors))
    for wanted, got in ((vectors.inputs, found.inputs), (vectors.outputs, found.outputs)):
        assert list(wanted) == list(got)
        for name in wanted:
            assert (got[name].dtype, got[name].shape) == (wanted[name].dtype, wanted[name].shape)
            np.testing.assert_array_equal(got[name], wanted[name])


def test_equal_vectors_give_equal_bytes_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = GoldenVectors({"x": models.array("FP32", (4, 2))}, {"y": models.array("BYTES", (4,))})
    first = write_golden(vectors)
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert write_golden(vectors) == first


def test_files_of_numpy_itself_are_read() -> None:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        "x": np.asfortranarray(np.ones((2, 3), ">f4")),
        "out:y": np.array([b"a", b"bc"]),
    }
    np.savez_compressed(buffer, **arrays)
    found = read_golden(buffer.getvalue())
    assert found.inputs["x"].dtype.str == "<f4"
    assert found.inputs["x"].flags.c_contiguous
    assert found.outputs["y"].tolist() == ["a", "bc"]


def test_pickles_and_rubbish_are_refused() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([{}], object))
    for data in (buffer.getvalue(), b"rubbish", b"", buffer.getvalue()[:-30]):
        with pytest.raises(Refusal) as caught:
            read_golden(data)
        assert caught.value.code == "golden_invalid"


def test_a_file_that_unpacks_to_too_much_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        for _ in range(1025):
            member.write(bytes(1 << 20))
    with pytest.raises(Refusal, match="too large"):
        read_golden(buffer.getvalue())


def test_tolerance_is_for_floats_only() -> None:
    one = np.array([1.0], np.float32)
    assert close(one + np.float32(5e-6), one, 1e-5)
    assert not close(one + np.float32(5e-5), one, 1e-5)
    assert close(np.array([np.nan]), np.array([np.nan]), 0)
    assert not close(np.array([1]), np.array([2]), 10)
    assert not close(np.array(["a"], object), np.array(["b"], object), 10)
    assert not close(one, np.array([[1.0]], np.float32), 10)


def test_a_name_that_is_no_output_is_named() -> None:
    with pytest.raises(Refusal) as caught:
        compare({"y": np.zeros(1)}, {"z": np.zeros(1)}, 0.1)
    assert caught.value.field == "z"
