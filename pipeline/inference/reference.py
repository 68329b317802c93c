"""What a sealed model remembers of its validation images, as later batches are held against it.

`export` writes it (pipeline/export/calibrate.py): reference.json and embeddings.npy of fp32, and
int8.reference.json and int8.embeddings.npy, since INT8's confidences are its own.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.export.calibrate import REFERENCE
from pipeline.serving.abstention import EMBEDDINGS, of_variant
from pipeline.serving.variants import FP32

Values = npt.NDArray[np.float64]
_OF_ANSWERS = ("confidence",)
"""What another variant's answers say nothing of."""


@dataclass(frozen=True)
class Reliability:
    """How many validation answers of which confidence were right, bin by bin."""

    up_to: Values
    """Highest confidence of each bin but the last, (bins - 1,)."""
    images: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Reference:
    images: int
    """Validation images."""
    predicted: npt.NDArray[np.int64] | None
    """How many were called what, (num_classes,)."""
    sample: Mapping[str, Values]
    """Confidence, brightness, ... of some of them, each (m,)."""
    embeddings: npt.NDArray[np.float32] | None
    """Of some of them, (m, width), each of length 1."""
    reliability: Reliability | None
    """None for a model sealed before this was recorded."""


def read_reference(folder: Path, variant: str = FP32) -> Reference | None:
    """Return what the answers of *variant* of the sealed model in *folder* are held against; None
    for a model that carries no reference."""
    own, shared = folder / of_variant(REFERENCE, variant), folder / REFERENCE
    if not own.exists() and not shared.exists():
        return None
    read = json.loads((own if own.exists() else shared).read_text(encoding="utf-8"))
    sample = _sample(read)
    if not own.exists():
        sample = {name: values for name, values in sample.items() if name not in _OF_ANSWERS}
    return Reference(
        images=read["images"],
        predicted=np.array(read["predicted"], np.int64) if own.exists() else None,
        sample=sample,
        embeddings=_embeddings(folder / of_variant(EMBEDDINGS, variant)),
        reliability=_reliability(read) if own.exists() else None,
    )


def _sample(read: Mapping[str, Any]) -> dict[str, Values]:
    """The first models had percentiles: as many of them as there were images make a sample that
    is even better than one drawn, so a test that takes it for drawn alarms too rarely at most."""
    if "sample" in read:
        return {name: np.array(values, float) for name, values in read["sample"].items()}
    places = np.linspace(0, 100, min(101, read["images"])).round().astype(int)
    return {name: np.array(values, float)[places] for name, values in read["percentiles"].items()}


def _embeddings(file: Path) -> npt.NDArray[np.float32] | None:
    if not file.exists():
        return None
    read: npt.NDArray[np.float32] = np.load(file, allow_pickle=False).astype(np.float32)
    return read


def _reliability(read: Mapping[str, Any]) -> Reliability | None:
    found = read.get("accuracy_by_confidence")
    if found is None:
        return None
    return Reliability(
        up_to=np.array(found["up_to"], float),
        images=np.array(found["images"], np.int64),
        right=np.array(found["right"], np.int64),
    )
