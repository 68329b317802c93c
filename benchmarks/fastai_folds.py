"""fastai on the same folds, for benchmarks/accuracy.py to be held against.

In an environment of its own: `pip install fastai`, then
`DARKROOM_TEST_DATA=... python benchmarks/fastai_folds.py [--folds 0 1 2 3 4]`.
`vision_learner(resnet18, pretrained=False)` with its defaults, 64 px, 25 epochs.
"""

import argparse
import os
import statistics
import tarfile
import tempfile
import time
from pathlib import Path

import fastai
import numpy as np
from fastai.vision.all import (
    CategoryBlock,
    DataBlock,
    ImageBlock,
    IndexSplitter,
    Resize,
    accuracy,
    parent_label,
    resnet18,
    set_seed,
    vision_learner,
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    asked = parser.parse_args()
    print(f"fastai {fastai.__version__}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(Path(os.environ["DARKROOM_TEST_DATA"]) / "cats_dogs.tar") as tar:
            tar.extractall(scratch, filter="data")
        files = sorted(Path(scratch).glob("cats_dogs/*/*.jpg"))
        found = [_fold(files, fold) for fold in asked.folds]
    figures, seconds = zip(*found, strict=True)
    print(f"mean accuracy {statistics.mean(figures):.4f}, {statistics.mean(seconds):.0f} s a fold")


def _fold(files: list[Path], fold: int) -> tuple[float, float]:
    set_seed(0, reproducible=True)
    held_out = np.random.default_rng(0).permutation(len(files))[fold::5].tolist()
    block = DataBlock(
        (ImageBlock, CategoryBlock),
        splitter=IndexSplitter(held_out),
        get_y=parent_label,
        item_tfms=Resize(64),
    )
    learner = vision_learner(
        block.dataloaders(files, bs=64), resnet18, pretrained=False, metrics=accuracy
    )
    started = time.perf_counter()
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(25)
    seconds = time.perf_counter() - started
    best = max(float(values[2]) for values in learner.recorder.values)
    print(f"  fold {fold}: {best:.4f}, {seconds:.0f} s", flush=True)
    return best, seconds


if __name__ == "__main__":
    main()
