"""How fast a sealed model answers on this machine, and how much memory it takes.

Every figure depends on the machine and the hour, so none is ever in a stage's output: they lie at
home, in .darkroom/timings/, and MLflow shows them. Each variant is timed in a process of its own,
which has nothing but the model to hold: `python -m pipeline.evaluation.timing`.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cards import read_card, write_card
from pipeline.errors import ArtefactError, ProjectError
from pipeline.export.artefact import open_artefact

_BATCH = 32
_MOST_IMAGES = 64
_SECONDS = 0.5
"""Of each of the two measurements; longer where the fewest runs take longer."""
_FEWEST_SINGLE, _FEWEST_BATCHES = 20, 3
_TIMEOUT = 300
_MEGABYTE = 1e6
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Timing:
    """Of one variant: from the bytes of image files to answers, decoding included."""

    latency_p50_ms: float
    """Of a single image."""
    latency_p99_ms: float
    batch_latency_p50_ms: float
    """Of 32 images at once."""
    batch_latency_p99_ms: float
    images_per_second: float
    """In such batches, at their median."""
    graph_megabytes: float
    artefact_megabytes: float
    """Of the whole model, all of its variants and its code included."""
    peak_memory_megabytes: float | None
    """Most that the process ever held, Python and libraries included; None where the system does
    not say."""


def time_variants(
    serving: Path, digest: str, variants: Sequence[str], images: Path, files: Sequence[str]
) -> dict[str, Timing]:
    """Time the model in *serving* on the first 64 of *files*, which lie in *images*: about two
    seconds a variant.

    Raises ArtefactError where it does not run in a process of its own.
    """
    paths = [str(images / name) for name in files[:_MOST_IMAGES]]
    return {name: _in_a_process(serving, digest, name, paths) for name in variants}


def as_metrics(timings: Mapping[str, Timing]) -> dict[str, float]:
    """Return the worst of each figure, and each variant's own under its name: latency_p99_ms,
    fp32.latency_p99_ms, ..."""
    rows = {name: asdict(timing) for name, timing in timings.items()}
    found = {}
    for figure in Timing.__dataclass_fields__:
        values = {name: row[figure] for name, row in rows.items() if row[figure] is not None}
        if values:
            worst = min if figure == "images_per_second" else max
            found[figure] = float(worst(values.values()))
            found |= {f"{name}.{figure}": float(value) for name, value in values.items()}
    return found


def write_timings(private: Path, digest: str, timings: Mapping[str, Timing]) -> None:
    """Keep them under *private*, at home, for whoever publishes."""
    write_card(_note(private, digest), as_metrics(timings))


def read_timings(private: Path, digest: str) -> dict[str, float]:
    """Return what as_metrics says; nothing of a model that was not timed here."""
    try:
        return {name: float(value) for name, value in read_card(_note(private, digest)).items()}
    except (ProjectError, TypeError, ValueError):  # none, or a damaged one
        return {}


def _note(private: Path, digest: str) -> Path:
    return private / "timings" / f"{digest}.json"


def _in_a_process(serving: Path, digest: str, variant: str, paths: Sequence[str]) -> Timing:
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(serving), digest, variant],
            env=os.environ | {"PYTHONPATH": str(_ROOT)},
            input=json.dumps(paths),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=True,
        )
        return Timing(**json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError, TypeError) as error:
        said = str(getattr(error, "stderr", None) or error).strip().splitlines()
        raise ArtefactError(
            "the model could not be timed",
            f"{variant}: {said[-1] if said else type(error).__name__}"[:200],
            mend="the same command again; without latency_p99_ms under gate in params.yaml, "
            "darkroom register times nothing",
        ) from None


def _time_here(serving: Path, digest: str, variant: str, paths: Sequence[str]) -> Timing:
    images = [Path(path).read_bytes() for path in paths]
    classify = open_artefact(serving, digest, variant=variant).classify
    batch = [images[place % len(images)] for place in range(_BATCH)]
    single = _milliseconds(lambda run: classify([images[run % len(images)]]), _FEWEST_SINGLE)
    batched = _milliseconds(lambda run: classify(batch), _FEWEST_BATCHES)
    p50, p99 = map(float, np.percentile(single, (50, 99)))
    batch_p50, batch_p99 = map(float, np.percentile(batched, (50, 99)))
    return Timing(
        latency_p50_ms=p50,
        latency_p99_ms=p99,
        batch_latency_p50_ms=batch_p50,
        batch_latency_p99_ms=batch_p99,
        images_per_second=1000 * _BATCH / batch_p50,
        graph_megabytes=(serving / f"{variant}.onnx").stat().st_size / _MEGABYTE,
        artefact_megabytes=sum(f.stat().st_size for f in serving.rglob("*")) / _MEGABYTE,
        peak_memory_megabytes=_peak_memory(),
    )


def _milliseconds(call: Callable[[int], Any], fewest: int) -> list[float]:
    """Return what each run took, after one that warms up."""
    call(0)
    found: list[float] = []
    started = time.perf_counter()
    while len(found) < fewest or time.perf_counter() - started < _SECONDS:
        begun = time.perf_counter()
        call(len(found))
        found.append(1000 * (time.perf_counter() - begun))
    return found


def _peak_memory() -> float | None:
    """Linux's high-water mark; that of getrusage begins with the parent's."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    kilobytes = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return None if kilobytes is None else int(kilobytes) * 1024 / _MEGABYTE


if __name__ == "__main__":
    serving, digest, variant = sys.argv[1:]
    timing = _time_here(Path(serving), digest, variant, json.load(sys.stdin))
    print(json.dumps(asdict(timing)))  # noqa: T201, to the process that started this one
