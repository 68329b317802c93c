"""The example's images: all of them or none, and none in both the source and the inbox."""

from pathlib import Path

import pytest
from PIL import Image

from pipeline.data.digits import write_digits, write_digits_inbox


def files_in(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in folder.rglob("*.png")]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder / "source")
    assert write_digits_inbox(folder / "inbox")
    return folder


def test_no_digit_of_the_inbox_is_in_the_source(written):
    source, inbox = files_in(written / "source"), files_in(written / "inbox")
    assert not {path.name for path in source} & {path.name for path in inbox}
    assert (len(inbox), len(source) + len(inbox)) == (179, 1797)


def test_the_source_has_ten_classes_and_the_inbox_none(written):
    assert {path.parent.name for path in files_in(written / "source")} == set("0123456789")
    assert {str(path.parent) for path in files_in(written / "inbox")} == {"."}


def test_a_digit_is_grey_from_black_to_white(written):
    ranges = [Image.open(path).getextrema() for path in (written / "inbox").glob("*.png")]
    assert (min(low for low, _ in ranges), max(high for _, high in ranges)) == (0, 255)


def test_the_digits_are_written_once(tmp_path):
    (tmp_path / "source/0").mkdir(parents=True)
    write_digits(tmp_path / "source")
    assert files_in(tmp_path / "source") == []


def test_an_inbox_that_is_there_is_left_as_it_is(tmp_path):
    (tmp_path / "inbox").mkdir()
    assert not write_digits_inbox(tmp_path / "inbox")
    assert files_in(tmp_path / "inbox") == []


def test_writing_that_fails_leaves_no_half_folder_and_the_next_clears_up(tmp_path, monkeypatch):
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(Image.Image, "save", full)
        write_digits_inbox(tmp_path / "inbox")
    assert not (tmp_path / "inbox").exists()
    (tmp_path / ".inbox.4242").mkdir()  # of another process, killed
    assert write_digits_inbox(tmp_path / "inbox")
    assert [path.name for path in tmp_path.iterdir()] == ["inbox"]
