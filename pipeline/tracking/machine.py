"""What a training ran on: the facts that may make its bytes others elsewhere."""

import hashlib
import importlib.metadata
import platform
from pathlib import Path

import torch

from pipeline.training.distributed import Processes

MACHINE = "darkroom.machine"
"""Tag: these facts, of the training that the run shows, as JSON."""
_LIBRARIES = ("torch", "torchvision", "numpy", "opencv-python-headless", "pillow", "onnxruntime")


def facts(device: str) -> dict[str, str]:
    """Return versions, processor, threads and processes; of a training on cuda, the GPU too."""
    found = {name: _version(name) for name in _LIBRARIES} | {
        "python": platform.python_version(),
        "processor": _processor(),
        "device": device,
        "threads": str(torch.get_num_threads()),
        "processes": str(Processes.current().count),
    }
    if device == "cuda" and torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _processor() -> str:
    """Its name, and a hash of its flags: libraries choose their kernels by them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    named = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    flags = hashlib.sha256(named.get("flags", "").encode()).hexdigest()[:8]
    return f"{named.get('model name', platform.machine())} (flags {flags})"
