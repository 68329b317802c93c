"""What of an evaluation deserves a second look, each in one sentence."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from scipy.stats import binomtest

from pipeline.evaluation.assess import Assessment
from pipeline.evaluation.slices import SMALL
from pipeline.evaluation.suspects import TRUSTED
from pipeline.words import counted, images

_FEW = 10
"""Images of a class by which hardly anything can be measured."""
_NAMED = 3
_ALPHA = 0.05


@dataclass(frozen=True)
class Concern:
    says: str
    section: str
    """Where the page shows more of it."""


def concerns_of(assessed: Mapping[str, Assessment], suspects: int) -> tuple[Concern, ...]:
    """Return what stands out of the variants' assessments, the first of which is fp32's.

    A class or a slice stands out where so few right answers would come by chance, were it as easy
    as all images, with a probability of 0.05 divided by their number (Bonferroni): of pages about
    a model that is equally good everywhere, one in twenty names a class.
    """
    main = next(iter(assessed.values()))
    return (
        *_of_guessing(assessed),
        *_of_classes(main),
        *_of_slices(main),
        *_of_few_images(main),
        *_of_suspects(main, suspects),
    )


def _of_guessing(assessed: Mapping[str, Assessment]) -> Iterator[Concern]:
    for name, each in assessed.items():
        supports = {label: known["support"] for label, known in each.classes.items()}
        commonest = max(supports, key=lambda label: supports[label])
        share = supports[commonest] / each.images
        if each.intervals["accuracy"][0] <= share:
            yield Concern(
                f"{name} is not surely better than always answering {commonest}, "
                f"which is right {share:.0%} of the time",
                "figures",
            )


def _of_classes(main: Assessment) -> Iterator[Concern]:
    weak = [
        (known["recall"], label, known["support"])
        for label, known in main.classes.items()
        if known["support"] and _is_below(known["recall"], known["support"], main)
    ]
    for recall, label, support in sorted(weak)[:_NAMED]:
        yield Concern(
            f"Only {recall:.0%} of the {support:,} images of {label} are recognised; "
            f"of all images {main.figures['accuracy']:.0%}",
            "classes",
        )
    if len(weak) > _NAMED:
        yield Concern(f"{len(weak) - _NAMED} more classes are recognised too seldom", "classes")


def _of_slices(main: Assessment) -> Iterator[Concern]:
    weak = [
        (each.figures["accuracy"], each.column, each.value, each.images)
        for each in main.slices
        if _is_below(each.figures["accuracy"], each.images, main)
    ]
    for right, column, value, count in sorted(weak)[:_NAMED]:
        yield Concern(
            f"Where {column.replace('_', ' ')} is {value}, {right:.0%} of {images(count)} "
            f"are right; of all images {main.figures['accuracy']:.0%}",
            "slices",
        )


def _is_below(share: float, n: int, main: Assessment) -> bool:
    tests = len(main.classes) + len(main.slices)
    right = round(share * n)
    p_value = binomtest(right, n, main.figures["accuracy"], alternative="less").pvalue
    return bool(p_value < _ALPHA / tests)


def _of_few_images(main: Assessment) -> Iterator[Concern]:
    few = [label for label, known in main.classes.items() if known["support"] < _FEW]
    if few:
        named = ", ".join(few[:_NAMED]) + (" …" if len(few) > _NAMED else "")
        yield Concern(
            f"{len(few):,} of {len(main.classes):,} classes have fewer than {_FEW} images here: "
            f"{named}",
            "classes",
        )
    if main.images < SMALL:
        yield Concern(f"{images(main.images)} are too few to measure by", "figures")


def _of_suspects(main: Assessment, count: int) -> Iterator[Concern]:
    """A weak model's are no reason for alarm: its page shows them further down."""
    if count and main.figures["accuracy"] >= TRUSTED:
        yield Concern(
            f"The model contradicts {counted(count, 'label')}, which may be "
            "wrong: look at the pictures",
            "suspects",
        )
