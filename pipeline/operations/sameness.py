"""What was recorded of a model beside what came out again: to the byte, nearly, or not."""

import csv
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import load_file

TOLERANCE = 1e-6
"""Largest relative difference that is still the same: some eight roundings of float32."""


class Sameness(StrEnum):
    SAME = "same"
    NEAR = "within tolerance"
    DIFFERENT = "different"


@dataclass(frozen=True)
class Row:
    """One thing that is compared."""

    name: str
    recorded: str
    found: str
    difference: float
    """Relative; 0 is the same to the byte or to the last bit, infinity has no counterpart."""

    @property
    def verdict(self) -> Sameness:
        if self.difference == 0:
            return Sameness.SAME
        return Sameness.NEAR if self.difference <= TOLERANCE else Sameness.DIFFERENT


def weights_row(recorded: Path, found: Path) -> Row:
    """Compare two .safetensors: bytes first; then, tensor by tensor, the largest difference by
    the largest absolute value of the tensor (weights near zero have no relative difference of their
    own that means anything)."""
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (recorded, found)]
    difference = 0.0 if digests[0] == digests[1] else _largest(recorded, found)
    return Row("weights", digests[0][:12], digests[1][:12], difference)


def figure_rows(recorded: Mapping[str, float], found: Mapping[str, float]) -> list[Row]:
    return [
        Row(
            name,
            _shown(recorded.get(name)),
            _shown(found.get(name)),
            relative(recorded.get(name), found.get(name)),
        )
        for name in dict.fromkeys([*recorded, *found])
    ]


def curve_rows(recorded: Path, found: Path) -> list[Row]:
    """Compare two epochs.csv: a row for the number of epochs, and one for each column, with its
    last value and its largest difference in any epoch."""
    ours, theirs = _columns(recorded), _columns(found)
    counts = [len(next(iter(columns.values()), [])) for columns in (ours, theirs)]
    rows = [Row("epochs", str(counts[0]), str(counts[1]), relative(*map(float, counts)))]
    for name in [n for n in dict.fromkeys([*ours, *theirs]) if n != "epoch"]:
        mine, other = ours.get(name, []), theirs.get(name, [])
        unequal = math.inf if len(mine) != len(other) else 0.0
        worst = max([unequal, *(relative(a, b) for a, b in zip(mine, other, strict=False))])
        last = [values[-1] if values else None for values in (mine, other)]
        rows.append(Row(name, _shown(last[0]), _shown(last[1]), worst))
    return rows


def figures_of(metrics: Path) -> dict[str, float]:
    """Return every number of a metrics.json, its keys joined by dots."""
    return dict(_flat(json.loads(metrics.read_text(encoding="utf-8")), ""))


def relative(recorded: float | None, found: float | None) -> float:
    """Return |a - b| by the larger of the two; infinity where one is missing or not a number."""
    if recorded is None or found is None:
        return math.inf
    if recorded == found or (math.isnan(recorded) and math.isnan(found)):
        return 0.0
    difference = abs(recorded - found) / max(abs(recorded), abs(found))
    return math.inf if math.isnan(difference) else difference


def _flat(value: Any, key: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        inner: Iterator[tuple[object, Any]] = iter(value.items())
    elif isinstance(value, list):
        inner = iter(enumerate(value))
    else:
        if isinstance(value, int | float):
            yield key, float(value)
        return
    for name, held in inner:
        yield from _flat(held, f"{key}.{name}" if key else str(name))


def _columns(path: Path) -> dict[str, list[float]]:
    with path.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}


def _largest(recorded: Path, found: Path) -> float:
    ours, theirs = _tensors(recorded), _tensors(found)
    if {k: v.shape for k, v in ours.items()} != {k: v.shape for k, v in theirs.items()}:
        return math.inf
    differences = [_distance(tensor, theirs[key]) for key, tensor in ours.items() if tensor.size]
    # Other bytes with equal values: another header
    return max([np.finfo(np.float64).tiny, *differences])


def _distance(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> float:
    scale = max(np.abs(ours).max(), np.abs(theirs).max())
    if scale == 0:
        return 0.0
    distance = float(np.abs(ours - theirs).max() / scale)
    return math.inf if math.isnan(distance) else distance


def _tensors(path: Path) -> dict[str, npt.NDArray[np.float64]]:
    return {key: tensor.double().numpy() for key, tensor in load_file(path).items()}


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
