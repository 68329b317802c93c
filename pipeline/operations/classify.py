"""New folders of the inbox → predictions/, by the champion; then an MLflow run for each batch."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.data.limits import image_limits
from pipeline.errors import Busy, DarkroomError, SourceError
from pipeline.holding import held
from pipeline.inference.batch import Batch, Model, classify_folder, find_new
from pipeline.inference.predictions import read_known
from pipeline.params import Params
from pipeline.tracking import registry
from pipeline.tracking.batches import publish_batches
from pipeline.tracking.loading import open_version
from pipeline.tracking.store import connect, reaching
from pipeline.workspace import Home


@dataclass(frozen=True)
class Classified:
    model_name: str
    model_version: int
    inbox: Path
    batches: tuple[Batch, ...]

    @property
    def images(self) -> int:
        return sum(batch.images for batch in self.batches)


def run(home: Home, params: Params, inbox: str | None, say: Callable[[str], None]) -> Classified:
    """*inbox* is a folder for this run only; None takes params.yaml's.

    Raises StoreUnreachable or RegistryError before any work where no champion can be had.
    """
    folder = _inbox(home, params, inbox)
    client = connect(home, os.environ)
    with reaching(home, os.environ):
        version = registry.champion(client, params.model_name)
        classifier = open_version(
            home, version, variant=params.serving.variant, memory=home.private / "serving"
        )
    model = Model(version.name, version.number, version.serving_digest, classifier)
    busy = Busy(f"another run is classifying for model {model.name}", mend="wait until it is done")
    with held(home.private / f"classify-{model.name}.lock", busy):
        batches = tuple(_classify_new(home, params, folder, model, say))
    try:
        with reaching(home, os.environ):
            publish_batches(client, home, model.name)
    except DarkroomError as error:
        say(f"not shown in MLflow: {error.what}; the next darkroom classify shows it")
    if not batches:
        say(f"nothing new in {folder}")
    return Classified(model.name, model.version, folder, batches)


def _classify_new(
    home: Home, params: Params, folder: Path, model: Model, say: Callable[[str], None]
) -> list[Batch]:
    known = read_known(home.predictions, model.name)
    batches = []
    for name, files in find_new(folder, home.root, known).items():
        batch = classify_folder(
            name,
            files,
            model,
            known,
            home.predictions,
            batch_size=params.inference.batch_size,
            limit=image_limits(params.data).bytes,
            now=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        if batch:
            say(f"{batch.images} images, {batch.refused} refused: {batch.folder}")
            batches.append(batch)
    return batches


def _inbox(home: Home, params: Params, inbox: str | None) -> Path:
    """Return the folder of new images; the default one is made where it is missing."""
    if inbox is None and params.inference.inbox == "auto":
        folder = home.inbox(params.model_name)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    folder = Path(inbox).resolve() if inbox else home.resolve(params.inference.inbox)
    if not folder.is_dir():
        raise SourceError(
            f"the inbox {folder} is {'not a folder' if folder.exists() else 'missing'}",
            mend="make it, or set inference.inbox in params.yaml",
        )
    return folder
