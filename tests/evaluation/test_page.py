"""The page says everything, in words, and is no page of the source's making."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pages import Page

from pipeline.data.thumbnails import Thumbnail
from pipeline.evaluation.assess import assess
from pipeline.evaluation.concerns import concerns_of
from pipeline.evaluation.gallery import Confused, Doubted, Mistake
from pipeline.evaluation.measure import Measured
from pipeline.evaluation.page import MOST_SUSPECTS, Evaluation, render, write_page
from pipeline.evaluation.plots import PLOTS
from pipeline.evaluation.suspects import Suspect

HOSTILE = "</td><script>alert(1)</script>\"'\n`|&<img src=//x onerror=alert(2)>"
SHOWN = Thumbnail("data:image/png;base64,AA==", 1, 1)


class Everything(dict):
    """A thumbnail for whatever is asked."""

    def __missing__(self, file: str) -> Thumbnail:
        return SHOWN


def evaluation(*classes: str, n: int = 60, suspects: int = 1) -> Evaluation:
    """Of a model that is right in three of four cases; its classes, paths and slices are named
    like the first class."""
    name = classes[0]
    labels = np.arange(n) % len(classes)
    called = np.where(np.arange(n) % 4 == 0, (labels + 1) % len(classes), labels)
    probabilities = np.full((n, len(classes)), 0.1 / (len(classes) - 1))
    probabilities[np.arange(n), called] = 0.9
    columns = {name: [name] * (n - 5) + [None] * 5}
    main = assess(Measured(probabilities, labels), classes, columns)
    doubt = Doubted(Suspect("5" * 64, name, classes[1], 0.5), "s.png", f"{name}/s.png")
    return Evaluation(
        name=name,
        assessed={"fp32": main, "int8": main},
        headline=main.figures,
        coverage=None,
        confused=(Confused(name, classes[1], 7, 0.25),),
        wrong=n // 4,
        mistakes=(Mistake("4" * 64, "m.png", f"{name}/m.png", name, classes[1], 0.9, 0.1),),
        suspects=(doubt,) * suspects,
        concerns=concerns_of({"fp32": main}, suspects),
    )


def page(shown: Evaluation) -> Page:
    plots = dict.fromkeys(PLOTS, SHOWN.uri)
    return Page(render(shown, Everything(), {"4" * 64: SHOWN}, plots))


def test_what_a_source_names_is_shown_as_words_and_never_as_a_page():
    harmless = {tag for tag, _ in page(evaluation("cat", "dog")).elements}
    hostile = page(evaluation(HOSTILE, "dog"))
    assert {tag for tag, _ in hostile.elements} <= harmless
    assert hostile.words.count(HOSTILE) >= 8
    for tag, attributes in hostile.elements:
        assert tag not in ("script", "iframe", "object", "base", "form", "link")
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("href") or "#").startswith("#")
    assert all(source.startswith("data:image/") for source in hostile.sources)


def test_every_figure_is_shown_for_every_variant_with_its_interval():
    shown = evaluation("cat", "dog")
    words = page(shown).words
    assert words.count("fp32") >= 1 and words.count("int8") >= 1
    for name in ("accuracy", "macro_f1", "log_loss", "roc_auc"):
        low, high = shown.main.intervals[name]
        assert words.count(f"{shown.main.figures[name]:.3f}") >= 2, name
        assert words.count(f"{low:.3f} to {high:.3f}") >= 2, name


def test_small_slices_are_marked_and_all_have_their_n():
    words = page(evaluation("cat", "dog")).words
    assert words.count("few images") == 1
    assert "missing" in words


def test_a_model_without_thresholds_is_said_to_have_none():
    assert "without thresholds" in page(evaluation("cat", "dog")).words


def test_the_asked_and_the_found_coverage_stand_side_by_side():
    shown = evaluation("cat", "dog")
    found = {"coverage": 0.875, "worst_class_coverage": 0.75, "mean_set_size": 1.25}
    figures = {**shown.main.figures, **found, "abstained": 0.125}
    main = replace(shown.main, figures=figures)
    for known in main.classes.values():
        known["coverage"] = 0.8
    words = page(replace(shown, assessed={"fp32": main}, coverage=0.9)).words
    for said in ("90.0%", "87.5%", "75.0%", "1.25", "12.5%"):
        assert said in words


def test_of_many_suspects_some_are_shown_and_all_are_counted():
    shown = page(evaluation("cat", "dog", suspects=MOST_SUSPECTS + 1000))
    assert shown.words.count("labelled") == MOST_SUSPECTS
    assert "… and 1,000 more, in relabel_proposed.csv" in shown.words


def test_of_a_weak_model_most_suspects_are_said_to_be_its_own_mistakes():
    shown = evaluation("cat", "dog", suspects=19)
    hedge = "The model contradicts 19 labels; at 75.0% accuracy most of these may be its own"
    assert hedge in page(shown).words
    strong = replace(shown.main, figures=shown.main.figures | {"accuracy": 0.95})
    words = page(replace(shown, assessed={"fp32": strong})).words
    assert "The model contradicts 19 labels, which may be wrong." in words
    assert "own mistakes" not in words


def test_how_many_mistakes_have_a_map_is_said():
    shown = evaluation("cat", "dog")
    assert "Beside each, what the answer rests on" in page(shown).words
    other = replace(shown.mistakes[0], sha256="6" * 64)
    words = page(replace(shown, mistakes=(*shown.mistakes, other))).words
    assert "Beside the first 1, what the answer rests on" in words


def test_of_many_classes_the_worst_are_listed():
    shown = evaluation("cat", "dog")
    known = shown.main.classes["cat"]
    classes = {f"class {c}": known | {"recall": c / 300} for c in range(300)}
    many = page(replace(shown, assessed={"fp32": replace(shown.main, classes=classes)}))
    assert "class 199" in many.words
    assert "class 200" not in many.words
    assert "… and 100 more, in figures.json" in many.words


def test_a_class_without_images_or_never_called_so_has_dashes():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1]])
    main = assess(Measured(probabilities, np.array([0, 1])), ("cat", "dog", "owl"), {})
    shown = page(replace(evaluation("cat", "dog"), assessed={"fp32": main}))
    assert shown.words.count("–") == 6  # dog has no precision, owl nothing at all


def test_a_model_without_a_mistake_or_suspect_is_said_to_have_none():
    shown = replace(
        evaluation("cat", "dog"), mistakes=(), wrong=0, suspects=(), concerns=(), confused=()
    )
    words = page(shown).words
    for said in ("every image is answered rightly", "Nothing stands out", "None: no validation"):
        assert said in words


def test_every_concern_leads_to_a_section_that_is_there():
    shown = page(evaluation("cat", "dog"))
    places = {attributes.get("id") for _, attributes in shown.elements}
    links = [attributes["href"] for tag, attributes in shown.elements if tag == "a"]
    assert links and all(link and link[1:] in places for link in links)


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_picture_that_cannot_be_shown_is_a_grey_square(tmp_path: Path, damage):
    for name in PLOTS:
        (tmp_path / name).write_bytes(b"plot")
    if damage == "damaged":
        (tmp_path / "m.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    write_page(tmp_path / "index.html", evaluation("cat", "dog"), tmp_path, {})
    sources = Page((tmp_path / "index.html").read_text()).sources
    assert sum(source.startswith("data:image/svg+xml") for source in sources) == 2
