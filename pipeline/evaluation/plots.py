"""Pictures of how a model does, through scikit-learn's displays; equal answers give equal bytes."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay, RocCurveDisplay

from pipeline.errors import legible
from pipeline.metrics import (
    CALIBRATION_BINS,
    Labels,
    Probabilities,
    accuracy_interval,
    calibration_bins,
    class_figures,
    confusion_matrix,
)

CONFUSION, ROC, PRECISION_RECALL, RELIABILITY = (
    "confusion.png",
    "roc.png",
    "precision_recall.png",
    "reliability.png",
)
PLOTS = (CONFUSION, ROC, PRECISION_RECALL, RELIABILITY)
MOST_CURVES = 10
"""Classes with a curve: of more, the worst."""
MOST_CONFUSED = 25
"""Classes in the confusion matrix: of more, the most confused."""
_LONGEST = 22
_INK, _SOFT, _LINE = "#211d1a", "#6c645d", "#e2dcd5"
_MAIN = "#4a6fa5"
_LOOK: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # matplotlib brings it along: the same on every machine
    "font.size": 11,
    "text.color": _INK,
    "axes.labelcolor": _SOFT,
    "axes.edgecolor": _SOFT,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
}
Curve = Callable[[npt.NDArray[np.bool_], npt.NDArray[np.float64], str, Any], object]


def draw_all(
    folder: Path, probabilities: Probabilities, labels: Labels, classes: Sequence[str], of: str
) -> None:
    """Write PLOTS into *folder*; *of* says in each title whose answers these are."""
    counts = confusion_matrix(probabilities, labels)
    draw_confusion_matrix(folder / CONFUSION, counts, classes, of)
    draw_roc(folder / ROC, probabilities, labels, classes, of)
    draw_precision_recall(folder / PRECISION_RECALL, probabilities, labels, classes, of)
    draw_reliability(folder / RELIABILITY, probabilities, labels, of)


def draw_confusion_matrix(
    path: Path, counts: npt.NDArray[np.int64], classes: Sequence[str], title: str
) -> None:
    """Draw *counts* (rows: right classes, columns: predicted ones); of many classes those with
    the most mistakes."""
    chosen = most_confused(counts)
    if len(chosen) < len(classes):
        title += f"\nthe {len(chosen)} most confused of {len(classes)} classes"
    side = max(5.2, 2.6 + 0.5 * len(chosen))
    with _figure(path, (side, side)) as figure:
        axes = figure.add_subplot()
        display = ConfusionMatrixDisplay(
            counts[np.ix_(chosen, chosen)], display_labels=[_name(classes[c]) for c in chosen]
        )
        display.plot(ax=axes, cmap="Blues", colorbar=False, xticks_rotation=90)
        axes.set(title=title, xlabel="Answered", ylabel="Right")
        axes.spines[:].set_visible(False)


def most_confused(counts: npt.NDArray[np.int64]) -> list[int]:
    """Return the classes to draw, in their order: all, or the MOST_CONFUSED with most mistakes."""
    mistakes = counts.sum(0) + counts.sum(1) - 2 * counts.diagonal()
    return sorted(np.argsort(-mistakes, kind="stable")[:MOST_CONFUSED].tolist())


def draw_roc(
    path: Path, probabilities: Probabilities, labels: Labels, classes: Sequence[str], title: str
) -> None:
    """Draw each class against the rest (one-vs-rest)."""

    def curve(
        is_class: npt.NDArray[np.bool_], score: npt.NDArray[np.float64], name: str, axes: Any
    ) -> None:
        RocCurveDisplay.from_predictions(is_class, score, name=name, ax=axes)

    areas = [each.roc_auc for each in class_figures(probabilities, labels)]
    with _figure(path, (6.4, 6.4)) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=_SOFT, linestyle=":", linewidth=1)
        _draw_curves(axes, curve, areas, probabilities, labels, classes, title)
        axes.set(xlabel="Share of the others called so", ylabel="Share of the class called so")


def draw_precision_recall(
    path: Path, probabilities: Probabilities, labels: Labels, classes: Sequence[str], title: str
) -> None:
    """Draw each class against the rest (one-vs-rest)."""

    def curve(
        is_class: npt.NDArray[np.bool_], score: npt.NDArray[np.float64], name: str, axes: Any
    ) -> None:
        PrecisionRecallDisplay.from_predictions(is_class, score, name=name, ax=axes)

    precisions = [
        each.average_precision if each.roc_auc is not None else None
        for each in class_figures(probabilities, labels)
    ]
    with _figure(path, (6.4, 6.4)) as figure:
        axes = figure.add_subplot()
        _draw_curves(axes, curve, precisions, probabilities, labels, classes, title)
        axes.set(xlabel="Recall", ylabel="Precision")


def draw_reliability(path: Path, probabilities: Probabilities, labels: Labels, title: str) -> None:
    """Draw how often answers are right against how sure they are, over the bins of
    metrics.calibration_error, with 95% intervals; and how many answers each bin holds."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    bins = calibration_bins(confidence)
    filled = np.unique(bins)
    shares = np.array([right[bins == b].mean() for b in filled])
    sure = np.array([confidence[bins == b].mean() for b in filled])
    ends = [accuracy_interval(shares[i], int((bins == b).sum())) for i, b in enumerate(filled)]
    low, high = np.array(ends).T
    with _figure(path, (6.4, 7.2)) as figure:
        above, below = figure.subplots(2, height_ratios=(4, 1), sharex=True)
        above.vlines(sure, low, high, color=_MAIN, alpha=0.45, linewidth=2)
        display = CalibrationDisplay(shares, sure, confidence)
        display.plot(ax=above, name="answers, 95% intervals", color=_MAIN)
        above.set(title=title, xlabel="", ylabel="Share that is right", ylim=(-0.02, 1.02))
        edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
        below.hist(confidence, bins=edges, color=_MAIN, edgecolor="white")
        below.set(xlabel="Confidence", ylabel="Answers", xlim=(-0.02, 1.02))
        for axes in (above, below):
            axes.grid(visible=True)


def _draw_curves(
    axes: Any,
    curve: Curve,
    figures: Sequence[float | None],
    probabilities: Probabilities,
    labels: Labels,
    classes: Sequence[str],
    title: str,
) -> None:
    """Draw *curve* of each class whose figure is defined; of many the lowest, which come first."""
    defined = [(figure, c) for c, figure in enumerate(figures) if figure is not None]
    if len(defined) > MOST_CURVES:
        title += f"\nthe {MOST_CURVES} lowest of {len(defined)} classes"
        defined = sorted(defined)[:MOST_CURVES]
    for _, c in defined:
        curve(labels == c, probabilities[:, c], _name(classes[c]), axes)
    if not defined:
        axes.text(0.5, 0.5, "not defined: all images are of one class", ha="center")
    axes.set(title=title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.grid(visible=True)


@contextmanager
def _figure(path: Path, size: tuple[float, float]) -> Iterator[Figure]:
    """Yield a figure that is then written as a PNG without a word of when and by what."""
    with style.context(_LOOK, after_reset=True):  # whatever the user's own matplotlibrc says
        figure = Figure(figsize=size, layout="constrained", dpi=110)
        FigureCanvasAgg(figure)
        yield figure
        with warnings.catch_warnings():  # a name in a script that this font lacks shows as boxes
            warnings.filterwarnings("ignore", "Glyph")
            figure.savefig(path, metadata={"Software": None})


def _name(label: str) -> str:
    """A class's name on one short line; no formula, and nothing that cannot be printed."""
    line = legible(label)
    short = line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
    return short.replace("$", r"\$")
