"""What of a dataset deserves a second look before it is trained on, each in one sentence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.data.catalogue import CatalogueRow
from pipeline.data.findings import Finding, Refused
from pipeline.words import images

_UNEVEN = 10
"""Times as many images in the largest class as in the smallest."""
_FEW = 10
"""Images of a class by which hardly anything can be measured."""
_MANY_REFUSED = 0.05
_DARK, _BRIGHT = 0.03, 0.97
_NAMED = 3
"""Classes that a sentence names."""


@dataclass(frozen=True)
class Concern:
    says: str
    section: str
    """Where the page shows more of it."""


@dataclass(frozen=True)
class ClassCount:
    label: str
    train: int
    validation: int
    test: int
    left_out: int

    @property
    def used(self) -> int:
        return self.train + self.validation + self.test


def concerns_of(
    rows: Sequence[CatalogueRow],
    classes: Sequence[ClassCount],
    findings: Sequence[Finding],
    refused: Sequence[Refused],
    files: int,
) -> tuple[Concern, ...]:
    """Return them, what leaks or misleads first."""
    return (
        *_of_labels(findings),
        *_of_classes(classes),
        *_of_refusals(refused, files),
        *_of_looks(rows),
        *_of_near_duplicates(rows, findings),
    )


def _of_labels(findings: Sequence[Finding]) -> Iterator[Concern]:
    total = {finding.key: finding.total for finding in findings}
    if count := total.get("label_conflict"):
        lie = "lies" if count == 1 else "lie"
        yield Concern(
            f"{images(count)} {lie} in two classes at once, and in no split until "
            "data/corrections/relabel.csv names the right one.",
            "left-out",
        )
    if count := sum(finding.alarming for finding in findings):
        yield Concern(
            f"{images(count)} left out as a near-duplicate {'has' if count == 1 else 'have'} "
            "another class than the picture that they resemble: one of the two may be wrong.",
            "left-out",
        )
    if count := total.get("copies_disagree"):
        yield Concern(
            f"{images(count)} left out: the list contradicts itself about the group or split.",
            "left-out",
        )


def _of_classes(classes: Sequence[ClassCount]) -> Iterator[Concern]:
    trained = [each for each in classes if each.used]
    if unused := [each.label for each in classes if not each.used]:
        yield Concern(f"No image of {_some(unused)} is used: the model will not know it.", "counts")
    if trained:
        most = max(trained, key=lambda each: each.used)
        least = min(trained, key=lambda each: each.used)
        if most.used > _UNEVEN * least.used:
            yield Concern(
                f"The classes are uneven: {most.label} has {most.used / least.used:,.0f} times as "
                f"many images as {least.label}.",
                "counts",
            )
    few = [each for each in trained if min(each.validation, each.test) < _FEW]
    if few:
        yield Concern(
            f"{_some([each.label for each in few])} {'has' if len(few) == 1 else 'have'} fewer "
            f"than {_FEW} images to validate or test on: figures of such a class are mostly luck.",
            "counts",
        )


def _of_refusals(refused: Sequence[Refused], files: int) -> Iterator[Concern]:
    count = sum(each.total for each in refused)
    if count > _MANY_REFUSED * files:
        yield Concern(
            f"{count:,} of {files:,} files were refused ({_share(count, files)}), most of them as "
            f"{refused[0].reason}.",
            "refused",
        )


def _of_looks(rows: Sequence[CatalogueRow]) -> Iterator[Concern]:
    for count, looks in (
        (sum(row.brightness < _DARK for row in rows), "black"),
        (sum(row.brightness > _BRIGHT for row in rows), "white"),
    ):
        if count:
            are = "is" if count == 1 else "are"
            yield Concern(f"{images(count)} {are} all but {looks}.", "distributions")


def _of_near_duplicates(
    rows: Sequence[CatalogueRow], findings: Sequence[Finding]
) -> Iterator[Concern]:
    near = sum(each.total for each in findings if each.key in ("near_test", "near_val"))
    if near:
        were = "was" if near == 1 else "were"
        yield Concern(
            f"{images(near)} {were} left out because a test or validation image is nearly the "
            "same.",
            "left-out",
        )
    small = sum(row.phash is None for row in rows)
    if small:
        are = "is" if small == 1 else "are"
        yield Concern(
            f"{images(small)} {are} under 32 pixels, too small to look for near-duplicates.",
            "distributions",
        )


def _some(labels: Sequence[str]) -> str:
    if len(labels) > _NAMED:
        return f"{', '.join(labels[:_NAMED])} and {len(labels) - _NAMED:,} more classes"
    return " and ".join(filter(None, [", ".join(labels[:-1]), labels[-1]]))


def _share(count: int, of: int) -> str:
    return f"{100 * count / of:.0f}%"
