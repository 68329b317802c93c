"""What MLflow loads as a registered model: a shell around the artefact's own code.

MLflow runs this file as it stands in the model ("models from code"), in any Python that has
numpy, Pillow and onnxruntime: no torch, no Darkroom, no pickle.
"""

import base64
import binascii
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel  # type: ignore[attr-defined]

_AT_ONCE = 32
"""Images that go through the network together: a request may hold thousands."""
_MOST = 1000
"""Images of a request: a Parquet file of a few kilobytes may say the same one millions of times."""
_NAMED = 5


class Refused(MlflowException):
    """What is wrong with a request: status 400. *message* stays as it was first set, for MLflow
    would put the whole request before it."""

    def __init__(self, message: str) -> None:
        self.first = message
        super().__init__(message, error_code=INVALID_PARAMETER_VALUE)

    @property
    def message(self) -> str:
        return self.first

    @message.setter
    def message(self, longer: str) -> None:
        pass


class ServedModel(PythonModel):
    """A column `image` in: bytes of image files, or their base64. A row of answers for each.

    The model's configuration names the *variant*, auto, fp32 or int8, and the *providers*, auto or
    cpu.
    """

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
        understood = inspect.signature(code.Classifier).parameters  # the first models: no choice
        wanted = {"variant": "auto", "providers": "auto"} | dict(context.model_config or {})
        asked = {name: value for name, value in wanted.items() if name in understood}
        self._classifier = code.Classifier(folder, **asked)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Raise Refused, naming the rows, where an image cannot be had of every one of them."""
        files: list[bytes] = []
        refused: dict[int, str] = {}
        for row, value in enumerate(_images(model_input)):
            try:
                files.append(_bytes_of(value))
            except ValueError as error:
                refused[row] = str(error)
        if refused:
            raise _refusal(refused, len(files) + len(refused))
        answers = list(self._classify(files))
        refused = {
            row: f"{answer.reason}: {answer.detail}"
            for row, answer in enumerate(answers)
            if answer.reason is not None
        }
        if refused:
            raise _refusal(refused, len(answers))
        classes = self._classifier.classes
        columns = {
            "label": [answer.label for answer in answers],
            "confidence": [answer.confidence for answer in answers],
            "probabilities": [dict(zip(classes, a.probabilities, strict=True)) for a in answers],
            # What the first models do not say
            "conformal_set": [_listed(getattr(a, "conformal_set", None)) for a in answers],
            "abstain_reason": [getattr(answer, "abstain_reason", None) for answer in answers],
        }
        return pd.DataFrame(columns, dtype=object)  # pandas' own types would make NaN of None

    def _classify(self, files: list[bytes]) -> Iterator[Any]:
        for start in range(0, len(files), _AT_ONCE):
            yield from self._classifier.classify(files[start : start + _AT_ONCE])


def _images(table: Any) -> list[Any]:
    """Return what the column `image` holds; a cell that holds a list stands for its items."""
    if not isinstance(table, pd.DataFrame) or "image" not in table.columns:
        raise Refused("the request has no column `image`, or no row")
    column = table["image"]
    if isinstance(column, pd.DataFrame):
        raise Refused("the request has several columns `image`")
    found: list[Any] = []
    for cell in column:
        found += cell if isinstance(cell, list) else [cell]
        if len(found) > _MOST:
            raise Refused(f"the request holds more than {_MOST} images: send several")
    if not found:
        raise Refused("the request holds no image")
    return found


def _bytes_of(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, str):
        raise ValueError("neither bytes nor base64 text")
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"not base64: {error}") from None


def _refusal(refused: dict[int, str], rows: int) -> Refused:
    shown = [f"row {row}: {why[:200]}" for row, why in list(refused.items())[:_NAMED]]
    more = [f"and {len(refused) - _NAMED} more"] if len(refused) > _NAMED else []
    first = f"{len(refused)} of {rows} images cannot be classified (rows count from 0)"
    return Refused("\n".join([first, *shown, *more]))


def _listed(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else list(names)


mlflow.models.set_model(ServedModel())
