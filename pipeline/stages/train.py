"""data/splits.parquet → models/trained: the weights of the best epoch, their card, the curves.

What they came of (key, parameters) → reports/training, so that equal weights are equal folders.
"""

import csv
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from pipeline.cards import write_card
from pipeline.data.cache import read_square
from pipeline.data.splits import Splits, read_splits
from pipeline.errors import TrainingStopped
from pipeline.graph import folder_version, recorded_version, training_key
from pipeline.params import Params
from pipeline.tracking.live import LiveRun, open_live_run
from pipeline.training import checkpoint
from pipeline.training.distributed import Processes, joined
from pipeline.training.feed import Feed
from pipeline.training.loop import Epoch, Look, Step, fit
from pipeline.training.pace import Pace
from pipeline.training.preparation import Inputs, architecture_for, prepare
from pipeline.training.results import Results
from pipeline.training.session import Training
from pipeline.training.sheet import choose_images, sheet
from pipeline.workspace import Home, Workspace, fresh

_SECONDS_A_CHECKPOINT = 30
Watch = Callable[[Step | Look | Epoch], None]


def run(
    workspace: Workspace,
    home: Home,
    params: Params,
    say: Callable[[str], None],
    watch: Watch,
) -> None:
    """Train, or go on where an equal training was killed; *watch* is shown every step and epoch.

    Raises Busy where another process trains the same, TrainingError where it cannot go on.
    """
    with joined() as processes:
        if not processes.is_first:
            say, watch = _nothing, _nothing
        splits = read_splits(workspace.splits)
        key = training_key(workspace, home, params.train)
        folder = checkpoint.folder_of(home.private, key)
        with checkpoint.hold(folder) if processes.is_first else nullcontext():
            if processes.is_first and _is_stored(workspace, folder):
                checkpoint.forget(folder)
            _run(workspace, home, params, splits, key, folder, processes, say, watch)


def _is_stored(workspace: Workspace, folder: Path) -> bool:
    """Whether DVC holds what the checkpoints of *folder* led to: then it is trained again by force,
    else its outputs were lost, to a full disk or a kill, before DVC had stored them."""
    version = checkpoint.written(folder)
    return version is not None and version == recorded_version(
        workspace, "train", workspace.trained.relative_to(workspace.root).as_posix()
    )


def _run(
    workspace: Workspace,
    home: Home,
    params: Params,
    splits: Splits,
    key: str,
    folder: Path,
    processes: Processes,
    say: Callable[[str], None],
    watch: Watch,
) -> None:
    architecture = architecture_for(splits, params.train)
    training, validation, start = prepare(workspace, home, params.train, splits, architecture, say)
    card = {
        "architecture": architecture.name,
        "image_size": architecture.image_size,
        "hidden": architecture.hidden,
        "classes": list(splits.classes),
        "num_parameters": sum(p.numel() for p in training.network.parameters()),
    }
    origin = {
        "training_key": key,
        "device": training.feed.device.type,
        "precision": training.precision,
        "compiled": training.compiled,
        "params": params.train.model_dump(),
        "start": asdict(start),
    }
    made_with = {key: origin[key] for key in ("device", "precision", "compiled", "start")}
    made_with["torch"] = str(torch.__version__)  # what it is is a class of its own
    results = Results(params.train.keep)
    if not processes.is_first:
        silent = LiveRun(None, "", say)
        _train(training, validation, results, folder, made_with, silent, say, watch)
        return
    live = open_live_run(workspace, home, params.model_name, card, origin, say)
    with live.ending():
        _train(training, validation, results, folder, made_with, live, say, watch)
    best = results.best_epoch
    trained = fresh(workspace.trained)
    (trained / "model.safetensors").write_bytes(results.best)
    write_card(trained / "card.json", card | {"best_epoch": best.epoch})
    _write_epochs(trained / "epochs.csv", results.epochs)
    write_card(fresh(workspace.training_report) / "card.json", origin)
    _write_sheet(workspace, splits, training.feed)
    checkpoint.mark_written(folder, folder_version(trained))
    say(
        f"kept epoch {best.epoch} of {len(results.epochs)}: validation accuracy "
        f"{best.validation_accuracy:.4f}, loss {best.validation_loss:.4f}"
    )


def _write_sheet(workspace: Workspace, splits: Splits, feed: Feed) -> None:
    """What the network saw; of embeddings, the images that they were made of."""
    rows, places = splits.of("train"), choose_images(feed.labels)
    side = feed.how.source_side(feed.size)
    squares = [read_square(workspace.images, rows[place], side) for place in places]
    page = sheet(squares, places, len(rows), feed.how, feed.size, feed.seed)
    Image.fromarray(page).save(workspace.training_report / "augmented.png")


def _nothing(said: object) -> None:
    """What all processes but the first one say and show."""


def _train(
    training: Training,
    validation: tuple[Inputs, npt.NDArray[np.int64]],
    results: Results,
    folder: Path,
    made_with: Mapping[str, Any],
    live: LiveRun,
    say: Callable[[str], None],
    watch: Watch,
) -> None:
    """Go through the epochs that are left, saving as it goes.

    *made_with*: what else decides the bytes of the weights; a checkpoint of another is left alone.
    """
    state = checkpoint.load(folder)
    if state and state["made_with"] != made_with:
        changed = [key for key, value in made_with.items() if state["made_with"][key] != value]
        say(f"beginning anew: it was begun with another {', '.join(changed)}")
        state = None
        if training.processes.is_first:
            checkpoint.forget(folder)
    if state:
        training.restore(state["training"])
        results.restore(state["results"])
        training.processes.part_ways(training.params.seed + training.progress.steps)
        say(f"going on in epoch {training.progress.epoch}, after step {training.progress.step}")

    if results.is_over(training.params.patience):
        return  # it was killed after its last epoch
    processes, device = training.processes, training.feed.device.type

    def save() -> None:
        if not processes.is_first:
            return
        whole = {
            "made_with": dict(made_with),
            "training": training.state(),
            "results": results.state(),
        }
        checkpoint.save(folder, training.progress.steps, whole)

    parts, pace, told = training.parts, Pace(), False
    saved = time.perf_counter()
    with _told_to_stop() as stopped:
        for record in fit(training, *validation):
            watch(record)
            if isinstance(record, Epoch):
                live.epoch(record, pace.images_per_second)
                results.add(record, training.judged)
                pace = Pace()
            elif isinstance(record, Step):
                pace.see(record, time.perf_counter())
                if not told and (line := pace.estimate(training.params.epochs, device)):
                    say(line)
                    told = True
                if record.parts > parts:
                    parts = record.parts
                    say(f"memory is short: batches now go through in {parts} parts")
            must_stop = processes.any(bool(stopped))
            is_due = time.perf_counter() - saved > _SECONDS_A_CHECKPOINT
            if isinstance(record, Epoch) or is_due or must_stop:
                save()
                saved = time.perf_counter()
            if must_stop:
                raise _interrupted(training)
            is_over = isinstance(record, Epoch) and results.is_over(training.params.patience)
            if isinstance(record, Epoch) and processes.any(is_over):
                break


def _interrupted(training: Training) -> TrainingStopped:
    return TrainingStopped(
        "training stopped: it was told to, or the program that started it is gone",
        f"in epoch {training.progress.epoch}, after step {training.progress.step}",
        mend="dvc repro goes on from there",
    )


@contextmanager
def _told_to_stop() -> Iterator[list[int]]:
    """Yield a list that is empty until this process is asked, by SIGTERM, to end."""
    asked: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


def _write_epochs(path: Path, epochs: list[Epoch]) -> None:
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, [f.name for f in fields(Epoch)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in epochs)
