"""The stage graph as dvc.yaml states it, and the identities that follow from it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import DatasetError, ProjectError
from pipeline.params import TrainParams
from pipeline.workspace import Home, Workspace


@dataclass(frozen=True)
class Stage:
    name: str
    command: str
    deps: tuple[str, ...]
    """Files and folders that it reads, relative to the workspace."""
    params: tuple[str, ...]
    """Keys of params.yaml that it depends on, dotted."""
    outs: tuple[str, ...]
    """Files and folders that it writes."""


def read_stages(dvc_yaml: Path) -> tuple[Stage, ...]:
    """Return the stages, each after those whose outputs it reads.

    Raises ProjectError where the file is damaged or the stages wait for each other in a circle.
    """
    try:
        document = YAML(typ="safe").load(dvc_yaml)
        stages = {name: _stage(name, entry) for name, entry in document["stages"].items()}
        order = TopologicalSorter(
            {stage.name: _upstream(stage, tuple(stages.values())) for stage in stages.values()}
        ).static_order()
        return tuple(stages[name] for name in order)
    except (OSError, YAMLError, KeyError, TypeError, AttributeError, CycleError) as error:
        raise ProjectError(
            "dvc.yaml does not state a graph of stages",
            f"{type(error).__name__}: {error}".splitlines()[0],
            mend="git checkout -- dvc.yaml",
        ) from None


def stage_key(workspace: Workspace, stage: str, values: Any = None) -> str:
    """Return the identity of one run of *stage*: a hash of all its deps and params, 32 hex digits.

    Equal keys mean equal work, so that a checkpoint or an MLflow run can be found again by it.
    *values* stand for what params.yaml holds.
    Raises ProjectError where dvc.yaml does not know the stage, or names what is not there.
    """
    stages = {found.name: found for found in read_stages(workspace.dvc_yaml)}
    try:
        if values is None:
            values = YAML(typ="safe").load(workspace.params)
        identity = {
            "stage": stage,
            "deps": {dep: _content(workspace.root / dep) for dep in stages[stage].deps},
            "params": {key: _value(values, key) for key in stages[stage].params},
        }
    except (OSError, KeyError, TypeError) as error:
        raise ProjectError(
            f"dvc.yaml names something for {stage} that is not there",
            f"{type(error).__name__}: {error}",
            mend="git diff dvc.yaml shows what was changed",
        ) from None
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def training_key(workspace: Workspace, home: Home, train: TrainParams, values: Any = None) -> str:
    """Return the identity of a training: `stage_key` of train, and of the file that it starts from.

    With `train.weights_sha256` the parameters name the file's content already. *values* stand for
    what params.yaml holds.
    """
    key = stage_key(workspace, "train", values)
    if not train.starts_from_file or train.weights_sha256:
        return key
    try:
        with home.resolve(train.weights).open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        content = ""  # the stage says so when it reads it
    return hashlib.sha256(f"{key} {content}".encode()).hexdigest()[:32]


def recorded_version(workspace: Workspace, stage: str, out: str) -> str | None:
    """Return the version of *out* in dvc.lock; None where DVC has not stored any of *stage*."""
    try:
        outs = YAML(typ="safe").load(workspace.dvc_lock)["stages"][stage]["outs"]
        return next((str(found["md5"]) for found in outs if found["path"] == out), None)
    except (OSError, YAMLError, KeyError, TypeError):
        return None


def folder_version(folder: Path) -> str:
    """Return what DVC will call *folder* with the files that it holds now."""
    files = {
        path.relative_to(folder).as_posix(): hashlib.md5(
            path.read_bytes(), usedforsecurity=False
        ).hexdigest()
        for path in _files(folder)
    }
    return hashlib.md5(listing_of(files), usedforsecurity=False).hexdigest() + ".dir"


def listing_of(files: Mapping[str, str]) -> bytes:
    """Return DVC's list of a folder's *files* (path → MD5): its MD5 is the folder's version."""
    entries = [{"md5": files[name], "relpath": name} for name in sorted(files)]
    return json.dumps(entries, sort_keys=True).encode()


def dataset_version(workspace: Workspace) -> str:
    """Return DVC's hash of the dataset, as data/dataset.dvc states it."""
    try:
        return version_in(workspace.dataset_dvc.read_bytes())
    except OSError:
        raise DatasetError(
            "there is no dataset version",
            f"{workspace.dataset_dvc} is missing",
            mend="darkroom ingest",
        ) from None


def version_in(text: bytes) -> str:
    """Return the hash that *text*, a data/dataset.dvc, states; raise DatasetError."""
    try:
        version = YAML(typ="safe").load(text)["outs"][0]["md5"]
        return "".join(version)  # a TypeError where it is empty
    except (YAMLError, ValueError, KeyError, TypeError, IndexError):
        is_merge = any(line.startswith(b"<<<<<<<") for line in text.splitlines())
        raise DatasetError(
            "data/dataset.dvc does not name a dataset version",
            "it holds the marks of an unfinished merge" if is_merge else "it is damaged",
            mend="git checkout --ours -- data/dataset.dvc (or --theirs), then: dvc checkout"
            if is_merge
            else "git checkout -- data/dataset.dvc, or darkroom ingest",
        ) from None


def _stage(name: str, entry: dict[str, Any]) -> Stage:
    return Stage(
        name=name,
        command=entry["cmd"],
        deps=tuple(entry.get("deps", ())),
        params=tuple(entry.get("params", ())),
        outs=tuple(_path(out) for out in entry.get("outs", ())),
    )


def _path(out: str | dict[str, Any]) -> str:
    """DVC writes an output with options as a mapping from its path to them."""
    return out if isinstance(out, str) else next(iter(out))


def _upstream(stage: Stage, stages: tuple[Stage, ...]) -> set[str]:
    return {
        other.name
        for other in stages
        for out in other.outs
        for dep in stage.deps
        if Path(dep).is_relative_to(out) or Path(out).is_relative_to(dep)
    }


def _content(path: Path) -> Any:
    if path.is_dir():
        return {str(p.relative_to(path)): _content(p) for p in _files(path)}
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.rglob("*")) if p.is_file() and "__pycache__" not in p.parts)


def _value(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values
