"""What the export stage reads is the network that was trained, and what it seals answers so."""

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from trainings import greys

from pipeline.cards import read_card, write_card
from pipeline.data.splits import SplitRow, Splits, read_splits, write_splits
from pipeline.errors import DatasetError
from pipeline.export.artefact import SealedPrediction, open_artefact
from pipeline.params import Params
from pipeline.stages.export import load_trained, run
from pipeline.training.models import Architecture, build
from pipeline.workspace import Workspace


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture("small_cnn", 16, hidden=24),
        Architecture("mnasnet0_5", 32),  # its modules have versions, which no file of tensors holds
        Architecture("timm/mobilenetv3_small_050", 32),
    ],
)
def test_a_trained_network_is_read_back_as_it_was(tmp_path: Path, architecture: Architecture):
    trained = build(architecture, 3).eval()
    trained.mean.fill_(0.25)  # its own normalisation comes with it
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    card = {
        "architecture": architecture.name,
        "image_size": architecture.image_size,
        "hidden": architecture.hidden,
        "classes": ["a", "b", "c"],
    }
    read = load_trained(card, tmp_path / "model.safetensors").eval()
    pixels = torch.randint(0, 256, (2, *[architecture.image_size] * 2, 3), dtype=torch.uint8)
    assert torch.equal(read(pixels), trained(pixels))


DVC_YAML = "stages: {export: {cmd: none, deps: [models/trained], params: [], outs: []}}"


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A network that was trained a little, and sixty validation images of 8 × 8."""
    made = Workspace(tmp_path)
    made.dvc_yaml.write_text(DVC_YAML)
    made.params.write_text("{}")
    made.trained.mkdir(parents=True)
    made.images.mkdir(parents=True)
    pixels, labels = greys(60)
    torch.manual_seed(0)
    network = build(Architecture("small_cnn", 8), 2)
    optimizer = torch.optim.AdamW(network.parameters(), 0.01)
    for _ in range(10):
        optimizer.zero_grad()
        logits = network(torch.from_numpy(pixels))
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
        optimizer.step()
    save_file(network.state_dict(), made.trained / "model.safetensors")
    card = {"architecture": "small_cnn", "image_size": 8, "hidden": 0, "classes": ["dark", "light"]}
    write_card(made.trained / "card.json", card)
    rows = []
    for label, square in zip(labels, pixels, strict=True):
        name = hashlib.sha256(data := png(square)).hexdigest()
        (made.images / name).write_bytes(data)
        rows.append(SplitRow(name, name, card["classes"][label], 8, 8, "validation", None, None))
    rows[0] = replace(rows[0], label="light" if rows[0].label == "dark" else "dark")
    write_splits(made.splits, Splits(tuple(sorted(rows, key=lambda r: r.sha256)), 0, 0.5, 0.1))
    return made


def answers(workspace: Workspace, images: list[bytes]) -> list[SealedPrediction]:
    return list(open_artefact(workspace.serving).classify(images))


def test_the_sealed_model_knows_what_it_was_fitted_on(workspace, params: Params):
    """One of its sixty labels is wrong, so that a temperature can be fitted."""
    run(workspace, params, lambda _: None)
    fitted = read_card(workspace.export_report / "card.json")["fitted"]
    assert fitted["log_loss_after"] < fitted["log_loss_before"]
    assert read_card(workspace.serving / "card.json")["temperature"] == fitted["temperature"] != 1
    rows = read_splits(workspace.splits).rows
    found = answers(workspace, [(workspace.images / row.file).read_bytes() for row in rows])
    assert all(answer.ood_score is not None for answer in found)
    assert sum(answer.abstain_reason == "out_of_distribution" for answer in found) <= 1
    covered = [row.label in answer.conformal_set for row, answer in zip(rows, found, strict=True)]
    assert 55 <= sum(covered) <= 57  # 90% of 60 + 1, rounded up; equals may lie beside it


def test_the_same_network_is_sealed_to_the_same_digest(workspace, params: Params):
    digests = []
    for _ in range(2):
        run(workspace, params, lambda _: None)
        digests.append(read_card(workspace.export_report / "card.json")["serving_digest"])
    assert digests[0] == digests[1]


def test_a_damaged_image_of_the_snapshot_is_named(workspace, params: Params):
    damaged = sorted(workspace.images.iterdir())[7]
    damaged.write_bytes(damaged.read_bytes()[:60])
    with pytest.raises(DatasetError) as caught:
        run(workspace, params, lambda _: None)
    assert damaged.name in str(caught.value)
    assert not workspace.serving.exists()
