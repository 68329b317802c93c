"""The test split is opened once for each model, and what it showed is the registry's."""

import random

import pytest
from brightness import png, seal_brightness
from mlflow import MlflowClient

from pipeline.data.splits import read_splits
from pipeline.tracking import aliases, registry
from pipeline.tracking.store import connect, experiment_id


@pytest.fixture
def finished(demo, tmp_path):
    return demo.fork(tmp_path / "project")


def client_of(world) -> MlflowClient:
    uri = f"sqlite:///{world.home.mlflow_database}"
    return MlflowClient(uri, uri)


def versions(world) -> list[tuple[int, str]]:
    found = client_of(world).search_model_versions("name = 'source'")
    return sorted((int(v.version), v.tags["test_use"]) for v in found)


def test_a_model_that_is_known_is_not_measured_again(finished):
    for image in finished.workspace.images.rglob("*.png"):
        image.unlink()
    printed = finished.run("darkroom", "register").stdout
    assert "source version 1 (known): test accuracy" in printed
    assert versions(finished) == [(1, "1")]


def test_another_model_is_measured_beside_the_champion_and_the_use_is_counted(rival):
    """It answers like the champion, and so it may serve."""
    printed = (rival.root / ".prefect-test/register-output.txt").read_text()
    assert "promoted; not worse: the same answers as the champion's" in printed
    assert versions(rival) == [(1, "1"), (2, "2")]
    client = client_of(rival)
    assert int(client.get_model_version_by_alias("source", "champion").version) == 2
    challenger = client.get_model_version_by_alias("source", "challenger")
    champion = client.get_model_version("source", "1")
    assert challenger.tags["champion.test.accuracy"] == champion.tags["test.accuracy"]


def test_the_verbs_show_who_serves_and_move_it(rival, tmp_path):
    world = rival.fork(tmp_path / "project")
    assert "version 1 again; before: version 2" in world.run("darkroom", "rollback").stdout
    rows = world.run("darkroom", "models").stdout.splitlines()
    assert "challenger" in rows[3] and "promoted: not worse" in rows[3]
    assert "champion" in rows[4] and "promoted: no champion" in rows[4]
    assert "version 2; before: version 1" in world.run("darkroom", "promote", "2").stdout
    done = world.run("darkroom", "promote", "7", ok=False)
    assert "Traceback" not in done.stderr and "versions of source: 1, 2" in done.stderr


@pytest.mark.full
def test_of_real_trainings_the_better_and_the_equal_one_are_promoted(world):
    """A champion of one epoch; then labels shuffled, one class never learned, a whole training,
    and the same answers again."""

    def register() -> str:
        world.run("dvc", "repro")
        return world.run("darkroom", "register").stdout

    def relabel(change) -> None:
        rows = read_splits(world.workspace.splits).of("train")
        kept = next(row.sha256 for row in rows if truth[row.sha256] == "8")  # no class may vanish
        changed = [(r.sha256, change(truth[r.sha256])) for r in rows if r.sha256 != kept]
        lines = [f"{sha256},{label},a test" for sha256, label in changed if label != truth[sha256]]
        path = world.workspace.corrections / "relabel.csv"
        path.write_text("\n".join(["sha256,label,reason", *lines, ""]))

    chance = random.Random(0)
    world.set(**{"train.epochs": 1})
    world.run("darkroom", "ingest")
    assert "promoted; there was no champion" in register()
    truth = {row.sha256: row.label for row in read_splits(world.workspace.splits).rows}
    world.set(**{"gate.worst_class_recall": {"min": 0.1}, "train.epochs": 8})
    relabel(lambda label: str(chance.randrange(10)))
    told = register()
    assert "(new)" in told and "not promoted; worst_class_recall" in told
    relabel(lambda label: "3" if label == "8" else label)
    told = register()
    assert "not promoted; worst_class_recall 0.0000" in told and "; better: accuracy" in told
    relabel(lambda label: label)
    told = register()
    assert "; promoted; better: accuracy" in told and "champion: version 4" in told
    world.set(**{"data.max_megabytes": 63})
    told = register()
    assert "; promoted; not worse: the same answers" in told and "champion: version 5" in told


def test_a_model_of_another_split_is_refused_before_a_test_image_is_opened(finished):
    finished.set(**{"split.seed": 1})
    finished.run("dvc", "repro", "--single-item", "split")
    done = finished.run("darkroom", "register", ok=False)
    assert done.returncode != 0 and "mend: dvc repro" in done.stderr
    assert "Traceback" not in done.stderr
    assert versions(finished) == [(1, "1")]


def test_a_model_that_was_tampered_with_and_sealed_again_is_not_imported(finished, tmp_path):
    from pipeline.cards import write_card
    from pipeline.export.artefact import DIGESTS, _hash_sealed

    serving = finished.workspace.serving
    (code,) = serving.glob("code/*/serving/classifier.py")
    code.unlink()
    code.write_text(f"open({str(tmp_path / 'canary')!r}, 'w').close()\n")
    write_card(serving / DIGESTS, _hash_sealed(serving))
    for verb in ("evaluate", "register"):
        done = finished.run("darkroom", verb, ok=False)
        assert done.returncode != 0 and "not the one" in done.stderr, done.stderr
    assert not (tmp_path / "canary").exists()


def test_a_champion_that_was_taken_away_stays_away_until_a_person_promotes_it(finished):
    client = client_of(finished)
    client.delete_registered_model_alias("source", "champion")
    assert "champion: version" not in finished.run("darkroom", "register").stdout
    finished.run("darkroom", "promote", "1")
    assert client.get_model_version_by_alias("source", "champion").version == 1


def test_a_champion_with_other_classes_is_a_named_error(finished, tmp_path):
    client = connect(finished.home, {})
    digest = seal_brightness(tmp_path / "serving")
    experiment = experiment_id(client, finished.home, "other")
    run = client.create_run(experiment).info.run_id
    uploaded = registry.upload(client, experiment, run, "other", tmp_path / "serving", png(200))
    tags = {"darkroom.serving_digest": digest, "darkroom.promoted": "true"} | uploaded.tags
    made = registry.create_version(client, run, uploaded.model_id, "other", tags, "")
    aliases.promote(client, made)

    finished.set(**{"registry.model_name": "other"})
    done = finished.run("darkroom", "register", ok=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "has other classes" in done.stderr and "registry.model_name" in done.stderr
    assert len(registry.versions(client, "other")) == 1
