"""One graph of a model on this machine: squares of pixels in, probabilities and embeddings out."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from ..errors import ArtefactError
from . import cuda

CPU, GPU = "cpu", "gpu"
PART = 4
"""Images that go through one core at once."""

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Engine:
    """Runs one graph on all cores of the CPU, or on a GPU that they feed.

    Many images go through side by side, a few on each core: for small networks faster than one
    after the other with every operation split over the cores, and the same to the bit.
    """

    def __init__(self, graph: Path, where: str = CPU, *, half: bool = False) -> None:
        """*half*: the graph is run in fp16.

        Raises ArtefactError where it cannot be run there.
        """
        self._name, self._graph, self._where = graph.name, graph.read_bytes(), where
        with self._named():
            self._graph = cuda.in_half_precision(self._graph) if half else self._graph
        self._narrow = self._session(threads=1)
        self.cores = cores()
        self.part = PART if where == CPU else cuda.PART
        """Images that one core takes at once."""
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
        at_once = max(1, min(self.part, -(-images // self.cores)))
        return [slice(at, at + at_once) for at in range(0, images, at_once)]

    @cached_property
    def _wide(self) -> ort.InferenceSession:
        """For fewer images than cores: whoever waits for one has them all."""
        return self._session(threads=self.cores) if self._where == CPU else self._narrow

    def _session(self, threads: int) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        with self._named():
            if self._where == GPU:
                return cuda.open_session(self._graph, options)
            return ort.InferenceSession(self._graph, options, providers=["CPUExecutionProvider"])

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # its own kinds share no other base
            raise ArtefactError(
                f"ONNX Runtime {ort.__version__} cannot run {self._name} of the model",
                (str(error) or type(error).__name__).splitlines()[0][:200],
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
