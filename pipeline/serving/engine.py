"""A model's graphs on one machine: which of them are right here, and which is the fastest."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from ..errors import ArtefactError

FP32, INT8, AUTO = "fp32", "int8", "auto"
SELF_TEST = "selftest.npz"
PART = 4
"""Images that go through one core at once."""
_AT_ONCE = 8
_SECONDS = 1.0
"""What choosing may take; of a slow model, one look at the whole self-test."""

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Engine:
    """Runs one graph on the CPU, on all of its cores.

    Many images go through side by side, a few on each core: for small networks faster than one
    after the other with every operation split over the cores, and the same to the bit.
    """

    def __init__(self, graph: Path) -> None:
        self._name, self._graph = graph.name, graph.read_bytes()
        self._narrow = self._session(threads=1)
        self.cores = cores()
        self._pool = ThreadPoolExecutor(self.cores, "engine")

    def __call__(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """Map (n, size, size, 3) to probabilities (n, num_classes) and embeddings (n, width)."""
        if len(pixels) < self.cores:
            return _run(self._wide, pixels)
        parts = [pixels[part] for part in self.parts(len(pixels))]
        answers = list(self._pool.map(self.on_one_core, parts))
        probabilities, embeddings = (np.concatenate(each) for each in zip(*answers, strict=True))
        return probabilities, embeddings

    def on_one_core(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """Map as above, in the calling thread alone."""
        return _run(self._narrow, pixels)

    def parts(self, images: int) -> list[slice]:
        """Cut so many images into parts for one core each."""
        at_once = max(1, min(PART, -(-images // self.cores)))
        return [slice(at, at + at_once) for at in range(0, images, at_once)]

    @cached_property
    def _wide(self) -> ort.InferenceSession:
        """For fewer images than cores: whoever waits for one has them all."""
        return self._session(threads=self.cores)

    def _session(self, threads: int) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        try:
            return ort.InferenceSession(self._graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own kinds share no other base
            raise ArtefactError(
                f"ONNX Runtime {ort.__version__} cannot run {self._name} of the model",
                str(error).splitlines()[0][:200],
                mend="install the version that the model names, or a newer one",
            ) from None


def _run(session: ort.InferenceSession, pixels: Pixels) -> tuple[Floats, Floats]:
    probabilities, embeddings = session.run(["probabilities", "embedding"], {"pixels": pixels})
    return probabilities, embeddings


def cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class SelfTest:
    """What a variant must answer, on any processor: it travels in the model."""

    pixels: Pixels
    """(n, size, size, 3)."""
    probabilities: Floats
    """(n, num_classes), of the fp32 graph where it was sealed."""
    bounds: Mapping[str, float]
    """Variant → largest disagreement with which it is still what was judged."""

    def allows(self, variant: str, probabilities: Floats) -> bool:
        return disagreement(probabilities, self.probabilities) <= self.bounds[variant]  # NaN: no


@dataclass(frozen=True)
class Chosen:
    variant: str
    engine: Engine
    set_aside: Mapping[str, str] = field(default_factory=dict)
    """Variant → why it must not run on this processor."""


def choose(
    folder: Path,
    variants: Sequence[str],
    self_test: SelfTest | None,
    wanted: str = AUTO,
    memory: Path | None = None,
) -> Chosen:
    """Return the fastest of the model's *variants* on this machine, or the *wanted* one.

    Whatever runs has passed *self_test* here first; a model without one has nothing to compare. A
    measured choice is remembered in *memory*, a folder, for these graphs on such a processor; where
    none is given it is measured each time, for about a second.

    Raises ArtefactError where the model has no such variant, or it fails the self-test.
    """
    names = list(variants) if wanted == AUTO else [wanted]
    if not set(names) <= set(variants):
        raise ArtefactError(
            f"the model has no variant {wanted}",
            f"it has {', '.join(variants)}",
            mend="set serving.variant in params.yaml to auto, or to one of these",
        )
    if self_test is None or (len(variants) == 1 and FP32 in variants):
        return Chosen(names[0], Engine(folder / f"{names[0]}.onnx"))
    note = memory / f"{_key(folder, variants)}.json" if memory and len(names) > 1 else None
    remembered = _remembered(note, names)
    engines = {name: Engine(folder / f"{name}.onnx") for name in remembered or names}
    seconds, set_aside = _try(engines, self_test, measure=len(engines) > 1)
    if not seconds and remembered:  # what was right is no longer: look again
        return choose(folder, variants, self_test, wanted)
    if not seconds:
        raise ArtefactError(
            "the model does not answer here as it did where it was sealed",
            *(f"{name}: {why}" for name, why in set_aside.items()),
            mend="set serving.variant in params.yaml to auto, or update onnxruntime",
        )
    best = min(seconds, key=seconds.__getitem__)
    if note and not remembered:
        _remember(note, best)
    return Chosen(best, engines[best], set_aside)


def disagreement(probabilities: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    """Mean over the images of the total variation distance between two answers, 0 to 1."""
    return float(np.abs(probabilities - expected).sum(1).mean() / 2)


def _try(
    engines: Mapping[str, Engine], self_test: SelfTest, *, measure: bool
) -> tuple[dict[str, float], dict[str, str]]:
    """Run all *engines* on the self-test in turn, again and again while *measure* has time.

    Return the seconds an image of those that passed (the best of their runs: what else the machine
    does only ever adds), and why the others did not.
    """
    pixels = self_test.pixels
    parts = [pixels[at : at + _AT_ONCE] for at in range(0, len(pixels), _AT_ONCE)]
    answers: dict[str, list[Floats]] = {name: [] for name in engines}
    best = dict.fromkeys(engines, float("inf"))
    started, run = time.perf_counter(), 0
    while run < len(parts) or (measure and time.perf_counter() - started < _SECONDS):
        part = parts[run % len(parts)]
        for name, engine in engines.items():
            begun = time.perf_counter()
            probabilities, _ = engine(part)
            best[name] = min(best[name], (time.perf_counter() - begun) / len(part))
            if run < len(parts):
                answers[name].append(probabilities)
        run += 1
    set_aside = {}
    for name in engines:
        answer = np.concatenate(answers[name])
        if not self_test.allows(name, answer):
            gap = disagreement(answer, self_test.probabilities)
            set_aside[name] = f"it disagrees by {gap:.4f}, at most {self_test.bounds[name]:.4f}"
    return {name: best[name] for name in engines if name not in set_aside}, set_aside


def _key(folder: Path, variants: Sequence[str]) -> str:
    """Name these graphs on this processor, run by this ONNX Runtime."""
    graphs = [
        hashlib.sha256((folder / f"{name}.onnx").read_bytes()).hexdigest() for name in variants
    ]
    what = (list(variants), graphs, _processor(), os.cpu_count(), ort.__version__)
    return hashlib.sha256(repr(what).encode()).hexdigest()[:16]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(
        sorted({x for x in lines if x.startswith(("model name", "flags", "Features"))})
    )


def _remembered(note: Path | None, names: Sequence[str]) -> list[str]:
    name: object = None
    try:
        name = json.loads(note.read_text(encoding="utf-8"))["variant"] if note else None
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or a damaged one
        return []
    return [known for known in names if known == name]


def _remember(note: Path, variant: str) -> None:
    """A disk that cannot hold it costs a second each time, and no answer."""
    scratch = note.with_suffix(f".{os.getpid()}")
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps({"variant": variant}), encoding="utf-8")
        scratch.replace(note)
    except OSError:
        return
