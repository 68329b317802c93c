"""What a training starts from: the network, its feed, and the images that it is watched on."""

import os
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.data.cache import decoded, labels_of
from pipeline.data.splits import SplitRow, Splits
from pipeline.errors import ParamsError, TrainingError
from pipeline.params import TrainParams
from pipeline.training import features, machine
from pipeline.training.augment import Augmentation
from pipeline.training.distributed import Processes
from pipeline.training.feed import Feed, augmentation_of, on_device, smallest_batch
from pipeline.training.models import Architecture, build, choose
from pipeline.training.session import Training
from pipeline.training.weights import Start, load_start
from pipeline.workspace import Home, Workspace

_FLIPPED = 32
"""Pixels below which pictures are mostly signs, digits and letters: mirrored, they are others."""
Inputs = npt.NDArray[Any]


def architecture_for(splits: Splits, train: TrainParams) -> Architecture:
    """Resolve `auto` by the images at hand."""
    side = _median_side(splits.of("train"))
    return choose(train.model, train.image_size, side, train.hidden)


def prepare(
    workspace: Workspace,
    home: Home,
    train: TrainParams,
    splits: Splits,
    architecture: Architecture,
    say: Callable[[str], None],
) -> tuple[Training, tuple[Inputs, npt.NDArray[np.int64]], Start]:
    """Return the training, at its beginning, what it is validated on, and what it starts from.

    Raises ParamsError, TrainingError or DatasetError where params.yaml, the starting weights or an
    image do not allow it.
    """
    processes = Processes.current()
    device = device_of(train.device)
    size = architecture.image_size
    say(f"model {architecture.name}, images {size} px, on {device.type}")
    torch.manual_seed(train.seed)
    be_deterministic()
    network = build(architecture, len(splits.classes), train.dropout)
    start = load_start(network, architecture, train, home)
    if start.sha256:
        say(f"starting from {start.weights}, SHA-256 {start.sha256}")
    network = network.to(device).to(memory_format=torch.channels_last)
    rows = {name: splits.of(name) for name in ("train", "validation")}
    how = augmentation_for(splits, train)
    labels = {name: labels_of(rows[name], splits.classes) for name in rows}
    sides = {"train": how.source_side(size), "validation": size}
    cache = home.private / "decoded"
    inputs: dict[str, Inputs] = {
        name: decoded(workspace.images, rows[name], sides[name], cache, say) for name in rows
    }
    if features.are_fixed(train, how):
        count = sum(map(len, inputs.values()))
        say(f"{count:,} images go through the frozen network once")
        at_once = -(-train.batch_size // train.accumulate)
        inputs = {name: features.embed(network, inputs[name], at_once) for name in inputs}
    feed = Feed(
        inputs["train"],
        labels["train"],
        size,
        how,
        train.batch_size,
        train.seed,
        train.balance,
        device,
        rank=processes.rank,
        world_size=processes.count,
    )
    check_shares(len(feed.labels), train.batch_size, processes.count)
    steps = 0 if feed.inputs.ndim == 2 else feed.steps * train.epochs
    with processes.first_alone():
        choice = machine.choose(network, size, steps, train, home.private / "machine", say)
    training = Training(network, on_device(feed), train, choice.precision)
    if choice.compile:
        training.compile()
    processes.part_ways(train.seed)
    return training, (inputs["validation"], labels["validation"]), start


def check_shares(images: int, batch_size: int, processes: int) -> None:
    """Raise ParamsError where one of several processes would get a single image of a batch."""
    least = smallest_batch(images, processes)
    if processes == 1 or 0 < least <= batch_size:
        return
    if not least:
        raise ParamsError(
            f"train.processes: {images} training images are too few for {processes} processes",
            mend=f"set train.processes in params.yaml to {max(1, images // 2)} or fewer",
        )
    raise ParamsError(
        f"train.batch_size: {batch_size} is too few for {processes} processes",
        mend=f"set train.batch_size in params.yaml to {least} or more, or train.processes to fewer",
    )


def augmentation_for(splits: Splits, train: TrainParams) -> Augmentation:
    """Resolve `flip: auto` by the images at hand."""
    return augmentation_of(train, flips=_median_side(splits.of("train")) >= _FLIPPED)


def _median_side(rows: tuple[SplitRow, ...]) -> float:
    return float(statistics.median(min(row.width, row.height) for row in rows))


def device_of(wanted: str) -> torch.device:
    """Return what `train.device` means here; raise TrainingError where there is no such one."""
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise TrainingError(
            "train.device is cuda, but torch finds no GPU",
            mend="set train.device in params.yaml to auto or cpu",
        )
    if not available or wanted == "cpu":
        return torch.device("cpu")
    place, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if place >= gpus:
        raise TrainingError(
            f"there are more processes than GPUs ({gpus})",
            mend=f"set train.processes in params.yaml to auto or {gpus}, or train.device to cpu",
        )
    torch.cuda.set_device(place)
    return torch.device("cuda", place)


def be_deterministic() -> None:
    """Let this process compute the same from the same, at some cost."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
