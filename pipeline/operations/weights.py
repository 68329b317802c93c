"""Weights from elsewhere, made into a file that training can start from."""

import hashlib
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from pipeline.cards import read_card
from pipeline.errors import ParamsError, ProjectError
from pipeline.params import Params, set_values
from pipeline.tracking import registry
from pipeline.tracking.store import connect, reaching
from pipeline.workspace import Home, Workspace

_NESTS = ("state_dict", "model")
"""Keys under which a training script's checkpoint keeps its weights."""


@dataclass(frozen=True)
class Converted:
    path: Path
    tensors: int
    sha256: str


def use(
    workspace: Workspace, home: Home, params: Params, uri: str, say: Callable[[str], None]
) -> Path:
    """Fetch the torch weights of the registered version *uri*; let params.yaml start from them.

    Raises RegistryError or ArtefactError where they cannot be had as they were registered,
    ParamsError where params.yaml asks for another network; then nothing is changed.
    """
    client = connect(home, os.environ)
    folder = home.private / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        with reaching(home, os.environ):
            version = registry.named(client, uri)
            fetched = registry.download_training(client, version, Path(scratch))
        architecture = read_card(fetched / "card.json")["architecture"]
        _refuse_another(params.train.model, architecture, version.uri)
        weights = fetched / "model.safetensors"
        sha256 = _sha256(weights)
        path = folder / f"{sha256}.safetensors"
        weights.replace(path)
    say(f"{version.uri}: a {architecture}, weights {sha256}")
    values = {
        "train.weights": str(path.relative_to(home.root)),
        "train.weights_sha256": sha256,
        "train.model": architecture,
    }
    before = set_values(workspace.params, values)
    for key, value in values.items():
        if before[key] != value:
            say(f"params.yaml: {key}: {before[key] or 'none'} -> {value}")
    return path


def convert(source: Path, out: Path) -> Converted:
    """Write the state dict in *source*, a .pth, to *out*, a .safetensors; run nothing of it.

    Raises ParamsError for a file that holds anything but tensors under names.
    """
    if out.suffix != ".safetensors":
        raise ParamsError(
            f"{out.name} is no name for the result: it must end in .safetensors",
            mend=f"--out {out.with_suffix('.safetensors')}",
        )
    state = _state_dict(source, _unpickled(source))
    scratch = out.with_name(f".{out.name}.{os.getpid()}")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Clones: names that share their memory are one tensor to torch, and two to the file
        save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, scratch)
        sha256 = _sha256(scratch)
        scratch.replace(out)
    finally:
        scratch.unlink(missing_ok=True)
    return Converted(out, len(state), sha256)


def _refuse_another(model: str, architecture: str, uri: str) -> None:
    if model not in ("auto", architecture):
        raise ParamsError(
            f"{uri} is a {architecture}, but train.model is {model}",
            mend=f"set train.model in params.yaml to {architecture}, then the same again",
        )


def _unpickled(source: Path) -> Any:
    """Read weights-only: torch then makes tensors and plain containers, and calls nothing."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(source, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError):
        raise ProjectError(f"there is no file {source}", mend="name one that is there") from None
    except OSError:
        raise
    except Exception as error:  # what is no pickle, or a damaged one, fails in a dozen ways
        named = re.search(r"GLOBAL (\S+)", str(error))
        why = f"it asks for {named[1]}" if named else "torch cannot read it as tensors alone"
        raise _no_state_dict(source, why) from None


def _state_dict(source: Path, document: Any) -> dict[str, Tensor]:
    for nest in _NESTS:
        if isinstance(document, Mapping) and isinstance(document.get(nest), Mapping):
            document = document[nest]
    if not isinstance(document, Mapping) or not document:
        raise _no_state_dict(source, f"it holds a {type(document).__name__}")
    for name, tensor in document.items():
        if not isinstance(name, str) or not _is_plain(tensor):
            raise _no_state_dict(source, f"{name!r} is a {_kind(tensor)}"[:200])
    return dict(document)


def _is_plain(value: Any) -> bool:
    dense = isinstance(value, Tensor) and value.layout is torch.strided
    return dense and not (value.is_quantized or value.is_meta)


def _kind(value: Any) -> str:
    is_tensor = isinstance(value, Tensor)
    return f"tensor of {value.layout}, {value.dtype}" if is_tensor else type(value).__name__


def _no_state_dict(source: Path, why: str) -> ParamsError:
    return ParamsError(
        f"{source.name} is no state dict of tensors, and nothing else is loaded",
        why,
        mend="where it was made: torch.save(model.state_dict(), PATH), and convert that",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
