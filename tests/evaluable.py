"""The smallest project that can be evaluated: greys, and a model of two variants; no training."""

import hashlib
from dataclasses import replace
from pathlib import Path

import catalogues
import numpy as np
import onnx
from brightness import CARD, graph, png
from onnx import numpy_helper

from pipeline.cards import write_card
from pipeline.data.splits import SplitRow, Splits, write_splits
from pipeline.export.artefact import seal
from pipeline.export.calibrate import array_bytes
from pipeline.serving.abstention import EMBEDDINGS, THRESHOLDS, of_variant
from pipeline.serving.choice import SelfTest
from pipeline.serving.variants import FP32, INT8
from pipeline.workspace import Workspace

GREYS = tuple(range(3, 255, 4))
WRONG = (11, 251)
"""Greys whose label says the other class."""
COVERAGE = 0.8
_THRESHOLDS = (
    b'{"coverage": 0.8, "overall": 0.3, "per_class": [0.9, 0.9], "neighbours": 1, "distance": null}'
)


def shifted_graph(border: float) -> bytes:
    """Return brightness.graph() with another border between dark and light than 127.5."""
    model = onnx.load_from_string(graph())
    for tensor in model.graph.initializer:
        if tensor.name == "bias":
            bias = np.array([0.02 * border, -0.02 * border], np.float32)
            tensor.CopyFrom(numpy_helper.from_array(bias, "bias"))
    serialized: bytes = model.SerializeToString()
    return serialized


def seal_two(folder: Path, classes: tuple[str, str] = ("dark", "light")) -> str:
    """Seal a model that abstains, whose int8 calls greys from 107 on light; return its digest."""
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    logits = np.array([[2.55, -2.55]])
    expected = np.exp(logits) / np.exp(logits).sum()
    known = {THRESHOLDS: _THRESHOLDS, EMBEDDINGS: array_bytes(np.ones((2, 1), np.float32))}
    return seal(
        folder,
        graph(),
        CARD | {"classes": list(classes)},
        {of_variant(name, each): data for name, data in known.items() for each in (FP32, INT8)},
        int8=shifted_graph(107),
        self_test=SelfTest(pixels, expected.astype(np.float32), {FP32: 0.01, INT8: 0.5}),
    )


def make_evaluable(root: Path, classes: tuple[str, str] = ("dark", "light")) -> Workspace:
    """Lay down what `evaluate` reads: a validation image of each of GREYS, those in WRONG under the
    other label; every third was taken by a phone."""
    made = Workspace(root)
    made.images.mkdir(parents=True)
    rows, splits = [], []
    for number, grey in enumerate(GREYS):
        data = png(grey)
        sha256 = hashlib.sha256(data).hexdigest()
        (made.images / f"{sha256}.png").write_bytes(data)
        label = classes[(grey > 127) != (grey in WRONG)]
        row = catalogues.image(grey, label, path=f"{label}/{grey}.png")
        row = replace(
            row,
            sha256=sha256,
            file=f"{sha256}.png",
            brightness=grey / 255,
            columns={"camera": "nikon" if number % 3 else "phone"},
        )
        rows.append(row)
        splits.append(SplitRow(sha256, row.file, label, 8, 8, "validation", None, None))
    rows.sort(key=lambda row: row.sha256)
    splits.sort(key=lambda row: row.sha256)
    catalogues.write(made.catalogue, rows, "photos/greys")
    write_splits(made.splits, Splits(tuple(splits), 0, 0.5, 0.1))
    digest = seal_two(made.serving, classes)
    write_card(made.export_report / "card.json", {"serving_digest": digest})
    return made
