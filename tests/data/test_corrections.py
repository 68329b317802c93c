"""A person's decisions are read however they were written; a wrong line is named."""

import pytest

from pipeline.data.corrections import Corrections, read_corrections, read_lines, read_relabelled
from pipeline.errors import DatasetError

SHA = "0" * 64
OTHER = "1" * 64
RELABEL = ("sha256", "label", "reason")


def test_both_tables_are_read_as_decisions_about_single_images(tmp_path):
    (tmp_path / "exclude.csv").write_text(f"sha256,reason\n{SHA},blurred\n{OTHER},a logo\n")
    (tmp_path / "relabel.csv").write_text(f"sha256,label,reason\n{SHA},cat,no dog\n")
    assert read_corrections(tmp_path) == Corrections(
        excluded={SHA: "blurred", OTHER: "a logo"}, relabelled={SHA: "cat"}
    )


@pytest.mark.parametrize(
    "text",
    [
        f"sha256,label,reason\n{SHA},cat,a cat\n",
        f"\ufeffsha256,label,reason\r\n{SHA},cat,a cat\r\n",
        f"sha256, label, reason\n{SHA}, cat, a cat\n",
        f"sha256,label,reason\n{SHA} ,cat ,a cat \n",
        f'sha256,label,reason\n\n{SHA},cat,"a cat"',
    ],
    ids=["plain", "from a spreadsheet", "spaces before", "spaces after", "a blank line"],
)
def test_corrections_are_read_however_an_editor_writes_them(tmp_path, text):
    (tmp_path / "relabel.csv").write_text(text, newline="")
    rows = read_lines(tmp_path / "relabel.csv", RELABEL)
    assert rows == [{"sha256": SHA, "label": "cat", "reason": "a cat"}]


@pytest.mark.parametrize(
    "text",
    ["", "sha256,label\n", "sha256;label;reason\n", f"{SHA},cat,a cat\n"],
    ids=["empty", "a column short", "semicolons", "no first line"],
)
def test_corrections_with_other_columns_are_told_the_first_line_to_write(tmp_path, text):
    (tmp_path / "relabel.csv").write_text(text)
    with pytest.raises(DatasetError) as caught:
        read_lines(tmp_path / "relabel.csv", RELABEL)
    assert caught.value.mend == "make its first line sha256,label,reason"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("0123,cat,a cat", id="short hash"),
        pytest.param(f"{SHA}", id="hash alone"),
        pytest.param(f"{SHA},cat", id="a column short"),
        pytest.param(f"{SHA},cat,a cat,more", id="a column more"),
        pytest.param(f"{SHA},,not a dog", id="no label"),
        pytest.param(f'{SHA}," ",not a dog', id="a space for a label"),
    ],
)
@pytest.mark.parametrize("above", ["", f"{SHA},cat,a cat\n"], ids=["first", "second"])
def test_a_wrong_correction_is_named_by_its_line(tmp_path, above, line):
    (tmp_path / "relabel.csv").write_text(f"sha256,label,reason\n{above}{line}\n")
    with pytest.raises(DatasetError) as caught:
        read_lines(tmp_path / "relabel.csv", RELABEL)
    assert f"relabel.csv, line {3 if above else 2} " in caught.value.what


def test_a_blank_line_above_does_not_shift_the_line_that_is_named(tmp_path):
    (tmp_path / "relabel.csv").write_text("sha256,label,reason\n\n\n0123,cat,a cat\n")
    with pytest.raises(DatasetError) as caught:
        read_lines(tmp_path / "relabel.csv", RELABEL)
    assert "line 4 " in caught.value.what


def test_missing_corrections_are_a_named_error(tmp_path):
    with pytest.raises(DatasetError) as caught:
        read_lines(tmp_path / "relabel.csv", RELABEL)
    assert "relabel.csv" in caught.value.what


def test_corrections_that_are_not_utf_8_are_a_named_error(tmp_path):
    text = f"sha256,label,reason\n{SHA},Kätzchen,so\n"
    (tmp_path / "relabel.csv").write_text(text, encoding="latin-1")
    with pytest.raises(DatasetError) as caught:
        read_lines(tmp_path / "relabel.csv", RELABEL)
    assert "relabel.csv" in caught.value.what


def test_two_lines_that_disagree_about_an_image_are_refused(tmp_path):
    text = f"sha256,label,reason\n{SHA},cat,so\n{SHA},dog,so\n"
    (tmp_path / "relabel.csv").write_text(text)
    with pytest.raises(DatasetError, match="line 3 says otherwise"):
        read_relabelled(tmp_path / "relabel.csv")


def test_a_hash_in_capitals_is_the_same_hash(tmp_path):
    (tmp_path / "relabel.csv").write_text(f"sha256,label,reason\n{'AB' * 32},cat,so\n")
    assert read_relabelled(tmp_path / "relabel.csv") == {"ab" * 32: "cat"}
