"""A model's graphs on one machine: which of them are right here, and which is the fastest."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from ..errors import ArtefactError
from . import cuda
from .engine import CPU, GPU, Engine, Floats, Pixels
from .variants import FP16, FP32

AUTO = "auto"
SELF_TEST = "selftest.npz"
_AT_ONCE = 8
_SECONDS = 1.0
"""What choosing may take; of a slow model, one look at the whole self-test."""


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
        return disagreement(probabilities, self.probabilities) <= self.bound(variant)  # NaN: no

    def bound(self, variant: str) -> float:
        return self.bounds[FP32 if variant == FP16 else variant]


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
    providers: str = AUTO,
) -> Chosen:
    """Return the fastest of the model's *variants* on this machine, or the *wanted* one.

    A GPU, where ONNX Runtime finds one and *providers* is not cpu, comes before them: with the fp32
    graph in fp16 (variant fp16), or else as it is. What is *wanted* by name runs on the CPU.

    Whatever is chosen has passed *self_test* here first; a model without one runs as it is. A
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
    no_gpu: dict[str, str] = {}
    if wanted == providers == AUTO and self_test and cuda.is_built_in():
        on_gpu, no_gpu = _on_gpu(folder, self_test)
        if on_gpu:
            return on_gpu
    if self_test is None:
        return Chosen(names[0], Engine(folder / f"{names[0]}.onnx"), no_gpu)
    note = memory / f"{_key(folder, variants)}.json" if memory and len(names) > 1 else None
    remembered = _remembered(note, names)
    engines = {name: Engine(folder / f"{name}.onnx") for name in remembered or names}
    seconds, set_aside = _try(engines, self_test, measure=len(engines) > 1)
    if not seconds and note and remembered:  # what was right is no longer: look again
        again = choose(folder, variants, self_test, wanted, providers=CPU)
        _remember(note, again.variant)
        return replace(again, set_aside={**no_gpu, **again.set_aside})
    if not seconds:
        raise ArtefactError(
            "the model does not answer here as it did where it was sealed",
            *(f"{name}: {why}" for name, why in set_aside.items()),
            mend="set serving.variant in params.yaml to auto, or update onnxruntime",
        )
    best = min(seconds, key=seconds.__getitem__)
    if note and not remembered:
        _remember(note, best)
    return Chosen(best, engines[best], no_gpu | set_aside)


def _on_gpu(folder: Path, self_test: SelfTest) -> tuple[Chosen | None, dict[str, str]]:
    """Return what runs on the GPU, if anything, and why what was tried before it does not."""
    set_aside: dict[str, str] = {}
    for variant in (FP16, FP32):
        try:
            engine = Engine(folder / f"{FP32}.onnx", GPU, half=variant == FP16)
            seconds, wrong = _try({variant: engine}, self_test, measure=False)
        except Exception as error:  # of the GPU's memory, its driver, its libraries
            where = error.where if isinstance(error, ArtefactError) else (str(error),)
            set_aside[f"{variant} on the GPU"] = " ".join(where)[:200]
            continue
        if seconds:
            return Chosen(variant, engine, set_aside), {}
        set_aside[f"{variant} on the GPU"] = wrong[variant]
    return None, set_aside


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
            set_aside[name] = f"it disagrees by {gap:.4f}, at most {self_test.bound(name):.4f}"
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
