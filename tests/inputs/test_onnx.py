"""ONNX models as modules, by onnx2torch, which is given the few names of torchvision that it asks for."""

import sys
from types import ModuleType

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import vesalius as vs
from vesalius.core.errors import ForeignFile, InvalidInput
from vesalius.inputs import from_onnx

RANDOM = np.random.default_rng(0)
FIRST, SECOND = RANDOM.standard_normal((4, 3)).astype(np.float32), RANDOM.standard_normal((3, 2)).astype(np.float32)


@pytest.fixture
def torchvision(monkeypatch):
    """Names that the converters of detection models import; none of them is called here."""
    made = {name: ModuleType(name) for name in ("torchvision", "torchvision.ops")}
    made["torchvision"].ops = made["torchvision.ops"]
    made["torchvision.ops"].roi_align = made["torchvision.ops"].nms = None
    for name, module in made.items():
        if name not in sys.modules:
            monkeypatch.setitem(sys.modules, name, module)


def graph(last="MatMul"):
    """relu(x A) B as a model of ONNX."""
    nodes = [
        helper.make_node("MatMul", ["x", "A"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node(last, ["r", "B"], ["y"], **({} if last == "MatMul" else {"domain": "elsewhere"})),
    ]
    made = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(FIRST, "A"), numpy_helper.from_array(SECOND, "B")],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("elsewhere", 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8)


def test_a_file_is_a_module_that_rules_go_through(torchvision, tmp_path):
    onnx.save(graph(), tmp_path / "small.onnx")
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    for source in (tmp_path / "small.onnx", str(tmp_path / "small.onnx"), graph()):
        model = from_onnx(source)
        torch.testing.assert_close(model(x).detach(), torch.from_numpy(np.maximum(x.numpy() @ FIRST, 0) @ SECOND))
        assert not model.training
    net = vs.trace(model, x)
    assert not net.opaque
    for method in ("deeplift_rescale", "integrated_gradients", "lrp_epsilon"):
        found = vs.attribute(net, x, method, target=1)
        assert float(found.gap.abs().max()) < 1e-4


def test_what_cannot_be_read_is_said(torchvision, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        from_onnx(tmp_path / "nothing.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not onnx at all")
    with pytest.raises(ForeignFile, match=r"bad\.onnx cannot be read as ONNX"):
        from_onnx(tmp_path / "bad.onnx")
    with pytest.raises(ForeignFile, match="not known to onnx2torch"):
        from_onnx(graph(last="Strange"))


@pytest.mark.parametrize("missing", ["onnx", "onnx2torch"])
def test_without_the_extra_it_is_named(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InvalidInput, match=r"pip install 'vesalius\[onnx2torch\]'"):
        from_onnx("x.onnx")
