"""What a network starts from: nothing, a library's pretrained weights, or a .safetensors file.

Nothing here unpickles more than tensors. The head is always new: its classes are the task's own.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from torchvision import models as zoo

from pipeline.errors import ParamsError, TrainingError, of_the_disk
from pipeline.params import TrainParams
from pipeline.training.models import Architecture, Network
from pipeline.training.pretrained import pretrained
from pipeline.workspace import Home

State = Mapping[str, Tensor]
_PICKLES = (".pth", ".pt", ".bin", ".ckpt")
_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""torchvision's files of DenseNets keep names from before these modules were renamed."""


@dataclass(frozen=True)
class Start:
    """What a network has started from."""

    weights: str = "none"
    """`none`, the library's name of them, or the file."""
    sha256: str = ""
    """Of the file that they were read from."""


def load_start(
    network: Network, architecture: Architecture, params: TrainParams, home: Home
) -> Start:
    """Fill *network*, but for its head, with what `train.weights` names.

    Raises ParamsError where it names nothing that fits, TrainingError where it cannot be had.
    """
    _refuse_what_is_no_weights(params)
    if params.weights == "none":
        return Start()
    if params.starts_from_file:
        content = read(home.resolve(params.weights), params.weights_sha256)
        fill(network, _safe(content, params.weights), params.weights, architecture.name)
        return Start(params.weights, hashlib.sha256(content).hexdigest())
    found = pretrained(architecture, params.weights)
    fill(network, found.state, found.name, architecture.name)
    _normalise(network, found.mean, found.std)
    return Start(found.name, found.sha256)


def read(path: Path, sha256: str) -> bytes:
    """Return the file's content once it has that hash, where one is asked for."""
    try:
        content = path.read_bytes()
    except OSError as error:
        if disk := of_the_disk(error):
            raise disk from None
        raise TrainingError(
            "the file of weights that training starts from is not there",
            f"looked for {path}",
            mend="darkroom weights use models:/NAME/VERSION stores a registered model's; "
            "or set train.weights to another file, or none",
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if sha256 and found != sha256:
        raise TrainingError(
            "the file of weights that training starts from is not the one that was chosen",
            f"{path} has SHA-256 {found}",
            f"train.weights_sha256 is   {sha256}",
            mend=f"darkroom weights use fetches it anew; or set train.weights_sha256 to {found}",
        )
    return content


def fill(network: Network, state: State, source: str, name: str) -> None:
    """Load all of *state* but its head: a Darkroom model's, or a bare backbone's.

    Raises ParamsError naming the first tensors that do not fit, or hold no numbers to train from.
    """
    own = network.state_dict()
    found = _named_as_ours(network, state)
    expected = {key: tensor for key, tensor in own.items() if not key.startswith("head.")}
    faults = list(_misfits(expected, found))
    if faults:
        raise ParamsError(
            f"{source} was not made for {name}: {len(faults)} tensors of {len(expected)} misfit",
            *faults,
            mend="set train.model (and train.image_size, for a transformer) to what it was made "
            "for, or train.weights to other weights",
        )
    if faults := list(_unusable(found)):
        raise ParamsError(
            f"no training can start from {source}: {len(faults)} tensors hold unusable numbers",
            *faults,
            mend="set train.weights to other weights: the training that made these diverged, or "
            "the file was damaged",
        )
    own.update(found)  # and not the other way round: it has the modules' versions with it
    network.load_state_dict(own)


def _refuse_what_is_no_weights(params: TrainParams) -> None:
    weights = params.weights
    if weights.startswith("models:"):
        raise ParamsError(
            f"train.weights is {weights}: training reads files, never the registry",
            mend=f"darkroom weights use {weights}",
        )
    if weights.endswith(_PICKLES):
        raise ParamsError(
            f"train.weights is {weights}, a pickle, which is never loaded as it is",
            mend=f"darkroom convert {weights}, and set train.weights to the .safetensors",
        )
    if params.weights_sha256 and not params.starts_from_file:
        raise ParamsError(
            f"train.weights_sha256 is of a file, but train.weights is {weights}",
            mend='set train.weights_sha256 to ""',
        )


def _safe(content: bytes, source: str) -> dict[str, Tensor]:
    try:
        return load(content)
    except (SafetensorError, KeyError) as error:  # KeyError: a dtype that torch has no name for
        raise ParamsError(
            f"{source} is no safetensors file",
            str(error).splitlines()[0][:200],
            mend="darkroom convert makes one of a .pth; darkroom weights use stores another",
        ) from None


def _named_as_ours(network: Network, state: State) -> dict[str, Tensor]:
    """Return *state* under our names, without any head."""
    if any(key.startswith("backbone.") for key in state):
        return {key: tensor for key, tensor in state.items() if not key.startswith("head.")}
    named = {_DENSENET.sub(r"\1\2", key): tensor for key, tensor in state.items()}
    gone = _without_module(network.backbone)
    return {f"backbone.{k}": tensor for k, tensor in named.items() if not k.startswith(gone)}


def _without_module(backbone: nn.Module) -> tuple[str, ...]:
    """Return the prefixes of what we took from a library's network: heads."""
    emptied = [name for name, m in backbone.named_modules() if isinstance(m, nn.Identity)]
    convolution = ["classifier"] if isinstance(backbone, zoo.SqueezeNet) else []
    auxiliary = ["aux1", "aux2", "AuxLogits"]
    return tuple(f"{name}." for name in (*emptied, *convolution, *auxiliary))


def _misfits(expected: State, found: State) -> Iterator[str]:
    for key in (*expected, *(key for key in found if key not in expected)):
        theirs, ours = found.get(key), expected.get(key)
        if theirs is None:
            if key not in ("mean", "std") and not key.endswith("num_batches_tracked"):
                yield f"{key}: missing"
        elif ours is None:
            yield f"{key}: the network has no such tensor"
        elif theirs.shape != ours.shape:
            shapes = [" × ".join(map(str, tensor.shape)) or "one" for tensor in (theirs, ours)]
            yield f"{key}: {shapes[0]}, but {shapes[1]} in the network"


def _unusable(found: State) -> Iterator[str]:
    for key, tensor in found.items():
        if not torch.isfinite(tensor.float() if tensor.is_floating_point() else tensor).all():
            yield f"{key}: NaN, or infinite"
        elif key == "std" and not (tensor > 0).all():
            yield "std: 0 or less, and images are divided by it"


def _normalise(network: Network, mean: Sequence[float], std: Sequence[float]) -> None:
    for buffer, values in ((network.mean, mean), (network.std, std)):
        buffer.copy_(torch.tensor(values).view(1, 3, 1, 1))
