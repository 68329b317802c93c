"""Uses of a test set: none is forgotten, and the same look is one."""

from dataclasses import replace

import catalogues
import pytest

from pipeline.data.catalogue import Catalogue
from pipeline.data.split import assign
from pipeline.data.splits import SplitRow, Splits
from pipeline.tracking import uses
from pipeline.tracking.registry import Version
from pipeline.tracking.store import Store

SPLITS = Splits((), seed=0, validation=0.15, test=0.15)
HASHED = Catalogue("photos", (catalogues.image("cat-1", "cat"),))


def version(use: int | None, validation: float = 0.15, seed: int = 0) -> Version:
    """One of an older Darkroom, or of a newer; *use* None: none of ours."""
    tags = {"darkroom.split": f"seed {seed}, validation {validation}, test 0.15"}
    return Version("name", use or 0, "", tags | {"test_use": str(use)} if use else {})


def test_uses_are_numbered_in_their_order_and_a_repeat_keeps_its_number(client, name):
    numbers = [uses.count(client, name, ("seed-0",), look, 0) for look in ("a", "b", "a", "c", "b")]
    assert numbers == [1, 2, 1, 3, 2]
    assert uses.count(client, name, ("seed-1",), "c", 0) == 1


def test_versions_of_an_older_darkroom_are_counted_and_a_repeat_keeps_its_number(client, name):
    known = [version(1), version(3), version(None)]
    assert uses.of_versions(known, SPLITS) == 3, "the second was deleted"
    numbers = [
        uses.count(client, name, ("seed-0",), look, uses.of_versions(known, SPLITS))
        for look in "aab"
    ]
    assert numbers == [4, 4, 5]


def test_an_older_count_that_began_anew_for_another_validation_share_is_made_good():
    known = [version(1), version(2), version(1, 0.16), version(2, 0.16), version(7, seed=1)]
    assert uses.of_versions(known, SPLITS) == 4


def test_only_a_seed_chooses_other_test_images(params):
    """Shares make the set smaller or larger, within itself."""

    def tested(**changes: float) -> set[str]:
        of = params.split.model_copy(update={"seed": 0, "validation": 0.1, "test": 0.1} | changes)
        return {key for key in map(str, range(500)) if assign(key, of) == "test"}

    assert tested() == tested(validation=0.2) < tested(test=0.2)
    assert len(tested() & tested(seed=1)) < len(tested()) / 2
    assert uses.chosen_by(SPLITS, HASHED) == ("seed-0",)
    assert uses.chosen_by(replace(SPLITS, validation=0.2, test=0.2), HASHED) == ("seed-0",)
    assert uses.chosen_by(replace(SPLITS, seed=1), HASHED) == ("seed-1",)


def test_no_seed_starts_anew_where_a_list_fixes_the_test_images():
    fixed = replace(catalogues.image("cat-2", "cat"), columns={"split": "test"})
    listed = Catalogue("list.csv", (*HASHED.rows, fixed))
    assert {uses.chosen_by(replace(SPLITS, seed=seed), listed) for seed in (0, 1)} == {("list",)}


def test_a_list_that_fixes_one_test_image_leaves_the_others_to_the_seed():
    fixed = replace(catalogues.image("cat-2", "cat"), columns={"split": "test"})
    listed = Catalogue("list.csv", (*HASHED.rows, fixed))
    tested = [
        SplitRow(row.sha256, row.file, "cat", 8, 8, "test", None, None) for row in listed.rows
    ]
    both = replace(SPLITS, rows=tuple(tested))
    assert uses.chosen_by(both, listed) == ("list", "seed-0")
    assert uses.chosen_by(replace(both, rows=tuple(tested[1:])), listed) == ("list",)


def test_a_list_begins_no_new_count_of_images_that_a_seed_had_chosen_and_none_after_it(
    client, name
):
    def look(name_of: str, *chosen_by: str) -> int:
        return uses.count(client, name, chosen_by, name_of, 0)

    assert [look("a", "seed-0"), look("b", "seed-0")] == [1, 2]
    assert look("c", "list", "seed-0") == 3, "one row of the list fixes its split"
    assert look("c", "list", "seed-0") == 3
    assert look("d", "list") == 4, "the same images, all written down"
    assert look("e", "seed-0") == 5, "the list was taken away"
    assert look("f", "list", "seed-1") == 6


@pytest.mark.parametrize(
    ("champion", "metric"), [("c" * 64, "accuracy"), ("d" * 64, "accuracy"), ("c" * 64, "macro_f1")]
)
def test_another_champion_or_metric_is_another_look(champion, metric):
    first = uses.look("a" * 64, Version("name", 1, "c" * 64, {}), "accuracy")
    again = uses.look("a" * 64, Version("name", 2, champion, {}), metric)
    assert (again == first) == ((champion, metric) == ("c" * 64, "accuracy"))
    assert uses.look("a" * 64, None, "accuracy") not in (first, again)


def test_the_tag_stays_short_and_forgets_no_number(client, name):
    looks = [
        uses.look(f"{number:064}"[::-1], Version("name", 1, "c" * 64, {}), "worst_class_recall")
        for number in range(120)
    ]
    numbers = [uses.count(client, name, ("seed-0",), look, 0) for look in looks]
    assert numbers == list(range(1, 121))
    assert uses.count(client, name, ("seed-0",), looks[-1], 0) == 120
    assert uses.count(client, name, ("seed-0",), looks[0], 0) == 121, "its name was forgotten"
    (written,) = client.get_registered_model(name).tags.values()
    assert len(written) <= 5000, "what a store's column holds"


def test_a_tag_that_a_person_spoilt_loses_nothing_that_versions_tell(client: Store, name):
    uses.count(client, name, ("seed-0",), "a", 0)
    client.set_registered_model_tag(name, "darkroom.test_uses.seed-0", "")
    assert uses.count(client, name, ("seed-0",), "b", 1) == 2
