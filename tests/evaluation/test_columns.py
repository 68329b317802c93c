"""By what images are sliced is what the catalogue knows of them, and a wrong name is said."""

from dataclasses import replace

import pytest
from catalogues import catalogue, image

from pipeline.data.catalogue import CatalogueRow
from pipeline.data.splits import SplitRow
from pipeline.errors import ParamsError
from pipeline.evaluation.columns import columns_of


def row(known: CatalogueRow) -> SplitRow:
    return SplitRow(known.sha256, known.file, known.label, 1, 1, "validation", None, None)


def columns(rows: list[CatalogueRow], *names: str) -> dict[str, object]:
    return dict(columns_of(catalogue(rows), [row(each) for each in rows], names))


def test_size_and_brightness_are_always_there_in_the_order_of_the_rows():
    wide = replace(image("a"), width=90, height=40, brightness=0.25)
    high = replace(image("b"), width=30, height=80, brightness=0.75)
    for rows in ([wide, high], [high, wide]):
        found = columns(rows)
        assert found == {
            "short_side": [min(each.width, each.height) for each in rows],
            "brightness": [each.brightness for each in rows],
        }


def test_images_that_are_not_asked_for_are_not_in_the_columns():
    rows = [image("a"), image("b")]
    found = columns_of(catalogue(rows), [row(rows[1])], ())
    assert [len(values) for values in found.values()] == [1, 1]


def test_a_lists_own_numbers_are_numbers_and_its_words_are_words():
    rows = [image("a", lens="35", camera="nikon"), image("b", lens="", camera="7")]
    found = columns([*rows, image("c", lens=None, camera=None)], "lens", "camera")
    assert found["lens"] == [35.0, None, None]
    assert found["camera"] == ["nikon", "7", None]


@pytest.mark.parametrize("name", ["sharpness", "width", "height", "bytes"])
def test_the_catalogues_own_figures_may_be_asked_for(name):
    only = image("a")
    assert columns([only], name)[name] == [getattr(only, name)]


def test_a_column_that_is_always_there_may_be_named_again():
    assert list(columns([image("a")], "brightness", "mode")) == ["short_side", "brightness", "mode"]


@pytest.mark.parametrize("name", ["weather", "sha256", "path", "label", "phash"])
def test_a_column_that_there_is_not_is_an_error_that_says_what_there_is(name):
    with pytest.raises(ParamsError, match=name) as caught:
        columns([image("a", camera="nikon")], name)
    assert "camera" in str(caught.value)
