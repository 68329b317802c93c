"""Networks to start from: their files, and whether two are the same."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pipeline.training.models import Architecture, Network, build

CNN, RESNET = Architecture("small_cnn", 16), Architecture("resnet18", 32)
IMAGENET = [pytest.approx(v) for v in (0.485, 0.456, 0.406)]


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save(path: Path, state: dict[str, Tensor]) -> Path:
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, path)
    return path


def other(architecture: Architecture, classes: int = 2, seed: int = 1) -> Network:
    torch.manual_seed(seed)
    return build(architecture, classes)


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
