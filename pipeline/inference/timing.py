"""How long answers took. Unlike all else that a batch says of itself, it never comes out twice."""

import json
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

DAMAGED = (OSError, ValueError, OverflowError, RecursionError)
"""What reading JSON of anybody's raises, and making numbers and times of it."""
_FIRST_YEAR = 1970
"""Of the milliseconds that MLflow counts in."""
TIMING = "_timing.json"
"""In a batch's folder."""


class Stopwatch:
    """Of one run over one folder; what a killed one answered before it has been forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = time.perf_counter()
        self._seconds = array("f")
        """Of each image: 4 bytes."""

    @contextmanager
    def answering(self, images: int) -> Iterator[None]:
        """Count what happens inside as the answering of so many images."""
        begun = time.perf_counter()
        yield
        seconds = time.perf_counter() - begun
        with self._lock:
            self._seconds.extend([seconds] * images)

    def figures(self) -> dict[str, float]:
        """By name, for a series over batches; none where this run answered nothing."""
        if not self._seconds:
            return {}
        elapsed = time.perf_counter() - self._begun
        p50, p99 = np.percentile(np.asarray(self._seconds), (50, 99))
        return {
            "images_per_second": len(self._seconds) / elapsed,
            "latency_p50_ms": 1000 * float(p50),
            "latency_p99_ms": 1000 * float(p99),
        }


@dataclass(frozen=True)
class Timing:
    published_at: datetime
    cores: int
    figures: dict[str, float]
    """As `Stopwatch.figures`: images_per_second, and how long an image was under way, from when
    its file was opened until its answer was there, in milliseconds."""

    def as_json(self) -> dict[str, Any]:
        at = self.published_at.isoformat()
        return {"published_at": at, "cores": self.cores, "figures": self.figures}


def taken(stopwatch: Stopwatch, cores: int) -> Timing:
    """Return what is known when all is answered."""
    return Timing(datetime.now(UTC), cores, stopwatch.figures())


def read_timing(batch: Path) -> Timing | None:
    """Return how long a published batch took; None where an older Darkroom made it."""
    try:
        said = json.loads((batch / TIMING).read_text(encoding="utf-8"))
        at = datetime.fromisoformat(said["published_at"]).astimezone(UTC)
        figures = {name: float(value) for name, value in said["figures"].items()}
        return Timing(at, int(said["cores"]), figures) if at.year >= _FIRST_YEAR else None
    except (*DAMAGED, KeyError, TypeError, AttributeError):
        return None
