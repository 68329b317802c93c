"""The smallest model that can be sealed: dark images are `dark`, light ones are `light`.

Its graph is written by hand, so that its answers are known and no test waits for torch.
"""

import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pipeline import serving
from pipeline.export.artefact import seal

CARD: dict[str, Any] = {
    "interface": 1,
    "classes": ["dark", "light"],
    "image_size": 8,
    "limits": {"bytes": 100_000, "pixels": 10_000},
}


def graph(threshold: float = 127.5, slope: float = 0.02) -> bytes:
    """Return ONNX: the mean of the pixels is the embedding; its distance to *threshold* decides."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "weight", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = {
        "axes": np.array([1, 2, 3], np.int64),
        "one": np.array([1], np.int64),
        "weight": np.array([[-slope, slope]], np.float32),
        "bias": np.array([slope * threshold, -slope * threshold], np.float32),
    }
    made = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 8, 8, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 1]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    serialized: bytes = model.SerializeToString()
    return serialized


def seal_brightness(folder: Path, *, code: str = "", **card: Any) -> str:
    """Seal the model into *folder*, its card changed by *card*; return its serving digest.

    *code* is sealed as the end of its classifier.py, as another Darkroom would have had it.
    """
    if not code:
        return seal(folder, graph(), CARD | card)
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        edited = shutil.copytree(serving.__path__[0], Path(scratch) / "serving")
        with (edited / "classifier.py").open("a") as out:
            out.write(f"\n\n{code}\n")
        patch.setattr(serving, "__path__", [str(edited)])
        return seal(folder, graph(), CARD | card)


def png(brightness: int) -> bytes:
    """Return an 8 × 8 PNG of one grey, 0 to 255."""
    out = io.BytesIO()
    Image.new("L", (8, 8), brightness).save(out, "PNG")
    return out.getvalue()
