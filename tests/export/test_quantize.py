"""The INT8 graph: the same bytes anywhere, nearly the same answers, its head untouched."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from pipeline.export.onnx import to_onnx
from pipeline.export.quantize import NotQuantizable, to_int8
from pipeline.serving.engine import Engine
from pipeline.training.models import Architecture, build

SIZE = 8
PIXELS = np.random.default_rng(0).integers(0, 256, (32, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def fp32() -> bytes:
    torch.manual_seed(0)
    return to_onnx(build(Architecture("small_cnn", SIZE), 3), SIZE, 1.0)


@pytest.fixture(scope="module")
def int8(fp32) -> bytes:
    return to_int8(fp32, [PIXELS[:16], PIXELS[16:]])


def answers(graph: bytes, folder, pixels=PIXELS):
    path = folder / "graph.onnx"
    path.write_bytes(graph)
    return Engine(path)(pixels)


def test_it_answers_nearly_the_same_whatever_the_batch_size(fp32, int8, tmp_path):
    for count in (1, 2, 5, 32):
        expected = answers(fp32, tmp_path, PIXELS[:count])
        probabilities, embedding = answers(int8, tmp_path, PIXELS[:count])
        np.testing.assert_allclose(probabilities, expected[0], atol=0.02)
        np.testing.assert_allclose(embedding, expected[1], atol=0.05 * np.abs(expected[1]).max())


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_an_image_is_answered_to_the_bit_as_it_is_alone_whatever_comes_with_it(
    variant, request, monkeypatch, tmp_path
):
    monkeypatch.setattr("pipeline.serving.engine.cores", lambda: 3)
    path = tmp_path / "graph.onnx"
    path.write_bytes(request.getfixturevalue(variant))
    engine = Engine(path)
    alone = [engine(PIXELS[place : place + 1]) for place in range(len(PIXELS))]
    for count in (2, 3, 4, 7, 13, 32):
        for place, answer in enumerate(zip(*engine(PIXELS[:count]), strict=True)):
            assert [part.tobytes() for part in answer] == [p[0].tobytes() for p in alone[place]]


def test_the_same_arguments_give_the_same_bytes_in_any_folder(fp32, int8, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert to_int8(fp32, [PIXELS[:16], PIXELS[16:]]) == int8
    assert str(tmp_path).encode() not in int8


def test_weights_are_a_byte_each_with_a_scale_for_every_channel(fp32, int8):
    assert len(int8) < len(fp32) / 2
    kernels = [
        numpy_helper.to_array(t)
        for t in onnx.load_from_string(int8).graph.initializer
        if len(t.dims) == 4 and t.dims[2:] == [3, 3]
    ]
    assert len(kernels) == 6
    for kernel in kernels:
        assert kernel.dtype == np.int8
        assert (np.abs(kernel).reshape(len(kernel), -1).max(1) >= 126).all()


def test_the_head_and_the_softmax_stay_in_fp32(int8):
    model = onnx.load_from_string(int8)
    made_by = {name: node.op_type for node in model.graph.node for name in node.output}
    (head,) = (n for n in model.graph.node if n.op_type == "Gemm")
    (softmax,) = (n for n in model.graph.node if n.op_type == "Softmax")
    inputs = [*head.input, *softmax.input]
    assert "DequantizeLinear" not in {made_by.get(n) for n in inputs if n != "embedding"}


def test_a_graph_without_layers_that_have_an_8_bit_form_is_refused_by_name():
    """Its only product is the head."""
    from brightness import graph

    with pytest.raises(NotQuantizable, match="8-bit form"):
        to_int8(graph(), [PIXELS])


@pytest.mark.parametrize("graph", [b"", b"no graph"])
def test_what_is_no_graph_is_refused_by_name(graph):
    with pytest.raises(NotQuantizable):
        to_int8(graph, [PIXELS])


def test_calibrating_on_nothing_is_refused_by_name(fp32):
    with pytest.raises(NotQuantizable):
        to_int8(fp32, [])
