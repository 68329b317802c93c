"""What the export stage reads is the network that was trained."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipeline.stages.export import load_trained
from pipeline.training.models import Architecture, build


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
