"""What MLflow loads as a registered model: a shell around the artefact's own code.

MLflow runs this file as it stands in the model ("models from code"), in any Python that has
numpy, Pillow and onnxruntime: no torch, no Darkroom, no pickle.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel  # type: ignore[attr-defined]


class ServedModel(PythonModel):
    """A column `image` of image files' bytes in; label, confidence, probabilities, reason out."""

    def load_context(self, context: Any) -> None:
        folder = Path(context.artifacts["serving"])
        found = (folder / "code").glob("darkroom_served_*/serving/classifier.py")
        package = next(found).parents[1].name
        before = sys.dont_write_bytecode
        sys.path.insert(0, str(folder / "code"))
        sys.dont_write_bytecode = True  # a cached .pyc would be a file that nobody sealed
        try:
            code = importlib.import_module(f"{package}.serving.classifier")
        finally:
            sys.dont_write_bytecode = before
            sys.path.remove(str(folder / "code"))
        self._classifier = code.Classifier(folder)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        answers = self._classifier.classify([bytes(image) for image in model_input["image"]])
        classes = self._classifier.classes
        return pd.DataFrame(
            {
                "label": [answer.label for answer in answers],
                "confidence": [answer.confidence for answer in answers],
                "probabilities": [
                    answer.probabilities and dict(zip(classes, answer.probabilities, strict=True))
                    for answer in answers
                ],
                "reason": [answer.reason for answer in answers],
            }
        )


mlflow.models.set_model(ServedModel())
