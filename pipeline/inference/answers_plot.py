"""A picture of what a batch was answered: how surely, what, and what was refused."""

from collections.abc import Mapping
from typing import Any

from pipeline.inference.plotting import ALARM, MAIN, look, make_panels, png, short
from pipeline.inference.summary import BINS, Summary
from pipeline.words import counted

_FEWEST_BARS, _MOST_BARS = 5, 12
_LONGEST = 22


def draw(summary: Summary, title: str) -> bytes:
    """Return a PNG, the same for the same summary."""
    with look():
        figure, (surely, classes, refused) = make_panels(3, title)
        edges = [place / BINS for place in range(BINS)]
        surely.bar(edges, summary.histogram, 1 / BINS, align="edge", color=MAIN, edgecolor="white")
        surely.set_xlim(0, 1)
        mean = summary.confidence.get("mean")
        surely.set_title("confidence" + ("" if mean is None else f": mean {mean:.3f}"))
        surely.set_ylabel("images")
        labels, doubted = sum(summary.classes.values()), sum(summary.abstained.values())
        told = f"{counted(labels, 'label')}, {doubted} not to be relied on"
        _draw_counts(classes, summary.classes, told, MAIN)
        count = sum(summary.refused.values())
        _draw_counts(refused, summary.refused, f"{count} of {summary.images} refused", ALARM)
        return png(figure)


def _draw_counts(axes: Any, counts: Mapping[str, int], title: str, colour: str) -> None:
    """The most frequent first; what is left over is one more bar."""
    names = [short(name, _LONGEST) for name in list(counts)[:_MOST_BARS]]
    values = list(counts.values())[:_MOST_BARS]
    if rest := len(counts) - len(names):
        names.append(f"({rest} others)")
        values.append(sum(counts.values()) - sum(values))
    axes.set_title(title)
    if not counts:
        axes.set_axis_off()
        return
    places = range(len(names))
    bars = axes.barh(places, values, color=colour)
    axes.bar_label(bars, padding=3, fontsize=8.5)
    axes.set_yticks(places, names)
    axes.set_ylim(max(len(names), _FEWEST_BARS) - 0.5, -0.5)  # the first on top
    axes.margins(x=0.2)
    axes.set_xticks([])
