"""New folders of the inbox → predictions/, by the champion; then an MLflow run for each batch."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.data.folders import printable
from pipeline.data.limits import image_limits
from pipeline.errors import Busy, DarkroomError, SourceError, StorageError
from pipeline.export.artefact import open_artefact
from pipeline.holding import held
from pipeline.inference import summary
from pipeline.inference.answering import Model
from pipeline.inference.archive import archive
from pipeline.inference.batch import Batch, classify_folder, sweep
from pipeline.inference.inbox import READY, find_new
from pipeline.inference.looked import Looked
from pipeline.inference.monitoring import Watch
from pipeline.inference.predictions import read_batch, read_known
from pipeline.inference.published import newest
from pipeline.inference.reference import read_reference
from pipeline.params import Params
from pipeline.tracking import aliases, registry
from pipeline.tracking.batches import show_batches
from pipeline.tracking.loading import fetch_sealed
from pipeline.tracking.store import connect, reaching
from pipeline.words import counted
from pipeline.workspace import Home


@dataclass(frozen=True)
class Classified:
    model_name: str
    model_version: int | None
    inbox: Path
    batches: tuple[Batch, ...]
    waiting: tuple[str, ...]
    """Folders where somebody was still writing."""
    failure: DarkroomError | None = None
    """Why the run has failed nevertheless: whoever has shown the batches raises it."""

    @property
    def drifted(self) -> tuple[Batch, ...]:
        """Those that raised the alarm."""
        return tuple(b for b in self.batches if b.monitoring.drift and b.monitoring.drift.alarm)

    @property
    def images(self) -> int:
        return sum(batch.images for batch in self.batches)


def run(
    home: Home,
    params: Params,
    inbox: str | None,
    say: Callable[[str], None],
    *,
    reclassify: bool = False,
) -> Classified:
    """*inbox* is a folder for this run only; None takes params.yaml's. *reclassify* answers again
    what an earlier version has answered.

    Raises StoreUnreachable or RegistryError before any work where no champion can be had. What
    fails later is returned beside what was published: StorageError, or SourceError where more was
    refused than inference.max_refused, or a folder was passed by, whose metadata cannot be read.
    """
    folder = _inbox(home, params, inbox)
    client = connect(home, os.environ)
    with reaching(home, os.environ):
        version = registry.champion(client, params.model_name)
        sealed = fetch_sealed(home, version)
        digest, memory = version.serving_digest, home.private / "serving"
        classifier = open_artefact(sealed, digest, **params.serving.model_dump(), memory=memory)
    model = Model(version.name, version.number, digest, classifier)
    reference = read_reference(sealed, classifier.variant)
    watch = Watch(reference, params.inference.drift.alpha, params.inference.audit)
    busy = Busy(f"another run is classifying for model {model.name}", mend="wait until it is done")
    with held(home.private / f"classify-{model.name}.lock", busy):
        again = reclassify or params.inference.on_new_champion == "reclassify"
        by = model.version if again else None
        batches, waiting, failures = _classify_new(home, params, folder, model, watch, by, say)
        if batches and aliases.may_be_guessing(version):
            say(f"BEWARE: version {version.number} may be guessing; darkroom models says why")
        if params.inference.after == "archive":
            failures += _archive(home, params, folder, model, by, say)
    show_batches(home, model.name, say)
    if inbox is None and params.inference.inbox == "auto":
        _name_strays(folder, say)
    if not batches and not waiting and not failures:
        say(f"nothing new in {folder}")
        _remind(home, model.name, params.inference.max_refused, say)
    failures += _too_many_refused(batches, params.inference.max_refused)
    return Classified(model.name, model.version, folder, batches, waiting, *failures[:1])


def _classify_new(
    home: Home,
    params: Params,
    folder: Path,
    model: Model,
    watch: Watch,
    by: int | None,
    say: Callable[[str], None],
) -> tuple[tuple[Batch, ...], tuple[str, ...], tuple[DarkroomError, ...]]:
    """Return the batches that were published, the folders that are left for the next run, and why
    others were passed by: what one sender got wrong keeps nobody else's images waiting. Where
    predictions cannot be written there are no others.

    What has a row *by* that version, or by any, is not new.
    """
    known = read_known(home.predictions, model.name, by)
    sweep(home.predictions, model)
    batches: list[Batch] = []
    waiting: list[str] = []
    failures: list[DarkroomError] = []
    place = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    looked = Looked(home.private / f"inbox/{model.name}-{place}.parquet")
    for new in find_new(folder, home.root, lambda file: known.has(file) and looked.at(file)):
        settle, now_ns = params.inference.settle_seconds, time.time_ns()
        if not new.is_settled(now_ns, settle):
            ago = max(0, now_ns - new.changed_ns) / 1e9
            say(
                f"left for the next run: {folder / new.name}, written to {ago:.0f} s ago "
                f"(it is taken after {settle:g}, or at once with a file {READY} in it)"
            )
            waiting.append(new.name)
            continue
        try:
            batch = classify_folder(
                folder,
                new,
                model,
                known,
                home.predictions,
                batch_size=params.inference.batch_size,
                limit=image_limits(params.data).bytes,
                now=datetime.now(UTC).isoformat(timespec="seconds"),
                watch=watch,
            )
        except SourceError as error:
            say(f"passed by: {folder / new.name}: {error.what}")
            failures.append(error)
            continue
        except StorageError as error:
            failures.insert(0, error)  # it ends the run; the others have been told above
            break
        looked.add(new.files)
        if batch:
            counts, *doubts = summary.describe(batch.summary)
            say(counts)
            for line in doubts:
                say(f"  {line}")
            if batch.unlisted:
                say(f"  {batch.unlisted}")
            for line in batch.monitoring.lines():
                say(f"  {line}")
            say(f"  {batch.folder}")
            batches.append(batch)
    looked.save()
    return tuple(batches), tuple(waiting), tuple(failures)


def _archive(
    home: Home,
    params: Params,
    folder: Path,
    model: Model,
    by: int | None,
    say: Callable[[str], None],
) -> tuple[DarkroomError, ...]:
    target = home.archive(model.name)
    known = read_known(home.predictions, model.name, by)
    try:
        done = archive(folder, home.root, target, known, image_limits(params.data).bytes)
    except StorageError as error:
        return (error,)
    if done.moved:
        say(f"{counted(done.moved, 'file')} moved to {target}")
    if done.stuck:
        more = f" (and {len(done.stuck) - 1} more)" if len(done.stuck) > 1 else ""
        say(f"not moved to {target}: {done.stuck[0]}{more}")
    return ()


def _too_many_refused(batches: Sequence[Batch], most: float) -> tuple[SourceError, ...]:
    worst = max(batches, key=lambda batch: batch.refused / batch.images, default=None)
    if worst is None or worst.refused <= most * worst.images:
        return ()
    return (
        SourceError(
            f"{worst.refused} of {worst.images} files were refused",
            f"inference.max_refused is {most}",
            f"every one has its row, and its reason, in {worst.folder}",
            mend="look at what is delivered (darkroom predictions --refused 20), or raise "
            "inference.max_refused in params.yaml",
        ),
    )


def _name_strays(inbox: Path, say: Callable[[str], None]) -> None:
    """What lies beside the folders of data/inbox, one for each model, is nobody's."""
    strays = sorted(p.name for p in inbox.parent.iterdir() if p.is_file() and p.name[0] != ".")
    if strays:
        more = f" and {len(strays) - 1} more" if len(strays) > 1 else ""
        say(
            f"not looked at: {printable(strays[0])}{more}, beside the inbox in {inbox.parent}; "
            f"it belongs into {inbox.name}/"
        )


def _remind(home: Home, model_name: str, most: float, say: Callable[[str], None]) -> None:
    """Whoever runs it again after the failure hears of it, though it fails no more: on a schedule,
    one alarm for one delivery."""
    folder = newest(home.predictions, model_name)
    if folder is None:
        return
    reasons = read_batch(folder, ["reason"])["reason"]
    refused = len(reasons) - reasons.null_count
    if refused > most * len(reasons):
        say(f"of the newest batch, {refused} of {len(reasons)} files were refused: {folder}")


def _inbox(home: Home, params: Params, inbox: str | None) -> Path:
    """Return the folder of new images, by the one name that its files have in the rows; the
    default one is made where it is missing."""
    if inbox is None and params.inference.inbox == "auto":
        folder = home.inbox(params.model_name)
        folder.mkdir(parents=True, exist_ok=True)
        return folder.resolve()
    folder = (Path(inbox) if inbox else home.resolve(params.inference.inbox)).resolve()
    if home.archive(params.model_name).is_relative_to(folder):
        raise SourceError(
            f"the inbox {folder} holds what Darkroom itself keeps",
            f"such as {home.archive(params.model_name)}",
            mend="set inference.inbox in params.yaml to a folder that has new images alone",
        )
    if not folder.is_dir():
        raise SourceError(
            f"the inbox {folder} is {'not a folder' if folder.exists() else 'missing'}",
            mend="make it, or set inference.inbox in params.yaml",
        )
    return folder
