"""From trained weights to the sealed artefact that serves."""

import pipeline.serving  # noqa: F401, before anything here imports ONNX Runtime
