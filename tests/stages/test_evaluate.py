"""The evaluation measures every variant, holds no time and no place, and shows where it is weak."""

import json
import shutil

import pytest
from evaluable import COVERAGE, GREYS, WRONG, make_evaluable
from pages import Page

from pipeline.data.corrections import read_relabelled
from pipeline.errors import ArtefactError, ParamsError
from pipeline.evaluation import timing
from pipeline.params import Params
from pipeline.stages.evaluate import run
from pipeline.workspace import Home, Workspace


def quiet(line: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, params: Params) -> Workspace:
    """Do not change it."""
    made = make_evaluable(tmp_path_factory.mktemp("evaluated"))
    run(made, Home(made.root), params, quiet)
    return made


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing.sys, "executable", "/nowhere/python")


def metrics(workspace: Workspace) -> dict:
    return json.loads((workspace.evaluation / "metrics.json").read_text())["validation"]


def test_the_headline_is_the_worst_of_the_variants_and_each_has_its_own_figures(evaluated):
    found = metrics(evaluated)
    shifted = sum(107 < grey <= 127 for grey in GREYS)
    right = len(GREYS) - len(WRONG)
    assert found["fp32"]["accuracy"] == pytest.approx(right / len(GREYS))
    assert found["int8"]["accuracy"] == pytest.approx((right - shifted) / len(GREYS))
    for name in ("accuracy", "macro_f1", "coverage"):
        assert found[name] == min(found["fp32"][name], found["int8"][name])
    for name in ("log_loss", "calibration_error", "abstained", "mean_set_size"):
        assert found[name] == max(found["fp32"][name], found["int8"][name])


def test_everything_is_in_one_file_with_intervals_classes_and_slices(evaluated):
    figures = json.loads((evaluated.evaluation / "figures.json").read_text())
    for variant, found in figures["variants"].items():
        assert found["figures"] == metrics(evaluated)[variant]
        low, high = found["intervals"]["accuracy"]
        assert low < found["figures"]["accuracy"] < high
        assert set(found["classes"]) == {"dark", "light"}
        assert {each["column"] for each in found["slices"]} == {"short_side", "brightness"}


def test_the_same_model_gives_the_same_bytes_wherever_it_lies(evaluated, tmp_path, params, untimed):
    moved = Workspace(tmp_path / "elsewhere")
    shutil.copytree(evaluated.root, moved.root)
    run(moved, Home(tmp_path), params, quiet)
    names = {path.name for path in evaluated.evaluation.iterdir()}
    assert names == {path.name for path in moved.evaluation.iterdir()}
    for name in names:
        there, here = (each.evaluation / name for each in (evaluated, moved))
        assert there.read_bytes() == here.read_bytes(), name
        assert str(evaluated.root).encode() not in there.read_bytes(), name


def test_a_class_that_is_markup_is_none_in_the_file_that_dvc_plots(tmp_path, params, untimed):
    """DVC's page holds the file's text in a script."""
    name = "</script><script>alert(2)</script>"
    made = make_evaluable(tmp_path, (name, "light"))
    run(made, Home(tmp_path), params, quiet)
    told = (made.evaluation / "confusion.json").read_text(encoding="utf-8")
    assert "alert(2)" in told and "<" not in told


def test_times_lie_at_home_and_in_no_output(evaluated):
    digest = json.loads((evaluated.evaluation / "card.json").read_text())["serving_digest"]
    times = timing.read_timings(evaluated.root / ".darkroom", digest)
    assert times["latency_p99_ms"] == max(
        times["fp32.latency_p99_ms"], times["int8.latency_p99_ms"]
    )
    for path in evaluated.evaluation.glob("*.json"):
        assert "latency" not in path.read_text()


def test_a_model_that_cannot_be_timed_is_evaluated_all_the_same(tmp_path, params, untimed):
    workspace = make_evaluable(tmp_path)
    said: list[str] = []
    run(workspace, Home(tmp_path), params, said.append)
    assert (workspace.evaluation / "index.html").exists()
    assert any("could not be timed" in line for line in said)


def test_wrong_labels_are_proposed_as_lines_that_split_reads(evaluated):
    proposed = read_relabelled(evaluated.evaluation / "relabel_proposed.csv")
    assert sorted(proposed.values()) == ["dark", "light"]
    page = Page((evaluated.evaluation / "index.html").read_text())
    for sha256 in proposed:
        assert sha256 in page.words
    for grey in WRONG:
        assert f"/{grey}.png" in page.words


def test_the_page_shows_what_was_asked_of_the_sets_and_where_mistakes_look(evaluated):
    page = Page((evaluated.evaluation / "index.html").read_text())
    assert f"{COVERAGE:.1%}" in page.words
    maps = [
        a for tag, a in page.elements if tag == "img" and a["alt"] == "What the answer rests on"
    ]
    assert len(maps) == len(WRONG)


def test_a_column_that_does_not_exist_stops_it_before_the_old_report_is_gone(tmp_path, params):
    workspace = make_evaluable(tmp_path)
    workspace.evaluation.mkdir(parents=True)
    (workspace.evaluation / "index.html").write_text("the last one")
    asked = params.evaluate.model_copy(update={"slices": ("weather",)})
    with pytest.raises(ParamsError, match="weather"):
        run(workspace, Home(tmp_path), params.model_copy(update={"evaluate": asked}), quiet)
    assert (workspace.evaluation / "index.html").read_text() == "the last one"


def test_a_variant_that_was_changed_is_not_measured(tmp_path, params):
    workspace = make_evaluable(tmp_path)
    with (workspace.serving / "int8.onnx").open("ab") as out:
        out.write(b"\0")
    with pytest.raises(ArtefactError, match="sealed"):
        run(workspace, Home(tmp_path), params, quiet)
    assert not workspace.evaluation.exists()
