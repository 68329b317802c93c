"""Pictures of how a model does."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay


def draw_confusion_matrix(
    path: Path, counts: npt.NDArray[np.int64], classes: Sequence[str], title: str
) -> None:
    """Draw *counts* (rows: right classes, columns: predicted ones) as a PNG."""
    side = min(4 + 0.5 * len(classes), 24)
    figure = Figure(figsize=(side, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = [name.replace("$", r"\$") for name in classes]  # no formulas
    display = ConfusionMatrixDisplay(counts, display_labels=names)
    display.plot(
        ax=axes, cmap="Blues", colorbar=False, xticks_rotation=90, include_values=len(classes) <= 40
    )
    axes.set_title(title)
    figure.savefig(path, dpi=100, metadata={"Software": None})
