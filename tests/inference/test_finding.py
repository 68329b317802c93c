"""What a person names on a command line: nothing below a folder is passed by in silence."""

import pytest

from pipeline.errors import SourceError
from pipeline.inference.finding import find_files


def test_a_folder_that_lies_too_deep_is_refused_by_name(tmp_path):
    inside = tmp_path.joinpath(*["deep"] * 64)
    inside.mkdir(parents=True)
    (inside / "a.png").touch()
    (inside.parent / "b.png").touch()
    found = {file.path: file.refusal for file in find_files([str(tmp_path)], ())}
    assert found.pop(str(inside.parent / "b.png")) is None
    ((path, refusal),) = found.items()
    assert path == str(inside) and refusal[0] == "too_deep"


@pytest.mark.parametrize("name", ["", "nowhere.png", "*.gif", "x" * 5000, "[[" * 300, "a\0b"])
def test_a_name_that_leads_nowhere_is_told_before_anything_is_answered(tmp_path, name):
    (tmp_path / "a.png").touch()
    with pytest.raises(SourceError, match="no file, folder or match"):
        find_files([str(tmp_path), name], ())


def test_a_listed_name_that_leads_nowhere_is_a_file_that_is_gone(tmp_path):
    there, ring = tmp_path / "a.png", tmp_path / "ring"
    there.touch()
    ring.symlink_to("ring")
    names = ["nowhere.png", "-", "*.png", "x" * 5000, "a\0b", str(ring)]
    found = list(find_files(["-"], [f"{name}\n" for name in [*names, str(there)]]))
    assert [file.refusal and file.refusal[0] for file in found] == ["gone"] * 6 + [None]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_of_any_system_are_read(tmp_path, end):
    (tmp_path / "a.png").touch()
    (file,) = find_files(["-"], [f"{tmp_path / 'a.png'}{end}", end])
    assert file.path == str(tmp_path / "a.png")


def test_what_is_said_of_images_is_none(tmp_path):
    for name in ("_READY", "metadata.csv", "a.png"):
        (tmp_path / name).touch()
    assert [file.path for file in find_files([str(tmp_path)], ())] == [str(tmp_path / "a.png")]
