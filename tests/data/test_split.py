"""An image's split is its own, for ever: nothing that comes or goes moves it."""

import hashlib
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.catalogue import Catalogue, CatalogueRow, Splits
from pipeline.data.split import USED, assign, check_corrections, split
from pipeline.errors import DatasetError
from pipeline.params import SplitParams

PARAMS = SplitParams(seed=0, validation=0.15, test=0.15)
shares = st.floats(0.1, 0.45)
params = st.builds(SplitParams, seed=st.integers(-(2**40), 2**40), validation=shares, test=shares)


def row(number: int, label: str | None) -> CatalogueRow:
    sha256 = hashlib.sha256(str(number).encode()).hexdigest()
    return CatalogueRow(sha256, f"{sha256}.png", f"{label}/{number}.png", label, 1, 8, 8, "L")


def catalogue(rows: list[CatalogueRow]) -> Catalogue:
    return Catalogue("photos", tuple(sorted(rows, key=lambda each: each.sha256)))


BASE = [row(number, "cat" if number % 2 else "dog") for number in range(600)]
"""So many that no seed leaves a class without an image in some split."""
CAT = next(each for each in BASE if each.label == "cat")


def places(splits: Splits) -> dict[str, str]:
    return {each.sha256: each.split for each in splits.rows}


@settings(max_examples=40, deadline=None)
@given(params, st.sets(st.integers(1000, 10**9), max_size=100), st.sampled_from(["cat", "new"]))
def test_adding_images_never_moves_an_old_one(params, numbers, label):
    before = places(split(catalogue(BASE), params, {}, {}))
    added = [row(number, "cat") for number in numbers]
    added += [row(-number, label) for number in range(1, 301)]
    after = places(split(catalogue(BASE + added), params, {}, {}))
    assert {sha256: after[sha256] for sha256 in before} == before


@settings(max_examples=40, deadline=None)
@given(params, st.sets(st.sampled_from(range(600)), max_size=100))
def test_removing_images_never_moves_one_that_stays(params, gone):
    before = places(split(catalogue(BASE), params, {}, {}))
    kept = [each for number, each in enumerate(BASE) if number not in gone]
    after = places(split(catalogue(kept), params, {}, {}))
    assert after == {each.sha256: before[each.sha256] for each in kept}


@settings(max_examples=30, deadline=None)
@given(params)
def test_the_shares_are_near_what_was_asked(params):
    counts = Counter(assign(f"image {number}", params) for number in range(4000))
    five_sigma = 5 * (0.25 / 4000) ** 0.5
    assert abs(counts["test"] / 4000 - params.test) < five_sigma
    assert abs(counts["validation"] / 4000 - params.validation) < five_sigma


@settings(max_examples=40, deadline=None)
@given(params, shares, st.text())
def test_another_share_for_validation_moves_nothing_into_or_out_of_the_test(params, share, key):
    other = params.model_copy(update={"validation": share})
    assert (assign(key, params) == "test") == (assign(key, other) == "test")


@settings(max_examples=40, deadline=None)
@given(params, st.floats(0.1, 0.45), st.text())
def test_a_larger_test_split_keeps_every_image_of_the_smaller_one(params, share, key):
    small, large = sorted((params.test, share))
    if assign(key, params.model_copy(update={"test": small})) == "test":
        assert assign(key, params.model_copy(update={"test": large})) == "test"


def test_the_same_image_has_the_same_split_on_every_machine():
    """Pinned: another hash would silently turn test images into training images."""
    assert {number: assign(row(number, "cat").sha256, PARAMS) for number in range(8, 14)} == {
        8: "validation",
        9: "train",
        10: "test",
        11: "test",
        12: "validation",
        13: "test",
    }


def test_another_seed_shuffles():
    other = PARAMS.model_copy(update={"seed": 1})
    moved = [each for each in BASE if assign(each.sha256, PARAMS) != assign(each.sha256, other)]
    assert 0.3 < len(moved) / len(BASE) < 0.7


def test_the_split_says_what_it_was_made_from():
    splits = split(catalogue(BASE), PARAMS, {}, {})
    assert (splits.source, splits.seed, splits.validation, splits.test) == ("photos", 0, 0.15, 0.15)
    assert [each.sha256 for each in splits.rows] == sorted(each.sha256 for each in BASE)
    assert splits.classes == ("cat", "dog")


def found(splits: Splits, sha256: str) -> tuple[str | None, str, str | None]:
    (row,) = (each for each in splits.rows if each.sha256 == sha256)
    return row.label, row.split, row.reason


def test_a_relabelled_image_stays_in_its_split():
    before = split(catalogue(BASE), PARAMS, {}, {})
    after = split(catalogue(BASE), PARAMS, {}, {CAT.sha256: "dog"})
    assert places(after) == places(before)
    assert found(after, CAT.sha256)[0] == "dog"


def test_an_excluded_image_is_left_out_with_the_persons_reason():
    splits = split(catalogue(BASE), PARAMS, {CAT.sha256: "blurred"}, {CAT.sha256: "dog"})
    assert found(splits, CAT.sha256)[1:] == ("left_out", "excluded: blurred")


def test_an_image_under_two_labels_is_left_out_until_a_person_decides():
    rows = [*BASE[1:], replace(BASE[0], label=None)]
    undecided = split(catalogue(rows), PARAMS, {}, {})
    assert found(undecided, BASE[0].sha256) == (None, "left_out", "label_conflict")
    decided = split(catalogue(rows), PARAMS, {}, {BASE[0].sha256: "dog"})
    assert found(decided, BASE[0].sha256) == ("dog", assign(BASE[0].sha256, PARAMS), None)


@pytest.mark.parametrize("name", USED)
def test_a_class_without_an_image_in_some_split_is_refused_by_name(name):
    rows = [each for each in BASE if each.label == "dog" or assign(each.sha256, PARAMS) != name]
    with pytest.raises(DatasetError) as caught:
        split(catalogue(rows), PARAMS, {}, {})
    assert caught.value.what == f"class cat has no image in {name}"


@pytest.mark.parametrize("labels", [[], ["cat"]])
def test_fewer_than_two_classes_are_refused(labels):
    with pytest.raises(DatasetError) as caught:
        split(catalogue([each for each in BASE if each.label in labels]), PARAMS, {}, {})
    assert f"not {len(labels)}" in caught.value.what


def test_corrections_of_images_that_are_gone_are_told():
    assert check_corrections(catalogue(BASE), [CAT.sha256, "f" * 64]) == ["f" * 64]
