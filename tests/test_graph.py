"""dvc.yaml as a graph, and keys that change exactly when the work does."""

import shutil
from pathlib import Path

import pytest

from pipeline.errors import DatasetError, ProjectError
from pipeline.graph import dataset_version, read_stages, stage_key
from pipeline.workspace import Workspace

STAGES = """\
stages:
  last: {cmd: c, deps: [models/trained], outs: [reports]}
  middle: {cmd: b, deps: [data/splits.parquet, code], params: [train, data.source], outs: [models]}
  first: {cmd: a, deps: [data/dataset], outs: [data/splits.parquet]}
"""
PARAMS = """\
data: {source: digits, other: 1}
train: {seed: 0, epochs: 3}
split: {seed: 0}
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Three stages, and on the disk what the middle one reads."""
    made = Workspace(tmp_path / "project")
    (made.root / "data").mkdir(parents=True)
    (made.root / "code/deep").mkdir(parents=True)
    made.dvc_yaml.write_text(STAGES)
    made.params.write_text(PARAMS)
    made.splits.write_text("splits")
    (made.root / "code/deep/a.py").write_text("a = 1")
    (made.root / "code/b.py").write_text("b = 1")
    return made


def test_stages_come_after_those_whose_outputs_they_read(workspace):
    assert [stage.name for stage in read_stages(workspace.dvc_yaml)] == ["first", "middle", "last"]


@pytest.mark.parametrize(
    ("dep", "out"),
    [("models", "models"), ("models/a/b", "models/a"), ("models", "models/a")],
    ids=["the output", "a file in an output", "a folder with an output in it"],
)
def test_a_stage_reads_what_lies_in_around_or_at_an_output(tmp_path, dep, out):
    (tmp_path / "dvc.yaml").write_text(
        f"stages: {{reads: {{cmd: x, deps: [{dep}]}}, writes: {{cmd: x, outs: [{out}]}}}}\n"
    )
    assert [stage.name for stage in read_stages(tmp_path / "dvc.yaml")] == ["writes", "reads"]


def test_a_stage_holds_what_dvc_yaml_says_of_it(workspace):
    middle = read_stages(workspace.dvc_yaml)[1]
    assert middle.command == "b"
    assert middle.deps == ("data/splits.parquet", "code")
    assert middle.params == ("train", "data.source")
    assert middle.outs == ("models",)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="missing"),
        pytest.param("", id="empty"),
        pytest.param("stages: [1, 2]\n", id="list"),
        pytest.param("stages: {a: {deps: [x]}}\n", id="no command"),
        pytest.param("stages: {a: {cmd: x\n", id="broken YAML"),
        pytest.param(
            "stages: {a: {cmd: x, deps: [b], outs: [a]}, b: {cmd: x, deps: [a], outs: [b]}}\n",
            id="circle",
        ),
        pytest.param("stages: {a: {cmd: x, deps: [out/a], outs: [out]}}\n", id="own output"),
    ],
)
def test_a_damaged_graph_is_a_named_error(tmp_path, text):
    path = tmp_path / "dvc.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ProjectError) as caught:
        read_stages(path)
    assert len(str(caught.value).splitlines()) <= 5


def test_equal_work_has_an_equal_key_in_another_folder(workspace, tmp_path):
    shutil.copytree(workspace.root, tmp_path / "copy")
    assert stage_key(Workspace(tmp_path / "copy"), "middle") == stage_key(workspace, "middle")


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("params.yaml", "epochs: 3", "epochs: 4", id="its parameter"),
        pytest.param("params.yaml", "source: digits", "source: photos", id="one key of a section"),
        pytest.param("code/deep/a.py", "a = 1", "a = 2", id="a file deep in a folder"),
        pytest.param("data/splits.parquet", "splits", "other splits", id="a file"),
        pytest.param("dvc.yaml", "[train, data.source]", "[train]", id="what it depends on"),
    ],
)
def test_other_work_has_another_key(workspace, file, old, new):
    before = stage_key(workspace, "middle")
    _edit(workspace.root / file, old, new)
    assert stage_key(workspace, "middle") != before


@pytest.mark.parametrize("name", ["c.py", "deep/b.py"])
def test_a_renamed_file_of_a_folder_gives_another_key(workspace, name):
    before = stage_key(workspace, "middle")
    (workspace.root / "code/b.py").rename(workspace.root / "code" / name)
    assert stage_key(workspace, "middle") != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("params.yaml", "split: {seed: 0}", "split: {seed: 1}", id="another section"),
        pytest.param("params.yaml", "other: 1", "other: 2", id="another key of its section"),
        pytest.param("params.yaml", "epochs: 3}", "epochs: 3} # more", id="a comment"),
        pytest.param("params.yaml", "seed: 0, epochs: 3", "epochs: 3, seed: 0", id="the order"),
        pytest.param("dvc.yaml", "cmd: c", "cmd: d", id="another stage"),
    ],
)
def test_what_a_stage_does_not_read_leaves_its_key(workspace, file, old, new):
    before = stage_key(workspace, "middle")
    _edit(workspace.root / file, old, new)
    assert stage_key(workspace, "middle") == before


def test_bytecode_leaves_the_key(workspace):
    before = stage_key(workspace, "middle")
    (workspace.root / "code/__pycache__").mkdir()
    (workspace.root / "code/__pycache__/b.cpython-311.pyc").write_bytes(b"\0")
    assert stage_key(workspace, "middle") == before


def test_two_stages_never_share_a_key(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.dvc_yaml.write_text("stages: {a: {cmd: x, outs: [a]}, b: {cmd: x, outs: [b]}}\n")
    workspace.params.write_text(PARAMS)
    assert stage_key(workspace, "a") != stage_key(workspace, "b")


def test_the_dataset_version_is_dvcs_hash(workspace):
    workspace.dataset_dvc.write_text("outs:\n- md5: abc.dir\n  path: dataset\n")
    assert dataset_version(workspace) == "abc.dir"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="missing"),
        pytest.param("", id="empty"),
        pytest.param("outs: []\n", id="no outputs"),
        pytest.param("<<<<<<< HEAD\nouts:\n- md5: a\n=======\n", id="merge conflict"),
        pytest.param("\0\0", id="garbage"),
    ],
)
def test_no_dataset_version_is_a_named_error(workspace, text):
    if text is not None:
        workspace.dataset_dvc.write_text(text)
    with pytest.raises(DatasetError) as caught:
        dataset_version(workspace)
    merge = text is not None and text.startswith("<<<")
    assert ("--ours" if merge else "darkroom ingest") in caught.value.mend
