"""Real photos of cats and dogs, beside a finished model of digits."""

import tarfile

import pyarrow.dataset as ds
import pytest
from mlflow import MlflowClient

pytestmark = [pytest.mark.timeout(600), pytest.mark.full]


def test_a_users_photos_are_classified_once_and_the_other_model_is_left_alone(
    demo, tmp_path, test_data
):
    with tarfile.open(test_data / "cats_dogs.tar") as photos:
        photos.extractall(tmp_path, filter="data")
    source = tmp_path / "cats_dogs"
    loose = tmp_path / "loose"
    loose.mkdir()
    for label in ("cat", "dog"):
        images = sorted((source / label).iterdir())
        for image in images[:10]:
            image.rename(loose / f"IMG {image.name}")
    world = demo.fork(tmp_path / "project")
    world.set(**{"train.model": "resnet18", "train.image_size": 64, "train.epochs": 5})
    before = rows_of(world, "source")
    world.run("darkroom", "run", "--source", str(source), "--inbox", str(loose), timeout=500)

    rows = rows_of(world, "cats_dogs")
    assert sorted(row["path"] for row in rows) == sorted(str(path) for path in loose.iterdir())
    assert {row["label"] for row in rows} <= {"cat", "dog"}
    assert rows_of(world, "source") == before
    uri = f"sqlite:///{world.home.mlflow_database}"
    client = MlflowClient(uri, uri)
    for name in ("source", "cats_dogs"):
        assert int(client.get_model_version_by_alias(name, "champion").version) == 1
    assert len(list(world.home.inbox("source").iterdir())) == 100


def rows_of(world, model: str) -> list[dict]:
    return ds.dataset(world.home.predictions / f"model={model}").to_table().to_pylist()
