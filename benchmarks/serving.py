"""How fast the loader's choice is: `python benchmarks/serving.py [ROUNDS]`.

Images/s at 224 px, batch 32, ResNet-18 and MobileNetV3-small: torch eager, fp32, INT8 and what the
loader chose, alternating in this one process; each bar is the median of the rounds' ratios. The
weights are fresh: they cost as much time as trained ones. Prints one JSON object a line for each.
"""

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from photos import machine, tell

from pipeline.export.onnx import to_onnx
from pipeline.export.quantize import to_int8
from pipeline.export.variants import self_test_bound
from pipeline.serving.choice import SelfTest, choose
from pipeline.serving.engine import Engine
from pipeline.training.models import Architecture, build

SIZE, BATCH, ROUNDS = 224, 32, 9
_REST = 0.2
"""Seconds."""
Run = Callable[[], object]


def main(rounds: int) -> None:
    print(f"{machine()}, {rounds} rounds")
    for model in ("resnet18", "mobilenet_v3_small"):
        with tempfile.TemporaryDirectory() as scratch:
            runs, chosen = _runs(model, Path(scratch))
            pairs = _alternate(runs, rounds)
        speeds = {name: statistics.median(values) for name, values in pairs.items()}
        print("  " + ", ".join(f"{name} {speed:.0f}" for name, speed in speeds.items()), end="")
        print(f" images/s; chosen: {chosen}")
        faster = max(("fp32", "int8"), key=speeds.__getitem__)
        tell(f"{model}: chosen / faster of fp32 and INT8", _ratio(pairs, faster), 0.97)
        tell(f"{model}: chosen / torch eager", _ratio(pairs, "eager"), 3.0)


def _runs(model: str, folder: Path) -> tuple[dict[str, Run], str]:
    """Return what is timed, by name, and which variant the loader chose."""
    torch.manual_seed(0)
    network = build(Architecture(model, SIZE), 10).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, SIZE, SIZE, 3), dtype=np.uint8)
    fp32 = to_onnx(network, SIZE, 1.0)
    graphs = {"fp32": fp32, "int8": to_int8(fp32, [pixels[:8], pixels[8:16]])}
    for name, graph in graphs.items():
        (folder / f"{name}.onnx").write_bytes(graph)
    engines = {name: Engine(folder / f"{name}.onnx") for name in graphs}
    expected, _ = engines["fp32"](pixels)
    bounds = {name: self_test_bound(run(pixels)[0], expected) for name, run in engines.items()}
    chosen = choose(folder, tuple(graphs), SelfTest(pixels, expected, bounds))
    tensor = torch.from_numpy(pixels)

    def eager() -> object:
        with torch.inference_mode():
            return torch.softmax(network(tensor), 1)

    return {
        "eager": eager,
        "fp32": lambda: engines["fp32"](pixels),
        "int8": lambda: engines["int8"](pixels),
        "chosen": lambda: chosen.engine(pixels),
    }, chosen.variant


def _alternate(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Return the images/s of each round, everything in turn within one; the first warms up.

    Each round has its own order, so that nobody always comes after the same one. Before each a
    rest: ONNX Runtime's threads spin for a while after they are done, on the cores of whoever comes
    next.
    """
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    order = random.Random(0)
    for number in range(rounds + 1):
        for name in order.sample(list(runs), len(runs)):
            time.sleep(_REST)
            started = time.perf_counter()
            runs[name]()
            if number:
                speeds[name].append(BATCH / (time.perf_counter() - started))
    return speeds


def _ratio(pairs: dict[str, list[float]], other: str) -> float:
    return statistics.median(
        ours / theirs for ours, theirs in zip(pairs["chosen"], pairs[other], strict=True)
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
