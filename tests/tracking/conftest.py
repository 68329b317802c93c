"""One real MLflow store for all tests here, and a project's files made by hand."""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import catalogues
import pytest
from brightness import CARD, seal_brightness

from pipeline.cards import write_card
from pipeline.data.splits import SplitRow, Splits, write_splits
from pipeline.tracking.store import Store, connect
from pipeline.workspace import Home, Workspace

EPOCHS = """\
epoch,learning_rate,train_loss,train_accuracy,validation_loss,validation_accuracy
1,0.05,0.6931471805599453,0.5,0.7,0.5
2,0.0,0.1,0.9666666666666667,0.30000000000000004,0.9
"""


@pytest.fixture(autouse=True)
def _no_other_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the user's own, and forget afterwards what MLflow itself puts into the environment."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, os.environ[name])  # so that it is put back: a stage lowers it


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Its store costs seconds to make: tests keep apart by names of their own."""
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def client(home: Home) -> Store:
    return connect(home, {})


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """An experiment and a model of this test alone."""
    return re.sub(r"\W+", "-", request.node.name)


@dataclass(frozen=True)
class Files:
    """What the stages leave behind."""

    workspace: Workspace

    def train(self, key: str) -> None:
        folder = self.workspace.trained
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_bytes(f"weights of {key}".encode())
        (folder / "epochs.csv").write_text(EPOCHS)
        card = {
            "architecture": "small_cnn",
            "image_size": 8,
            "classes": CARD["classes"],
            "num_parameters": 12,
            "best_epoch": 2,
        }
        write_card(folder / "card.json", card)
        origin = {
            "training_key": key,
            "device": "cpu",
            "params": {"epochs": 2, "learning_rate": 0.05},
        }
        write_card(self.workspace.training_report / "card.json", origin)

    def export(self, key: str) -> None:
        self.drop_export()
        digest = seal_brightness(self.workspace.serving, export=key)
        weights = (self.workspace.trained / "model.safetensors").read_bytes()
        card = {
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "export_key": key,
            "serving_digest": digest,
            "parity": {"images": 4, "largest_difference": 1e-7},
            "params": {"parity_images": 4, "key": key},
        }
        write_card(self.workspace.export_report / "card.json", card)

    def drop_export(self) -> None:
        for folder in (self.workspace.serving, self.workspace.export_report):
            for path in sorted(folder.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()

    def evaluate(self, accuracy: float) -> None:
        card = json.loads((self.workspace.export_report / "card.json").read_text())
        folder = self.workspace.evaluation
        write_card(folder / "card.json", {"serving_digest": card["serving_digest"], "images": 4})
        write_card(folder / "metrics.json", {"validation": {"accuracy": accuracy}})


def make_files(root: Path) -> Files:
    workspace = Workspace(root)
    rows = [
        SplitRow(f"{n:064}", f"{n}.png", label, 8, 8, split, None, None)
        for n, split in enumerate(["train", "train", "validation", "test"])
        for label in CARD["classes"]
    ]
    workspace.splits.parent.mkdir(parents=True)
    write_splits(workspace.splits, Splits(tuple(rows), 0, 0.15, 0.15))
    catalogues.write(workspace.catalogue, [], "photos/mine")
    workspace.dataset_dvc.write_text("outs:\n- md5: 0123456789abcdef.dir\n  path: dataset\n")
    workspace.params.write_text("train: {}\n")
    workspace.dvc_lock.write_text("schema: '2.0'\n")
    return Files(workspace)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A training that was neither exported nor evaluated yet."""
    made = make_files(tmp_path / "project")
    made.train("training-1")
    return made
