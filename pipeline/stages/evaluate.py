"""models/serving → reports/evaluation: what the sealed model does on the validation split."""

from collections.abc import Callable

from pipeline.cards import read_card, write_card
from pipeline.data.splits import read_splits
from pipeline.evaluation.measure import measure
from pipeline.evaluation.plots import draw_confusion_matrix
from pipeline.export.artefact import open_artefact
from pipeline.metrics import confusion_matrix, summary
from pipeline.params import Params
from pipeline.tracking.publish import try_to_publish
from pipeline.workspace import Home, Workspace, fresh


def run(workspace: Workspace, home: Home, params: Params, say: Callable[[str], None]) -> None:
    digest = read_card(workspace.export_report / "card.json")["serving_digest"]
    classifier = open_artefact(workspace.serving, digest)
    rows = read_splits(workspace.splits).of("validation")
    measured = measure(classifier, workspace.images, rows, params.evaluate.batch_size)
    figures = summary(measured.probabilities, measured.labels)
    counts = confusion_matrix(measured.probabilities, measured.labels)
    classes = classifier.classes
    predicted = measured.probabilities.argmax(1)

    out = fresh(workspace.evaluation)
    write_card(out / "metrics.json", {"validation": figures})
    write_card(
        out / "confusion.json",
        [
            {"actual": classes[right], "predicted": classes[answer]}
            for right, answer in zip(measured.labels, predicted, strict=True)
        ],
    )
    draw_confusion_matrix(out / "confusion.png", counts, classes, f"Validation, {len(rows)} images")
    write_card(out / "card.json", {"serving_digest": digest, "images": len(rows)})
    say(", ".join(f"{name} {value:.4f}" for name, value in figures.items()))
    try_to_publish(workspace, home, params.model_name, say)
