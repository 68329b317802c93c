"""What is faster on this machine: measured once and remembered, so that equal work is equal."""

import copy
import hashlib
import json
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from pipeline.params import TrainParams
from pipeline.training.models import Network

_WORTH_MEASURING = 30.0
"""Seconds of training below which nothing is gained by choosing."""
_WORTH_COMPILING = 1200.0
_STEPS = 3


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
    machine; it is measured where it says nothing. *steps*: of the whole training."""
    given = Choice(
        "fp32" if params.precision == "auto" else params.precision, params.compile == "on"
    )
    if "auto" not in (params.precision, params.compile):
        return given
    device = network.mean.device
    shapes = [tuple(tensor.shape) for tensor in network.state_dict().values()]
    machine = (_processor(), str(device), torch.__version__, torch.get_num_threads())
    what = (machine, shapes, size, steps, params.batch_size, params.precision, params.compile)
    path = memory / f"{hashlib.sha256(repr(what).encode()).hexdigest()[:16]}.json"
    if path.is_file():
        return Choice(**json.loads(path.read_text()))
    random = torch.get_rng_state()
    choice = _measure(network, size, steps, params, given)
    torch.set_rng_state(random)
    memory.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".scratch")
    scratch.write_text(json.dumps(asdict(choice)))
    scratch.replace(path)
    if choice != given:
        say(
            f"measured to be faster here: {choice.precision}"
            + (", compiled" if choice.compile else "")
        )
    return choice


def _measure(network: Network, size: int, steps: int, params: TrainParams, given: Choice) -> Choice:
    seconds = _seconds_a_step(network, size, params.batch_size, given)
    choice = given
    if params.precision == "auto" and seconds * steps > _WORTH_MEASURING:
        lower = Choice("bf16", given.compile)
        if (other := _seconds_a_step(network, size, params.batch_size, lower)) < 0.95 * seconds:
            choice, seconds = lower, other
    if params.compile == "auto" and seconds * steps > _WORTH_COMPILING and _has_compiler():
        compiled = Choice(choice.precision, True)
        if _seconds_a_step(network, size, params.batch_size, compiled) < 0.95 * seconds:
            choice = compiled
    return choice


def _seconds_a_step(network: Network, size: int, batch_size: int, choice: Choice) -> float:
    trial = copy.deepcopy(network).train()
    if choice.compile:
        trial.compile()
    device = trial.mean.device
    pixels = torch.zeros(batch_size, size, size, 3, dtype=torch.uint8, device=device)
    best = float("inf")
    for _ in range(_STEPS + 1):  # the first warms up
        started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=choice.precision == "bf16"):
            loss = nn.functional.cross_entropy(
                trial(pixels).float(), torch.zeros(batch_size, dtype=torch.long, device=device)
            )
        loss.backward()  # type: ignore[no-untyped-call]
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return best


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return "\n".join(sorted({x for x in lines if x.startswith(("model name", "flags"))}))


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in ("c++", "g++", "clang++"))
