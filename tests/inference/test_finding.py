"""What a person names on a command line: nothing below a folder is passed by in silence."""

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
