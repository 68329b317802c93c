"""A model's card, in Markdown: what it is made of, what it was seen to do, and its limits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.evaluation.comparison import Comparison, describe
from pipeline.evaluation.gate import GateRow, bound_words
from pipeline.evaluation.judging import Judgement, verdict
from pipeline.evaluation.markdown import code, table, text
from pipeline.evaluation.power import ordinal
from pipeline.evaluation.slices import SMALL
from pipeline.evaluation.start import Contamination, licence, seen, told

DESCRIPTION = 5000
"""Characters of a description that every store of MLflow's holds."""
_TRAINING = (
    *("epochs", "keep", "seed", "batch_size", "optimizer", "learning_rate", "schedule"),
    *("weight_decay", "dropout", "label_smoothing", "mixup", "ema", "balance", "freeze"),
)
"""Parameters of train that say most of a model; its run has all."""


@dataclass(frozen=True)
class Origin:
    """What the card tells of a model besides its figures."""

    name: str
    source: str
    dataset: str
    """DVC's hash."""
    counts: Mapping[str, Mapping[str, int]]
    """Split → class → images; all splits have all classes."""
    left_out: int
    """Images of the dataset that are in no split."""
    architecture: str
    image_size: int
    num_parameters: int
    best_epoch: int
    params: Mapping[str, object]
    """Of train."""
    start: str
    """What its weights started from: `none`, `torchvision NAME`, `timm NAME`, or a file."""
    contamination: Contamination
    """What these weights know of the test images."""
    temperature: float | None
    coverage: float | None
    """What was asked of the conformal sets; None for a model without."""
    test_use: int
    champion: int | None
    """Version that it was compared with."""
    set_aside: Mapping[str, str]
    """Variants of the champion that do not answer on this machine, and why."""
    hashes: Mapping[str, str]


def model_card(origin: Origin, judgement: Judgement) -> str:
    """Return the whole card; what matters most comes first, so that it can be cut at its end."""
    sections = (
        (_title(origin, judgement), _what(origin, judgement)),
        ("## Gates", _gates(judgement.gates)),
        ("## Against the champion", _champion(origin, judgement)),
        ("## Figures on the test images", _figures(origin, judgement)),
        ("## How far to rely on an answer", _reliance(origin, judgement)),
        ("## Limits", _limits(origin, judgement)),
        ("## Data and training", _making(origin)),
        ("## Classes", _classes(origin, judgement)),
        ("## Slices", _slices(judgement)),
    )
    return "\n".join(line for title, lines in sections for line in (title, "", *lines, ""))


def _title(origin: Origin, judgement: Judgement) -> str:
    """With the figure that is looked for first: MLflow's list of versions shows this line alone."""
    accuracy = _number(judgement.figures["accuracy"])
    return f"# {text(origin.name)}: accuracy {accuracy} on {judgement.images} test images"


def shortened(card: str, most: int = DESCRIPTION) -> str:
    """Return *card* cut after a whole line, where it is longer than *most* characters."""
    if len(card) <= most:
        return card
    end = "\n\n*Cut here; whole in the artefact* `test/model_card.md` *of the version's run.*\n"
    kept = card[: most - len(end)]
    return kept[: kept.rfind("\n")].rstrip() + end


def _what(origin: Origin, judgement: Judgement) -> Iterator[str]:
    classes = len(next(iter(origin.counts.values())))
    yield f"**{verdict(judgement)}**"
    yield ""
    yield (
        f"A {text(origin.architecture)} that tells {classes} classes of {text(origin.source)} "
        f"apart, from {origin.image_size} × {origin.image_size} pixels; "
        f"variants: {', '.join(judgement.assessed)}."
    )


def _gates(rows: Sequence[GateRow]) -> Iterator[str]:
    cells = [
        (r.name, _number(r.value), bound_words(r), r.verdict, "yes" if r.passed else "NO")
        for r in rows
    ]
    yield from table(("gate", "value", "bound", "verdict", "passed"), cells)


def _champion(origin: Origin, judgement: Judgement) -> Iterator[str]:
    decisive = judgement.comparison
    if origin.champion is None or decisive is None:
        yield "There was none to compare with."
        return
    yield f"Version {origin.champion}, run again on the same test images; variant by variant:"
    yield ""
    for name, comparison in judgement.comparisons.items():
        yield f"- {name}: {describe(comparison, origin.test_use)}"
    for name, why in origin.set_aside.items():
        yield f"- the champion's {name} is set aside on this processor: {text(why, 200)}"
    yield ""
    yield "The worst of these counts. " + _shown(decisive)


def _shown(comparison: Comparison) -> str:
    difference = comparison.difference
    if difference is None or difference.smallest is None:
        return "These test images could show no difference, however large."
    return (
        f"The smallest true difference that these test images show, 8 times of 10, is "
        f"{difference.smallest:.4f}, at level {comparison.alpha:.2g}: alpha is spent over all "
        f"uses of the test split."
    )


def _figures(origin: Origin, judgement: Judgement) -> Iterator[str]:
    yield (
        f"{judgement.images} {seen(origin.contamination.as_tag(), origin.test_use == 1)}; these "
        f"were opened for the {ordinal(origin.test_use)} time. Of several variants the "
        "worst counts."
    )
    yield ""
    for sentence in told(origin.contamination):
        yield from (sentence, "")
    several = list(judgement.assessed.items()) if len(judgement.assessed) > 1 else []
    cells = [
        (
            name,
            _number(value),
            _interval(judgement.intervals.get(name)),
            *(_number(assessment.figures.get(name)) for _, assessment in several),
        )
        for name, value in judgement.figures.items()
    ]
    yield from table(("figure", "value", "95% interval", *(name for name, _ in several)), cells)


def _reliance(origin: Origin, judgement: Judgement) -> Iterator[str]:
    figures = judgement.figures
    temperature = "" if origin.temperature is None else f" at temperature {origin.temperature:.3f}"
    yield (
        f"- Calibration error{temperature}: {_number(figures['calibration_error'])} "
        f"({_interval(judgement.intervals.get('calibration_error'))})."
    )
    if origin.coverage is None or "coverage" not in figures:
        yield "- It was sealed without conformal sets: it never abstains."
        return
    yield (
        f"- Conformal sets: {origin.coverage:.2f} of them should hold the right class, "
        f"{figures['coverage']:.4f} did. Mean size {figures['mean_set_size']:.2f}. Of sets made "
        f"for each class by itself, the worst class's: {figures['worst_class_coverage']:.4f}."
    )
    yield f"- It abstained on {figures['abstained']:.4f} of these images."


def _limits(origin: Origin, judgement: Judgement) -> Iterator[str]:
    few = [name for name, count in origin.counts["test"].items() if count < SMALL]
    small = sum(each.small for each in next(iter(judgement.assessed.values())).slices)
    yield (
        f"- Measured on held-out images of {text(origin.source)} alone: other cameras, places and "
        "times were not seen."
    )
    yield (
        "- It names one of its classes for any image, also for one of none of them: act on the "
        "reason to abstain, where it gives one."
    )
    if few:
        yield (
            f"- Fewer than {SMALL} test images each, so that little is known: "
            f"{', '.join(map(text, few[:10]))}{f' and {len(few) - 10} more' * (len(few) > 10)}."
        )
    if small:
        yield f"- {small} slices have fewer than {SMALL} images."


def _making(origin: Origin) -> Iterator[str]:
    splits = ", ".join(f"{name} {sum(n.values())}" for name, n in origin.counts.items())
    yield f"- Images: {splits}; left out {origin.left_out}. Dataset {code(origin.dataset)}."
    yield (
        f"- {text(origin.architecture)}, {origin.num_parameters:,} parameters; "
        f"epoch {origin.best_epoch} was kept."
    )
    known = [f"{key} {origin.params[key]}" for key in _TRAINING if key in origin.params]
    yield f"- {', '.join(known)}."
    yield f"- Started from {text(origin.start or 'none')}: {licence(origin.start)}."
    yield from (f"- {name}: {code(value)}" for name, value in origin.hashes.items())


def _classes(origin: Origin, judgement: Judgement) -> Iterator[str]:
    """Figures are those of the first variant."""
    head = ("class", *origin.counts, "precision", "recall", "95% interval", "F1", "average prec.")
    (variant, assessment), *others = judgement.assessed.items()
    if others:
        yield f"Figures of {variant}."
        yield ""
    cells = []
    for name, found in assessment.classes.items():
        drawn = found["intervals"]
        figures = [found[key] for key in ("precision", "recall", "f1", "average_precision")]
        precision, recall, f1, average = map(_number, figures)
        counts = (str(split[name]) for split in origin.counts.values())
        recalls = _interval(drawn.get("recall"))
        cells.append((text(name), *counts, precision, recall, recalls, f1, average))
    yield from table(head, cells)


def _slices(judgement: Judgement) -> Iterator[str]:
    slices = next(iter(judgement.assessed.values())).slices
    cells = [
        (
            text(each.column),
            text(each.value),
            f"{each.images}{' (small)' * each.small}",
            _number(each.figures["accuracy"]),
            _interval(each.accuracy_interval),
        )
        for each in slices
    ]
    yield from table(("column", "value", "images", "accuracy", "95% interval"), cells)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"
