"""What the network is fed: which images, in which order, how augmented; ready before it asks.

Everything follows from (seed, epoch): a training that goes on in the middle of an epoch sees what
it would have seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.params import TrainParams
from pipeline.stream import in_order
from pipeline.training.augment import Augmentation, Floats, augment, draw, warps
from pipeline.training.memory import halving
from pipeline.training.on_device import augment_batch, is_able

Places = npt.NDArray[np.int64]
_AHEAD = 4
"""Batches that are made ready."""


@dataclass(frozen=True)
class Batch:
    inputs: Tensor
    """(n, size, size, 3) uint8 pixels, or (n, width) embeddings."""
    labels: Tensor
    """(n,) int64."""


@dataclass(frozen=True)
class Feed:
    """The training images, or their embeddings."""

    inputs: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    size: int
    """Side of the squares that the network sees."""
    how: Augmentation
    batch_size: int
    seed: int
    balance: str
    device: torch.device
    resident: Tensor | None = None
    """The inputs once more, on the device, where they fit."""
    rank: int = 0
    """Which part of each batch is this process's, of how many."""
    world_size: int = 1

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return -(-len(self.labels) // self.batch_size)

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yield the batches of *epoch* from number *first* on."""
        chosen = self._order(epoch)[first:]
        draws = draw(len(self.labels), self.seed, epoch)
        if self.resident is not None:
            for places in chosen:
                yield self._on_device(self.resident, places, draws[places])
            return
        make = self._embeddings if self.inputs.ndim == 2 else self._pixels
        for batch in in_order(
            lambda places: make(places, draws[places]), chosen, threads=1, ahead=_AHEAD + 1
        ):
            inputs = batch.inputs.to(self.device, non_blocking=True)
            yield Batch(inputs, batch.labels.to(self.device, non_blocking=True))

    def _order(self, epoch: int) -> list[Places]:
        random = np.random.default_rng((self.seed, epoch))
        n = len(self.labels)
        if self.balance == "sampling":
            share = 1 / np.bincount(self.labels)[self.labels]
            order = random.choice(n, n, p=share / share.sum())
        else:
            order = random.permutation(n)
        whole = np.array_split(order, self.steps)
        return [places[self.rank :: self.world_size] for places in whole]

    def _embeddings(self, places: Places, draws: Floats) -> Batch:
        return self._batch(self.inputs[places], places)

    def _pixels(self, places: Places, draws: Floats) -> Batch:
        side = self.inputs.shape[1]
        if not self._changes:
            return self._batch(self.inputs[places], places)
        matrices = warps(draws, self.how, side, self.size) if self._needs_warp else None
        out = np.empty((len(places), self.size, self.size, 3), np.uint8)
        for i, place in enumerate(places):
            matrix = None if matrices is None else matrices[i]
            out[i] = augment(self.inputs[place], matrix, draws[i], self.how, self.size)
        return self._batch(out, places)

    def _on_device(self, all_: Tensor, places: Places, draws: Floats) -> Batch:
        inputs = all_[torch.from_numpy(places).to(all_.device)]
        labels = torch.from_numpy(self.labels[places]).to(all_.device)
        if inputs.ndim == 2 or not self._changes:
            return Batch(inputs, labels)
        warp = warps(draws, self.how, inputs.shape[1], self.size) if self._needs_warp else None

        def make(start: int, stop: int) -> Tensor:
            part = slice(start, stop)
            matrices = None if warp is None else warp[part]
            return augment_batch(inputs[part], matrices, draws[part], self.how, self.size)

        return Batch(halving(make, 0, len(places)), labels)

    @property
    def _needs_warp(self) -> bool:
        return self.how.is_geometric or self.inputs.shape[1] != self.size

    @property
    def _changes(self) -> bool:
        return self._needs_warp or not self.how.is_none

    def _batch(self, inputs: npt.NDArray[Any], places: Places) -> Batch:
        batch = Batch(torch.from_numpy(inputs), torch.from_numpy(self.labels[places]))
        if self.device.type == "cuda":
            return Batch(batch.inputs.pin_memory(), batch.labels.pin_memory())
        return batch


def smallest_batch(images: int, processes: int) -> int:
    """Return the least `batch_size` at which each process gets two images or more of every batch,
    as batch norms need; 0 where no batch size gives them."""
    steps = images // (2 * processes)  # of nearly equal size: more would leave one too few
    return -(-images // steps) if steps else 0


def on_device(feed: Feed) -> Feed:
    """Return *feed* with its inputs on the GPU where they take less than half of its memory."""
    if feed.device.type != "cuda" or not is_able(feed.how):
        return feed
    free, _ = torch.cuda.mem_get_info(feed.device)
    if feed.inputs.nbytes > free / 2:
        return feed
    return replace(feed, resident=torch.from_numpy(np.array(feed.inputs)).to(feed.device))


def augmentation_of(params: TrainParams, flips: bool) -> Augmentation:
    """Return what params.yaml asks for; *flips*: whether a mirrored image shows the same."""
    flip = (0.5 if flips else 0.0) if params.flip == "auto" else float(params.flip)
    return Augmentation(
        flip=flip,
        rotation=params.rotation,
        scale=params.scale,
        shift=params.shift,
        colour=params.colour,
        trivial=params.trivial,
        erasing=params.erasing,
    )
