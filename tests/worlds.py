"""Small projects for tests: a git repository each, with the working tree's code."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from ruamel.yaml import YAML
from sklearn.datasets import load_digits

from pipeline.workspace import Home, Workspace

ROOT = Path(__file__).parents[1]
_FAST = ("-f", "--seccomp-bpf")
"""Children too; no call is halted but those that are asked for: a third of the time."""


def write_digits(folder: Path, numbers: range, by_class: bool = True) -> None:
    """Write some of scikit-learn's digits as PNGs, in class folders or loose.

    *numbers* count in a shuffled order: the set goes from one writer to the next.
    """
    digits = load_digits()
    order = np.random.default_rng(1).permutation(len(digits.target))
    for number in order[numbers.start : numbers.stop]:
        grey = np.rint(digits.images[number] * (255 / 16)).astype(np.uint8)
        name = f"{digits.target[number]}/{number:04d}.png" if by_class else f"{number:04d}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey).save(folder / name)


@dataclass(frozen=True)
class World:
    """A project of its own: a git repository with the working tree's code."""

    root: Path

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)

    @property
    def home(self) -> Home:
        return Home(self.root)

    def run(
        self,
        *command: str,
        ok: bool = True,
        env: dict[str, str] | None = None,
        timeout: int = 240,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run *command* in the project; `darkroom` and `dvc` are those of this Python."""
        modules = {"darkroom": "pipeline.cli", "dvc": "dvc", "prefect": "prefect"}
        if command[0] in modules:
            command = (sys.executable, "-m", modules[command[0]], *command[1:])
        done = subprocess.run(
            command,
            cwd=self.root,
            env=environment(self.root) | (env or {}),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if ok:
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def set(self, **values: object) -> None:
        """Set parameters: world.set(**{"train.epochs": 2})."""
        yaml = YAML()
        path = self.root / "params.yaml"
        document = yaml.load(path)
        for key, value in values.items():
            section, name = key.split(".")
            document[section][name] = value
        yaml.dump(document, path)

    def commit(self) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "--no-verify", "-m", "as it is")

    def fork(self, folder: Path) -> "World":
        """Copy the project to *folder*: the copy may be broken, and has its own MLflow store."""
        shutil.copytree(self.root, folder, symlinks=True)
        _move_artefacts(folder / "mlruns/mlflow.db", str(self.root), str(folder))
        return World(folder)


def _move_artefacts(database: Path, before: str, after: str) -> None:
    """MLflow's store names its artefacts by absolute paths."""
    if not database.exists():
        return
    places = {
        "experiments": "artifact_location",
        "runs": "artifact_uri",
        "logged_models": "artifact_location",
        "model_versions": "storage_location",
    }
    with sqlite3.connect(database) as store:
        for table, column in places.items():
            store.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (before, after))
    store.close()


def environment(root: Path) -> dict[str, str]:
    """What a user's shell has, and nothing of this one's that changes Darkroom."""
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("DARKROOM_", "DVC_", "MLFLOW_"))
    }
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    kept.pop("PREFECT_API_URL", None)
    return kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
        "PWD": str(root),
        "OMP_NUM_THREADS": "1",  # two tests at a time on two cores
        "PREFECT_HOME": str(root / ".prefect-test"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "somebody",
        "GIT_AUTHOR_EMAIL": "somebody@example.org",
        "GIT_COMMITTER_NAME": "somebody",
        "GIT_COMMITTER_EMAIL": "somebody@example.org",
    }


def can_trace() -> bool:
    """Not every container lets a process watch another."""
    watch = ["strace", *_FAST, "true"]
    return bool(shutil.which("strace")) and (
        subprocess.run(watch, capture_output=True, check=False).returncode == 0
    )


def watched(trace: Path) -> list[str]:
    """What goes before a command whose opened files *trace* is to list; nothing where none may
    watch."""
    calls = ["-y", "-e", "trace=open,openat,openat2", "-o", str(trace)]
    return ["strace", *_FAST, *calls] if can_trace() else []


def opened(trace: Path) -> set[str]:
    """What each descriptor led to that a command opened which was `watched`."""
    return set(re.findall(r"= \d+<(/.*)>$", trace.read_text(errors="replace"), re.MULTILINE))


def make_world(root: Path) -> World:
    """Lay the working tree's files down as a committed git repository of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if name in ("dvc.lock", "data/dataset.dvc") or not (ROOT / name).exists():
            continue
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    with (root / ".gitignore").open("a") as out:
        out.write(".prefect-test/\nsource/\n")
    world = World(root)
    world.run("git", "init", "-q", "-b", "main")
    world.commit()
    return world
