"""The exported network: the same bytes anywhere, the same answers as torch."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from pipeline.export.onnx import to_onnx
from pipeline.serving.engine import Engine
from pipeline.training.models import Architecture, Network, build

SIZE, TEMPERATURE = 8, 2.0


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return build(Architecture("small_cnn", SIZE), 3).eval()


@pytest.fixture(scope="module")
def exported(network: Network) -> bytes:
    return to_onnx(network, SIZE, TEMPERATURE)


@pytest.fixture(scope="module")
def engine(exported: bytes, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """From one file in a folder of its own: there is no other data to find."""
    path = tmp_path_factory.mktemp("exported") / "fp32.onnx"
    path.write_bytes(exported)
    return Engine(path)


def test_the_same_network_gives_the_same_bytes_in_any_folder(
    network, exported, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert to_onnx(network, SIZE, TEMPERATURE) == exported


def test_no_path_of_this_machine_is_inside(exported):
    folders = (Path(__file__).parents[2], Path.home(), Path.cwd(), Path(torch.__file__).parent)
    traces = [b"site-packages", b".py", *(str(folder).encode() for folder in folders)]
    assert [trace for trace in traces if trace in exported] == []


def test_nothing_that_the_exporter_noted_for_debuggers_is_left(exported):
    model = onnx.load_from_string(exported)
    notes = [model, model.graph, *model.graph.node, *model.graph.value_info]
    notes += [*model.graph.input, *model.graph.output, *model.graph.initializer]
    assert not any(part.metadata_props or part.doc_string for part in notes)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_it_agrees_with_torch_whatever_the_batch_size(network, engine, count):
    pixels = np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    probabilities, embedding = engine(pixels)
    with torch.inference_mode():
        expected = network.embed(torch.from_numpy(pixels))
        logits = network.head(expected)
    np.testing.assert_allclose(embedding, expected, atol=1e-5)
    np.testing.assert_allclose(probabilities, torch.softmax(logits / TEMPERATURE, 1), atol=1e-6)
