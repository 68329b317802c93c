"""A tree and a home of their own in which a recorded run can be made again, and no trace after."""

import hashlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.errors import CommandError, DatasetError, ProjectError, RegistryError, TrainingError
from pipeline.graph import folder_version, version_in
from pipeline.operations.dvc_cache import md5_of, open_cache, replace_by_link
from pipeline.operations.git import git
from pipeline.params import set_values
from pipeline.tracking.code import git_environment, kept_by_git
from pipeline.tracking.recording import Recording
from pipeline.workspace import Home, Workspace

_CONFIG = "[core]\n    no_scm = true\n    autostage = false\n    analytics = false\n"
"""DVC would stage dvc.lock, and so write into git's store."""


@dataclass(frozen=True)
class Scratch:
    workspace: Workspace
    environ: Mapping[str, str]
    """Of what runs there: a home of its own, and nothing that leads back to this one."""
    edited: tuple[str, ...]
    """Code that is not what the recorded run went through, as its dvc.lock has it."""


@contextmanager
def scratch_of(workspace: Workspace, home: Home, recording: Recording) -> Iterator[Scratch]:
    """Yield the recorded commit, patch, parameters and dataset in a temporary folder; remove it.

    The dataset's files are links into DVC's cache; the tree has another cache, so that nothing
    of what runs there is kept. Raises by name what cannot be had as it was.
    """
    _refuse_untracked(recording, recording.untracked)
    _refuse_unknown_commit(workspace, recording)
    prefix = git(workspace.root, "rev-parse", "--show-prefix").strip()
    folder = Path(tempfile.mkdtemp(prefix="darkroom-reproduce-")).resolve()
    tree = folder / "tree"
    try:
        git(workspace.root, "worktree", "add", "--detach", str(tree), recording.commit)
        _apply(tree, recording)
        scratch = Workspace(tree / prefix)
        _lay_over(scratch, recording)
        edited = _unlike_the_lock(scratch, recording)
        _link_dataset(workspace, scratch)
        set_values(scratch.params, _settled(scratch, home, recording))
        for name in ("home", "tmp"):
            (folder / name).mkdir()
        yield Scratch(scratch, _environment(folder, scratch, recording), edited)
    finally:
        with _undisturbed():
            with suppress(CommandError):  # twice: it may have been cut off, and locked still
                git(workspace.root, "worktree", "remove", "--force", "--force", str(tree))
            shutil.rmtree(folder, ignore_errors=True)


def _refuse_untracked(recording: Recording, names: tuple[str, ...]) -> None:
    if names:
        shown = ", ".join(names[:5])
        raise RegistryError(
            f"{recording.version.uri} cannot be made again: files that git does not keep took part",
            f"under a stage's deps, untracked when it was trained: {shown}"[:300],
            mend="git add and commit such files, and dvc repro makes a version that can be",
        )


def _refuse_unknown_commit(workspace: Workspace, recording: Recording) -> None:
    try:
        git(workspace.root, "cat-file", "-e", f"{recording.commit}^{{commit}}")
    except CommandError:
        told, mend = _whereabouts(workspace)
        raise ProjectError(
            f"this repository does not have commit {recording.commit[:12]}, of which "
            f"{recording.version.uri} was made",
            told,
            mend=mend,
        ) from None


def _whereabouts(workspace: Workspace) -> tuple[str, str]:
    shallow = git(workspace.root, "rev-parse", "--is-shallow-repository").strip()
    if shallow == "true":
        return "it is a shallow clone", "git fetch --unshallow, then the same again"
    return (
        "it was never pushed here, or rewritten and collected as garbage",
        "git fetch from where it was trained, then the same again",
    )


def _apply(tree: Path, recording: Recording) -> None:
    if recording.patch is None:
        return
    try:
        git(tree, "apply", "--whitespace=nowarn", str(recording.patch.resolve()))
    except CommandError as error:
        raise RegistryError(
            f"the recorded patch of {recording.version.uri} does not apply to its commit",
            *error.where[:2],
            mend="git stash list, or a branch, may hold that work; the patch is code.patch of its "
            "run in MLflow",
        ) from None


def _lay_over(scratch: Workspace, recording: Recording) -> None:
    for name in ("params.yaml", "data/dataset.dvc"):
        (scratch.root / name).unlink(missing_ok=True)
        (scratch.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(recording.folder / name, scratch.root / name)
    scratch.dvc_lock.unlink(missing_ok=True)
    (scratch.root / ".dvc/config.local").write_text(_CONFIG)


def _unlike_the_lock(scratch: Workspace, recording: Recording) -> tuple[str, ...]:
    """Return deps whose content is not what the run's dvc.lock says: code that was edited between
    two stages. Raises RegistryError naming one that is not there at all."""
    if recording.dvc_lock is None:
        return ()
    locked = YAML(typ="safe").load(recording.dvc_lock).get("stages", {}).values()
    known = {dep["path"]: dep.get("md5") for stage in locked for dep in stage.get("deps", ())}
    deps = [dep for dep in kept_by_git(scratch) if dep in known]
    _refuse_untracked(recording, tuple(d for d in deps if not (scratch.root / d).exists()))
    return tuple(dep for dep in deps if _md5(scratch.root / dep) != known[dep])


def _md5(path: Path) -> str | None:
    """As dvc.lock states it, of a file or of a folder."""
    return folder_version(path) if path.is_dir() else md5_of(path)


def _link_dataset(workspace: Workspace, scratch: Workspace) -> None:
    cache = open_cache(workspace)
    version = version_in(scratch.dataset_dvc.read_bytes())
    for name, md5 in cache.files(version).items():
        try:
            replace_by_link(scratch.dataset / name, cache.object(md5), scratch.staging)
        except FileNotFoundError:
            raise DatasetError(
                f"DVC's cache does not hold all of dataset version {version[:12]}",
                f"data/dataset/{name} is missing: {cache.object(md5)}",
                mend="dvc fetch --all-commits brings what the remote has; darkroom data verify "
                "mends the present version",
            ) from None
    shutil.rmtree(scratch.staging, ignore_errors=True)


def _settled(scratch: Workspace, home: Home, recording: Recording) -> dict[str, Any]:
    """Return what params.yaml leaves to the machine, as it came out, and the starting weights by
    an absolute path: the scratch home has none."""
    train = YAML(typ="safe").load(scratch.params)["train"]
    settled: dict[str, Any] = {
        f"train.{name}": value
        for name, value in recording.chosen.items()
        if train.get(name) == "auto"
    }
    if train.get("device") == "auto" and recording.device == "cpu":
        settled["train.device"] = "cpu"
    processes = recording.machine.get("processes")
    if train.get("processes") == "auto" and processes and recording.device != "cpu":
        settled["train.processes"] = int(processes)
    if str(train.get("weights", "none")).endswith(".safetensors"):
        settled["train.weights"] = str(_weights(train["weights"], home, recording))
    return settled


def _weights(named: str, home: Home, recording: Recording) -> Path:
    """Return the file that has the recorded hash: where params.yaml says, or in home's store."""
    stored = home.private / "weights" / f"{recording.start}.safetensors"
    for path in (home.resolve(named), stored):
        with suppress(OSError), path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == recording.start:
                return path.absolute()
    raise TrainingError(
        f"the weights that {recording.version.uri} was trained from are not here",
        f"looked for SHA-256 {recording.start or '(not on record)'}",
        f"in {home.resolve(named)} and {stored.parent}",
        mend="put that file back; darkroom weights use models:/NAME/VERSION fetches a registered "
        "model's (and git checkout -- params.yaml undoes its edit)",
    )


def _environment(folder: Path, scratch: Workspace, recording: Recording) -> dict[str, str]:
    ours = ("DARKROOM_", "DVC_", "MLFLOW_", "PYTHONSAFEPATH")
    kept = {k: v for k, v in git_environment(os.environ).items() if not k.startswith(ours)}
    paths = [str(scratch.root), *filter(None, [kept.get("PYTHONPATH")])]
    kept |= {
        "DARKROOM_HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "DVC_SITE_CACHE_DIR": str(folder / "dvc"),
        "DVC_NO_ANALYTICS": "true",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join(paths),
        "PWD": str(scratch.root),
    }
    if threads := recording.machine.get("threads"):  # sums are rounded by how they are shared out
        kept["OMP_NUM_THREADS"] = threads
    return kept


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let an impatient second Ctrl-C not leave half of it behind."""
    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        yield
        return
    before = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
