"""How large, bright and sharp the images are: histograms and spreads as plain numbers to draw."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
_BARS = 28
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Scale:
    """Where a value stands between the two ends of an axis, 0 to 1."""

    name: str
    about: str
    """What a small and a large value mean."""
    unit: str
    low: float
    high: float
    is_log: bool

    def place(self, values: Values) -> Values:
        low, high = np.float64(self.low), np.float64(self.high)
        if self.is_log:
            low, high, values = np.log2(low), np.log2(high), np.log2(np.maximum(values, self.low))
        return np.clip((values - low) / (high - low), 0, 1)

    def value(self, place: float) -> float:
        if self.is_log:
            return float(self.low * (self.high / self.low) ** place)
        return self.low + (self.high - self.low) * place

    def text(self, value: float) -> str:
        return f"{number(value)}{self.unit}"

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Yield the place and text of about five round values."""
        if self.is_log:
            decades = np.log2(self.high / self.low)
            step = max(1, round(decades / 5))
            first = int(np.ceil(np.log2(self.low)))
            values = [2.0**n for n in range(first, int(np.log2(self.high)) + 1, step)]
        else:
            values = [self.low + (self.high - self.low) * i / 4 for i in range(5)]
        for value in values:
            yield float(self.place(np.array(value))), number(value)


@dataclass(frozen=True)
class Bar:
    about: str
    """From where to where."""
    counts: tuple[int, ...]
    """One for each part."""


@dataclass(frozen=True)
class Histogram:
    scale: Scale
    summary: str
    bars: tuple[Bar, ...]
    highest: int
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Spread:
    """Places of the 5, 25, 50, 75 and 95 % quantiles on a scale, and what they say."""

    places: tuple[float, ...]
    about: str
    median: str


def number(value: float) -> str:
    if value >= 10 or value == int(value):
        return f"{round(value):,}"
    return f"{value:.2g}" if value >= 0.1 else f"{value:.3f}".rstrip("0").rstrip(".")


def scales(measured: tuple[Values, Values, Values]) -> tuple[Scale, Scale, Scale]:
    """Return axes on which shorter sides, brightness and sharpness find room."""
    sides, _, sharpness = measured
    return (
        Scale("Size", "shorter side in pixels", " px", *_ends(sides), is_log=True),
        Scale("Brightness", "0 is black, 1 is white", "", 0, 1, is_log=False),
        Scale(
            "Sharpness",
            "variance of the Laplacian; little where a picture is blurred",
            "",
            *_ends(np.maximum(sharpness, 1)),
            is_log=True,
        ),
    )


def histogram(scale: Scale, values: Values, parts: Sequence[npt.NDArray[np.bool_]]) -> Histogram:
    """Count *values* along *scale*, apart for each of *parts* (masks that share them out)."""
    bar = np.minimum((scale.place(values) * _BARS).astype(np.int64), _BARS - 1)
    counts = np.stack([np.bincount(bar[part], minlength=_BARS) for part in parts], axis=1)
    edges = [scale.value(i / _BARS) for i in range(_BARS + 1)]
    bars = tuple(
        Bar(f"{number(edges[i])} to {scale.text(edges[i + 1])}", tuple(map(int, counts[i])))
        for i in range(_BARS)
    )
    highest = int(counts.sum(axis=1).max())
    return Histogram(scale, _summary(scale, values), bars, highest, tuple(scale.ticks()))


def spread(scale: Scale, values: Values) -> Spread:
    quantiles = np.quantile(values, _QUANTILES, method="nearest")
    low, _, median, _, high = (float(value) for value in quantiles)
    about = f"median {scale.text(median)}; nine in ten from {number(low)} to {scale.text(high)}"
    places = tuple(round(float(place), 4) for place in scale.place(quantiles))
    return Spread(places, about, number(median))


def extremes(values: Values, count: int) -> tuple[list[int], list[int]]:
    """Return the places of the *count* lowest and of the *count* highest, the utmost first."""
    order = np.argsort(values, kind="stable")
    return order[:count].tolist(), order[::-1][:count].tolist()


def _summary(scale: Scale, values: Values) -> str:
    low, high = float(values.min()), float(values.max())
    if low == high:
        return f"all {scale.text(low)}"
    return f"{number(low)} to {scale.text(high)}, median {scale.text(float(np.median(values)))}"


def _ends(values: Values) -> tuple[float, float]:
    """Room on both sides where all values are one."""
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low / 2, high * 2)
