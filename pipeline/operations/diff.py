"""What changed in the dataset since a git revision or an MLflow run: told, and shown as a page."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.catalogue import read_catalogue
from pipeline.data.corrections import read_corrections, read_relabelled
from pipeline.data.diff import Diff, Version, by_class, diff
from pipeline.data.diff_page import render
from pipeline.errors import DatasetError, ProjectError
from pipeline.graph import dataset_version, version_in
from pipeline.operations.dvc_cache import Cache, open_cache, refuse_other_version
from pipeline.params import slug
from pipeline.tracking.dataset import dataset_of_run
from pipeline.workspace import Home, Workspace


@dataclass(frozen=True)
class _Named:
    """A dataset version that a revision or a run names."""

    name: str
    version: str
    relabelled: Mapping[str, str]
    """What a person had decided then: sha256 → class."""


def run(
    workspace: Workspace, home: Home, experiment: str, revision: str, say: Callable[[str], None]
) -> Path:
    """Compare the dataset as it is with what *revision* had; return the page that shows it.

    Raises ProjectError where there is no such revision or run, DatasetError where its version is
    not in DVC's cache.
    """
    cache = open_cache(workspace)
    now = dataset_version(workspace)
    refuse_other_version(workspace, cache, cache.files(now))
    named = _of_git(workspace, revision) or _of_run(home, experiment, revision)
    files = cache.files(named.version)
    found = diff(_version(cache, named, files), _version_now(workspace))
    for line in _lines(found):
        say(line)
    removed = {
        change.row.file: cache.name(files[f"images/{change.row.file}"]) for change in found.removed
    }
    page = workspace.root / "reports" / f"data-diff-{slug(revision)}.html"
    page.parent.mkdir(exist_ok=True)
    page.write_text(render(found, workspace.images, cache.root, removed), encoding="utf-8")
    say(f"pictures: {page.relative_to(workspace.root)}")
    return page


def _of_git(workspace: Workspace, revision: str) -> _Named | None:
    """Return None where git knows no such revision (or there is no git)."""
    commit = _git(
        workspace, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
    )
    if commit is None:
        return None
    at = commit.decode().strip()
    text = _git(workspace, "show", f"{at}:./data/dataset.dvc")
    if text is None:
        raise DatasetError(
            f"git revision {revision} has no dataset",
            f"commit {at[:12]} does not hold data/dataset.dvc",
            mend="name a revision in which data/dataset.dvc was committed, or an MLflow run",
        )
    relabel = _git(workspace, "show", f"{at}:./data/corrections/relabel.csv")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "relabel.csv"
        path.write_bytes(relabel or b"sha256,label,reason\n")
        return _Named(f"{revision} ({at[:8]})", version_in(text), read_relabelled(path))


def _of_run(home: Home, experiment: str, run: str) -> _Named:
    found = dataset_of_run(home, experiment, run)
    if found is None:
        raise ProjectError(
            f"{run} is neither a git revision nor an MLflow run with a dataset",
            mend="git log --oneline names revisions; make ui shows runs with their ids",
        )
    return _Named(f"run {found.run_name}", found.digest, found.labels)


def _version(cache: Cache, named: _Named, files: Mapping[str, str]) -> Version:
    path = cache.object(files["catalogue.parquet"])
    return _with_labels(named.name, named.version, path, named.relabelled)


def _version_now(workspace: Workspace) -> Version:
    relabelled = read_corrections(workspace.corrections).relabelled
    return _with_labels("now", dataset_version(workspace), workspace.catalogue, relabelled)


def _with_labels(
    name: str, version: str, catalogue: Path, relabelled: Mapping[str, str]
) -> Version:
    rows = {row.sha256: row for row in read_catalogue(catalogue).rows}
    labels = {sha256: relabelled.get(sha256, row.label) for sha256, row in rows.items()}
    return Version(name, version, rows, labels)


def _lines(found: Diff) -> Iterator[str]:
    before, after = found.before, found.after
    yield f"{before.name}: dataset {before.digest[:12]}, {len(before.rows)} images"
    yield f"{after.name}: dataset {after.digest[:12]}, {len(after.rows)} images"
    if found.is_empty:
        yield "no image was added, removed or relabelled"
        return
    changes = by_class(found)
    width = max(len("class"), *(len(change.label) for change in changes))
    yield f"{'class':{width}}  before   after   added  removed  relabelled"
    for c in changes:
        yield (
            f"{c.label:{width}}  {c.before:6}  {c.after:6}  {c.added:6}  {c.removed:7}  "
            f"+{c.gained} -{c.lost}"
        )


def _git(workspace: Workspace, *arguments: str) -> bytes | None:
    """Return what git prints; None where it fails."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=workspace.root, capture_output=True, check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
