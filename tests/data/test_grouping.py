"""What belongs together: said by a column or a path, else each image for itself."""

import pytest
from catalogues import catalogue, image

from pipeline.data.catalogue import DISAGREE, CatalogueRow
from pipeline.data.grouping import groups
from pipeline.errors import DatasetError


def groups_of(rows: list[CatalogueRow], group_by: str) -> list[str]:
    found = groups(catalogue(rows), group_by)
    return [found[row.sha256] for row in rows]


def test_auto_takes_the_column_group_where_there_is_one():
    rows = [image(1, group="p1"), image(2, group="p1"), image(3, group="p2")]
    assert groups_of(rows, "auto") == ["p1", "p1", "p2"]


def test_auto_makes_each_image_its_own_group_where_there_is_no_such_column():
    rows = [image(1), image(2, camera="c1"), image(3, camera="c1")]
    assert groups_of(rows, "auto") == [row.sha256 for row in rows]


def test_a_column_that_is_named_wins_over_the_column_group():
    rows = [image(1, camera="c1", group="p1"), image(2, camera="c2", group="p1")]
    assert groups_of(rows, "column:camera") == ["c1", "c2"]


@pytest.mark.parametrize("group_by", ["auto", "column:group"])
@pytest.mark.parametrize("nothing", [None, ""])
def test_an_image_whose_cell_is_empty_is_alone(group_by, nothing):
    rows = [image(1, group="p1"), image(2, group=nothing), image(3, group=nothing)]
    assert groups_of(rows, group_by) == ["p1", rows[1].sha256, rows[2].sha256]


def test_a_column_of_empty_cells_is_no_error():
    rows = [image(1, group=None), image(2, group=None)]
    assert groups_of(rows, "column:group") == [row.sha256 for row in rows]


def test_a_column_that_is_missing_is_named_with_those_there_are():
    with pytest.raises(DatasetError) as caught:
        groups_of([image(1, day="monday", camera="c1")], "column:patient")
    assert "patient" in caught.value.what
    assert caught.value.where == ("it has: camera, day",)
    assert "split.group_by" in caught.value.mend


def test_of_class_folders_it_is_told_that_only_a_list_has_columns():
    with pytest.raises(DatasetError) as caught:
        groups_of([image(1)], "column:patient")
    assert "only a list" in caught.value.where[0]


@pytest.mark.parametrize(
    ("expression", "group"),
    [
        pytest.param(r"patient(\d+)", "7", id="its first group"),
        pytest.param(r"patient\d+", "patient7", id="the whole match where it has none"),
        pytest.param(r"(?:patient|person)(\d+)_(\d+)", "7", id="no second group"),
        pytest.param(r"^cat/[^_]+", "cat/patient7", id="from the first folder on"),
    ],
)
def test_a_path_names_the_group_by(expression, group):
    rows = [image(1, path="cat/patient7_1.jpg"), image(2, path="cat/patient8_1.jpg")]
    assert groups_of(rows, f"path:{expression}")[0] == group


def test_colons_belong_to_the_expression():
    rows = [image(1, path="cat/10:30.jpg"), image(2, path="cat/10:45.jpg")]
    assert groups_of(rows, r"path:(\d+):\d+") == ["10", "10"]


@pytest.mark.parametrize("expression", [r"patient(\d+)", r"cat/(?:patient(\d+))?"])
def test_an_image_whose_path_names_no_group_is_alone(expression):
    rows = [image(1, path="cat/patient7.jpg"), image(2, path="cat/a.jpg")]
    assert groups_of(rows, f"path:{expression}") == ["7", rows[1].sha256]


def test_an_expression_that_fits_no_path_is_told_with_a_path_to_look_at():
    with pytest.raises(DatasetError) as caught:
        groups_of([image(1, path="cat/patient7.jpg")], r"path:camera(\d+)")
    assert caught.value.where == (r"the expression: camera(\d+)", "a path: cat/patient7.jpg")
    assert "split.group_by" in caught.value.mend


def test_copies_in_one_group_belong_to_it():
    rows = [image(1, path="cat/p7_1.jpg", copies=("cat/p7_2.jpg", "cat/unknown.jpg"))]
    assert groups_of(rows, r"path:p(\d+)_") == ["7"]


def test_copies_in_two_groups_disagree():
    rows = [image(1, path="cat/p7_1.jpg", copies=("cat/p8_1.jpg",))]
    assert groups_of(rows, r"path:p(\d+)_") == [DISAGREE]
