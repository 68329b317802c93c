"""Where a project is, and where what outlives a copy of it lies."""

from pathlib import Path

import pytest

from pipeline.errors import ProjectError
from pipeline.workspace import Home, Workspace, find_home, find_workspace


def make_project(root: Path) -> Path:
    (root / "pipeline").mkdir(parents=True)
    (root / "dvc.yaml").touch()
    return root


def test_a_project_is_found_from_any_folder_in_it(tmp_path):
    root = make_project(tmp_path / "project")
    deep = root / "data/dataset/images"
    deep.mkdir(parents=True)
    assert find_workspace(root).root == root
    assert find_workspace(deep).root == root


def test_a_copy_inside_a_project_is_a_project_of_its_own(tmp_path):
    root = make_project(tmp_path / "project")
    copy = make_project(root / ".dvc/tmp/exps/copy")
    assert find_workspace(copy).root == copy


@pytest.mark.parametrize("present", [["dvc.yaml"], ["pipeline/"], []])
def test_a_folder_with_half_of_a_project_is_none(tmp_path, present):
    for name in present:
        path = tmp_path / name
        path.mkdir() if name.endswith("/") else path.touch()
    with pytest.raises(ProjectError) as caught:
        find_workspace(tmp_path)
    assert str(tmp_path) in caught.value.what


def test_what_dvc_writes_lies_in_the_tree_that_it_runs_in(tmp_path):
    workspace = Workspace(tmp_path)
    paths = [
        getattr(workspace, name)
        for name, member in vars(Workspace).items()
        if isinstance(member, property)
    ]
    assert paths
    assert all(path.is_relative_to(tmp_path) for path in paths)


@pytest.mark.parametrize(
    ("environ", "home"),
    [
        ({}, "tree"),
        ({"DVC_ROOT": "main"}, "main"),
        ({"DARKROOM_HOME": "home"}, "home"),
        ({"DARKROOM_HOME": "home", "DVC_ROOT": "main"}, "home"),
        ({"DARKROOM_HOME": "", "DVC_ROOT": "main"}, "main"),
        ({"DARKROOM_HOME": "", "DVC_ROOT": ""}, "tree"),
    ],
)
def test_home_is_what_was_asked_for_else_the_main_repository_else_the_tree(tmp_path, environ, home):
    (tmp_path / "home").mkdir()
    absolute = {key: value and str(tmp_path / value) for key, value in environ.items()}
    assert find_home(Workspace(tmp_path / "tree"), absolute).root == tmp_path / home


def test_a_relative_home_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    found = find_home(Workspace(tmp_path / "tree"), {"DARKROOM_HOME": "here"})
    assert found.root == tmp_path / "here"


def test_a_home_may_start_at_the_users_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "darkroom").mkdir()
    found = find_home(Workspace(tmp_path / "tree"), {"DARKROOM_HOME": "~/darkroom"})
    assert found.root == tmp_path / "darkroom"


def test_a_mistyped_home_is_refused_and_not_made(tmp_path):
    with pytest.raises(ProjectError, match="DARKROOM_HOME"):
        find_home(Workspace(tmp_path), {"DARKROOM_HOME": str(tmp_path / "typo")})
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("photos", "project/photos"),
        ("../photos", "project/../photos"),
        ("{root}/elsewhere", "elsewhere"),
        ("~/photos", "photos"),
    ],
)
def test_a_path_of_params_yaml_starts_at_home(tmp_path, monkeypatch, written, meant):
    monkeypatch.setenv("HOME", str(tmp_path))
    home = Home(tmp_path / "project")
    assert home.resolve(written.format(root=tmp_path)) == tmp_path / meant


def test_each_model_has_an_inbox_of_its_own(tmp_path):
    home = Home(tmp_path)
    assert home.inbox("cats") != home.inbox("dogs")
