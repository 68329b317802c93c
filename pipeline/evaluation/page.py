"""The evaluation as one page that a person reads before they trust a model.

It is an output of DVC: the same model and images give the same bytes, so it names no time, no
speed and no place.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pipeline.data.pages import render_page
from pipeline.data.thumbnails import Thumbnail, thumbnails
from pipeline.evaluation.assess import Assessment
from pipeline.evaluation.bootstrap import Interval
from pipeline.evaluation.concerns import Concern
from pipeline.evaluation.gallery import Confused, Doubted, Mistake
from pipeline.evaluation.plots import CONFUSION, PLOTS, PRECISION_RECALL, RELIABILITY, ROC
from pipeline.evaluation.slices import SMALL
from pipeline.evaluation.suspects import TRUSTED
from pipeline.metrics import accuracy_interval

MOST_SUSPECTS = 24
"""With a picture; all are in the table of proposals."""
_MOST_CLASSES = 200
_SIDE = 128
_FIGURES = {
    "accuracy": ("Accuracy", "share of right answers"),
    "balanced_accuracy": ("Balanced accuracy", "mean of the classes' recalls"),
    "worst_class_recall": ("Worst class's recall", "share of its images that are recognised"),
    "macro_f1": ("Macro F1", "each class counts alike"),
    "weighted_f1": ("Weighted F1", "each image counts alike"),
    "top_3_accuracy": ("Top-3 accuracy", "the right class is among the three likeliest"),
    "top_5_accuracy": ("Top-5 accuracy", "the right class is among the five likeliest"),
    "roc_auc": ("AUROC", "one-vs-rest, mean of the classes"),
    "average_precision": ("Average precision", "one-vs-rest, mean of the classes"),
    "log_loss": ("Log loss", "nats; lower is better"),
    "calibration_error": ("Calibration error", "confidence against accuracy; lower is better"),
}
"""By the names of metrics.figures: a heading, and what it means."""
_CURVES = {
    ROC: "ROC: how many of the others are called so, for each share of the class that is.",
    PRECISION_RECALL: "Precision and recall, as the threshold moves.",
    RELIABILITY: "Reliability: on the dotted line, answers are right as often as they are sure; "
    "below it, they are too sure.",
}


@dataclass(frozen=True)
class Evaluation:
    """Everything on the page but the pixels."""

    name: str
    """Of the dataset."""
    assessed: Mapping[str, Assessment]
    """By variant; the first one's answers are those of all tables and pictures below it."""
    headline: Mapping[str, float]
    """The worst of the variants."""
    coverage: float | None
    """That was asked of the conformal sets; None for a model without any."""
    confused: tuple[Confused, ...]
    wrong: int
    mistakes: tuple[Mistake, ...]
    suspects: tuple[Doubted, ...]
    concerns: tuple[Concern, ...]

    @property
    def main(self) -> Assessment:
        return next(iter(self.assessed.values()))


@dataclass(frozen=True)
class Figure:
    """One row of the table of figures."""

    title: str
    about: str
    cells: tuple[tuple[float, Interval | None], ...]
    """For each variant."""


def write_page(
    path: Path, evaluation: Evaluation, images: Path, occluded: Mapping[str, Thumbnail]
) -> None:
    """Write the page, with the PLOTS that lie beside it. *occluded*: sha256 → occlusion map.

    A picture of *images* that cannot be shown is a grey square.
    """
    shown = evaluation.suspects[:MOST_SUSPECTS]
    files = [*(each.file for each in evaluation.mistakes), *(each.file for each in shown)]
    plots = {name: _uri(path.parent / name) for name in PLOTS}
    page = render(evaluation, thumbnails(images, files, _SIDE), occluded, plots)
    path.write_text(page, encoding="utf-8", errors="backslashreplace")


def render(
    evaluation: Evaluation,
    shown: Mapping[str, Thumbnail],
    occluded: Mapping[str, Thumbnail],
    plots: Mapping[str, str],
) -> str:
    """Return the page; everything that a source may have named is escaped in it."""
    main = evaluation.main
    return render_page(
        Path(__file__).with_suffix(".html"),
        evaluation=evaluation,
        main=main,
        variants=tuple(evaluation.assessed),
        accuracy=evaluation.headline["accuracy"],
        figures=_figures(evaluation.assessed),
        classes=_worst_first(main.classes),
        listed=_MOST_CLASSES,
        slices=[(name, tuple(s)) for name, s in groupby(main.slices, lambda each: each.column)],
        small=SMALL,
        is_weak=main.figures["accuracy"] < TRUSTED,
        conformal=_conformal(evaluation.assessed),
        shown=shown,
        occluded=occluded,
        pictured=MOST_SUSPECTS,
        confusion=plots[CONFUSION],
        curves=[(plots[name], about) for name, about in _CURVES.items()],
    )


def _figures(assessed: Mapping[str, Assessment]) -> list[Figure]:
    every = list(assessed.values())
    return [
        Figure(title, about, tuple((a.figures[name], a.intervals.get(name)) for a in every))
        for name, (title, about) in _FIGURES.items()
        if all(name in a.figures for a in every)
    ]


def _worst_first(classes: Mapping[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the classes by their recall; those without images last."""
    return sorted(
        classes.items(),
        key=lambda item: (item[1]["recall"] is None, item[1]["recall"] or 0.0, item[0]),
    )


def _conformal(assessed: Mapping[str, Assessment]) -> list[tuple[str, Assessment, Interval]]:
    """Return the variants whose answers say how far they can be relied on, and the 95% interval
    of their coverage (Wilson's)."""
    return [
        (name, each, accuracy_interval(each.figures["coverage"], each.images))
        for name, each in assessed.items()
        if "coverage" in each.figures
    ]


def _uri(plot: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(plot.read_bytes()).decode()
