"""How well training goes: `DARKROOM_TEST_DATA=... python benchmarks/accuracy.py [--transfer]`.

Cats and dogs from scratch, 64 px, 25 epochs: five folds of all 1,002 photos, once with what fights
overfitting and once without. `--transfer` pretrains on CIFAR-10 through the whole pipeline (in a
clone of HEAD: ingest, repro, register, `weights use`) and trains the same folds from that version.
Prints one JSON object a line for each bar.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from photos import PLAIN, ROOT, Photos, machine, params_with, photos_of, tell, training_of, unpacked
from ruamel.yaml import YAML

from pipeline.params import TrainParams
from pipeline.training.feed import augmentation_of
from pipeline.training.loop import Epoch, fit
from pipeline.training.models import Architecture, build
from pipeline.training.weights import load_start
from pipeline.workspace import Home

_T = 2.776
"""Student's t: 95% of the mean of five."""
FOLDS, SIZE, EPOCHS = 5, 64, 25
RECIPE: dict[str, object] = {
    **{"model": "resnet18", "epochs": EPOCHS},
    **{"scale": 0.4, "dropout": 0.2, "label_smoothing": 0.1, "mixup": 0.2},
}
"""Besides what params.yaml has."""
NOTHING = {"weight_decay": 0.0, "dropout": 0.0, "label_smoothing": 0.0, "mixup": 0.0}
IMAGES_A_CLASS, PRETRAINED = 2000, 4
"""Of CIFAR-10, and for how many epochs."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--transfer", action="store_true")
    asked = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        photos = photos_of(unpacked("cats_dogs.tar", Path(scratch)))
        nowhere = Home(Path(scratch))
        plain = _folds(photos, "from scratch", params_with(**RECIPE), nowhere)
        tell("cats and dogs from scratch, 64 px, 25 epochs, accuracy", plain, 0.73)
        off = params_with(**{**RECIPE, **PLAIN, **NOTHING})
        _folds(photos, "without what fights overfitting", off, nowhere)
        if asked.transfer:
            project = _pretrained(Path(scratch))
            weights = YAML().load(project / "params.yaml")["train"]["weights"]
            started = params_with(**RECIPE, weights=weights)
            transferred = _folds(photos, "from CIFAR-10", started, Home(project))
            tell("transfer from CIFAR-10, points of accuracy", 100 * (transferred - plain), 3)


def _folds(photos: Photos, name: str, params: TrainParams, home: Home) -> float:
    started = time.perf_counter()
    found = [_fold(photos, k, params, home) for k in range(FOLDS)]
    mean, error = statistics.mean(found), statistics.stdev(found) / FOLDS**0.5
    seconds = (time.perf_counter() - started) / FOLDS
    figures = " ".join(f"{each:.4f}" for each in found)
    said = f"{mean:.4f} ± {_T * error:.4f} ({figures}), {seconds:.0f} s a fold"
    print(f"  {name}: {said}", flush=True)
    return mean


def _fold(photos: Photos, fold: int, params: TrainParams, home: Home) -> float:
    """Return the accuracy of the chosen epoch on the fold that is held out."""
    order = np.random.default_rng(0).permutation(len(photos.labels))
    held_out = np.zeros(len(order), bool)
    held_out[order[fold::FOLDS]] = True
    architecture = Architecture(params.model, SIZE)
    torch.manual_seed(0)
    network = build(architecture, 2, params.dropout)
    load_start(network, architecture, params, home)
    side = augmentation_of(params, flips=True).source_side(SIZE)
    kept, labels = photos.squares(side)[~held_out], photos.labels[~held_out]
    training = training_of(network, kept, labels, SIZE, params)
    records = fit(training, photos.squares(SIZE)[held_out], photos.labels[held_out])
    return max(r.validation_accuracy for r in records if isinstance(r, Epoch))


def _pretrained(scratch: Path) -> Path:
    """Return a project that has registered a model of CIFAR-10, and starts from it."""
    source, project = unpacked("cifar10.tar.xz", scratch) / "train", scratch / "project"
    for label in source.iterdir():
        for image in sorted(label.iterdir())[IMAGES_A_CLASS:]:
            image.unlink()
    subprocess.run(["git", "clone", "-q", str(ROOT), str(project)], check=True)
    yaml = YAML()
    params = yaml.load(project / "params.yaml")
    params["data"]["source"] = str(source)
    params["registry"]["model_name"] = "cifar10"
    params["train"].update({**RECIPE, "image_size": SIZE, "epochs": PRETRAINED})
    yaml.dump(params, project / "params.yaml")
    started = time.perf_counter()
    _run(project, "pipeline.cli", "ingest")
    repro = time.perf_counter()
    _run(project, "dvc", "repro")
    seconds = time.perf_counter() - repro
    _run(project, "pipeline.cli", "register")
    _run(project, "pipeline.cli", "weights", "use", "models:/cifar10/1")
    whole = time.perf_counter() - started
    print(
        f"  pretrained in {seconds:.0f} s; {whole:.0f} s with ingest and registration", flush=True
    )
    return project


def _run(project: Path, *module: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "DARKROOM_HOME"}
    command = [sys.executable, "-m", *module]
    subprocess.run(command, cwd=project, env=environment, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
