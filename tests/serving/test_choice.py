"""Which graph runs: the fastest that is right here, or the one asked for, or none."""

import json
import time

import numpy as np
import pytest
from graphs import model

from pipeline.errors import ArtefactError
from pipeline.serving import choice, engine
from pipeline.serving.choice import choose, disagreement


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """These graphs differ so much that a twentieth of a second tells them apart."""
    monkeypatch.setattr(choice, "_SECONDS", 0.05)


@pytest.mark.parametrize("fast", ["fp32", "int8"])
def test_the_fastest_runs(tmp_path, fast):
    graphs = {name: {"work": 0 if name == fast else 40} for name in ("fp32", "int8")}
    chosen = choose(*model(tmp_path, **graphs))
    assert (chosen.variant, chosen.set_aside) == (fast, {})


@pytest.mark.parametrize("wanted", ["fp32", "int8"])
def test_the_one_asked_for_runs_however_slow(tmp_path, wanted):
    graphs = {name: {"work": 40 if name == wanted else 0} for name in ("fp32", "int8")}
    started = time.perf_counter()
    assert choose(*model(tmp_path, **graphs), wanted).variant == wanted
    assert time.perf_counter() - started < 10


def test_one_that_disagrees_here_is_set_aside_by_name_however_fast(tmp_path):
    chosen = choose(*model(tmp_path, fp32={"work": 40}, int8={"bias": 1.0}))
    assert chosen.variant == "fp32"
    assert "disagrees" in chosen.set_aside["int8"]


def test_a_graph_that_onnx_runtime_cannot_run_is_an_error_of_ours(tmp_path):
    (tmp_path / "fp32.onnx").write_bytes(b"no graph")
    with pytest.raises(ArtefactError, match=r"cannot run fp32\.onnx"):
        engine.Engine(tmp_path / "fp32.onnx")


def test_no_number_is_no_agreement(tmp_path):
    chosen = choose(*model(tmp_path, fp32={"work": 40}, int8={"bias": float("nan")}))
    assert chosen.variant == "fp32"
    assert "int8" in chosen.set_aside


def test_asking_for_one_that_disagrees_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ArtefactError, match=r"int8: it disagrees"):
        choose(*model(tmp_path, fp32={}, int8={"bias": 1.0}), "int8")


def test_where_none_agrees_nothing_runs(tmp_path):
    with pytest.raises(ArtefactError, match="does not answer here"):
        choose(*model(tmp_path, fp32={"bias": 1.0}, int8={"bias": 1.0}))


def test_one_that_has_no_other_beside_it_has_to_agree_as_well(tmp_path):
    with pytest.raises(ArtefactError, match="does not answer here"):
        choose(*model(tmp_path, fp32={"bias": 1.0}))


def test_asking_for_one_that_was_not_sealed_is_an_error_that_names_those_that_were(tmp_path):
    with pytest.raises(ArtefactError, match="no variant int8") as caught:
        choose(*model(tmp_path, fp32={}), "int8")
    assert "it has fp32" in str(caught.value)


def test_a_choice_is_remembered_and_not_measured_again(tmp_path):
    made = model(tmp_path / "model", fp32={"work": 40}, int8={})
    assert choose(*made, memory=tmp_path / "memory").variant == "int8"
    (note,) = (tmp_path / "memory").iterdir()
    note.write_text(json.dumps({"variant": "fp32"}))  # what a measurement would never say
    assert choose(*made, memory=tmp_path / "memory").variant == "fp32"


def test_where_no_folder_is_given_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = model(tmp_path / "model", fp32={}, int8={})
    before = sorted(tmp_path.rglob("*"))
    choose(*made)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("change", ["graph", "processor"])
def test_another_graph_or_processor_is_measured_for_itself(tmp_path, monkeypatch, change):
    made = model(tmp_path / "model", fp32={}, int8={})
    choose(*made, memory=tmp_path / "memory")
    if change == "graph":
        made = model(tmp_path / "model", fp32={"work": 1}, int8={})
    else:
        monkeypatch.setattr(choice, "_processor", lambda: "another")
    choose(*made, memory=tmp_path / "memory")
    assert len(list((tmp_path / "memory").iterdir())) == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"variant": "../../evil"}', '{"variant": []}'])
def test_a_damaged_memory_is_none(tmp_path, text):
    made = model(tmp_path / "model", fp32={"work": 40}, int8={})
    choose(*made, memory=tmp_path / "memory")
    (note,) = (tmp_path / "memory").iterdir()
    note.write_text(text)
    assert choose(*made, memory=tmp_path / "memory").variant == "int8"


def test_what_is_remembered_still_has_to_pass_the_self_test(tmp_path):
    """The same name of a processor, and yet it saturates: memory may be a shared disk."""
    made = model(tmp_path / "model", fp32={"work": 40}, int8={"bias": 1.0})
    choose(*made, memory=tmp_path / "memory")
    (note,) = (tmp_path / "memory").iterdir()
    note.write_text(json.dumps({"variant": "int8"}))
    chosen = choose(*made, memory=tmp_path / "memory")
    assert chosen.variant == "fp32"
    assert "int8" in chosen.set_aside
    assert json.loads(note.read_text())["variant"] == "fp32"


def test_a_folder_that_cannot_be_written_costs_no_answer(tmp_path):
    made = model(tmp_path / "model", fp32={"work": 40}, int8={})
    (tmp_path / "memory").write_text("a file")
    assert choose(*made, memory=tmp_path / "memory").variant == "int8"


def test_disagreement_is_0_for_equal_answers_and_1_for_opposite_ones():
    one = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    assert disagreement(one, one) == 0
    assert disagreement(one, one[::-1]) == 1
