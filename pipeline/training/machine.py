"""What is faster on this machine: measured once and remembered, so that equal work is equal."""

import copy
import hashlib
import json
import math
import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.params import TrainParams
from pipeline.training.memory import is_out_of_memory
from pipeline.training.models import Network
from pipeline.training.pace import duration
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
    what = (machine, shapes, size, batch, params.precision, params.compile)
    times = _Times(
        memory / f"{hashlib.sha256(repr(what).encode()).hexdigest()[:16]}.json",
        network,
        size,
        -(-params.batch_size // params.accumulate),
        say,
    )
    random = random_state(device)
    try:
        choice = _measure(times, steps * params.accumulate, params, given)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return given
    finally:
        set_random_state(random, device)
    if times.measured and choice != given:
        say(f"measured to be faster here: {_described(choice)}")
    return choice


class _Times:
    """Seconds a step, as remembered; what is not is measured, and remembered at once: who is
    interrupted loses the one measurement at hand, and a longer training measures only what the
    shorter one did not need."""

    def __init__(
        self, path: Path, network: Network, size: int, images: int, say: Callable[[str], None]
    ) -> None:
        self.path = path
        self.network = network
        self.size = size
        self.images = images
        self.say = say
        self.known = _remembered(path)
        self.measured = False

    def of(self, *choices: Choice, expected: float | None = None) -> list[float]:
        """*expected*: seconds that a step of each may take."""
        question = " or ".join(map(_described, choices))
        if len(self.known.get(question, [])) == len(choices):
            return self.known[question]
        about = ""
        if expected is not None:
            about = f", about {duration(expected * len(choices) * (_STEPS + 1))}"
        self.say(f"measuring what is faster here, once: {question}{about}")
        self.known[question] = _seconds_a_step(self.network, self.size, self.images, *choices)
        self.measured = True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps(self.known))
        scratch.replace(self.path)
        return self.known[question]


def _described(choice: Choice) -> str:
    return choice.precision + (", compiled" if choice.compile else "")


def _remembered(path: Path) -> dict[str, list[float]]:
    """A note that is damaged, or of another Darkroom, is as good as none."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        times = [seconds for each in known.values() for seconds in each]
        whole = all(isinstance(each, float) and 0 < each < math.inf for each in times)
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return known if whole else {}


def _measure(times: _Times, steps: int, params: TrainParams, given: Choice) -> Choice:
    """*steps*: passes through the network, forwards and backwards, of the whole training."""
    (seconds,) = times.of(given)
    choice = given
    if params.precision == "auto" and seconds * steps > _WORTH_MEASURING:
        lower = Choice("bf16", given.compile)
        seconds, other = times.of(given, lower, expected=seconds)
        if other < 0.95 * seconds:
            choice, seconds = lower, other
    if params.compile == "auto" and seconds * steps > _WORTH_COMPILING and _has_compiler():
        compiled = Choice(choice.precision, True)
        seconds, other = times.of(choice, compiled, expected=seconds)
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
