"""What a served model needs; a copy travels inside every registered model."""

import os

# ONNX Runtime sends Microsoft what it runs, and reads this when it is first imported
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
