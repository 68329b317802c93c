"""A GPU comes first where it is right; the CPU stands for it where the machine has none.

`cuda.PROVIDER` names the CPU's provider in these tests: fp16 graphs, self-test and fallback are the
real ones. With ONNX Runtime's CUDA build, the last test runs on the GPU itself.
"""

import sys

import numpy as np
import onnxruntime as ort
import pytest
from graphs import PIXELS, model, write_graph

from pipeline.serving import cuda
from pipeline.serving.choice import choose
from pipeline.serving.engine import GPU, Engine


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "PROVIDER", "CPUExecutionProvider")
    monkeypatch.setattr(cuda, "OPTIONS", {})


@pytest.fixture
def a_build_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime knows the provider, and falls back to the CPU when it finds no device."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: [cuda.PROVIDER])


def test_a_gpu_runs_the_fp32_graph_in_fp16(tmp_path, a_gpu):
    made = model(tmp_path, fp32={}, int8={})
    chosen = choose(*made)
    assert (chosen.variant, chosen.set_aside) == ("fp16", {})
    halves, floats = chosen.engine(PIXELS), Engine(tmp_path / "fp32.onnx")(PIXELS)
    assert [array.dtype for array in halves] == [np.float32, np.float32]
    assert np.abs(halves[0] - floats[0]).max() < 0.01
    assert not np.array_equal(halves[0], floats[0])
    assert chosen.engine.part == cuda.PART


def test_a_model_of_one_graph_has_the_gpu_too(tmp_path, a_gpu):
    assert choose(*model(tmp_path, fp32={})).variant == "fp16"


@pytest.mark.parametrize("asked", [{"wanted": "fp32"}, {"wanted": "int8"}, {"providers": "cpu"}])
def test_what_is_asked_for_by_name_runs_on_the_cpu(tmp_path, a_gpu, asked):
    chosen = choose(*model(tmp_path, fp32={}, int8={}), **asked)
    assert chosen.variant in ("fp32", "int8")
    assert chosen.engine.part != cuda.PART


def test_fp16_that_disagrees_is_set_aside_and_fp32_has_the_gpu(tmp_path, a_gpu, monkeypatch):
    def wrong(graph: bytes) -> bytes:
        write_graph(tmp_path / "wrong.onnx", bias=1.0)
        return (tmp_path / "wrong.onnx").read_bytes()

    monkeypatch.setattr(cuda, "in_half_precision", wrong)
    chosen = choose(*model(tmp_path, fp32={}, int8={}))
    assert (chosen.variant, chosen.engine.part) == ("fp32", cuda.PART)
    assert "disagrees" in chosen.set_aside["fp16 on the GPU"]


def test_without_the_package_onnx_fp32_has_the_gpu(tmp_path, a_gpu, monkeypatch):
    made = model(tmp_path, fp32={}, int8={})
    monkeypatch.setitem(sys.modules, "onnx", None)
    chosen = choose(*made)
    assert (chosen.variant, chosen.engine.part) == ("fp32", cuda.PART)
    assert "onnx" in chosen.set_aside["fp16 on the GPU"]


def test_where_the_build_finds_no_gpu_the_cpu_answers_and_why_is_said(
    tmp_path, a_build_without_a_gpu
):
    chosen = choose(*model(tmp_path, fp32={}, int8={"bias": 1.0}))
    assert chosen.variant == "fp32"
    assert chosen.engine.part != cuda.PART
    assert list(chosen.set_aside) == ["fp16 on the GPU", "fp32 on the GPU", "int8"]


def test_a_gpu_that_fails_while_it_answers_is_left_for_the_cpu(tmp_path, a_gpu, monkeypatch):
    made = model(tmp_path, fp32={})

    def out_of_memory(self: Engine, pixels: object) -> object:
        if self.part == cuda.PART:
            raise RuntimeError("CUDA failure 2: out of memory")
        return real(self, pixels)

    real = Engine.__call__
    monkeypatch.setattr(Engine, "__call__", out_of_memory)
    chosen = choose(*made)
    assert chosen.variant == "fp32"
    assert "out of memory" in chosen.set_aside["fp32 on the GPU"]


@pytest.mark.skipif(not cuda.is_built_in(), reason="no ONNX Runtime with CUDA")
def test_the_gpu_itself_answers_as_the_cpu_does(tmp_path):
    made = model(tmp_path, fp32={})
    assert choose(*made).variant == "fp16"
    on_gpu, on_cpu = Engine(tmp_path / "fp32.onnx", GPU), Engine(tmp_path / "fp32.onnx")
    assert np.abs(on_gpu(PIXELS)[0] - on_cpu(PIXELS)[0]).max() < 1e-4
