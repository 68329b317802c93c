"""A desk: a project with an inbox and a champion that tells dark from light, and no more.

Its champion is sealed, registered and fetched as any other; it takes no training, and its answers
are known beforehand.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from brightness import png
from mlflow import MlflowClient
from versions import register_brightness
from worlds import World, make_world

from pipeline.inference.predictions import batch_folders, read_batch
from pipeline.tracking import aliases
from pipeline.tracking.store import connect

NAME = "brightness"
BATCH = "darkroom.batch"
"""Tag of a run: which batch it shows."""


def make_desk(root: Path, **card: Any) -> World:
    """Make a project whose inbox, all that is in it, is taken at once."""
    made = make_world(root)
    made.set(**{"registry.model_name": NAME, "inference.settle_seconds": 0})
    client = connect(made.home, {})
    aliases.promote(client, register_brightness(client, made.home, NAME, **card))
    return made


def put(desk: World, folder: str, images: int) -> None:
    """Lay *images* down in *folder* of the inbox, each the only one of its bytes."""
    place = desk.home.inbox(NAME) / folder
    place.mkdir(parents=True, exist_ok=True)
    for number in range(images):
        end = f"{folder}/{number}".encode()  # which no decoder minds
        (place / f"{number:03d}.png").write_bytes(png(number % 256) + end)


def rows(desk: World) -> list[dict[str, Any]]:
    """Every published row, of all batches."""
    folders = batch_folders(desk.home.predictions, NAME)
    return [row for folder in folders for row in read_batch(folder).to_pylist()]


def lost_or_repeated(desk: World) -> dict[str, int]:
    """Return the files of the inbox that have not exactly one row, and how many they have."""
    inbox = desk.home.inbox(NAME)
    files = [path for path in inbox.rglob("*") if path.is_file() and path.name != "_READY"]
    found = Counter(row["path"] for row in rows(desk))
    expected = {str(path.relative_to(desk.root)) for path in files}
    return {path: found[path] for path in expected | set(found) if found[path] != 1}


def half_written(desk: World) -> list[str]:
    """Return what lies beside the published batches."""
    place = desk.home.predictions / f"model={NAME}"
    return [path.name for path in place.iterdir() if not path.name.startswith("version=")]


def store_of(desk: World, uri: str | None = None) -> MlflowClient:
    address = uri or f"sqlite:///{desk.home.mlflow_database}"
    return MlflowClient(address, address)


def shown(client: MlflowClient) -> Counter[tuple[str, str]]:
    """Return how many runs MLflow shows of each batch in each status."""
    experiment = client.get_experiment_by_name(f"{NAME}-inference")
    if experiment is None:
        return Counter()
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    of_batches = [run for run in found if BATCH in run.data.tags]
    assert len(found) <= len(of_batches) + 1, "the series is one more"
    return Counter((run.data.tags[BATCH], run.info.status) for run in of_batches)


def published(desk: World) -> set[str]:
    """Return the batches that lie in predictions/, as MLflow's tag names them."""
    folders = batch_folders(desk.home.predictions, NAME)
    return {f"{folder.parent.name}/{folder.name}" for folder in folders}


def all_is_shown_once(desk: World, uri: str | None = None) -> bool:
    """Whether MLflow shows each published batch by one finished run, and nothing else."""
    return shown(store_of(desk, uri)) == Counter((name, "FINISHED") for name in published(desk))
