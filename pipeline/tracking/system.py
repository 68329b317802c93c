"""What a training takes of its machine, as MLflow's page of system metrics knows it."""

from contextlib import suppress

import psutil
import torch

_MEGABYTE = 1e6


def usage() -> dict[str, float]:
    """Return processor and memory in use, and the GPU's where there is one; since the last call."""
    memory, process = psutil.virtual_memory(), psutil.Process()
    found = {
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
        "system/system_memory_usage_percentage": memory.percent,
        "system/process_memory_megabytes": process.memory_info().rss / _MEGABYTE,
    }
    if torch.cuda.is_available():
        device = torch.cuda.current_device()
        free, total = torch.cuda.mem_get_info(device)
        name = f"system/gpu_{device}"
        found[f"{name}_memory_usage_megabytes"] = (total - free) / _MEGABYTE
        found[f"{name}_memory_usage_percentage"] = 100 * (total - free) / total
        with suppress(ImportError, RuntimeError):  # the driver's own library may not be at hand
            found[f"{name}_utilization_percentage"] = float(torch.cuda.utilization(device))
    return found
