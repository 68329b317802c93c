"""What a person reads when something fails: short, and it ends in what to do."""

import pytest

from pipeline.errors import (
    Busy,
    DarkroomError,
    StorageError,
    StoreUnreachable,
    UnreadableImage,
)


def every_kind(kind: type[DarkroomError] = DarkroomError) -> list[type[DarkroomError]]:
    return [kind, *(deeper for below in kind.__subclasses__() for deeper in every_kind(below))]


@pytest.mark.parametrize("kind", every_kind())
def test_an_error_is_at_most_five_lines_and_ends_in_its_mend(kind):
    lines = str(kind("what", *"abcdefgh", mend="do this")).splitlines()
    assert lines == ["what", "  a", "  b", "  c", "  mend: do this"]


def test_a_file_name_with_a_line_break_makes_an_error_no_longer():
    name = "cat/my\ncat.png"
    error = DarkroomError(f"{name} is gone", *(name for _ in range(3)), mend=f"look at {name}")
    assert len(str(error).splitlines()) == 5


def test_a_name_that_steers_a_terminal_does_so_in_no_error():
    error = DarkroomError("a\x1b[2Jb", "c\u202ed", mend="\x07e")
    assert str(error).splitlines() == ["a?[2Jb", "  c?d", "  mend: ?e"]


def test_every_kind_of_error_has_a_code_of_its_own():
    codes = [kind.code for kind in every_kind()]
    assert len(set(codes)) == len(codes)


def test_only_what_passes_by_itself_is_tried_again():
    assert {kind for kind in every_kind() if kind.retryable} == {
        Busy,
        StoreUnreachable,
        StorageError,
    }


def test_a_refused_image_says_its_reason_and_the_detail():
    error = UnreadableImage("damaged", "cut off")
    assert (error.reason, error.detail, str(error)) == ("damaged", "cut off", "damaged: cut off")
