"""What an ONNX file is refused for before anything runs it."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from services.graph import examine
from services.refusal import Refusal
from tests.services import models


def refused(data: bytes) -> str:
    with pytest.raises(Refusal) as caught:
        examine(data)
    return caught.value.code


@pytest.mark.parametrize("data", [b"", b"hello", b"\x08\x07", b"\x80" * 100, b"PK\x03\x04" + bytes(50)])
def test_what_is_no_onnx_model(data: bytes) -> None:
    assert refused(data) == "not_onnx"


def test_unknown_operators_and_domains() -> None:
    assert refused(models.one_node("Frobnicate")) == "unknown_operator"
    assert refused(models.one_node("Relu", domain="my.ops")) == "unknown_operator"
    assert refused(models.one_node("ZipMapp", domain="ai.onnx.ml")) == "unknown_operator"


def test_unknown_operators_inside_branches() -> None:
    inner = helper.make_graph(
        [helper.make_node("Evil", ["x"], ["z"])], "b", [], [models.value("z", [None, 3])]
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    data = models.model(
        [node], [models.value("x", [None, 3]), models.value("c", [], "BOOL")], [models.value("y", [None, 3])]
    )
    assert refused(data) == "unknown_operator"


def test_a_models_own_functions_are_known() -> None:
    proto = models.parsed(models.one_node("Twice", domain="local"))
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    opsets = [helper.make_opsetid("", 17)]
    proto.functions.append(helper.make_function("local", "Twice", ["a"], ["b"], body, opsets))
    proto.opset_import.append(helper.make_opsetid("local", 1))
    assert not examine(proto.SerializeToString()).external
    proto.functions[0].node[0].op_type = "Evil"
    assert refused(proto.SerializeToString()) == "unknown_operator"


@pytest.mark.parametrize("location", ["../w", "/w", "a/../../w", "./w", "", "*/_ORT_MEM_ADDR_/*", "a\\w"])
def test_external_data_outside_the_folder(location: str) -> None:
    assert refused(models.external(location, np.zeros(300, np.float32))) == "path_outside"


def test_external_data_with_bad_numbers() -> None:
    assert refused(models.external("w", np.zeros(300, np.float32), offset="-1")) == "not_onnx"
    assert refused(models.external("w", np.zeros(300, np.float32), length="0x10")) == "not_onnx"


def test_external_data_is_listed_once() -> None:
    assert examine(models.external("a/w.bin", np.zeros(300, np.float32))).external == ("a/w.bin",)


def test_external_data_in_attributes_is_refused() -> None:
    tensor = TensorProto(data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "w"
    data = models.model([helper.make_node("Constant", [], ["y"], value=tensor)], [], [models.value("y", [1])])
    assert refused(data) == "unsupported_model"


def test_a_zipmap_that_feeds_others_is_refused() -> None:
    proto = models.parsed(models.classifier(zipmap=True))
    proto.graph.node.append(helper.make_node("Identity", ["probabilities"], ["again"]))
    assert refused(proto.SerializeToString()) == "unsupported_model"


def test_taking_zipmap_out_gives_the_same_bytes_each_time() -> None:
    data = models.classifier(zipmap=True)
    assert examine(data).data == examine(data).data != data
