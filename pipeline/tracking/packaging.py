"""A sealed model as MLflow stores it: a folder with our shell around it, and what is in it.

MLmodel  conda.yaml  python_env.yaml  requirements.txt      MLflow's own
served_model.py                                             the shell, beside this file
artifacts/serving/                                          the sealed model, as it is
"""

import importlib.metadata
import json
import warnings
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType, Array, Map

from pipeline.export.artefact import hash_files

FILES = "darkroom.files"
"""Tag: sha256 of each file of the model as MLflow stores it, as JSON."""
SIZES = "darkroom.bytes"
"""Tag: bytes of each of them, as JSON."""
SERVING = "artifacts/serving"
"""Where in that folder the sealed model lies."""
_SIGNATURE = ModelSignature(
    # Bytes, or base64 text: for DataType.binary MLflow decodes some kinds of requests and not
    # others, passes by what is no base64, and names no row
    inputs=Schema([ColSpec(AnyType(), "image", required=False)]),  # type: ignore[no-untyped-call]
    outputs=Schema(
        [
            ColSpec(DataType.string, "label", required=False),
            ColSpec(DataType.double, "confidence", required=False),
            ColSpec(Map(DataType.double), "probabilities", required=False),
            ColSpec(Array(DataType.string), "conformal_set", required=False),
            ColSpec(DataType.string, "abstain_reason", required=False),
        ]
    ),
)


def package(folder: Path, serving: Path, example: bytes | None = None) -> None:
    """Write the artefact in *serving* into *folder* as MLflow models are, in our own shell.

    *example* is an image file, shown as the model's input example.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example.*")
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"serving": str(serving)},
            model_config={"variant": "auto", "providers": "auto"},
            signature=_SIGNATURE,
            input_example=None if example is None else pd.DataFrame({"image": [example]}),
            pip_requirements=_requirements(),
        )


def file_tags(folder: Path) -> dict[str, str]:
    """Return what a version states of its files, by which it is checked before it is loaded."""
    hashes = hash_files(folder)
    sizes = {name: (folder / name).stat().st_size for name in hashes}
    return {
        FILES: json.dumps(hashes, sort_keys=True),
        SIZES: json.dumps(sizes, sort_keys=True),
    }


def _requirements() -> list[str]:
    names = ("mlflow", "numpy", "onnxruntime", "pandas", "pillow")
    return [f"{name}=={importlib.metadata.version(name)}" for name in names]
