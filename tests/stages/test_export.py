"""What the export stage reads is the network that was trained, and what it seals answers so."""

import hashlib
import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from trainings import greys

from pipeline.cards import read_card, write_card
from pipeline.data.splits import SplitRow, Splits, read_splits, write_splits
from pipeline.errors import ArtefactError, DatasetError
from pipeline.export import graphs
from pipeline.export.artefact import SealedPrediction, open_artefact
from pipeline.export.onnx import to_onnx
from pipeline.params import Params
from pipeline.stages.export import load_trained, run
from pipeline.training.models import Architecture, build
from pipeline.workspace import Home, Workspace


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


DVC_YAML = """\
stages:
  train: {cmd: none, deps: [], params: [], outs: [models/trained]}
  export: {cmd: none, deps: [models/trained], params: [], outs: []}
"""
CLASSES = ["dark", "light"]


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@dataclass(frozen=True)
class Place:
    workspace: Workspace
    home: Home
    params: Params
    said: list[str] = field(default_factory=list)

    def run(self, **export: object) -> dict[str, Any]:
        """Export with these parameters changed; return the report's card."""
        params = self.params.model_copy(
            update={"export": self.params.export.model_copy(update=export)}
        )
        run(self.workspace, self.home, params, self.said.append)
        return read_card(self.workspace.export_report / "card.json")

    def images(self) -> list[bytes]:
        """The files of the validation images."""
        rows = read_splits(self.workspace.splits).of("validation")
        return [(self.workspace.images / row.file).read_bytes() for row in rows]


@pytest.fixture
def place(tmp_path: Path, params: Params) -> Place:
    """A network that was trained a little on forty images of 8 × 8; sixty to validate on, of which
    one has the wrong label, so that a temperature can be fitted."""
    made = Workspace(tmp_path)
    made.dvc_yaml.write_text(DVC_YAML)
    made.params.write_text("{}")
    made.trained.mkdir(parents=True)
    made.images.mkdir(parents=True)
    pixels, labels = greys(100)
    torch.manual_seed(0)
    network = build(Architecture("small_cnn", 8), 2)
    optimizer = torch.optim.AdamW(network.parameters(), 0.01)
    for _ in range(10):
        optimizer.zero_grad()
        logits = network(torch.from_numpy(pixels))
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
        optimizer.step()
    save_file(network.state_dict(), made.trained / "model.safetensors")
    card = {"architecture": "small_cnn", "image_size": 8, "hidden": 0, "classes": CLASSES}
    write_card(made.trained / "card.json", card)
    rows = []
    for number, (label, square) in enumerate(zip(labels, pixels, strict=True)):
        name = hashlib.sha256(data := png(square)).hexdigest()
        (made.images / name).write_bytes(data)
        split = "validation" if number < 60 else "train"
        rows.append(SplitRow(name, name, CLASSES[label], 8, 8, split, None, None))
    rows[0] = replace(rows[0], label="light" if rows[0].label == "dark" else "dark")
    write_splits(made.splits, Splits(tuple(sorted(rows, key=lambda r: r.sha256)), 0, 0.5, 0.1))
    return Place(made, Home(tmp_path), params)


def answers(place: Place, **how: Any) -> list[SealedPrediction]:
    return list(open_artefact(place.workspace.serving, **how).classify(place.images()))


# What is fitted, and what is checked


def test_the_sealed_model_knows_what_it_was_fitted_on(place):
    fitted = place.run()["fitted"]
    assert fitted["log_loss_after"] < fitted["log_loss_before"]
    sealed = read_card(place.workspace.serving / "card.json")
    assert sealed["temperature"] == fitted["temperature"] != 1
    rows = read_splits(place.workspace.splits).of("validation")
    for variant in sealed["variants"]:  # each is held against its own
        found = answers(place, variant=variant)
        assert all(answer.ood_score is not None for answer in found)
        assert sum(answer.abstain_reason == "out_of_distribution" for answer in found) <= 1
        sets = [answer.conformal_set for answer in found]
        covered = sum(row.label in chosen for row, chosen in zip(rows, sets, strict=True))
        assert 55 <= covered <= 57, variant  # 90% of 60 + 1, rounded up; equals may lie beside it


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_the_same_network_is_sealed_to_the_same_digest_with_the_same_table(place, share):
    found = []
    for _ in range(2):
        card = place.run(prune=share, prune_epochs=2)
        table = (place.workspace.export_report / "variants.json").read_bytes()
        found.append((card["serving_digest"], card["pruning"], table))
    assert found[0] == found[1]


def test_a_damaged_image_of_the_snapshot_is_named(place):
    damaged = sorted(place.workspace.images.iterdir())[7]
    damaged.write_bytes(damaged.read_bytes()[:60])
    with pytest.raises(DatasetError) as caught:
        place.run()
    assert damaged.name in str(caught.value)
    assert not place.workspace.serving.exists()


def test_no_validation_image_at_all_is_an_error_that_says_what_to_raise(place):
    splits = read_splits(place.workspace.splits)
    write_splits(place.workspace.splits, replace(splits, rows=splits.of("train")))
    with pytest.raises(DatasetError, match="no validation image") as caught:
        place.run()
    assert "split.validation" in caught.value.mend


def test_a_graph_that_answers_otherwise_than_the_network_is_not_sealed(place, monkeypatch):
    """It is the graph of another temperature: as right, and not what was fitted."""

    def other(network, image_size, temperature):
        return to_onnx(network, image_size, 1.01 * temperature)

    monkeypatch.setattr(graphs, "to_onnx", other)
    with pytest.raises(ArtefactError, match="does not agree"):
        place.run()
    assert not place.workspace.serving.exists()
    assert not place.workspace.export_report.exists()


# Variants


def test_an_int8_that_is_as_good_is_sealed_beside_fp32_and_answers(place):
    card = place.run()
    assert read_card(place.workspace.serving / "card.json")["variants"] == ["fp32", "int8"]
    table = read_card(place.workspace.export_report / "variants.json")
    assert card["variants"] == table
    assert [table[name]["admissible"] for name in ("fp32", "int8")] == [True, True]
    for name, row in table.items():
        assert row["bytes"] == (place.workspace.serving / f"{name}.onnx").stat().st_size
        labels = [answer.label for answer in answers(place, variant=name)]
        rows = read_splits(place.workspace.splits).of("validation")
        right = sum(row.label == label for row, label in zip(rows, labels, strict=True))
        assert row["accuracy"] == right / 60
    assert table["int8"]["bytes"] < table["fp32"]["bytes"]


def test_the_self_test_is_32_validation_images_with_what_fp32_answered(place):
    place.run()
    with np.load(place.workspace.serving / "selftest.npz") as test:
        pixels, known = test["pixels"], test["probabilities"]
    assert pixels.shape == (32, 8, 8, 3)
    for answer, expected in zip(answers(place, variant="fp32"), known, strict=False):
        assert answer.probabilities == pytest.approx(expected, abs=1e-4)
    bounds = read_card(place.workspace.serving / "card.json")["self_test"]
    assert bounds["fp32"] <= bounds["int8"] < 0.2


def test_an_int8_that_is_worse_is_set_aside_by_its_reason_and_fp32_is_sealed(place):
    """Its ranges were taken over black images alone: whatever is brighter is cut off there."""
    splits = read_splits(place.workspace.splits)
    (place.workspace.images / "black").write_bytes(png(np.zeros((8, 8, 3), np.uint8)))
    black = tuple(r if r.split == "validation" else replace(r, file="black") for r in splits.rows)
    write_splits(place.workspace.splits, replace(splits, rows=black))
    table = place.run()["variants"]
    assert table["fp32"]["admissible"] and not table["int8"]["admissible"]
    assert f"int8 is set aside: {table['int8']['fault']}" in place.said
    assert read_card(place.workspace.serving / "card.json")["variants"] == ["fp32"]
    assert not (place.workspace.serving / "int8.onnx").exists()
    assert (place.workspace.serving / "selftest.npz").exists()  # a GPU has to pass it
    assert {answer.label for answer in answers(place)} == set(CLASSES)


# Pruning


def test_a_pruned_model_is_smaller_and_its_cost_is_stated(place):
    whole = place.run()
    cut = place.run(prune=0.5, prune_epochs=3)
    figures = cut["pruning"]
    assert whole["pruning"] == {}
    assert figures["flops_after"] <= 0.5 * figures["flops_before"]
    assert figures["share_cut"] == 1 - figures["flops_after"] / figures["flops_before"]
    assert cut["variants"]["fp32"]["bytes"] < whole["variants"]["fp32"]["bytes"]
    assert cut["serving_digest"] != whole["serving_digest"]
    assert cut["weights_sha256"] == whole["weights_sha256"], "of what was trained"
    rows = read_splits(place.workspace.splits).of("validation")
    right = [
        row.label == answer.label
        for row, answer in zip(rows, answers(place, variant="fp32"), strict=True)
    ]
    assert figures["accuracy_after"] == sum(right) / 60


def test_a_cut_without_epochs_is_sealed_as_it_was_cut(place):
    figures = place.run(prune=0.3, prune_epochs=0)["pruning"]
    assert figures["log_loss_after"] == figures["log_loss_cut"] != figures["log_loss_before"]
