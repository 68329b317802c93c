"""Only what has earned it serves, on test images that were opened once for each model."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from brightness import graph
from mlflow import MlflowClient
from registrations import (
    ALWAYS_DARK,
    BACKWARDS,
    DARK,
    LIGHT,
    MEDIOCRE,
    RIGHT,
    Project,
    make_project,
)

from pipeline.cards import write_card
from pipeline.data.splits import Splits, read_splits, write_splits
from pipeline.errors import ArtefactError, ProjectError, RegistryError
from pipeline.operations import models, opening
from pipeline.operations.promote import promote, rollback
from pipeline.params import set_values
from pipeline.serving.choice import SelfTest
from pipeline.tracking import registry
from pipeline.workspace import Home


@pytest.fixture(autouse=True)
def _no_other_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def client(home: Home) -> MlflowClient:
    uri = f"sqlite:///{home.mlflow_database}"
    return MlflowClient(uri, uri)


@pytest.fixture
def project(tmp_path: Path, home: Home, request: pytest.FixtureRequest) -> Project:
    """In which no light image may be sacrificed to the dark ones."""
    name = re.sub(r"\W+", "-", request.node.name)
    return make_project(tmp_path / "project", home, name, {"worst_class_recall": {"min": 0.5}})


@pytest.fixture
def register(project: Project) -> Callable[[float], None]:
    """Return a function that makes a model of a threshold and registers it."""
    seeds = iter(range(100))

    def make(threshold: float):
        project.make(threshold, seed=next(seeds))
        return project.register()

    return make


@pytest.fixture
def version(client: MlflowClient, project: Project):
    return lambda number: client.get_model_version(project.params.model_name, str(number))


@pytest.fixture
def serving(client: MlflowClient, project: Project):
    name = project.params.model_name
    return lambda: int(client.get_model_version_by_alias(name, "champion").version)


def test_of_four_challengers_the_better_one_and_an_equal_one_are_promoted(register, version):
    """Worse; equal; better on the whole, but wrong in every light image; better."""
    assert register(MEDIOCRE).champion == 1
    champions = [register(t).champion for t in (BACKWARDS, MEDIOCRE, ALWAYS_DARK, RIGHT)]
    assert champions == [1, 3, 3, 5]
    firsts = [version(number).description.splitlines()[2] for number in range(1, 6)]
    for first, said in zip(
        firsts,
        (
            "; promoted; there was no champion",
            "; not promoted; worst_class_recall 0.0000, at least 0.5000: failed; worse: accuracy",
            "; promoted; not worse: the same answers as the champion's",
            "; not promoted; worst_class_recall 0.0000, at least 0.5000: failed; better: accuracy",
            "**promoted; better: accuracy higher by 0.2600",
        ),
        strict=True,
    ):
        assert said in first and first.startswith(("**promoted", "**BEWARE"))


def test_only_a_better_one_is_promoted_where_better_is_asked_for(project, register):
    text = project.workspace.params.read_text()
    project.workspace.params.write_text(text.replace("promote_if: not_worse", "promote_if: better"))
    assert [register(t).champion for t in (MEDIOCRE, MEDIOCRE, RIGHT)] == [1, 1, 3]


def test_what_this_test_set_cannot_tell_is_not_promoted(register, version):
    """Two dark images of 300 more: that may be chance."""
    register(MEDIOCRE)
    told = register(MEDIOCRE + 1)
    assert told.champion == 1 and "not promoted; cannot tell: better on these 300" in told.verdict
    assert told.seen == "images that no training looked at, opened for the 2nd time"
    assert version(2).tags["darkroom.promoted"] == "false"


def test_a_first_model_that_fails_a_gate_leaves_no_champion(register):
    told = register(ALWAYS_DARK)
    assert told.champion is None and told.verdict.startswith("BEWARE: not surely better")
    assert "; not promoted; worst_class_recall" in told.verdict


def test_what_the_test_images_showed_is_on_the_version_its_run_and_its_model(
    client, register, version
):
    register(MEDIOCRE)
    told = register(RIGHT)
    found = version(told.number)
    tags = found.tags
    assert tags["test.accuracy"] == "1.0" and 0.98 < float(tags["test.accuracy_low"]) < 1
    assert float(tags["test.accuracy_high"]) == pytest.approx(1)
    assert tags["test.images"] == str(DARK + LIGHT) and tags["test_use"] == "2"
    assert tags["champion.version"] == "1" and tags["champion.left_out"] == "0"
    assert tags["darkroom.dataset"] == "0123456789abcdef.dir"
    rows = {row["name"]: row for row in json.loads(tags["darkroom.gate"])}
    assert rows["worst_class_recall"]["passed"] and rows["champion"]["verdict"] == "better"
    model = client.get_logged_model(found.source.removeprefix("models:/"))
    shown = {metric.key: metric.value for metric in model.metrics}
    assert shown["test.accuracy"] == shown["test.fp32.accuracy"] == 1
    assert client.get_run(found.run_id).data.metrics["test.worst_class_recall"] == 1
    held = {item.path for item in client.list_artifacts(found.run_id, "test")}
    assert held == {"test/model_card.md", "test/judgement.json"}


def test_no_tag_is_longer_than_a_store_holds(register, version):
    register(MEDIOCRE)
    found = version(register(RIGHT).number)
    assert max(map(len, found.tags.values())) <= 5000 and len(found.description) <= 5000


def test_images_that_the_champion_knows_are_left_out_and_counted(project, register, version):
    """A hundred of today's test images were its training and validation images."""
    whole = read_splits(project.workspace.splits)
    taken = {row.sha256 for row in whole.of("test")[:100]}

    def earlier(number: int, row):
        split = ("train", "validation")[number % 2] if row.sha256 in taken else row.split
        return type(row)(**{**vars(row), "split": split})

    rows = tuple(earlier(number, row) for number, row in enumerate(whole.rows))
    write_splits(project.workspace.splits, Splits(rows, 0, 0.15, 0.15))
    register(MEDIOCRE)
    write_splits(project.workspace.splits, whole)
    told = register(RIGHT)
    assert version(told.number).tags["champion.left_out"] == "100"
    assert "on 200 images; 100 that the champion knows are left out" in told.verdict
    assert told.images == 300, "its own figures are of all of them"


def start_from(project: Project, weights: str, sha256: str) -> None:
    path = project.workspace.training_report / "card.json"
    start = {"weights": weights, "sha256": sha256}
    write_card(path, json.loads(path.read_text()) | {"start": start})


def with_some_in_training(whole: Splits, number: int) -> Splits:
    taken = {row.sha256 for row in whole.of("test")[:number]}
    rows = (replace(r, split="train") if r.sha256 in taken else r for r in whole.rows)
    return Splits(tuple(rows), 0, 0.15, 0.15)


def test_test_images_that_the_starting_weights_know_are_counted_through_all_that_came_before(
    project, version
):
    """Version 1 was trained on 7 of today's test images; 2 started from it, and 3 from 2."""
    splits, whole = project.workspace.splits, read_splits(project.workspace.splits)
    write_splits(splits, with_some_in_training(whole, 7))
    project.make(MEDIOCRE, seed=78)  # no other test's model has these weights
    assert project.register().seen == "images that nothing else looked at"
    write_splits(splits, whole)
    for number in (1, 2):
        project.make(RIGHT, seed=10 + number)
        start_from(project, "mine.safetensors", version(number).tags["darkroom.weights_sha256"])
        opened = f"opened for the {('2nd', '3rd')[number - 1]} time"
        known = "images, 7 of which its starting weights know"
        assert project.register().seen == f"{known}, {opened}"
    assert project.register().seen.startswith("images, 7 of which"), "a repeat reads the tag"
    card = version(3).description
    assert "7 of the test images are among those that the weights that it started from " in card
    assert "(version 2 of " in card and ", version 1 of " in card
    assert "nothing else looked at" not in card


def test_weights_of_unknown_origin_may_have_seen_the_test_images(project, version):
    project.make(RIGHT)
    start_from(project, "from/a/friend.safetensors", "ab" * 32)
    assert project.register().seen == (
        "images that its own training did not look at (its starting weights may have)"
    )
    assert "(friend.safetensors) may have seen test images" in version(1).description


def test_a_start_whose_run_has_lost_its_splits_may_have_seen_the_test_images(
    project, version, client
):
    project.make(MEDIOCRE, seed=77)  # no other test's model has these weights
    project.register()
    folder = Path(client.get_run(version(1).run_id).info.artifact_uri.removeprefix("file://"))
    (folder / "data/splits.parquet").write_bytes(b"damaged")
    client.delete_registered_model_alias(project.params.model_name, "champion")
    project.make(RIGHT, seed=1)
    start_from(project, "mine.safetensors", version(1).tags["darkroom.weights_sha256"])
    assert "its starting weights may have" in project.register().seen


def test_a_champion_whose_training_images_nobody_knows_is_not_passed(client, register, version):
    register(MEDIOCRE)
    folder = Path(client.get_run(version(1).run_id).info.artifact_uri.removeprefix("file://"))
    (folder / "data/splits.parquet").unlink()
    with pytest.raises(RegistryError, match="cannot be measured beside it") as caught:
        register(RIGHT)
    assert "splits.parquet" in str(caught.value)


def test_a_missing_model_is_named_and_not_called_a_silent_store(project):
    project.make(RIGHT)
    shutil.rmtree(project.workspace.serving)
    with pytest.raises(ProjectError, match="no trained and exported model here yet") as caught:
        project.register()
    assert str(project.workspace.serving) in str(caught.value)


def test_before_any_training_register_says_that_there_is_none(project):
    with pytest.raises(ProjectError, match="no trained and exported model") as caught:
        project.register()
    assert "FileNotFoundError" not in str(caught.value)


def test_a_known_model_is_not_measured_again(project, register):
    register(MEDIOCRE)
    for image in project.workspace.images.rglob("*.png"):
        image.unlink()
    told = project.register()
    assert (told.number, told.new) == (1, False)


def test_a_persons_own_tag_among_the_figures_stops_nothing(project, register, client):
    register(RIGHT)
    client.set_model_version_tag(project.params.model_name, "1", "test.reviewed", "yes")
    assert project.register().number == 1


def test_a_register_that_was_cut_off_does_not_undo_a_persons_rollback(project, register, client):
    """It was killed between the alias and the tag that says it is done."""
    register(MEDIOCRE)
    register(RIGHT)
    name = project.params.model_name
    client.delete_model_version_tag(name, "2", "darkroom.settled")
    rollback(project.home, project.params, print)
    assert project.register().champion == 1


def test_a_champions_variant_that_is_set_aside_on_this_processor_is_named(
    project, version, monkeypatch
):
    """It was registered where it answered."""
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    anything = SelfTest(pixels, np.array([[1, 0]], np.float32), {"fp32": 1.0, "int8": 1.0})
    project.make(MEDIOCRE, int8=graph(), self_test=anything)
    project.register()
    open_artefact = opening.open_artefact

    def on_another_processor(*args, **asked):
        if asked["variant"] == "int8":
            raise ArtefactError("the model does not answer here", "int8: by 0.4", mend="none")
        return open_artefact(*args, **asked)

    monkeypatch.setattr(opening, "open_artefact", on_another_processor)
    project.make(RIGHT, seed=1)
    said = []
    project.register(said.append)
    told = "the champion's int8 is set aside on this processor: the model does not answer here; int"
    assert any(line.startswith(told) for line in said)
    assert "the champion's int8 is set aside on this processor" in version(2).description


def test_a_model_that_cannot_be_timed_is_told_what_to_do_about_register(
    tmp_path, home, monkeypatch
):
    timed = make_project(tmp_path / "timed", home, "timed", {"latency_p99_ms": {"max": 100}})
    timed.make(RIGHT)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(ArtefactError, match="could not be timed") as caught:
        timed.register()
    assert "gate" in caught.value.mend and "evaluate" not in caught.value.mend


# How often the test images were opened


def uses(client: MlflowClient, project: Project) -> dict[int, str]:
    found = client.search_model_versions(f"name = '{project.params.model_name}'")
    return {int(version.version): version.tags["test_use"] for version in found}


def test_a_deleted_version_stays_counted(project, register, client):
    for threshold in (MEDIOCRE, ALWAYS_DARK):
        register(threshold)
    client.delete_model_version(project.params.model_name, "2")
    register(MEDIOCRE + 1)
    assert list(uses(client, project).values()) == ["3", "1"]


def test_a_version_that_was_deleted_and_made_again_is_the_same_use(project, register, client):
    for threshold in (MEDIOCRE, ALWAYS_DARK):
        register(threshold)
    client.delete_model_version(project.params.model_name, "2")
    project.register()
    assert list(uses(client, project).values()) == ["2", "1"]


def test_a_changed_share_does_not_start_anew_and_a_changed_seed_does(project, register, client):
    whole = read_splits(project.workspace.splits)
    for seed, validation, test in (
        (0, 0.15, 0.15),
        (0, 0.16, 0.15),
        (0, 0.15, 0.16),
        (1, 0.1, 0.1),
    ):
        write_splits(project.workspace.splits, Splits(whole.rows, seed, validation, test))
        register(MEDIOCRE)
    assert uses(client, project) == {1: "1", 2: "2", 3: "3", 4: "1"}


def test_a_killed_register_counts_once(project, register, client, monkeypatch):
    """It dies when its judgement can be seen in its run; another comes, in vain; then it again."""
    register(MEDIOCRE)

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(registry, "create_version", killed)
        register(ALWAYS_DARK)
    project.make(MEDIOCRE + 1, seed=50)
    project.register()
    project.make(ALWAYS_DARK, seed=1)
    project.register()
    assert uses(client, project) == {1: "1", 2: "3", 3: "2"}


def test_a_gate_of_latency_is_measured(client, tmp_path, home):
    slow = make_project(tmp_path / "slow", home, "slow", {"latency_p99_ms": {"max": 0.0001}})
    slow.make(RIGHT)
    told = slow.register()
    assert told.champion is None and "latency_p99_ms" in told.verdict
    assert float(client.get_model_version("slow", "1").tags["test.latency_p99_ms"]) > 0


# By a person's word


def test_a_version_that_failed_is_not_promoted_and_the_gate_is_named(project, register, serving):
    for threshold in (MEDIOCRE, ALWAYS_DARK):
        register(threshold)
    with pytest.raises(RegistryError, match="version 2 did not pass its gates") as caught:
        promote(project.home, project.params, 2, print)
    assert "worst_class_recall 0.0000, at least 0.5000: failed" in str(caught.value)
    assert serving() == 1 and "has changed since" not in str(caught.value)


def test_gates_that_changed_since_are_told_of_a_known_model_and_of_the_champion(project, register):
    register(MEDIOCRE)
    plain = project.workspace.params.read_text()
    declared = "  accuracy: {min: 0.9}\n  champion:  "
    project.workspace.params.write_text(plain.replace("  champion:  ", declared, 1))
    (listed,) = models.run(project.home, project.params)
    assert listed.verdict.endswith(
        "promoted: no champion; fails today's gate: accuracy 0.7400, at least 0.9000: failed"
    )
    said: list[str] = []
    project.register(said.append)
    assert said[1].startswith(
        "`gate` in params.yaml has changed since: a known model is not judged"
    )


def test_a_refusal_says_that_other_gates_judge_new_models_alone(project, register):
    register(ALWAYS_DARK)
    set_values(project.workspace.params, {"gate.worst_class_recall": {"min": 0.0}})
    with pytest.raises(RegistryError, match="has changed since") as caught:
        promote(project.home, project.params, 1, print)
    assert "not judged again" in caught.value.mend and len(str(caught.value).splitlines()) <= 5


def test_the_table_warns_of_a_champion_that_may_be_guessing(project, register):
    plain = project.workspace.params.read_text()
    declared = "  worst_class_recall: {'min': 0.5}\n"
    assert declared in plain
    project.workspace.params.write_text(plain.replace(declared, ""))
    register(ALWAYS_DARK)
    (listed,) = models.run(project.home, project.params)
    assert listed.verdict == "BEWARE, may be guessing; promoted: no champion"


def test_rollback_goes_back_and_promote_goes_forth_again(project, register, capsys):
    for threshold in (MEDIOCRE, RIGHT):
        register(threshold)
    name, here = project.params.model_name, (project.home, project.params)
    rollback(*here, print)
    with pytest.raises(RegistryError, match="no champion before version 1"):
        rollback(*here, print)
    promote(*here, 2, print)
    promote(*here, 2, print)
    rollback(*here, print)
    assert capsys.readouterr().out.splitlines() == [
        f"{name}: champion: version 1 again; before: version 2",
        f"{name}: champion: version 2; before: version 1",
        f"{name} version 2 is the champion already",
        f"{name}: champion: version 1 again; before: version 2",
    ]


def test_what_does_not_load_is_not_promoted(project, register, serving, client):
    for threshold in (MEDIOCRE, RIGHT):
        register(threshold)
    rollback(project.home, project.params, print)
    uri = client.get_model_version_download_uri(project.params.model_name, "2")
    with (Path(uri.removeprefix("file://")) / "artifacts/serving/fp32.onnx").open("ab") as out:
        out.write(b"\0")
    shutil.rmtree(project.home.private / "models")
    with pytest.raises(ArtefactError):
        promote(project.home, project.params, 2, print)
    assert serving() == 1


@pytest.mark.parametrize("verb", [models.run, lambda *a: rollback(*a, print)])
def test_a_name_without_versions_is_a_few_lines(project, verb):
    with pytest.raises(RegistryError, match="yet") as caught:
        verb(project.home, project.params)
    assert len(str(caught.value).splitlines()) <= 5


def test_the_table_says_who_serves_and_what_failed(project, register):
    for threshold in (MEDIOCRE, ALWAYS_DARK, RIGHT):
        register(threshold)
    listed = models.run(project.home, project.params)
    assert [each.number for each in listed] == [3, 2, 1]
    assert listed[0].aliases == ("challenger", "champion") and listed[1].aliases == ()
    assert listed[0].accuracy == "1.0000 (0.9874 to 1.0000)"
    assert [each.verdict for each in listed] == [
        "promoted: better",
        "BEWARE, may be guessing; not promoted: worst_class_recall; better",
        "BEWARE, may be guessing; promoted: no champion",
    ]
