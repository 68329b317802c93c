"""What a network starts from: nothing, a library's pretrained weights, or a .safetensors file.

Nothing here unpickles more than tensors. The head is always new: its classes are the task's own.
"""

import hashlib
import pickle
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from torchvision import models as zoo

from pipeline.errors import ParamsError, TrainingError, of_the_disk
from pipeline.params import TrainParams
from pipeline.training.models import (
    SMALL_CNN,
    SMALL_RESNET18,
    TIMM,
    Architecture,
    Network,
    near,
    timm_arguments,
    timm_library,
)
from pipeline.workspace import Home

State = Mapping[str, Tensor]
_SILENCE_SECONDS = 30
_PICKLES = (".pth", ".pt", ".bin", ".ckpt")
_HALF = (0.5, 0.5, 0.5)
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
    if architecture.name in (SMALL_CNN, SMALL_RESNET18):
        raise ParamsError(
            f"train.weights is {params.weights}, but {architecture.name} has no pretrained weights",
            mend="set train.weights to none or a .safetensors file, or train.model to another one",
        )
    of_library = _of_timm if architecture.name.startswith(TIMM) else _of_torchvision
    return of_library(network, architecture, params.weights)


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

    Raises ParamsError naming the first tensors that do not fit.
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


def _of_torchvision(network: Network, architecture: Architecture, wanted: str) -> Start:
    known = zoo.get_model_weights(architecture.name)
    names = {weights.name: weights for weights in known}
    name = known.DEFAULT.name if wanted == "default" else wanted.split(".")[-1]
    if name not in names:
        raise _unknown(architecture, wanted, list(names))
    chosen = names[name]
    path = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(urlsplit(chosen.url).path).name
    with _fetching(f"{chosen}", chosen.url, path.parent):
        state = chosen.get_state_dict(progress=False, check_hash=True, weights_only=True)
    fill(network, state, f"{chosen}", architecture.name)
    how = chosen.transforms()
    # torchvision's builders have these two undo ImageNet's mean, where they load weights
    halved = architecture.name in ("googlenet", "inception_v3")
    _normalise(network, *((_HALF, _HALF) if halved else (how.mean, how.std)))
    return Start(f"torchvision {chosen}", hashlib.sha256(path.read_bytes()).hexdigest())


def _of_timm(network: Network, architecture: Architecture, wanted: str) -> Start:
    """timm's own loading is handed tensors that were read here, from a safetensors file."""
    from huggingface_hub import hf_hub_download

    timm = timm_library()
    model = architecture.name.removeprefix(TIMM).split(".")[0]
    name = architecture.name.removeprefix(TIMM) if wanted == "default" else f"{model}.{wanted}"
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{model}.*")]
    config = timm.get_pretrained_cfg(name) if wanted == "default" or wanted in tags else None
    if config is None or not config.hf_hub_id:
        raise _unknown(architecture, wanted, tags)
    file = config.hf_hub_filename or "model.safetensors"
    file = str(Path(file.replace("_pytorch_model", "_model")).with_suffix(".safetensors"))
    with _fetching(f"timm's {name}", f"https://huggingface.co/{config.hf_hub_id}", Path(file)):
        path = Path(hf_hub_download(config.hf_hub_id, file))
    content = path.read_bytes()
    pretrained = timm.create_model(
        name,
        pretrained=True,
        pretrained_cfg_overlay={"state_dict": _safe(content, str(path))},
        **timm_arguments(architecture),
    )
    fill(network, pretrained.state_dict(), f"timm's {name}", architecture.name)
    _normalise(network, config.mean, config.std)
    return Start(f"timm {name}", hashlib.sha256(content).hexdigest())


def _normalise(network: Network, mean: Sequence[float], std: Sequence[float]) -> None:
    for buffer, values in ((network.mean, mean), (network.std, std)):
        buffer.copy_(torch.tensor(values).view(1, 3, 1, 1))


def _unknown(architecture: Architecture, wanted: str, names: Sequence[str]) -> ParamsError:
    return ParamsError(
        f"train.weights: {architecture.name} has no pretrained weights {wanted!r}",
        near(wanted, names) or f"known: {', '.join(names) or 'none'}"[:200],
        mend="set train.weights to default, to one of these, to a .safetensors file, or to none",
    )


@contextmanager
def _fetching(what: str, url: str, place: Path) -> Iterator[None]:
    """Turn a network that is not there, or that gives something else, into a TrainingError."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE_SECONDS)
    try:
        yield
    except (OSError, HTTPException, RuntimeError, pickle.UnpicklingError) as error:
        if isinstance(error, OSError) and (disk := of_the_disk(error)):
            raise disk from None
        raise TrainingError(
            f"the pretrained weights {what} cannot be had",
            f"looked for {url}, and in {place}",
            f"{type(error).__name__}: {error}".splitlines()[0][:200],
            mend="the same again with a network; or set train.weights to none, or to a "
            ".safetensors file",
        ) from None
    finally:
        socket.setdefaulttimeout(before)
