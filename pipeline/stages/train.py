"""data/splits.parquet → models/trained: the weights of the best epoch, their card, the curves.

What they came of (key, parameters) → reports/training, so that equal weights are equal folders.
"""

import csv
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from pipeline.cards import write_card
from pipeline.data.cache import decode
from pipeline.data.splits import SplitRow, Splits, read_splits
from pipeline.errors import TrainingError
from pipeline.graph import stage_key
from pipeline.params import Params
from pipeline.tracking.live import open_live_run
from pipeline.training.loop import Epoch, Step, fit
from pipeline.training.models import Architecture, Network, build, choose
from pipeline.workspace import Home, Workspace, fresh


def run(
    workspace: Workspace,
    home: Home,
    params: Params,
    say: Callable[[str], None],
    watch: Callable[[Step | Epoch], None],
) -> None:
    """*watch* is shown every step and every epoch as they come."""
    splits = read_splits(workspace.splits)
    used = {name: splits.of(name) for name in ("train", "validation")}
    architecture = choose(params.train.model, params.train.image_size, _median_side(used["train"]))
    device = _device(params.train.device)
    say(f"model {architecture.name}, images {architecture.image_size} px, on {device.type}")
    torch.manual_seed(params.train.seed)
    _be_deterministic()
    network = build(architecture, len(splits.classes)).to(device)
    size = architecture.image_size
    train = decode(workspace.images, used["train"], splits.classes, size)
    validation = decode(workspace.images, used["validation"], splits.classes, size)

    card = _card(splits, architecture, network)
    origin = {
        "training_key": stage_key(workspace, "train"),
        "device": device.type,
        "params": params.train.model_dump(),
    }
    live = open_live_run(workspace, home, params.model_name, card, origin, say)
    epochs: list[Epoch] = []
    best = b""
    parent = os.getppid()
    with live.ending():
        started = time.perf_counter()
        for record in fit(network, train, validation, params.train):
            _leave_if_orphaned(parent)
            watch(record)
            if isinstance(record, Epoch):
                live.epoch(record, len(used["train"]) / (time.perf_counter() - started))
                epochs.append(record)
                if record is _best(epochs):
                    best = save({k: v.contiguous().cpu() for k, v in network.state_dict().items()})
                started = time.perf_counter()
    card["best_epoch"] = _best(epochs).epoch
    trained = fresh(workspace.trained)
    (trained / "model.safetensors").write_bytes(best)
    write_card(trained / "card.json", card)
    _write_epochs(trained / "epochs.csv", epochs)
    write_card(fresh(workspace.training_report) / "card.json", origin)
    say(
        f"kept epoch {card['best_epoch']}: validation accuracy "
        f"{_best(epochs).validation_accuracy:.4f}"
    )


def _leave_if_orphaned(parent: int) -> None:
    """Whoever started this is gone, and may have been started again: its outputs are not ours."""
    if os.getppid() != parent:
        raise TrainingError(
            "training stopped: the program that started it is gone", mend="dvc repro"
        )


def _card(splits: Splits, architecture: Architecture, network: Network) -> dict[str, Any]:
    return {
        "architecture": architecture.name,
        "image_size": architecture.image_size,
        "classes": list(splits.classes),
        "num_parameters": sum(p.numel() for p in network.parameters()),
    }


def _best(epochs: list[Epoch]) -> Epoch:
    """The highest validation accuracy; among equals the lowest loss."""
    return max(epochs, key=lambda e: (e.validation_accuracy, -e.validation_loss))


def _median_side(rows: tuple[SplitRow, ...]) -> float:
    return statistics.median(min(row.width, row.height) for row in rows)


def _device(wanted: str) -> torch.device:
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise TrainingError(
            "train.device is cuda, but torch finds no GPU",
            mend="set train.device in params.yaml to auto or cpu",
        )
    return torch.device("cuda" if available and wanted != "cpu" else "cpu")


def _be_deterministic() -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def _write_epochs(path: Path, epochs: list[Epoch]) -> None:
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, [f.name for f in fields(Epoch)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in epochs)
