"""Networks: a backbone that turns pixels into an embedding, and a linear head of our own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torchvision import models as zoo

from pipeline.errors import ParamsError

SMALL_CNN = "small_cnn"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, per RGB channel, on a scale of 0 to 1 (torchvision's pretrained weights)."""


@dataclass(frozen=True)
class Architecture:
    name: str
    """`small_cnn`, or torchvision's name."""
    image_size: int
    """Side of the square that the network sees, in pixels."""


class Network(nn.Module):
    """uint8 pixels (n, size, size, 3) in; logits (n, num_classes) out.

    Normalisation is part of the network, so that training and serving cannot differ in it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, width: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1))
        self.backbone = backbone
        self.head = nn.Linear(width, num_classes)

    def embed(self, pixels: Tensor) -> Tensor:
        """Return the penultimate layer, (n, width)."""
        scaled = pixels.permute(0, 3, 1, 2).to(self.mean.dtype) / 255
        return cast(Tensor, self.backbone((scaled - self.mean) / self.std))

    def forward(self, pixels: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.embed(pixels)))


def choose(model: str, image_size: int | str, median_side: float) -> Architecture:
    """Resolve `auto`, given the median of the images' shorter sides in pixels.

    Small pictures get a small network that keeps their resolution; photos get a ResNet-18.
    """
    small = median_side <= 64
    name = (SMALL_CNN if small else "resnet18") if model == "auto" else model
    if isinstance(image_size, int):
        return Architecture(name, image_size)
    sizes = (16, 32, 64) if small else (96, 128)
    return Architecture(name, next((s for s in sizes if s >= median_side), sizes[-1]))


def build(architecture: Architecture, num_classes: int) -> Network:
    """Return a network with fresh weights; raise ParamsError for a name or size it cannot have."""
    if architecture.name == SMALL_CNN:
        return Network(_small_cnn((32, 64, 128)), 128, num_classes)
    if architecture.name not in names():
        raise ParamsError(
            f"train.model: there is no model {architecture.name!r}",
            "known: auto, small_cnn, resnet18, mobilenet_v3_small, efficientnet_b0, ...",
            mend="set train.model in params.yaml to one of these or another torchvision classifier",
        )
    try:
        network = zoo.get_model(architecture.name, weights=None, **_size_arguments(architecture))
        backbone, width = _without_head(network)
        built = Network(backbone, width, num_classes)
        _try_size(built, architecture.image_size)
    except (ArithmeticError, AssertionError, IndexError, RuntimeError, ValueError) as error:
        raise ParamsError(
            f"train.model: {architecture.name} cannot take {architecture.image_size} px images",
            (str(error) or type(error).__name__).splitlines()[0][:200],
            mend="set train.image_size in params.yaml to a size that it takes, such as 224",
        ) from None
    return built


def names() -> Sequence[str]:
    """Every torchvision classifier by name (the quantized and video ones apart)."""
    return list(zoo.list_models(module=zoo))


def _small_cnn(widths: Sequence[int]) -> nn.Module:
    """Pairs of 3 × 3 convolutions, halved in between, averaged at the end: (n, widths[-1])."""
    layers: list[nn.Module] = []
    channels = 3
    for i, width in enumerate(widths):
        if i:
            layers.append(nn.MaxPool2d(2))
        for inputs in (channels, width):
            layers += [
                nn.Conv2d(inputs, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _size_arguments(architecture: Architecture) -> dict[str, object]:
    """What some builders must be told besides their name."""
    size = architecture.image_size
    if architecture.name.startswith("vit_"):
        return {"image_size": size}
    if architecture.name.startswith("maxvit"):
        return {"input_size": (size, size)}
    if architecture.name in ("googlenet", "inception_v3"):
        return {"aux_logits": False, "init_weights": True}
    return {}


def _without_head(network: nn.Module) -> tuple[nn.Module, int]:
    """Replace the last linear layer by nothing; return what is left and its width."""
    if isinstance(network, zoo.SqueezeNet):  # its classifier is a convolution
        network.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1))
        return network, 512
    path, last = [(p, m) for p, m in network.named_modules() if isinstance(m, nn.Linear)][-1]
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, nn.Identity())
    return network, last.in_features


def _try_size(network: Network, size: int) -> None:
    device = network.mean.device
    network.eval()
    with torch.no_grad():
        network(torch.zeros(1, size, size, 3, dtype=torch.uint8, device=device))
    network.train()
