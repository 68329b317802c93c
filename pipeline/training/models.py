"""Networks: a backbone that turns pixels into an embedding, and a linear head of our own."""

import difflib
import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import cast

import torch
from torch import Tensor, nn
from torchvision import models as zoo

from pipeline.errors import ParamsError

SMALL_CNN, SMALL_RESNET18 = "small_cnn", "small_resnet18"
TIMM = "timm/"
"""What the names of timm's models begin with here."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, per RGB channel, on a scale of 0 to 1 (torchvision's pretrained weights)."""


@dataclass(frozen=True)
class Architecture:
    name: str
    """`small_cnn`, `small_resnet18`, torchvision's name, or `timm/` and timm's."""
    image_size: int
    """Side of the square that the network sees, in pixels."""
    hidden: int = 0
    """Width of one more layer in the head; 0 is none."""


class Network(nn.Module):
    """Pixels (n, size, size, 3), 0 to 255, or embeddings (n, width) → logits (n, num_classes).

    Normalisation is part of the network, so that training and serving cannot differ in it.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        num_classes: int,
        hidden: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1))
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = _head(width, num_classes, hidden, dropout)

    def embed(self, pixels: Tensor) -> Tensor:
        """Return the penultimate layer, (n, width)."""
        scaled = pixels.permute(0, 3, 1, 2).to(self.mean.dtype) / 255
        return cast(Tensor, self.backbone((scaled - self.mean) / self.std))

    def forward(self, inputs: Tensor) -> Tensor:
        embedding = inputs if inputs.ndim == 2 else self.embed(inputs)
        return cast(Tensor, self.head(self.dropout(embedding)))


def choose(model: str, image_size: int | str, median_side: float, hidden: int = 0) -> Architecture:
    """Resolve `auto`, given the median of the images' shorter sides in pixels.

    Small pictures get a small network that keeps their resolution; photos get a ResNet-18.
    """
    small = median_side <= 64
    name = (SMALL_CNN if small else "resnet18") if model == "auto" else model
    if isinstance(image_size, int):
        return Architecture(name, image_size, hidden)
    sizes = (16, 32, 64) if small else (96, 128)
    size = next((s for s in sizes if s >= median_side), sizes[-1])
    return Architecture(name, size, hidden)


def build(architecture: Architecture, num_classes: int, dropout: float = 0.0) -> Network:
    """Return a network with fresh weights; raise ParamsError for a name or size it cannot have."""
    rest = (num_classes, architecture.hidden, dropout)
    if architecture.name == SMALL_CNN:
        return Network(_small_cnn((32, 64, 128)), 128, *rest)
    if architecture.name == SMALL_RESNET18:
        return Network(_small_resnet18(), 512, *rest)
    backbone_of = _of_timm if architecture.name.startswith(TIMM) else _of_torchvision
    _refuse_unknown(architecture.name)
    try:
        backbone, width = backbone_of(architecture)
        built = Network(backbone, width, *rest)
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


def timm_library() -> ModuleType:
    """Return timm, which takes seconds to import; raise ParamsError where it is not installed."""
    try:
        return importlib.import_module("timm")
    except ImportError:
        raise ParamsError(
            "train.model names a model of timm, which is not installed",
            mend="pip install 'timm>=1.0' (darkroom[timm]), or set train.model to another model",
        ) from None


def timm_arguments(architecture: Architecture) -> dict[str, object]:
    """What timm's builders must be told besides a name: transformers are made for one size."""
    config = timm_library().get_pretrained_cfg(architecture.name.removeprefix(TIMM))
    fixed = config is not None and config.fixed_input_size
    return {"num_classes": 0, **({"img_size": architecture.image_size} if fixed else {})}


def near(name: str, known: Iterable[str]) -> str:
    """Return what *name* may have been meant to be, for an error; "" where nothing is near."""
    found = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"near it: {', '.join(found)}" if found else ""


def _refuse_unknown(name: str) -> None:
    if name.startswith(TIMM):
        timm = timm_library()
        known = [TIMM + n for n in (*timm.list_models(), *timm.list_pretrained())]
        others = "another name of timm.list_models()"
    else:
        known = ["auto", SMALL_CNN, SMALL_RESNET18, *names()]
        others = "another torchvision classifier, or timm/NAME"
    if name not in known:
        raise ParamsError(
            f"train.model: there is no model {name!r}",
            near(name, known) or "known: auto, small_cnn, small_resnet18, resnet18, ...",
            mend=f"set train.model in params.yaml to one of these or {others}",
        )


def _of_torchvision(architecture: Architecture) -> tuple[nn.Module, int]:
    network = zoo.get_model(architecture.name, weights=None, **_size_arguments(architecture))
    return _without_head(network)


def _of_timm(architecture: Architecture) -> tuple[nn.Module, int]:
    name = architecture.name.removeprefix(TIMM)
    backbone = timm_library().create_model(name, pretrained=False, **timm_arguments(architecture))
    size = architecture.image_size
    backbone.eval()  # one image has no statistics
    with torch.no_grad():
        embedding = backbone(torch.zeros(1, 3, size, size))
    if embedding.ndim != 2:
        raise ValueError(f"it gives {tuple(embedding.shape[1:])} an image, not one embedding")
    return backbone, embedding.shape[1]


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


def _small_resnet18() -> nn.Module:
    """ResNet-18 as its authors have it for CIFAR-10: small pictures keep their resolution."""
    backbone, _ = _without_head(zoo.resnet18(weights=None))
    backbone.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(backbone.conv1.weight, mode="fan_out", nonlinearity="relu")
    backbone.maxpool = nn.Identity()
    return backbone


def _head(width: int, num_classes: int, hidden: int, dropout: float) -> nn.Module:
    if not hidden:
        return nn.Linear(width, num_classes)
    layers = nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout)
    return nn.Sequential(*layers, nn.Linear(hidden, num_classes))


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
