"""What is faster on this machine: measured once and remembered, so that equal work is equal."""

import copy
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.params import TrainParams
from pipeline.training.memory import is_out_of_memory
from pipeline.training.models import Network
from pipeline.training.session import random_state, set_random_state

_WORTH_MEASURING = 30.0
"""Seconds of training below which nothing is gained by choosing."""
_WORTH_COMPILING = 1200.0
_FEW_STEPS = 100
"""Measuring takes a few of them."""
_STEPS = 5


@dataclass(frozen=True)
class Choice:
    precision: str
    """fp32 or bf16."""
    compile: bool


def choose(
    network: Network,
    size: int,
    steps: int,
    params: TrainParams,
    memory: Path,
    say: Callable[[str], None],
) -> Choice:
    """Return what params.yaml says, and for `auto` what *memory* says of such a training on such a
    machine; it is measured where it says nothing. *steps*: of the whole network in the whole
    training; where they are few, or memory is short already, nothing is measured."""
    given = Choice(
        "fp32" if params.precision == "auto" else params.precision, params.compile == "on"
    )
    if "auto" not in (params.precision, params.compile) or steps < _FEW_STEPS:
        return given
    device = network.mean.device
    shapes = [tuple(tensor.shape) for tensor in network.state_dict().values()]
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    machine = (_processor(), device.type, gpu, torch.__version__, torch.get_num_threads())
    batch = (params.batch_size, params.accumulate)
    what = (machine, shapes, size, steps, batch, params.precision, params.compile)
    path = memory / f"{hashlib.sha256(repr(what).encode()).hexdigest()[:16]}.json"
    if remembered := _remembered(path):
        return remembered
    random = random_state(device)
    try:
        choice = _measure(network, size, steps, params, given)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return given
    finally:
        set_random_state(random, device)
    memory.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}")
    scratch.write_text(json.dumps(asdict(choice)))
    scratch.replace(path)
    if choice != given:
        say(
            f"measured to be faster here: {choice.precision}"
            + (", compiled" if choice.compile else "")
        )
    return choice


def _remembered(path: Path) -> Choice | None:
    """A note that is damaged, or of another Darkroom, is as good as none."""
    try:
        choice = Choice(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    known = choice.precision in ("fp32", "bf16") and isinstance(choice.compile, bool)
    return choice if known else None


def _measure(network: Network, size: int, steps: int, params: TrainParams, given: Choice) -> Choice:
    images = -(-params.batch_size // params.accumulate)
    (seconds,) = _seconds_a_step(network, size, images, given)
    choice, steps = given, steps * params.accumulate
    if params.precision == "auto" and seconds * steps > _WORTH_MEASURING:
        lower = Choice("bf16", given.compile)
        seconds, other = _seconds_a_step(network, size, images, given, lower)
        if other < 0.95 * seconds:
            choice, seconds = lower, other
    if params.compile == "auto" and seconds * steps > _WORTH_COMPILING and _has_compiler():
        compiled = Choice(choice.precision, True)
        seconds, other = _seconds_a_step(network, size, images, choice, compiled)
        if other < 0.95 * seconds:
            choice = compiled
    return choice


def _seconds_a_step(network: Network, size: int, images: int, *choices: Choice) -> list[float]:
    """Return the best of some steps of each of *choices*, which take turns: what else the machine
    does only ever adds, and comes and goes."""
    device = network.mean.device
    pixels = torch.zeros(images, size, size, 3, dtype=torch.uint8, device=device)
    trials = [copy.deepcopy(network).train() for _ in choices]
    for trial, choice in zip(trials, choices, strict=True):
        if choice.compile:
            trial.compile()
    rounds = [
        [
            _step(trial, pixels, choice.precision)
            for trial, choice in zip(trials, choices, strict=True)
        ]
        for _ in range(_STEPS + 1)
    ]
    return [min(seconds) for seconds in zip(*rounds[1:], strict=True)]  # the first warms up


def _step(network: Network, pixels: Tensor, precision: str) -> float:
    """Return the seconds of one step."""
    device = pixels.device
    started = time.perf_counter()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        labels = torch.zeros(len(pixels), dtype=torch.long, device=device)
        loss = nn.functional.cross_entropy(network(pixels).float(), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return "\n".join(sorted({x for x in lines if x.startswith(("model name", "flags"))}))


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in ("c++", "g++", "clang++"))
