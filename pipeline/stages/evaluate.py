"""models/serving → reports/evaluation: what the sealed model does on the validation split.

How fast it does it → .darkroom/timings at home, since no output may hold a time.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipeline.cards import read_card, write_card
from pipeline.data.cache import UNLIMITED
from pipeline.data.catalogue import Catalogue, read_catalogue
from pipeline.data.splits import SplitRow, read_splits
from pipeline.data.thumbnails import Thumbnail
from pipeline.errors import ArtefactError
from pipeline.evaluation.assess import Assessment, assess, worst
from pipeline.evaluation.columns import columns_of
from pipeline.evaluation.concerns import concerns_of
from pipeline.evaluation.gallery import (
    Mistake,
    doubted,
    most_confused_pairs,
    surest_mistakes,
)
from pipeline.evaluation.measure import Measured, measure, open_variants
from pipeline.evaluation.occlusion import occlude, picture
from pipeline.evaluation.page import Evaluation, write_page
from pipeline.evaluation.plots import draw_all
from pipeline.evaluation.suspects import find_suspects, write_proposals
from pipeline.evaluation.timing import time_variants, write_timings
from pipeline.export.artefact import SealedClassifier
from pipeline.params import Params
from pipeline.serving.abstention import THRESHOLDS
from pipeline.serving.images import to_square
from pipeline.tracking.publish import try_to_publish
from pipeline.workspace import Home, Workspace, fresh

_SPLIT = "validation"
_MOST_MISTAKES, _MOST_OCCLUDED, _MOST_CONFUSED = 24, 8, 10
_SAID = ("accuracy", "macro_f1", "log_loss")


def run(workspace: Workspace, home: Home, params: Params, say: Callable[[str], None]) -> None:
    """Raises ArtefactError where a variant cannot be measured here, ParamsError where
    evaluate.slices names what the catalogue does not have."""
    digest = read_card(workspace.export_report / "card.json")["serving_digest"]
    variants = open_variants(workspace.serving, digest)
    main = next(iter(variants))
    classes = variants[main].classes
    rows = read_splits(workspace.splits).of(_SPLIT)
    catalogue = read_catalogue(workspace.catalogue)
    columns = columns_of(catalogue, rows, params.evaluate.slices)
    measured = {
        name: measure(classifier, workspace.images, rows, params.evaluate.batch_size)
        for name, classifier in variants.items()
    }
    assessed = {name: assess(found, classes, columns) for name, found in measured.items()}
    evaluation = _describe(workspace, catalogue, rows, classes, measured[main], assessed)

    out = fresh(workspace.evaluation)
    _write_figures(out, evaluation, measured[main], classes)
    probabilities, labels = measured[main].probabilities, measured[main].labels
    draw_all(out, probabilities, labels, classes, f"{main}, {len(rows)} {_SPLIT} images")
    doubted_labels = [each.suspect for each in evaluation.suspects]
    write_proposals(out, doubted_labels, evaluation.main.figures["accuracy"])
    occluded = _occluded(workspace, variants[main], evaluation.mistakes)
    write_page(out / "index.html", evaluation, workspace.images, occluded)
    write_card(out / "card.json", {"serving_digest": digest, "images": len(rows)})
    say(", ".join(f"{name} {evaluation.headline[name]:.4f}" for name in _SAID))
    _time(workspace, home, digest, list(variants), rows, say)
    try_to_publish(workspace, home, params.model_name, say)


def _describe(
    workspace: Workspace,
    catalogue: Catalogue,
    rows: Sequence[SplitRow],
    classes: Sequence[str],
    measured: Measured,
    assessed: Mapping[str, Assessment],
) -> Evaluation:
    """Find what is to be shown; *measured* are the answers of the variant that is shown."""
    probabilities, labels = measured.probabilities, measured.labels
    paths = {row.sha256: row.path for row in catalogue.rows}
    suspects = find_suspects(probabilities, labels, [row.sha256 for row in rows], classes)
    return Evaluation(
        name=Path(catalogue.source).name or catalogue.source,
        assessed=assessed,
        headline=worst(each.figures for each in assessed.values()),
        coverage=_coverage(workspace.serving),
        confused=most_confused_pairs(probabilities, labels, classes, _MOST_CONFUSED),
        wrong=int((probabilities.argmax(1) != labels).sum()),
        mistakes=surest_mistakes(probabilities, labels, rows, classes, paths, _MOST_MISTAKES),
        suspects=doubted(suspects, rows, paths),
        concerns=concerns_of(assessed, len(suspects)),
    )


def _write_figures(
    out: Path, evaluation: Evaluation, measured: Measured, classes: Sequence[str]
) -> None:
    """metrics.json: what DVC and MLflow compare; figures.json: everything."""
    by_variant = {name: each.figures for name, each in evaluation.assessed.items()}
    write_card(out / "metrics.json", {_SPLIT: {**evaluation.headline, **by_variant}})
    every = {name: each.as_json() for name, each in evaluation.assessed.items()}
    write_card(out / "figures.json", {"split": _SPLIT, "variants": every})
    answers = measured.probabilities.argmax(1)
    write_card(
        out / "confusion.json",
        [
            {"actual": _inert(classes[right]), "predicted": _inert(classes[answer])}
            for right, answer in zip(measured.labels, answers, strict=True)
        ],
    )


def _inert(name: str) -> str:
    """DVC writes it into a script of its page as it is: no tag may begin there."""
    return name.replace("<", "‹")


def _coverage(serving: Path) -> float | None:
    """Return the share that was asked of the conformal sets; None where the model has none."""
    if not (serving / THRESHOLDS).exists():
        return None
    return float(read_card(serving / THRESHOLDS)["coverage"])


def _occluded(
    workspace: Workspace, classifier: SealedClassifier, mistakes: Sequence[Mistake]
) -> dict[str, Thumbnail]:
    """Map some of *mistakes*, by their sha256; fifty answers each."""
    size = read_card(workspace.serving / "card.json")["image_size"]
    found = {}
    for mistake in mistakes[:_MOST_OCCLUDED]:
        square = to_square((workspace.images / mistake.file).read_bytes(), size, UNLIMITED)
        drops = occlude(classifier, square)
        if drops is not None:
            found[mistake.sha256] = picture(square, drops)
    return found


def _time(
    workspace: Workspace,
    home: Home,
    digest: str,
    variants: Sequence[str],
    rows: Sequence[SplitRow],
    say: Callable[[str], None],
) -> None:
    """No outcome of this stage hangs on it."""
    files = [row.file for row in rows]
    try:
        timings = time_variants(workspace.serving, digest, variants, workspace.images, files)
    except ArtefactError as error:
        say(f"{error.what}: {error.where[0]}; dvc repro --force evaluate tries again")
        return
    write_timings(home.private, digest, timings)
    for name, timing in timings.items():
        say(
            f"{name}: {timing.latency_p50_ms:.1f} ms an image (p99 {timing.latency_p99_ms:.1f}), "
            f"{timing.images_per_second:.0f} images/s in batches"
        )
