"""The data report: what a dataset looks like, as one page that a person reads before training.

It is an output of DVC: the same dataset gives the same bytes, so it names no time and no place.
"""

import html
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.catalogue import Catalogue, CatalogueRow, Refusal
from pipeline.data.concerns import ClassCount, Concern, concerns_of
from pipeline.data.distributions import (
    Histogram,
    Scale,
    Spread,
    Values,
    extremes,
    histogram,
    scales,
    spread,
)
from pipeline.data.findings import (
    Finding,
    Picture,
    Refused,
    doubled,
    evenly,
    left_out,
    pictures_of,
    refused,
    relabelled,
)
from pipeline.data.pages import render_page, short
from pipeline.data.splits import LEFT_OUT, USED, Splits
from pipeline.data.thumbnails import Thumbnail, thumbnails
from pipeline.words import images

PARTS = (*USED, LEFT_OUT)
COUNTED = 1000
"""Classes that the table of counts names."""
SHEETS = 100
"""Classes with pictures."""
_A_SHEET, _ALL_SHEETS = 40, 2000
"""Pictures of a class, and of all of them: 100,000 images make a page of 10 MB at most."""
_EXTREMES = 8
_FEW = 500
_LARGE, _SMALL = 128, 72
"""Shorter side of a thumbnail where a page has few pictures, and where it has many."""
_UTMOST = (("Smallest", "Largest"), ("Darkest", "Brightest"), ("Least sharp", "Sharpest"))


@dataclass(frozen=True)
class Sheet:
    label: str
    total: int
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Strip:
    """The utmost pictures of a scale, each with its figure."""

    title: str
    pictures: tuple[tuple[Picture, str], ...]


@dataclass(frozen=True)
class Report:
    """Everything on the page but the pixels."""

    name: str
    files: int
    """Taken or refused."""
    totals: dict[str, int]
    """Images by PARTS."""
    classes: tuple[ClassCount, ...]
    concerns: tuple[Concern, ...]
    sheets: tuple[Sheet, ...]
    left_out: tuple[Finding, ...]
    repeated: Finding
    relabelled: Finding
    refused: tuple[Refused, ...]
    histograms: tuple[Histogram, ...]
    spreads: tuple[tuple[str, tuple[Spread, ...]], ...]
    """By class, in the order of the histograms."""
    strips: tuple[Strip, ...]
    modes: tuple[tuple[str, int], ...]
    """Pillow's, the commonest first."""
    distance: int

    def pictures(self) -> Iterator[Picture]:
        """Yield every picture on the page."""
        for sheet in self.sheets:
            yield from sheet.pictures
        for finding in (*self.left_out, self.repeated, self.relabelled):
            for case in finding.cases:
                yield from case.pictures
        for strip in self.strips:
            yield from (picture for picture, _ in strip.pictures)


def describe(
    catalogue: Catalogue, splits: Splits, refusals: Sequence[Refusal], distance: int
) -> Report:
    """Count, and choose what the page shows; opens no image."""
    pictures = pictures_of(catalogue, splits)
    rows = catalogue.rows
    classes = _classes(pictures.values())
    findings = left_out(catalogue, splits, refusals, pictures)
    not_taken = refused(refusals)
    files = sum(1 + len(row.copies) for row in rows) + sum(each.total for each in not_taken)
    measured = _measured(rows)
    axes = scales(measured)
    shown = [each.label for each in classes if each.used][:SHEETS]
    totals = Counter(picture.split for picture in pictures.values())
    return Report(
        name=Path(catalogue.source).name or catalogue.source,
        files=files,
        totals={part: totals[part] for part in PARTS},
        classes=classes,
        concerns=concerns_of(rows, classes, findings, not_taken, files),
        sheets=_sheets(shown, pictures.values()),
        left_out=findings,
        repeated=doubled(catalogue, pictures),
        relabelled=relabelled(catalogue, pictures),
        refused=not_taken,
        histograms=_histograms(axes, measured, [pictures[row.sha256].split for row in rows]),
        spreads=_spreads(axes, measured, [pictures[row.sha256].label for row in rows], shown),
        strips=tuple(_strips(axes, measured, [pictures[row.sha256] for row in rows])),
        modes=tuple(Counter(row.mode for row in rows).most_common()),
        distance=distance,
    )


def write_report(path: Path, report: Report, images: Path) -> None:
    """Write the page. A picture that cannot be shown is a grey square on it."""
    files = [picture.file for picture in report.pictures()]
    side = _LARGE if len(files) <= _FEW else _SMALL
    page = render(report, thumbnails(images, files, side))
    path.write_text(page, encoding="utf-8", errors="backslashreplace")


def render(report: Report, shown: Mapping[str, Thumbnail]) -> str:
    """Return the page; everything that a source may have named is escaped in it."""
    template = Path(__file__).with_suffix(".html")
    return render_page(template, report=report, shown=shown, parts=PARTS, counted=COUNTED)


def glance(report: Report) -> str:
    """Return the counts and the concerns as Markdown."""
    lines = [
        f"## {_plain(report.name)}: {images(sum(report.totals.values()))}",
        "",
        "| class | " + " | ".join(PARTS).replace("_", " ") + " |",
        "|---|" + "---:|" * len(PARTS),
        *(
            f"| {_plain(each.label)} | "
            + " | ".join(f"{getattr(each, part):,}" for part in PARTS)
            + " |"
            for each in report.classes[:SHEETS]
        ),
    ]
    if len(report.classes) > SHEETS:
        lines += ["", f"... and {len(report.classes) - SHEETS:,} more classes"]
    lines += ["", *(f"- {_plain(concern.says)}" for concern in report.concerns)]
    if report.refused:
        told = ", ".join(f"{_plain(each.reason)} {each.total:,}" for each in report.refused)
        lines += [f"- Refused files: {told}"]
    return "\n".join(lines) + "\n"


def _classes(pictures: Iterable[Picture]) -> tuple[ClassCount, ...]:
    counts = Counter((picture.label, picture.split) for picture in pictures)
    labels = sorted({label for label, _ in counts if label is not None})
    return tuple(
        ClassCount(label, **{part: counts[label, part] for part in PARTS}) for label in labels
    )


def _sheets(labels: Sequence[str], pictures: Iterable[Picture]) -> tuple[Sheet, ...]:
    by_label: dict[str | None, list[Picture]] = defaultdict(list)
    for picture in pictures:
        if picture.split != LEFT_OUT:
            by_label[picture.label].append(picture)
    count = min(_A_SHEET, _ALL_SHEETS // max(len(labels), 1))
    return tuple(
        Sheet(label, len(by_label[label]), evenly(by_label[label], count)) for label in labels
    )


def _measured(rows: Sequence[CatalogueRow]) -> tuple[Values, Values, Values]:
    """Return the shorter side, the brightness and the sharpness of each image."""
    sides = [min(row.width, row.height) for row in rows]
    return (
        np.array(sides, np.float64),
        np.array([row.brightness for row in rows], np.float64),
        np.array([row.sharpness for row in rows], np.float64),
    )


def _histograms(
    axes: Sequence[Scale], measured: Sequence[Values], split: Sequence[str]
) -> tuple[Histogram, ...]:
    where = np.array(split)
    parts = [where == part for part in PARTS]
    return tuple(histogram(axis, v, parts) for axis, v in zip(axes, measured, strict=True))


def _spreads(
    axes: Sequence[Scale],
    measured: Sequence[Values],
    labels: Sequence[str | None],
    shown: Sequence[str],
) -> tuple[tuple[str, tuple[Spread, ...]], ...]:
    members: dict[str | None, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        members[label].append(place)
    return tuple(
        (
            label,
            tuple(spread(axis, v[members[label]]) for axis, v in zip(axes, measured, strict=True)),
        )
        for label in shown
    )


def _strips(
    axes: Sequence[Scale], measured: Sequence[Values], pictures: Sequence[Picture]
) -> Iterator[Strip]:
    for axis, values, titles in zip(axes, measured, _UTMOST, strict=True):
        if values.min() < values.max():
            for title, places in zip(titles, extremes(values, _EXTREMES), strict=True):
                yield Strip(title, tuple((pictures[p], axis.text(values[p])) for p in places))


def _plain(text: str) -> str:
    """Return *text* with nothing in it that Markdown or HTML would take for its own."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~:-])", r"\\\1", html.escape(" ".join(short(text).split())))
