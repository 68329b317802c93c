"""What the benchmarks of training share: labelled photos, this machine, a bar's line."""

import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load

from pipeline.params import TrainParams, load_params
from pipeline.serving.images import Limits, to_square
from pipeline.training.feed import Feed, augmentation_of
from pipeline.training.loop import Epoch, fit
from pipeline.training.models import Network
from pipeline.training.results import Results
from pipeline.training.session import Training

ROOT = Path(__file__).parents[1]
PLAIN = {"flip": 0.0, "rotation": 0.0, "scale": 0.0, "shift": 0.0, "colour": 0.0}


@dataclass(frozen=True)
class Photos:
    """Labelled squares of photos, decoded at any side."""

    files: list[Path]
    labels: np.ndarray

    def squares(self, side: int) -> np.ndarray:
        return np.stack([to_square(path.read_bytes(), side, Limits()) for path in self.files])


def photos_of(folder: Path, most: int = 10**9) -> Photos:
    """Return the JPEGs of class folders, evenly chosen where there are more than *most*."""
    files = sorted(folder.glob("*/*.jpg"))
    files = files[:: max(1, len(files) // most)][:most]
    classes = sorted({path.parent.name for path in files})
    return Photos(files, np.array([classes.index(path.parent.name) for path in files], np.int64))


def unpacked(name: str, scratch: Path) -> Path:
    """Unpack one of the archives in DARKROOM_TEST_DATA."""
    with tarfile.open(Path(os.environ["DARKROOM_TEST_DATA"]) / name) as tar:
        tar.extractall(scratch, filter="data")
    return scratch / name.split(".")[0]


def params_with(**changes: object) -> TrainParams:
    """The template's parameters, with these changes."""
    given = load_params(ROOT / "params.yaml").train.model_dump()
    return TrainParams.model_validate(given | changes)


def training_of(
    network: Network, squares: np.ndarray, labels: np.ndarray, size: int, params: TrainParams
) -> Training:
    """Return a training at its beginning, on the CPU, in fp32."""
    how = augmentation_of(params, flips=True)
    cpu = torch.device("cpu")
    feed = Feed(squares, labels, size, how, params.batch_size, params.seed, params.balance, cpu)
    return Training(network.to(memory_format=torch.channels_last), feed, params, "fp32")


def best_of(training: Training, squares: np.ndarray, labels: np.ndarray) -> Network:
    """Train to the end; return the network, on the CPU, with the weights of the epoch that did best
    on *squares*."""
    results = Results(training.params.keep)
    for record in fit(training, squares, labels):
        if isinstance(record, Epoch):
            results.add(record, training.judged)
    training.network.load_state_dict(load(results.best))
    return training.network.eval().to(memory_format=torch.contiguous_format)


def machine() -> str:
    flags = Path("/proc/cpuinfo").read_text()
    known = ("avx2", "avx512f", "avx512_vnni", "amx_bf16")
    named = ", ".join(name for name in known if name in flags)
    return f"{os.cpu_count()} cores, {named}, torch {torch.__version__}"


def tell(name: str, value: float, bar: float) -> None:
    """Print a bar's line; more is better."""
    told = {"name": name, "value": round(value, 3), "bar": bar, "met": value >= bar}
    print(json.dumps(told), flush=True)
