"""A dataset version can be had back elsewhere: from a folder, and from a store that speaks S3."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from worlds import World

LOGIN = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture
def s3() -> Iterator[str]:
    """The address of a server that speaks S3, with one bucket: photos."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    address = f"http://127.0.0.1:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=address,
        aws_access_key_id="somebody",
        aws_secret_access_key="secret",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="photos")
    yield address
    server.stop()


def ingested(world: World) -> dict[str, bytes]:
    world.run("darkroom", "ingest")
    world.run("dvc", "repro", "split")
    return contents(world)


def contents(world: World) -> dict[str, bytes]:
    folder = world.workspace.dataset
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def clone(world: World, folder: Path) -> World:
    world.run("git", "clone", "-q", str(world.root), str(folder))
    return World(folder)


def test_a_folder_remote_gives_a_clone_the_same_dataset(world, tmp_path):
    world.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    before = ingested(world)
    world.commit()
    world.run("dvc", "push")
    elsewhere = clone(world, tmp_path / "elsewhere")
    elsewhere.run("dvc", "pull", "--allow-missing")
    assert contents(elsewhere) == before
    assert "didn't change" in elsewhere.run("dvc", "repro", "split").stdout


@pytest.mark.full
def test_an_s3_remote_gives_a_clone_the_same_dataset(world, tmp_path, s3):
    world.run("dvc", "remote", "add", "--default", "store", "s3://photos/darkroom")
    world.run("dvc", "remote", "modify", "store", "endpointurl", s3)
    before = ingested(world)
    world.commit()
    world.run("dvc", "push", env=LOGIN)
    elsewhere = clone(world, tmp_path / "elsewhere")
    elsewhere.run("dvc", "pull", "--allow-missing", env=LOGIN)
    assert contents(elsewhere) == before
    assert "didn't change" in elsewhere.run("dvc", "repro", "split").stdout
