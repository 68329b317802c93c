"""Which code ran: the commit, what had been changed since, and what git does not know."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.graph import read_stages
from pipeline.workspace import Workspace

_OWN_ARTEFACTS = ("dvc.lock", "params.yaml", "data/dataset.dvc")
"""Logged whole, each by its own name."""
_DIFFERENCE = (
    *("diff", "--binary", "--no-ext-diff", "--no-textconv", "--no-color", "--no-relative"),
    *("--unified=3", "--submodule=short", "--src-prefix=a/", "--dst-prefix=b/", "HEAD"),
)
"""A patch that `git apply` takes, whatever its user has set git to show."""


@dataclass(frozen=True)
class CodeState:
    commit: str
    patch: bytes
    """`git diff` of what is not committed; empty for a clean tree."""
    untracked: tuple[str, ...] = ()
    """Files under a stage's deps that neither git nor DVC keeps."""


def code_state(root: Path) -> CodeState | None:
    """Return the state of the git tree at *root*, or None where there is none."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    excluded = [f":(exclude){name}" for name in _OWN_ARTEFACTS]
    patch = _git(root, *_DIFFERENCE, "--", ".", *excluded)
    return CodeState(commit.decode().strip(), patch or b"", tuple(_untracked(Workspace(root))))


def kept_by_git(workspace: Workspace) -> list[str]:
    """Return the stages' deps that git is to keep: all but the dataset and stages' outputs."""
    stages = read_stages(workspace.dvc_yaml)
    by_dvc = [Path(out) for stage in stages for out in stage.outs]
    by_dvc.append(workspace.dataset.relative_to(workspace.root))
    deps = {dep for stage in stages for dep in stage.deps}
    return sorted(d for d in deps if not any(Path(d).is_relative_to(out) for out in by_dvc))


def git_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* without what would point git at another repository, as hooks have it."""
    return {
        k: v for k, v in environ.items() if not k.startswith("GIT_") or k.startswith("GIT_CONFIG")
    }


def _untracked(workspace: Workspace) -> Iterator[str]:
    """Yield what `git ls-files` knows of no such file, ignored ones among them: .gitignore is no
    reason for which a stage would not read it, .dvcignore is."""
    ignored = ["--exclude-from=.dvcignore"] if (workspace.root / ".dvcignore").is_file() else []
    listing = ("--literal-pathspecs", "ls-files", "--others", "-z", *ignored, "--")
    found = _git(workspace.root, *listing, *kept_by_git(workspace)) or b""
    for name in filter(None, found.split(b"\0")):
        yield name.decode(errors="backslashreplace")


def _git(root: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            env=git_environment(os.environ),
            capture_output=True,
            check=False,
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
