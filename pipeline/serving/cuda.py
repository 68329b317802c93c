"""A graph on an NVIDIA GPU, where ONNX Runtime's CUDA build is installed and finds one.

https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
"""

import logging

import onnxruntime as ort

PROVIDER = "CUDAExecutionProvider"
OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
PART = 32
"""Images that go through the GPU at once, decoded by one core."""


def is_built_in() -> bool:
    return PROVIDER in ort.get_available_providers()


def open_session(graph: bytes, options: ort.SessionOptions) -> ort.InferenceSession:
    """Raises RuntimeError, or ONNX Runtime's own kinds, where the GPU cannot have it."""
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # those that came with torch, or with NVIDIA's own packages
    session = ort.InferenceSession(graph, options, providers=[(PROVIDER, OPTIONS)])
    if session.get_providers()[0] != PROVIDER:  # it falls back to the CPU by itself
        raise RuntimeError("no GPU that ONNX Runtime can use")
    return session


def in_half_precision(graph: bytes) -> bytes:
    """Return *graph* with fp16 inside; its outputs stay float32.

    Raises ImportError where the package onnx is missing, which serving needs for nothing else.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    logging.getLogger("onnxruntime.transformers.float16").setLevel(logging.ERROR)
    model = convert_float_to_float16(onnx.load_from_string(graph), keep_io_types=True)
    half: bytes = model.SerializeToString()
    return half
