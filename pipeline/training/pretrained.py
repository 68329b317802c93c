"""A library's own pretrained weights: torchvision's from torch's cache, timm's from Hugging Face's.

Downloaded once, by the library; nothing here unpickles more than tensors.
"""

import hashlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import torch
from safetensors.torch import load
from torch import Tensor
from torchvision import models as zoo

from pipeline.errors import ParamsError, TrainingError, of_the_disk
from pipeline.training.models import (
    SMALL_CNN,
    SMALL_RESNET18,
    TIMM,
    Architecture,
    near,
    timm_arguments,
    timm_library,
)

_SILENCE_SECONDS = 30
_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Pretrained:
    name: str
    """`torchvision NAME` or `timm NAME`."""
    sha256: str
    """Of the file that they were read from."""
    state: Mapping[str, Tensor]
    """Under the library's names."""
    mean: Sequence[float]
    std: Sequence[float]
    """Of the three channels, by which images were normalised when they were made."""


def pretrained(architecture: Architecture, wanted: str) -> Pretrained:
    """Return the library's weights of that name, or its `default`.

    Raises ParamsError where the library has none such, TrainingError where they cannot be had.
    """
    if architecture.name in (SMALL_CNN, SMALL_RESNET18):
        raise ParamsError(
            f"train.weights is {wanted}, but {architecture.name} has no pretrained weights",
            mend="set train.weights to none or a .safetensors file, or train.model to another one",
        )
    of_library = _of_timm if architecture.name.startswith(TIMM) else _of_torchvision
    return of_library(architecture, wanted)


def _of_torchvision(architecture: Architecture, wanted: str) -> Pretrained:
    known = zoo.get_model_weights(architecture.name)
    names = {weights.name: weights for weights in known}
    name = known.DEFAULT.name if wanted == "default" else wanted.split(".")[-1]
    if name not in names:
        raise _unknown(architecture, wanted, list(names))
    chosen = names[name]
    path = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(urlsplit(chosen.url).path).name
    with _fetching(f"{chosen}", chosen.url, path.parent), _reading(f"{chosen}", path):
        state = chosen.get_state_dict(progress=False, check_hash=True, weights_only=True)
        if not all(isinstance(tensor, Tensor) for tensor in state.values()):
            raise TypeError("it holds more than tensors")
    how = chosen.transforms()
    # torchvision's builders have these two undo ImageNet's mean, where they load weights
    halved = architecture.name in ("googlenet", "inception_v3")
    mean, std = (_HALF, _HALF) if halved else (how.mean, how.std)
    return Pretrained(f"torchvision {chosen}", _sha256(path.read_bytes()), state, mean, std)


def _of_timm(architecture: Architecture, wanted: str) -> Pretrained:
    """timm's own loading is handed tensors that were read here, from a safetensors file."""
    from huggingface_hub import constants, hf_hub_download

    timm = timm_library()
    model = architecture.name.removeprefix(TIMM).split(".")[0]
    name = architecture.name.removeprefix(TIMM) if wanted == "default" else f"{model}.{wanted}"
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{model}.*")]
    config = timm.get_pretrained_cfg(name) if wanted == "default" or wanted in tags else None
    if config is None or not config.hf_hub_id:
        raise _unknown(architecture, wanted, tags)
    file = config.hf_hub_filename or "model.safetensors"
    file = str(Path(file.replace("_pytorch_model", "_model")).with_suffix(".safetensors"))
    url = f"https://huggingface.co/{config.hf_hub_id}"
    with _fetching(f"timm's {name}", url, Path(constants.HF_HUB_CACHE)):
        path = Path(hf_hub_download(config.hf_hub_id, file)).resolve()  # a link, to what is cached
    content = path.read_bytes()
    with _reading(f"timm's {name}", path):
        state = load(content)
    whole = timm.create_model(
        name,
        pretrained=True,
        pretrained_cfg_overlay={"state_dict": state},
        **timm_arguments(architecture),
    )
    return Pretrained(f"timm {name}", _sha256(content), whole.state_dict(), config.mean, config.std)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _unknown(architecture: Architecture, wanted: str, names: Sequence[str]) -> ParamsError:
    return ParamsError(
        f"train.weights: {architecture.name} has no pretrained weights {wanted!r}",
        near(wanted, names) or f"known: {', '.join(names) or 'none'}"[:200],
        mend="set train.weights to default, to one of these, to a .safetensors file, or to none",
    )


@contextmanager
def _reading(what: str, path: Path) -> Iterator[None]:
    """Turn what a file raises that was downloaded once, and was cut off or swapped since, into a
    TrainingError: the libraries would read the same file for ever."""
    try:
        yield
    except Exception as error:  # a damaged file fails in a dozen ways
        if isinstance(error, OSError) or not path.is_file():
            raise
        raise TrainingError(
            f"the file of the pretrained weights {what} is damaged, or not one of tensors alone",
            str(path),
            _told(error),
            mend=f"delete {path}: the same again downloads it anew",
        ) from None


@contextmanager
def _fetching(what: str, url: str, place: Path) -> Iterator[None]:
    """Turn a network that is not there, or that gives something else, into a TrainingError."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE_SECONDS)
    try:
        yield
    except (OSError, HTTPException, RuntimeError) as error:
        if isinstance(error, OSError) and (disk := of_the_disk(error)):
            raise disk from None
        raise TrainingError(
            f"the pretrained weights {what} cannot be had",
            f"looked for {url}, and in {place}",
            _told(error),
            mend="the same again with a network; or set train.weights to none, or to a "
            ".safetensors file",
        ) from None
    finally:
        socket.setdefaulttimeout(before)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
