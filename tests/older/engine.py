"""One ONNX graph on one machine: uint8 pixels in, probabilities and embeddings out."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort


class Engine:
    """Runs a model's graph on the CPU, on all of its cores."""

    def __init__(self, graph: Path) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            graph.read_bytes(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(
        self, pixels: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Map (n, size, size, 3) to probabilities (n, num_classes) and embeddings (n, width)."""
        probabilities, embedding = self._session.run(
            ["probabilities", "embedding"], {"pixels": pixels}
        )
        return probabilities, embedding
