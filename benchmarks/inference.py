"""Batch inference: `DARKROOM_TEST_DATA=... python benchmarks/inference.py [ROUNDS]`.

`darkroom predict --output rows.parquet` as a whole command, held against a plain torch loop and
against what the machine could do (benchmarks/inference_parts.py), everything in turn, each in a
process of its own; bars are medians of the rounds' ratios. Steady state: the time of all images
less that of the first few; what those take, start-up for the most part, stands beside it. Photos:
cats and dogs at five JPEG qualities, and some of them at 12 megapixels; networks with fresh weights
at 224 px, sealed as `export` seals them. Then the peak of memory over 1,000 and 60,000 images.
Prints one JSON object a line for each bar.
"""

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from photos import ROOT, Photos, machine, photos_of, tell, unpacked
from PIL import Image

from pipeline.export.artefact import seal
from pipeline.export.fitting import answer_files, fit
from pipeline.export.graphs import batches, make_graphs
from pipeline.export.variants import Bounds
from pipeline.serving.classifier import INTERFACE
from pipeline.serving.images import Limits
from pipeline.serving.variants import INT8
from pipeline.training.models import Architecture, build

SIZE, FIRST, ROUNDS = 224, 64, 3
QUALITIES = (60, 70, 80, 90, 95)
LARGE, LARGE_SIDES = 240, (4000, 3000)
NETWORKS = {"resnet18": 3.0, "mobilenet_v3_small": 2.5}
"""By what `darkroom predict` is to be faster than the plain loop."""
PARTS = Path(__file__).with_name("inference_parts.py")


@dataclass(frozen=True)
class Speed:
    start: float
    """Seconds until the first few images are answered."""
    steady: float
    """Images/s of the others."""


def main(rounds: int) -> None:
    print(f"{machine()}, {rounds} rounds")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        photos = photos_of(unpacked("cats_dogs.tar", scratch))
        usual, large = scratch / "usual", scratch / "large"
        _at_qualities(photos, usual)
        _at_12_megapixels(photos, large)
        project = _project(scratch / "project")
        for network, bar in NETWORKS.items():
            _seal(network, photos, project / network)
            _predict(project, network, usual)  # what runs fastest here is remembered
            _usual(project, network, usual, bar, rounds)
            _large(project, network, large, rounds)
        _memory(project, "mobilenet_v3_small", unpacked("cifar10.tar.xz", scratch))


def _usual(project: Path, network: str, photos: Path, bar: float, rounds: int) -> None:
    """Photos as people have them: against the plain loop, and against the bound."""
    speeds = _alternate(
        {
            "predict": lambda: _predict(project, network, photos),
            "loop": lambda: _part("loop", project / network, photos),
            "engine": lambda: _part("engine", project / network, photos),
            "decode": lambda: _part("decode", project / network, photos),
        },
        rounds,
    )
    _print(f"{network}, usual photos", speeds)
    tell(f"{network}: predict / plain torch loop", _ratio(speeds, "loop"), bar)
    bounds = [
        1 / (1 / engine.steady + 1 / decode.steady)
        for engine, decode in zip(speeds["engine"], speeds["decode"], strict=True)
    ]
    reached = [s.steady / most for s, most in zip(speeds["predict"], bounds, strict=True)]
    tell(f"{network}: predict / bound of engine and decode", statistics.median(reached), 0.85)


def _large(project: Path, network: str, photos: Path, rounds: int) -> None:
    speeds = _alternate(
        {
            "predict": lambda: _predict(project, network, photos),
            "Pillow": lambda: _part("loop", project / network, photos),
            "torchvision": lambda: _part("torchvision", project / network, photos),
        },
        rounds,
    )
    _print(f"{network}, 12 megapixels", speeds)
    tell(f"{network}, 12 megapixels: predict / loop with Pillow", _ratio(speeds, "Pillow"), 4.5)
    slower = _ratio(speeds, "torchvision")
    tell(f"{network}, 12 megapixels: predict / loop with torchvision's decoder", slower, 8)


def _memory(project: Path, network: str, images: Path) -> None:
    few = images.parent / "few"
    few.mkdir()
    for path in sorted(images.rglob("*.jpg"))[:1000]:
        shutil.copy(path, few / f"{path.parent.name}-{path.name}")
    peaks = [_predict_peak(project, network, folder) for folder in (few, images)]
    print(f"peak memory, 1,000 and 60,000 images: {peaks[0]} and {peaks[1]} KiB")
    told = {"name": "peak memory, 60,000 / 1,000 images", "value": round(peaks[1] / peaks[0], 3)}
    print(json.dumps(told | {"bar": 1.1, "met": peaks[1] <= 1.1 * peaks[0]}))


def _alternate(what: dict[str, Callable[[], Speed]], rounds: int) -> dict[str, list[Speed]]:
    """Everything in each round, in an order of the round's own."""
    speeds: dict[str, list[Speed]] = {name: [] for name in what}
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(what), len(what)):
            speeds[name].append(what[name]())
    return speeds


def _ratio(speeds: dict[str, list[Speed]], other: str) -> float:
    return statistics.median(
        ours.steady / theirs.steady
        for ours, theirs in zip(speeds["predict"], speeds[other], strict=True)
    )


def _print(title: str, speeds: dict[str, list[Speed]]) -> None:
    print(title)
    for name, each in speeds.items():
        steady = statistics.median(speed.steady for speed in each)
        start = statistics.median(speed.start for speed in each)
        print(f"  {name}: {steady:.1f} images/s, start-up {start:.2f} s", flush=True)


def _predict(project: Path, network: str, photos: Path) -> Speed:
    few = sorted(photos.rglob("*.jpg"))[:FIRST]
    started = time.perf_counter()
    _command(project, network, map(str, few))
    start = time.perf_counter() - started
    started = time.perf_counter()
    images = _command(project, network, [str(photos)])
    return Speed(start, (images - FIRST) / (time.perf_counter() - started - start))


def _command(project: Path, network: str, names) -> int:
    """Run `darkroom predict`; return for how many images there is a row in its Parquet."""
    import pyarrow.parquet as pq

    call = [sys.executable, "-P", "-m", "pipeline.cli", "predict", "--model", network]
    output = project / "rows.parquet"
    called = subprocess.run(
        [*call, "--output", output.name, "-"],
        cwd=project,
        input="\n".join(names),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert " 0 refused" in called.stdout, called.stdout
    return pq.read_metadata(output).num_rows


def _predict_peak(project: Path, network: str, photos: Path) -> int:
    """Return the most memory that `darkroom predict` of a folder had, in KiB."""
    measured = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True,"
        "stdout=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    call = [sys.executable, "-P", "-m", "pipeline.cli", "predict", "--model", network]
    done = subprocess.run(
        [sys.executable, "-c", measured, *call, "--output", "rows.parquet", str(photos)],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def _part(what: str, model: Path, photos: Path) -> Speed:
    call = [sys.executable, str(PARTS), what, str(model), str(photos), str(FIRST)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=True)
    return Speed(**json.loads(done.stdout))


def _project(folder: Path) -> Path:
    """Make what `darkroom` takes for a project; the code is this one's."""
    (folder / "pipeline").mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def _seal(network_name: str, photos: Photos, folder: Path) -> None:
    """Seal a network with fresh weights, in fp32 and in INT8, with all that `export` fits."""
    torch.manual_seed(0)
    network = build(Architecture(network_name, SIZE), 2).eval()
    some = np.random.default_rng(0).permutation(len(photos.files))[:200]
    squares = Photos([photos.files[at] for at in some], photos.labels[some]).squares(SIZE)
    labels = photos.labels[some]
    asked = {"coverage": 0.9, "in_distribution": 0.95}
    sides = {name: np.full(len(some), 400.0) for name in ("width", "height")}
    fitted = fit(network, batches(squares), labels, sides, **asked)
    graphs = make_graphs(
        network,
        SIZE,
        fitted.temperature,
        calibration=squares[:64],
        validation=(squares, labels),
        trained=fitted.probabilities,
        bounds=Bounds(1.0, 100.0),  # of weights that nobody trained, nothing is asked
    )
    found = graphs.int8_answers
    assert found is not None
    int8 = answer_files(
        *(INT8, found.probabilities, found.embeddings, labels, fitted.measured), **asked
    )
    card = {"interface": INTERFACE, "classes": ["cat", "dog"], "architecture": network_name}
    card |= {"image_size": SIZE, "limits": asdict(Limits()), "temperature": fitted.temperature}
    seal(
        folder, graphs.fp32, card, fitted.files | int8, int8=graphs.int8, self_test=graphs.self_test
    )


def _at_qualities(photos: Photos, folder: Path) -> None:
    folder.mkdir()

    def write(path: Path) -> None:
        with Image.open(path) as image:
            for quality in QUALITIES:
                name = f"{path.parent.name}-{path.stem}-{quality}.jpg"
                image.convert("RGB").save(folder / name, quality=quality)

    with ThreadPoolExecutor() as threads:
        list(threads.map(write, photos.files))


def _at_12_megapixels(photos: Photos, folder: Path) -> None:
    folder.mkdir()

    def write(path: Path) -> None:
        with Image.open(path) as image:
            large = image.convert("RGB").resize(LARGE_SIDES, Image.Resampling.BICUBIC)
            large.save(folder / f"{path.parent.name}-{path.stem}.jpg", quality=90)

    with ThreadPoolExecutor() as threads:
        list(threads.map(write, photos.files[:: len(photos.files) // LARGE][:LARGE]))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
