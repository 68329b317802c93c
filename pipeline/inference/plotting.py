"""How the pictures of a batch look: the same bytes for the same figures, on every machine."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.errors import legible

MAIN, SOFT, ALARM = "#4a6fa5", "#b9b1a8", "#a8322a"
ACROSS = 3
"""Panels in a row."""
_LONGEST = 14
_LOOK: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # matplotlib brings it along: the same on every machine
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "text.parse_math": False,  # the name of a class is no formula
}


@contextmanager
def look() -> Iterator[None]:
    """Draw so, whatever the user's own matplotlibrc says."""
    with style.context(_LOOK, after_reset=True):
        yield


def make_panels(count: int, title: str) -> tuple[Figure, list[Any]]:
    """Return a figure and *count* axes on it; for use within `look`."""
    rows = -(-count // ACROSS)
    figure = Figure(figsize=(11, 0.8 + 2.7 * rows), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, ACROSS, squeeze=False).ravel())
    for unused in axes[count:]:
        unused.set_axis_off()
    figure.suptitle(title, x=0.01, ha="left")
    return figure, axes[:count]


def png(figure: Figure) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():  # a name in a script that this font lacks shows as boxes
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def short(name: str, longest: int = _LONGEST) -> str:
    """Return *name* on one line, of so many letters at most."""
    line = legible(name[: longest + 1])
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
