"""Any files → rows, by a sealed model in a folder or a registered version; no flow, no batch."""

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from pipeline.data.limits import image_limits
from pipeline.export.artefact import open_artefact, serving_digest
from pipeline.inference.answering import Answering, Model, answer_all
from pipeline.inference.rows import NewFile, PredictionRow
from pipeline.params import Params
from pipeline.workspace import Home


def run(
    home: Home, params: Params, model: str, files: Iterable[NewFile]
) -> Iterator[PredictionRow]:
    """Yield one row for each of *files*, in their order.

    *model* is the folder of a sealed model, a version's number, or an alias. Raises ArtefactError
    where its files are not what they were sealed as; RegistryError, StoreUnreachable.
    """
    opened = _open_folder(home, params, Path(model)) if Path(model).is_dir() else None
    chosen = opened or _open_registered(home, params, model)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    answering = Answering(chosen, Path.cwd(), image_limits(params.data).bytes, now)
    return answer_all(files, chosen, answering.rows, params.inference.batch_size)


def _open_folder(home: Home, params: Params, folder: Path) -> Model:
    digest = serving_digest(folder)
    memory = home.private / "serving"
    classifier = open_artefact(folder, digest, **params.serving.model_dump(), memory=memory)
    return Model(params.model_name, None, digest, classifier)


def _open_registered(home: Home, params: Params, version: str) -> Model:
    from pipeline.operations.serve import find  # it takes seconds to import MLflow
    from pipeline.tracking.loading import open_version
    from pipeline.tracking.store import reaching

    found = find(home, params, version)
    memory = home.private / "serving"
    with reaching(home, os.environ):
        classifier = open_version(home, found, **params.serving.model_dump(), memory=memory)
    return Model(found.name, found.number, found.serving_digest, classifier)
