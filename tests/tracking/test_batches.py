"""Each batch has one run in MLflow and one step in the series, whoever is killed when."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import reviews
from mlflow.entities import Metric, Run
from versions import register_brightness

from pipeline.inference.decisions import Decided
from pipeline.inference.live_accuracy import add, read_audit, write_audit
from pipeline.inference.predictions import batch_folders
from pipeline.inference.timing import TIMING
from pipeline.tracking.batches import publish_batches
from pipeline.tracking.series import BATCH, STEP, metric_name
from pipeline.tracking.store import Store
from pipeline.workspace import Home

IMAGES = {"a.png": 3, "b.png": 140, "c.png": 250, "d.png": b"text", "e.png": b""}


@dataclass
class Shown:
    """A home with batches of a model that no other test has, and what MLflow shows of them."""

    client: Store
    home: Home
    name: str

    def classify(self, images: dict[str, int | bytes], version: int = 1) -> Path:
        before = set(batch_folders(self.home.predictions, self.name))
        reviews.publish(self.home.root, images, name=self.name, version=version)
        (new,) = set(batch_folders(self.home.predictions, self.name)) - before
        return new

    def publish(self, client: Any = None) -> int:
        self.home.private.mkdir(exist_ok=True)
        return publish_batches(client or self.client, self.home, self.name)

    @property
    def runs(self) -> dict[str, Run]:
        """Of the batches, by the batch's name."""
        return {run.info.run_name: run for run in self._all() if BATCH in run.data.tags}

    @property
    def series(self) -> Run:
        (found,) = (run for run in self._all() if BATCH not in run.data.tags)
        return found

    def points(self, key: str) -> list[Metric]:
        return sorted(
            self.client.get_metric_history(self.series.info.run_id, key),
            key=lambda point: (point.step, point.timestamp),
        )

    def steps(self, key: str = "images") -> list[int]:
        return [point.step for point in self.points(key)]

    def _all(self) -> list[Run]:
        experiment = self.client.get_experiment_by_name(f"{self.name}-inference")
        found = self.client.search_runs([experiment.experiment_id])
        names = [run.info.run_name for run in found]
        assert len(set(names)) == len(names), "a batch has two runs"
        assert {run.info.status for run in found} == {"FINISHED"}
        return list(found)


@pytest.fixture
def shown(client: Store, name: str, tmp_path: Path) -> Shown:
    return Shown(client, Home(tmp_path / "home"), name[:60])


def name_of(folder: Path) -> str:
    return folder.name.removeprefix("batch=")


def at(folder: Path, moment: str) -> None:
    """Let a batch have been published at another moment."""
    said = json.loads((folder / TIMING).read_text())
    (folder / TIMING).write_text(json.dumps(said | {"published_at": moment}))


def test_a_batchs_run_shows_what_its_files_say(shown, client, home):
    register_brightness(client, home, shown.name)
    folder = shown.classify(IMAGES)
    assert shown.publish() == 1
    run = shown.runs[name_of(folder)]
    metrics = run.data.metrics
    assert (metrics["images"], metrics["refused"]) == (5, 2)
    assert (metrics["refused.not_an_image"], metrics["refused.empty"]) == (1, 1)
    assert (metrics["class.dark"], metrics["class.light"]) == (1, 2)
    assert 0.5 < metrics["confidence.p10"] < metrics["confidence.p50"] < 1
    assert metrics["images_per_second"] > 0
    assert 0 < metrics["latency_p50_ms"] <= metrics["latency_p99_ms"]
    assert run.data.params["model_version"] == "1"
    files = {item.path for item in client.list_artifacts(run.info.run_id, "monitoring")}
    assert files == {
        *("monitoring/_monitoring.json", "monitoring/_answers.png"),
        *("monitoring/_least_certain.jpg", "monitoring/_timing.json"),
    }
    note = run.data.tags["mlflow.note.content"]
    assert f"(#/models/{shown.name}/versions/1)" in note and shown.series.info.run_id in note
    table = client.load_table(run.info.experiment_id, "predictions.json", [run.info.run_id])
    assert sorted(table["label"].dropna()) == ["dark", "light", "light"]
    (model,) = client.get_run(run.info.run_id).inputs.model_inputs
    assert client.get_model_version(shown.name, "1").source == f"models:/{model.model_id}"


def test_the_same_images_are_the_same_dataset_whichever_version_answers(shown):
    shown.classify({"one/a.png": 3, "one/b.png": 200})
    shown.classify({"two/a.png": 200, "two/b.png": 3})
    shown.classify({"two/c.png": 4})
    shown.publish()
    found: dict[str, str] = {}
    for run in shown.runs.values():
        (dataset,) = run.inputs.dataset_inputs
        found[json.loads(dataset.dataset.source)["uri"] + str(run.data.metrics["images"])] = (
            dataset.dataset.digest
        )
    inbox = f"data/inbox/{shown.name}"
    assert found[f"{inbox}/one2.0"] == found[f"{inbox}/two2.0"] != found[f"{inbox}/two1.0"]


def test_shown_twice_the_second_time_changes_nothing(shown):
    shown.classify(IMAGES)
    shown.publish()
    before = {name: run.to_dictionary() for name, run in shown.runs.items()}
    points = shown.points("images")
    assert shown.publish() == 0
    assert {name: run.to_dictionary() for name, run in shown.runs.items()} == before
    assert shown.points("images") == points


def test_the_series_has_a_step_for_each_batch_in_the_order_of_time(shown):
    later = shown.classify({"a/1.png": 3})
    sooner = shown.classify({"b/1.png": 3, "b/2.png": 4})
    at(sooner, "2026-01-05T00:00:00+00:00")
    at(later, "2026-01-06T00:00:00+00:00")
    shown.publish()
    last = shown.classify({"c/1.png": 3, "c/2.png": 4, "c/3.png": b"text"}, version=2)
    shown.publish()
    assert [(p.step, p.value) for p in shown.points("images")] == [(1, 2), (2, 1), (3, 3)]
    assert [p.value for p in shown.points("refused")] == [0, 0, 1]
    assert [p.value for p in shown.points("model_version")] == [1, 1, 2]
    assert shown.points("images")[0].timestamp == 1_767_571_200_000
    assert shown.runs[name_of(last)].data.tags[STEP] == "3"
    assert not any(key.startswith("class.") for key in shown.series.data.metrics)


def test_what_was_refused_once_has_a_zero_in_every_later_batch(shown):
    for images in ({"a/1": b"text", "a/2": 3}, {"b/1": 3}, {"c/1": b""}):
        shown.classify(images)
        shown.publish()
    refused = [(p.step, p.value) for p in shown.points("refused.not_an_image")]
    assert refused == [(1, 1), (2, 0), (3, 0)]
    assert shown.steps("refused.empty") == [3]
    assert shown.points("refused.empty")[0].value == 1


def test_a_batch_that_is_shown_late_has_its_place_by_time_and_the_next_step(shown):
    first = shown.classify({"a/1.png": 3})
    late = shown.classify({"b/1.png": 3, "b/2.png": 4})
    at(late, "2026-01-05T00:00:00+00:00")
    aside = late.rename(shown.home.root / "aside")
    shown.publish()
    aside.rename(late)
    shown.publish()
    assert [(p.step, p.value) for p in shown.points("images")] == [(1, 1), (2, 2)]
    assert shown.points("images")[1].timestamp < shown.points("images")[0].timestamp
    assert shown.runs[name_of(first)].data.tags[STEP] == "1"


class Dying:
    """A store whose owner dies before a write."""

    def __init__(self, store: Store, survived: int) -> None:
        self._store, self._left, self.writes = store, survived, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found) or name.startswith(("get_", "search_", "list_")):
            return found

        def write(*arguments: Any, **options: Any) -> Any:
            if self.writes == self._left:
                raise KeyboardInterrupt
            self.writes += 1
            return found(*arguments, **options)

        return write


def deaths(full: bool) -> Iterator[int]:
    return iter(range(15) if full else (2, 6, 9, 11, 12))


def test_killed_before_any_write_the_next_shows_each_batch_once(shown, client, home, full):
    register_brightness(client, home, shown.name)
    shown.classify({"first/1.png": 3})
    shown.publish()
    for number, survived in enumerate(deaths(full)):
        shown.classify({f"{number}/{image}.png": image for image in range(number + 2)})
        try:
            shown.publish(Dying(client, survived))
        except KeyboardInterrupt:
            assert shown.publish() in (0, 1)
        else:
            assert full, "that many writes are not made"
        assert shown.steps() == list(range(1, number + 3))
        assert [p.value for p in shown.points("images")] == [1, *range(2, number + 3)]
        assert len(shown.runs) == number + 2


def test_killed_while_the_series_is_made_anew_it_is_whole_after_the_next(shown, client):
    for number in range(3):
        shown.classify({f"{number}/1.png": number})
    shown.publish()
    before = shown.points("confidence.mean")
    for survived in range(4):
        client.delete_run(shown.series.info.run_id)
        with pytest.raises(KeyboardInterrupt):
            shown.publish(Dying(client, survived))
        shown.publish()
        assert shown.points("confidence.mean") == before


def test_a_batch_whose_run_was_deleted_comes_back_to_its_step(shown, client):
    first = shown.classify({"a/1.png": 3})
    shown.classify({"b/1.png": 3, "b/2.png": 4})
    shown.publish()
    before = shown.points("images")
    client.delete_run(shown.runs[name_of(first)].info.run_id)
    assert shown.publish() == 1
    assert shown.points("images") == before
    assert shown.runs[name_of(first)].data.tags[STEP] == "1"


def test_what_an_older_darkroom_has_shown_is_taken_into_the_series(shown, client):
    folder = shown.classify({"a/1.png": 3})
    shown.publish()
    run = shown.runs[name_of(folder)]
    client.delete_tag(run.info.run_id, STEP)
    client.delete_run(shown.series.info.run_id)
    for name in ("_timing.json", "_answers.png", "_least_certain.jpg"):
        (folder / name).unlink()
    shown.classify({"b/1.png": 3, "b/2.png": 4})
    shown.publish()
    assert [(p.step, p.value) for p in shown.points("images")] == [(1, 1), (2, 2)]


def test_the_series_stands_on_a_versions_page_from_its_first_batch_on(shown, client, home):
    register_brightness(client, home, shown.name)
    for number in range(2):
        shown.classify({f"{number}/1.png": number})
        shown.publish()
    source = client.get_model_version(shown.name, "1").source
    model = client.get_logged_model(source.removeprefix("models:/"))
    series = shown.series.info.run_id
    found = [(m.key, m.value) for m in model.metrics if m.run_id == series]
    assert found == [("batches.first_step", 1)]


def test_a_version_of_an_older_darkroom_is_linked_from_its_stored_model(shown, client, home):
    register_brightness(client, home, shown.name)
    source = client.get_model_version(shown.name, "1").source
    model_id = source.removeprefix("models:/")
    client.delete_logged_model_tag(model_id, "mlflow.modelVersions")
    shown.classify({"1.png": 3})
    shown.publish()
    said = json.loads(client.get_logged_model(model_id).tags["mlflow.modelVersions"])
    assert said == [{"name": shown.name, "version": "1"}]


def test_a_batch_of_a_version_that_the_registry_has_lost_is_shown_all_the_same(shown):
    folder = shown.classify({"a.png": 3})
    shown.publish()
    run = shown.runs[name_of(folder)]
    assert not shown.client.get_run(run.info.run_id).inputs.model_inputs


# Live accuracy


def decide(folder: Path, right: int, wrong: int, on: int, drawn: int = 20) -> None:
    """Apply decisions of January *on* to so many images of the audit."""
    sample = {f"{number:064x}": "dark" for number in range(drawn)}
    labels = ["dark"] * right + ["light"] * wrong
    decided = [
        Decided({"sha256": sha256}, label, "audit", datetime(2026, 1, on, tzinfo=UTC))
        for sha256, label in zip(sample, labels, strict=False)
    ]
    write_audit(folder, add(read_audit(folder), sample, decided))


def test_live_accuracy_is_shown_when_it_is_measured_and_again_when_it_changes(shown):
    first = shown.classify({"a/1.png": 3})
    second = shown.classify({"b/1.png": 3})
    decide(second, 3, 1, on=1)
    shown.publish()
    assert "live_accuracy" not in shown.runs[name_of(first)].data.metrics
    decide(first, 5, 5, on=1)
    decide(second, 0, 4, on=2)
    shown.publish()
    before = shown.points("live_accuracy")
    shown.publish()
    assert shown.points("live_accuracy") == before
    assert [(p.step, p.value) for p in before] == [(1, 0.5), (2, 0.75), (2, 0.0)]
    metrics = shown.runs[name_of(second)].data.metrics
    assert (metrics["live_accuracy"], metrics["live_accuracy_images"]) == (0.0, 4.0)
    assert metrics["live_accuracy_low"] == 0.0 < metrics["live_accuracy_high"] < 0.7
    assert shown.series.data.metrics["live_accuracy"] == 0.0


@pytest.mark.parametrize("name", ["ordinary", "a/b:c*d", "日本 $x$", "x" * 20_000, "\n", ".."])
def test_any_class_has_a_name_that_mlflow_takes(name):
    taken = metric_name(name)
    assert re.fullmatch(r"[\w.\- ]{1,250}", f"class.{taken}")
