"""A recorded run's tree is laid down as it was, refused by name where it cannot be, and removed."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from worlds import environment

from pipeline.errors import DarkroomError, DatasetError, ProjectError, RegistryError, TrainingError
from pipeline.graph import listing_of
from pipeline.operations.scratch import scratch_of
from pipeline.tracking.code import code_state
from pipeline.tracking.recording import Recording
from pipeline.tracking.registry import Version
from pipeline.workspace import Home, Workspace

DVC_YAML = """\
stages:
  train:
    cmd: python -m pipeline.cli train
    deps: [data/corrections, data/dataset, pipeline/code.py]
    params: [train]
    outs: [models/trained]
"""
PARAMS = """\
train:
  precision: auto  # measured
  compile: auto
  device: auto
  processes: auto
  weights: none
"""
IMAGE = b"a picture"
CODE = "pipeline/code.py"


@dataclass(frozen=True)
class Project:
    workspace: Workspace
    home: Home
    record: Path
    """Artefacts of the run."""

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(self.workspace.root), *arguments],
            env=environment(self.workspace.root),
            capture_output=True,
            check=True,
            text=True,
        ).stdout

    def write(self, name: str, text: str) -> None:
        path = self.workspace.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def cached(self, content: bytes, suffix: str = "") -> str:
        md5 = hashlib.md5(content).hexdigest() + suffix
        path = self.workspace.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o444)
        return md5

    def recording(self, **changes: object) -> Recording:
        """What is recorded of the tree as it is now."""
        state = code_state(self.workspace.root)
        assert state is not None
        if state.patch:
            (self.record / "code.patch").write_bytes(state.patch)
        made = Recording(
            Version("digits", 1, "", {}),
            state.commit,
            state.untracked,
            self.record,
            start="",
            device="cpu",
            chosen={"precision": "bf16", "compile": "off"},
            machine={"threads": "3", "processes": "1"},
            metrics={},
        )
        return replace(made, **changes)


def make_project(root: Path, home: Path, record: Path, repository: Path) -> Project:
    made = Project(Workspace(root), Home(home), record)
    made.write("dvc.yaml", DVC_YAML)
    made.write("params.yaml", PARAMS)
    made.write(CODE, "first\n")
    made.write("data/corrections/exclude.csv", "sha256\n")
    made.write(".dvc/config", "[core]\n    analytics = false\n")
    made.write(".dvcignore", "__pycache__/\n.DS_Store\n")
    made.write(".gitignore", "/.dvc/cache\n/.dvc/tmp\n*.secret\n/data/dataset\n__pycache__/\n")
    image = made.cached(IMAGE)
    version = made.cached(listing_of({"images/a.png": image}), ".dir")
    home.mkdir(exist_ok=True)
    (record / "data").mkdir(parents=True)
    (record / "params.yaml").write_text(PARAMS)
    (record / "data/dataset.dvc").write_text(f"outs:\n- md5: {version}\n  path: dataset\n")
    subprocess.run(["git", "init", "-q", "-b", "main", str(repository)], check=True)
    commit(made)
    return made


def commit(project: Project) -> None:
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "as it is")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    root = tmp_path / "project"
    return make_project(root, tmp_path / "home", tmp_path / "record", root)


def traces(project: Project) -> tuple[object, ...]:
    git = project.workspace.root / ".git"
    return (
        project.git("worktree", "list"),
        project.git("status", "--porcelain", "--ignored"),
        sorted(p for p in git.rglob("*")),
        list(Path(tempfile.gettempdir()).iterdir()),
    )


def refused(project: Project, recording: Recording) -> str:
    """Return the error, once nothing is left of the attempt."""
    before = traces(project)
    with (
        pytest.raises(DarkroomError) as told,
        scratch_of(project.workspace, project.home, recording),
    ):
        pytest.fail("it was not refused")
    assert traces(project) == before
    return f"{type(told.value).__name__}: {told.value}"


def test_the_tree_is_that_of_the_record_and_not_that_of_today(project):
    project.write(CODE, "second\n")
    recording = project.recording()
    project.write(CODE, "third\n")
    project.write("params.yaml", PARAMS + "  epochs: 99\n")
    commit(project)
    before = traces(project)
    with scratch_of(project.workspace, project.home, recording) as scratch:
        tree = scratch.workspace
        assert (tree.root / CODE).read_text() == "second\n"
        assert (tree.dataset / "images/a.png").read_bytes() == IMAGE
        assert "epochs" not in tree.params.read_text()
        assert not tree.dvc_lock.exists()
        assert not tree.root.is_relative_to(project.workspace.root)
    assert traces(project) == before


def test_what_auto_came_to_is_settled(project):
    with scratch_of(project.workspace, project.home, project.recording()) as scratch:
        train = YAML(typ="safe").load(scratch.workspace.params)["train"]
    assert train == {
        "precision": "bf16",
        "compile": "off",
        "device": "cpu",
        "processes": "auto",
        "weights": "none",
    }


def test_what_runs_there_finds_no_way_back(project, monkeypatch):
    for name in ("DVC_ROOT", "DARKROOM_HOME", "MLFLOW_TRACKING_URI", "GIT_DIR", "PYTHONSAFEPATH"):
        monkeypatch.setenv(name, "/elsewhere")
    with scratch_of(project.workspace, project.home, project.recording()) as scratch:
        environ, tree = scratch.environ, scratch.workspace.root
        assert "/elsewhere" not in environ.values()
        home = Path(environ["DARKROOM_HOME"])
        assert list(home.iterdir()) == [] and home.is_relative_to(tree.parent)
        assert environ["OMP_NUM_THREADS"] == "3"
        assert environ["PYTHONPATH"].split(os.pathsep)[0] == str(tree)
        done = subprocess.run(
            ["python", "-m", "dvc", "cache", "dir"],
            cwd=tree,
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )
        assert (tree / done.stdout.strip()).resolve().is_relative_to(tree)


def test_a_project_in_a_folder_of_its_repository_is_found_there(tmp_path):
    root = tmp_path / "all/of it"
    project = make_project(root, tmp_path / "home", tmp_path / "record", tmp_path / "all")
    project.write(CODE, "second\n")
    recording = project.recording()
    project.git("checkout", "--", CODE)
    with scratch_of(project.workspace, project.home, recording) as scratch:
        assert scratch.workspace.root.name == "of it"
        assert (scratch.workspace.root / CODE).read_text() == "second\n"


@pytest.mark.parametrize(
    "setting",
    [
        *("diff.noprefix=true", "diff.mnemonicPrefix=true", "color.ui=always", "diff.context=0"),
        *("diff.external=false", "diff.relative=true", "apply.whitespace=fix"),
    ],
)
def test_however_its_user_has_set_git_the_patch_applies(project, setting):
    project.git("config", *setting.split("="))
    text = "second, with spaces at its end   \n\tand bytes: \x01\n\n\n"
    project.write(CODE, text)
    recording = project.recording()
    project.git("checkout", "--", CODE)
    with scratch_of(project.workspace, project.home, recording) as scratch:
        assert (scratch.workspace.root / CODE).read_text() == text


@pytest.mark.parametrize("name", ["data/corrections/mine.csv", "data/corrections/my.secret"])
def test_an_untracked_file_under_a_stages_deps_is_refused_by_name(project, name):
    project.write(name, "sha256\n")
    assert name in refused(project, project.recording())


def test_untracked_files_that_no_stage_reads_are_no_matter(project):
    for name in ("notes.txt", "pipeline/other.py", "models/trained/x", "data/dataset/images/b.png"):
        project.write(name, "")
    project.write("data/corrections/__pycache__/x.pyc", "")
    project.write("data/corrections/.DS_Store", "")
    with scratch_of(project.workspace, project.home, project.recording()) as scratch:
        assert scratch.edited == ()


def test_a_dep_that_the_lock_names_and_nobody_kept_is_refused_by_name(project):
    recording = project.recording()
    project.write("dvc.yaml", DVC_YAML.replace(CODE, f"{CODE}, pipeline/more.py"))
    commit(project)
    lock = "stages:\n  train:\n    deps:\n    - {path: pipeline/more.py, md5: abc}\n"
    (project.record / "dvc.lock").write_text(lock)
    told = refused(project, replace(recording, commit=project.git("rev-parse", "HEAD").strip()))
    assert "pipeline/more.py" in told and told.startswith("RegistryError")


def test_code_that_was_edited_between_two_stages_is_told(project):
    folder = listing_of({"exclude.csv": hashlib.md5(b"sha256\n").hexdigest()})
    same = hashlib.md5(folder).hexdigest() + ".dir"
    (project.record / "dvc.lock").write_text(
        "stages:\n  train:\n    deps:\n"
        f"    - {{path: data/corrections, md5: {same}}}\n"
        f"    - {{path: {CODE}, md5: abc}}\n"
    )
    with scratch_of(project.workspace, project.home, project.recording()) as scratch:
        assert scratch.edited == (CODE,)


def test_a_commit_that_is_not_here_is_named(project, tmp_path):
    told = refused(project, replace(project.recording(), commit="0123456789" * 4))
    assert told.startswith(ProjectError.__name__) and "012345678901" in told
    assert "mend: git fetch" in told


def test_a_shallow_clone_is_told_how_to_have_the_commit(project, tmp_path):
    recording = project.recording()
    project.write(CODE, "second\n")
    commit(project)
    clone = replace(project, workspace=Workspace(tmp_path / "clone"))
    source = project.workspace.root.as_uri()
    project.git("clone", "-q", "--depth", "1", source, str(clone.workspace.root))
    assert "mend: git fetch --unshallow" in refused(clone, recording)


def test_a_patch_that_does_not_apply_is_named(project):
    project.write(CODE, "second\n")
    recording = project.recording()
    patch = (project.record / "code.patch").read_text()
    (project.record / "code.patch").write_text(patch.replace("-first", "-another"))
    told = refused(project, recording)
    assert told.startswith(RegistryError.__name__) and CODE in told


def test_a_dataset_that_the_cache_does_not_hold_is_named(project):
    cache = project.workspace.root / ".dvc/cache/files"
    md5 = hashlib.md5(IMAGE).hexdigest()
    (cache / "md5" / md5[:2] / md5[2:]).unlink()
    told = refused(project, project.recording())
    assert told.startswith(DatasetError.__name__) and "data/dataset/images/a.png" in told
    shutil.rmtree(cache)
    assert "mend: dvc fetch" in refused(project, project.recording())


def test_starting_weights_are_found_by_their_hash_or_named(project):
    (project.record / "params.yaml").write_text(PARAMS.replace("none", "mine.safetensors"))
    sha256 = hashlib.sha256(b"weights").hexdigest()
    recording = project.recording(start=sha256)
    mine = project.home.root / "mine.safetensors"
    mine.write_bytes(b"others by now")
    told = refused(project, recording)
    assert told.startswith(TrainingError.__name__) and sha256 in told
    stored = project.home.private / "weights" / f"{sha256}.safetensors"
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"weights")
    for expected in (stored, mine):
        with scratch_of(project.workspace, project.home, recording) as scratch:
            train = YAML(typ="safe").load(scratch.workspace.params)["train"]
        assert train["weights"] == str(expected)
        mine.write_bytes(b"weights")


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, OSError])
def test_however_it_ends_nothing_is_left(project, end):
    before = traces(project)
    with pytest.raises(end), scratch_of(project.workspace, project.home, project.recording()):
        raise end
    assert traces(project) == before
