"""A project whose models are numbers: each tells dark from light at a threshold of its own.

Its files are what the stages would have left behind, so that registering takes a second, and what
the test images must say of each model can be counted by hand.
"""

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import catalogues
import numpy as np
from brightness import CARD, graph
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from worlds import ROOT

from pipeline.cards import write_card
from pipeline.data.splits import SplitRow, Splits, write_splits
from pipeline.export.artefact import seal
from pipeline.graph import stage_key, training_key
from pipeline.operations import register
from pipeline.operations.register import Registered
from pipeline.params import Params, load_params, set_values
from pipeline.workspace import Home, Workspace, fresh

DVC_YAML = """\
stages:
  train: {cmd: none, deps: [data/splits.parquet], params: [train]}
  export: {cmd: none, deps: [models/trained], params: [export]}
"""
DARK, LIGHT = 270, 30
"""Test images: dark ones are 0 to 127, evenly; light ones 128 to 255."""
MEDIOCRE, RIGHT, ALWAYS_DARK, BACKWARDS = 90.0, 127.5, 1000.0, -127.5
"""Thresholds: right in 221 of 300; in all; in the dark ones; in none (light is called dark)."""


@dataclass(frozen=True)
class Project:
    workspace: Workspace
    home: Home

    @property
    def params(self) -> Params:
        return load_params(self.workspace.params)

    def make(self, threshold: float, seed: int = 0, **sealed: Any) -> None:
        """Leave behind what `dvc repro` would have, of another training for another *seed*;
        *sealed* goes into the artefact beside its graph."""
        set_values(self.workspace.params, {"train.seed": seed})
        trained, params = self.workspace.trained, self.params
        fresh(trained)
        (trained / "model.safetensors").write_bytes(f"{threshold} {seed}".encode())
        (trained / "epochs.csv").write_text("epoch,train_loss\n1,0.5\n")
        card = {"architecture": "small_cnn", "image_size": 8, "classes": CARD["classes"]}
        write_card(trained / "card.json", card | {"num_parameters": 12, "best_epoch": 1})
        origin = {
            "training_key": training_key(self.workspace, self.home, params.train),
            "device": "cpu",
            "params": params.train.model_dump(),
            "start": {"weights": "none", "sha256": ""},
        }
        write_card(self.workspace.training_report / "card.json", origin)
        slope = 0.02 if threshold > 0 else -0.02
        digest = seal(
            fresh(self.workspace.serving),
            graph(abs(threshold), slope),
            CARD | {"seed": seed},
            **sealed,
        )
        weights = (trained / "model.safetensors").read_bytes()
        card = {
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "export_key": stage_key(self.workspace, "export"),
            "serving_digest": digest,
            "parity": {"images": 4, "largest_difference": 0.0},
            "params": params.export.model_dump(),
        }
        write_card(self.workspace.export_report / "card.json", card)

    def register(self, say: Callable[[str], object] = lambda line: None) -> Registered:
        return register.run(self.workspace, self.home, self.params, say)


def make_project(
    root: Path, home: Home, name: str, gate: dict[str, dict[str, float]] | None = None
) -> Project:
    """Lay down a dataset and its splits; *gate* declares gates beside that of the champion."""
    workspace = Workspace(root)
    root.mkdir(parents=True)
    text = (ROOT / "params.yaml").read_text()
    declared = "".join(f"  {key}: {value}\n" for key, value in (gate or {}).items())
    workspace.params.write_text(text.replace("  champion:  ", f"{declared}  champion:  ", 1))
    set_values(workspace.params, {"data.source": "photos", "registry.model_name": name})
    workspace.dvc_yaml.write_text(DVC_YAML)
    rows = tuple(sorted(_images(workspace), key=lambda row: row.sha256))
    write_splits(workspace.splits, Splits(rows, 0, 0.15, 0.15))
    known = [
        replace(catalogues.image(row.sha256, row.label), sha256=row.sha256, file=row.file)
        for row in rows
    ]
    catalogues.write(workspace.catalogue, known)
    workspace.dataset_dvc.write_text("outs:\n- md5: 0123456789abcdef.dir\n  path: dataset\n")
    return Project(workspace, home)


def _images(workspace: Workspace) -> Iterator[SplitRow]:
    dark, light = np.linspace(0, 127, DARK), np.linspace(128, 255, LIGHT)
    for number, brightness in enumerate(np.rint([*dark, *light]).astype(int)):
        yield _image(workspace, number, int(brightness), "test")
    for number, split in enumerate(["train", "train", "validation", "validation"], 1000):
        yield _image(workspace, number, 200 * (number % 2), split)


def _image(workspace: Workspace, number: int, brightness: int, split: str) -> SplitRow:
    """Write an image that its *number* alone tells from another of its brightness."""
    out, told = io.BytesIO(), PngInfo()
    told.add_text("number", str(number))
    Image.new("L", (8, 8), brightness).save(out, "PNG", pnginfo=told)
    sha256 = hashlib.sha256(out.getvalue()).hexdigest()
    file = workspace.images / sha256[:2] / f"{sha256}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(out.getvalue())
    label = CARD["classes"][brightness > 127]
    return SplitRow(
        sha256, file.relative_to(workspace.images).as_posix(), label, 8, 8, split, None, None
    )
