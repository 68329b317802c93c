"""Graphs of brightness that are as slow and as wrong as a test wants them, and their self-test."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.serving.choice import SelfTest
from pipeline.serving.engine import Engine

SIDE = 8
PIXELS = np.random.default_rng(0).integers(0, 256, (32, SIDE, SIDE, 3), dtype=np.uint8)
BOUNDS = {"fp32": 0.001, "int8": 0.02}


def write_graph(path: Path, *, work: int = 0, bias: float = 0.0) -> None:
    """Brightness decides; *work*: needless products of large matrices; *bias* is its error."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["embedding"]),
    ]
    last = "embedding"
    for i in range(work):
        nodes.append(helper.make_node("MatMul", [last, "wide"], [f"wide{i}"]))
        nodes.append(helper.make_node("MatMul", [f"wide{i}", "square"], [f"square{i}"]))
        nodes.append(helper.make_node("MatMul", [f"square{i}", "narrow"], [f"narrow{i}"]))
        last = f"narrow{i}"
    nodes.append(helper.make_node("Gemm", [last, "weight", "bias"], ["logits"]))
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
    constants = {
        "axes": np.array([1, 2, 3], np.int64),
        "one": np.array([1], np.int64),
        "wide": np.eye(1, 1000, dtype=np.float32),
        "square": np.eye(1000, dtype=np.float32),
        "narrow": np.eye(1000, 1, dtype=np.float32),
        "weight": np.array([[-0.02, 0.02]], np.float32),
        "bias": np.array([2.55 + bias, -2.55], np.float32),
    }
    made = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 1]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(made, opset_imports=opset, ir_version=10), path)


def model(folder: Path, **graphs: dict) -> tuple[Path, tuple[str, ...], SelfTest]:
    """Write one graph for each of *graphs*, as write_graph has it; the self-test is fp32's."""
    folder.mkdir(exist_ok=True)
    for name, options in graphs.items():
        write_graph(folder / f"{name}.onnx", **options)
    write_graph(folder / "sealed.onnx")
    expected, _ = Engine(folder / "sealed.onnx")(PIXELS)
    return folder, tuple(graphs), SelfTest(PIXELS, expected, BOUNDS)
