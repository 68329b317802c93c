"""An image's split is its own, for ever, and no picture and no group is in two of them."""

from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest
from catalogues import catalogue, image, one_in_each_split
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from pipeline.data import split as split_module
from pipeline.data.catalogue import DISAGREE, CatalogueRow
from pipeline.data.corrections import Corrections
from pipeline.data.split import assign, refuse_leaks, split, unknown
from pipeline.data.splits import USED, SplitRow, Splits
from pipeline.errors import DatasetError
from pipeline.params import SplitParams

PARAMS = SplitParams(seed=0, validation=0.15, test=0.15, group_by="auto")
NONE = Corrections({}, {})
shares = st.floats(0.1, 0.45)
seeds = st.integers(-(2**40), 2**40)
params = st.builds(
    SplitParams, seed=seeds, validation=shares, test=shares, group_by=st.just("auto")
)

BASE = [image(number, "cat" if number % 2 else "dog") for number in range(600)]
"""So many that no seed leaves a class without an image in some split."""
CAT = next(each for each in BASE if each.label == "cat")
SIX = one_in_each_split()


def split_rows(
    rows: list[CatalogueRow],
    params: SplitParams = PARAMS,
    distance: int = 4,
    corrections: Corrections = NONE,
) -> Splits:
    return split(catalogue(rows), params, distance, corrections)


def places(splits: Splits) -> dict[str, str]:
    return {each.sha256: each.split for each in splits.rows}


def found(splits: Splits, sha256: str) -> tuple[str | None, str, str | None, str | None]:
    (row,) = (each for each in splits.rows if each.sha256 == sha256)
    return row.label, row.split, row.reason, row.detail


class Arrivals(RuleBasedStateMachine):
    """Images arrive, strange or near to another, alone or in a group; they leave, return, and are
    excluded. SIX are always there, so that no split is ever empty."""

    images = Bundle("images")

    @initialize(
        seed=seeds,
        distance=st.integers(0, 10),
        one=st.integers(0, 2**64 - 1),
        split_of=st.lists(st.sampled_from([None, *USED]), min_size=4, max_size=4),
    )
    def begin(self, seed, distance, one, split_of):
        self.params = SplitParams(seed=seed, validation=0.3, test=0.3, group_by="auto")
        self.distance = distance
        self.rows: list[CatalogueRow] = []
        self.gone: set[str] = set()
        self.excluded: dict[str, str] = {}
        self.was: dict[str, str] = {}
        self.fixed = dict(zip("abcd", split_of, strict=True))
        self._arrive(one, None, None)

    @rule(
        target=images,
        phash=st.none() | st.integers(0, 2**64 - 1),
        group=st.none() | st.sampled_from("abcd"),
    )
    def a_stranger_arrives(self, phash, group):
        return self._arrive(phash, group, None)

    @rule(
        target=images,
        other=images,
        flipped=st.lists(st.sets(st.integers(0, 63), max_size=6), min_size=1, max_size=4),
        group=st.none() | st.sampled_from("abcd"),
        fixed=st.none() | st.sampled_from(USED),
    )
    def near_ones_arrive(self, other, flipped, group, fixed):
        """Each near the one before: a chain whose ends may be far from one another."""
        row, arrived = self.rows[other], []
        for bits in flipped:
            phash = None if row.phash is None else int(row.phash, 16) ^ sum(1 << b for b in bits)
            arrived.append(self._arrive(phash, group, fixed))
            row = self.rows[arrived[-1]]
        return multiple(*arrived)

    @rule(which=images)
    def one_leaves_or_returns(self, which):
        self.gone ^= {self.rows[which].sha256}

    @rule(which=images)
    def one_is_excluded_or_let_in_again(self, which):
        sha256 = self.rows[which].sha256
        if self.excluded.pop(sha256, None) is None:
            self.excluded[sha256] = "blurred"

    @rule()
    def all_leave(self):
        self.gone = {row.sha256 for row in self.rows}

    @rule()
    def all_return(self):
        self.gone = set()

    def _arrive(self, phash, group, fixed):
        """A group's split is that of all of its images, fixed or not."""
        number = 1000 + len(self.rows)
        fixed = fixed if group is None else self.fixed[group]
        self.rows.append(image(number, phash=phash, group=group, split=fixed))
        return len(self.rows) - 1

    @invariant()
    def nothing_leaks_and_nothing_moves(self):
        rows = [row for row in self.rows if row.sha256 not in self.gone]
        corrections = Corrections(self.excluded, {})
        splits = split_rows(SIX + rows, self.params, self.distance, corrections)
        assert len(splits.rows) == len(SIX) + len(rows)
        self.known = {row.sha256: row for row in SIX + rows}
        self.place = {row.sha256: row for row in splits.rows}
        used = [row for row in splits.rows if row.split in USED]
        for a, b in combinations(used, 2):
            if a.split != b.split:
                assert not self._near(a.sha256, b.sha256)
                assert not self._in_one_group(a.sha256, b.sha256)
        for row in splits.rows:
            if row.split in USED:
                assert self.was.setdefault(row.sha256, row.split) == row.split == self._own(row)
                assert (row.reason, row.detail) == (None, None)
            else:
                self._check_reason(row)

    def _check_reason(self, row: SplitRow) -> None:
        assert row.split == "left_out"
        if row.sha256 in self.excluded:
            assert (row.reason, row.detail) == ("excluded", "blurred")
            return
        gives_way = {"near_test": ("train", "validation"), "near_val": ("train",)}
        assert self._own(row) in gives_way[row.reason]
        other = self.place[row.detail]
        assert other.split == ("test" if row.reason == "near_test" else "validation")
        assert self._near(row.sha256, other.sha256)

    def _own(self, row: SplitRow) -> str:
        columns = self.known[row.sha256].columns
        return columns["split"] or assign(columns.get("group") or row.sha256, self.params)

    def _near(self, one: str, other: str) -> bool:
        a, b = self.known[one].phash, self.known[other].phash
        if a is None or b is None:
            return False
        return (int(a, 16) ^ int(b, 16)).bit_count() <= self.distance

    def _in_one_group(self, one: str, other: str) -> bool:
        group = self.known[one].columns.get("group")
        return group is not None and group == self.known[other].columns.get("group")


Arrivals.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)


class TestNoLeakAndNoMoveWhateverComesOrGoes(Arrivals.TestCase):
    pass


@settings(max_examples=40, deadline=None)
@given(params, st.sets(st.integers(1000, 10**9), max_size=100), st.sampled_from(["cat", "new"]))
def test_adding_images_never_moves_an_old_one(params, numbers, label):
    before = places(split_rows(BASE, params))
    added = [image(number, "cat") for number in numbers]
    added += [image(-number, label) for number in range(1, 301)]
    after = places(split_rows(BASE + added, params))
    assert {sha256: after[sha256] for sha256 in before} == before


@settings(max_examples=40, deadline=None)
@given(params, st.sets(st.sampled_from(range(600)), max_size=100))
def test_removing_images_never_moves_one_that_stays(params, gone):
    before = places(split_rows(BASE, params))
    kept = [each for number, each in enumerate(BASE) if number not in gone]
    assert places(split_rows(kept, params)) == {each.sha256: before[each.sha256] for each in kept}


@pytest.mark.parametrize(("validation", "test"), [(0.15, 0.15), (0.1, 0.4), (0.45, 0.02)])
def test_over_100_seeds_the_shares_are_within_three_standard_deviations(validation, test):
    """Of 100 fair draws, three beyond three deviations come about once in 400 times; their mean
    has a tenth of the deviation of one."""
    images, draws = 2000, 100
    asked = {"validation": validation, "test": test}
    deviations = {name: [] for name in asked}
    for seed in range(draws):
        params = SplitParams(seed=seed, validation=validation, test=test, group_by="auto")
        counts = Counter(assign(f"image {number}", params) for number in range(images))
        for name, share in asked.items():
            one = (share * (1 - share) / images) ** 0.5
            deviations[name].append((counts[name] / images - share) / one)
    for each in deviations.values():
        assert sum(abs(deviation) > 3 for deviation in each) <= 2
        assert abs(sum(each) / draws) < 3 / draws**0.5


@settings(max_examples=40, deadline=None)
@given(params, shares, st.text())
def test_another_share_for_validation_moves_nothing_into_or_out_of_the_test(params, share, key):
    other = params.model_copy(update={"validation": share})
    assert (assign(key, params) == "test") == (assign(key, other) == "test")


@settings(max_examples=40, deadline=None)
@given(params, shares, st.text())
def test_a_larger_test_split_keeps_every_image_of_the_smaller_one(params, share, key):
    small, large = sorted((params.test, share))
    if assign(key, params.model_copy(update={"test": small})) == "test":
        assert assign(key, params.model_copy(update={"test": large})) == "test"


def test_the_same_image_has_the_same_split_on_every_machine():
    """Pinned: another hash would silently turn test images into training images."""
    assert {number: assign(image(number).sha256, PARAMS) for number in range(8, 14)} == {
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
    splits = split_rows(BASE)
    assert (splits.seed, splits.validation, splits.test) == (0, 0.15, 0.15)
    assert [each.sha256 for each in splits.rows] == sorted(each.sha256 for each in BASE)
    assert splits.classes == ("cat", "dog")


def test_the_images_of_a_group_go_where_its_name_says():
    rows = [image(number, group="patient 7") for number in range(100, 120)]
    splits = split_rows(SIX + rows)
    assert {places(splits)[row.sha256] for row in rows} == {assign("patient 7", PARAMS)}


@pytest.mark.parametrize(("number", "own"), [(9, "train"), (8, "validation"), (10, "test")])
@pytest.mark.parametrize("fixed", USED)
def test_a_list_that_names_an_images_split_is_obeyed(number, own, fixed):
    row = image(number, split=fixed, group="patient 7")
    assert assign(row.sha256, PARAMS) == own
    assert found(split_rows([*SIX, row]), row.sha256)[1:] == (fixed, None, None)
    free = replace(row, columns={"split": None, "group": None})
    assert found(split_rows([*SIX, free]), row.sha256)[1:] == (own, None, None)


def test_a_group_that_the_list_puts_into_two_splits_is_refused_with_both_pictures():
    rows = [
        image(100, path="a/1.png", group="patient 7", split="test"),
        image(101, path="b/2.png", group="patient 7", split="train"),
    ]
    with pytest.raises(DatasetError) as caught:
        split_rows(SIX + rows)
    (line,) = caught.value.where
    assert "a/1.png (test)" in line
    assert "b/2.png (train)" in line
    assert line.endswith(": both of group patient 7")


def test_an_image_that_the_list_leaves_free_does_not_follow_its_fixed_group():
    """To follow it would move what was there before the fixed one came."""
    own = assign("patient 7", PARAMS)
    other = next(name for name in USED if name != own)
    fixed, free = image(100, group="patient 7", split=other), image(101, group="patient 7")
    assert places(split_rows([*SIX, free]))[free.sha256] == own
    with pytest.raises(DatasetError) as caught:
        split_rows([*SIX, fixed, free])
    assert "both of group patient 7" in caught.value.where[0]


@pytest.mark.parametrize(
    ("giving_way", "kept", "reason"),
    [
        ("train", "test", "near_test"),
        ("validation", "test", "near_test"),
        ("train", "validation", "near_val"),
    ],
)
def test_of_a_near_pair_the_one_that_gives_way_is_left_out(giving_way, kept, reason):
    one, other = image(100, phash=0b0000, split=giving_way), image(101, phash=0b1111, split=kept)
    splits = split_rows([*SIX, one, other], distance=4)
    assert found(splits, one.sha256)[1:] == ("left_out", reason, other.sha256)
    assert found(splits, other.sha256)[1:] == (kept, None, None)
    apart = split_rows([*SIX, one, other], distance=3)
    assert found(apart, one.sha256)[1:] == (giving_way, None, None)


def test_near_images_within_a_split_all_stay():
    rows = [image(100 + n, phash=0, split=name) for n, name in enumerate(("train", "train"))]
    splits = split_rows(SIX + rows)
    assert [places(splits)[row.sha256] for row in rows] == ["train", "train"]


def test_what_is_left_out_itself_pushes_nothing_out():
    """Test ~ validation ~ train, the ends far from one another; and an excluded test image."""
    test = image(100, phash=0b00000000, split="test")
    validation = image(101, phash=0b00001111, split="validation")
    train = image(102, phash=0b11111111, split="train")
    splits = split_rows([*SIX, test, validation, train])
    assert found(splits, validation.sha256)[2] == "near_test"
    assert found(splits, train.sha256)[1:] == ("train", None, None)
    without = split_rows([*SIX, test, validation, train], corrections=excluding(test))
    assert found(without, validation.sha256)[1:] == ("validation", None, None)
    assert found(without, train.sha256)[1:] == ("left_out", "near_val", validation.sha256)


def excluding(*rows: CatalogueRow) -> Corrections:
    return Corrections({row.sha256: "blurred" for row in rows}, {})


def relabelling(row: CatalogueRow, label: str) -> Corrections:
    return Corrections({}, {row.sha256: label})


@pytest.mark.parametrize("column", ["group", "split"])
def test_an_image_whose_copies_disagree_is_left_out(column):
    row = image(100, **{column: DISAGREE})
    assert found(split_rows([*SIX, row]), row.sha256)[1:] == (
        "left_out",
        "copies_disagree",
        f"about its {column}",
    )


def test_copies_whose_paths_name_two_groups_are_left_out():
    row = image(100, path="cat/p7.png", copies=("cat/p8.png",))
    params = PARAMS.model_copy(update={"group_by": r"path:p(\d+)"})
    assert found(split_rows([*SIX, row], params), row.sha256)[2] == "copies_disagree"


LEAKY = [image(100 + number, phash=number, path=f"{name}.png") for number, name in enumerate(USED)]


def leaking(*where: str) -> Splits:
    """Return LEAKY, three pictures that are near one another, in the splits *where*."""
    rows = [
        SplitRow(row.sha256, row.file, row.label, row.width, row.height, name, None, None)
        for row, name in zip(LEAKY, where, strict=False)
    ]
    return Splits(tuple(rows), 0, 0.15, 0.15)


def refuse(splits: Splits, groups: list[str] | None = None, distance: int = 4) -> None:
    alone = [row.sha256 for row in LEAKY]
    refuse_leaks(
        splits,
        dict(zip(alone, groups or alone, strict=True)),
        {row.sha256: int(row.phash, 16) for row in LEAKY},
        distance,
        {row.sha256: row.path for row in LEAKY},
    )


@pytest.mark.parametrize(("one", "other"), [*combinations(USED, 2), ("test", "train")])
def test_the_gate_names_both_pictures_of_a_near_pair(one, other):
    with pytest.raises(DatasetError) as caught:
        refuse(leaking(one, other))
    assert caught.value.what.startswith("1 ")
    (line,) = caught.value.where
    assert f"train.png ({one})" in line
    assert f"validation.png ({other})" in line
    assert line.endswith(": near-duplicates")
    assert "data/corrections/exclude.csv" in caught.value.mend


@pytest.mark.parametrize(("one", "other"), list(combinations(USED, 2)))
def test_the_gate_names_both_pictures_of_a_divided_group(one, other):
    with pytest.raises(DatasetError) as caught:
        refuse(leaking(one, other, "left_out"), ["p", "p", "p"], distance=0)
    assert caught.value.where == (
        f"train.png ({one}) and validation.png ({other}): both of group p",
    )


@pytest.mark.parametrize("where", [("train", "train", "train"), ("test", "left_out", "left_out")])
def test_the_gate_lets_near_ones_and_groups_pass_within_one_split(where):
    refuse(leaking(*where), ["p", "p", "p"])


def test_the_gate_counts_all_leaks_and_shows_three():
    """Two near pairs of test, one of validation, and a group."""
    with pytest.raises(DatasetError) as caught:
        refuse(leaking(*USED), ["p", "p", "p"])
    assert caught.value.what.startswith("4 ")
    assert len(caught.value.where) == 3


def test_where_the_leaving_out_is_broken_the_gate_stops_the_split(monkeypatch):
    monkeypatch.setattr(split_module, "_leave_out", lambda rows, *_: rows)
    rows = [image(100, phash=0, split="train"), image(101, phash=1, split="test")]
    with pytest.raises(DatasetError, match="another split"):
        split_rows(SIX + rows)


def test_where_the_assigning_is_broken_the_gate_stops_the_split(monkeypatch):
    turns = iter(USED * 9)
    monkeypatch.setattr(split_module, "assign", lambda key, params: next(turns))
    with pytest.raises(DatasetError, match="another split"):
        split_rows([*SIX, image(100, group="p"), image(101, group="p")])


def test_a_relabelled_image_stays_in_its_split():
    before = split_rows(BASE)
    after = split_rows(BASE, corrections=relabelling(CAT, "dog"))
    assert places(after) == places(before)
    assert found(after, CAT.sha256)[0] == "dog"


def test_an_excluded_image_is_left_out_with_the_persons_reason():
    both = Corrections({CAT.sha256: "blurred"}, {CAT.sha256: "dog"})
    assert found(split_rows(BASE, corrections=both), CAT.sha256)[1:] == (
        "left_out",
        "excluded",
        "blurred",
    )


def test_an_image_under_two_labels_is_left_out_until_a_person_decides():
    rows = [*BASE[1:], replace(BASE[0], label=None)]
    sha256 = BASE[0].sha256
    assert found(split_rows(rows), sha256) == (None, "left_out", "label_conflict", None)
    decided = split_rows(rows, corrections=relabelling(BASE[0], "dog"))
    assert found(decided, sha256) == ("dog", assign(sha256, PARAMS), None, None)


@pytest.mark.parametrize("name", USED)
def test_a_class_without_an_image_in_some_split_is_refused_by_name(name):
    rows = [each for each in BASE if each.label == "dog" or assign(each.sha256, PARAMS) != name]
    with pytest.raises(DatasetError) as caught:
        split_rows(rows)
    assert caught.value.what == f"class cat has no image in {name}"
    assert "split.seed" in caught.value.mend


@pytest.mark.parametrize("name", ["train", "validation"])
def test_a_class_whose_images_of_a_split_are_all_near_ones_of_the_test_is_refused_by_name(name):
    alike = {("cat", name), ("cat", "test")}
    rows = [
        replace(row, phash="0" * 16) if (row.label, row.columns["split"]) in alike else row
        for row in SIX
    ]
    with pytest.raises(DatasetError) as caught:
        split_rows(rows)
    assert caught.value.what == f"class cat has no image in {name}"
    assert caught.value.where[0] == "of class cat are left out: 1 near_test"
    assert "column split" in caught.value.mend


def test_a_class_whose_test_images_are_all_excluded_is_refused_by_name():
    cat = next(row for row in SIX if (row.label, row.columns["split"]) == ("cat", "test"))
    with pytest.raises(DatasetError) as caught:
        split_rows(SIX, corrections=excluding(cat))
    assert caught.value.what == "class cat has no image in test"


@pytest.mark.parametrize("labels", [[], ["cat"]])
def test_fewer_than_two_classes_are_refused(labels):
    with pytest.raises(DatasetError) as caught:
        split_rows([each for each in BASE if each.label in labels])
    assert f"not {len(labels)}" in caught.value.what


def test_corrections_of_images_that_are_gone_are_told():
    assert unknown(catalogue(BASE), [CAT.sha256, "f" * 64]) == ["f" * 64]
