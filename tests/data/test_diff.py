"""What changed between two versions: by content and class, not by path."""

from catalogues import image
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.catalogue import CatalogueRow
from pipeline.data.diff import NO_CLASS, Diff, Version, by_class, diff
from pipeline.data.diff_page import render


def version(*rows: CatalogueRow, name: str = "then") -> Version:
    by_sha = {row.sha256: row for row in rows}
    return Version(name, "abc.dir", by_sha, {sha: row.label for sha, row in by_sha.items()})


def paths(found: Diff) -> tuple[list[str], ...]:
    kinds = (found.added, found.removed, found.relabelled)
    return tuple([change.row.path for change in kind] for kind in kinds)


def test_images_come_go_and_change_their_class():
    before = version(image(1, "cat"), image(2, "cat"), image(3, "dog"))
    after = version(image(2, "dog", path="dog/2.png"), image(3, "dog"), image(4, "owl"))
    found = diff(before, after)
    assert paths(found) == (["owl/4.png"], ["cat/1.png"], ["dog/2.png"])
    assert (found.relabelled[0].before, found.relabelled[0].after) == ("cat", "dog")


def test_a_renamed_image_has_not_changed():
    found = diff(version(image(1, path="cat/a.png")), version(image(1, path="cat/b.png")))
    assert found.is_empty


def test_an_image_that_two_classes_claim_now_was_relabelled():
    found = diff(version(image(1, "cat")), version(image(1, None)))
    assert [(c.before, c.after) for c in found.relabelled] == [("cat", None)]
    assert {line.label for line in by_class(found)} == {"cat", NO_CLASS}


labels = st.sampled_from(["cat", "dog", "owl", None])
versions = st.dictionaries(st.integers(0, 20), labels).map(
    lambda content: version(*(image(number, label) for number, label in content.items()))
)


@given(versions, versions)
def test_the_counts_of_each_class_add_up(before, after):
    for line in by_class(diff(before, after)):
        came_and_went = line.added - line.removed + line.gained - line.lost
        assert line.after == line.before + came_and_went


@given(versions)
def test_nothing_changed_between_a_version_and_itself(same):
    assert diff(same, same).is_empty


def test_a_hostile_name_is_text_on_the_page(tmp_path):
    name = "<script>alert(1)</script>"
    found = diff(version(), version(image(1, name), name=name))
    page = render(found, tmp_path, tmp_path, {})
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_very_many_changes_make_a_page_of_some(tmp_path):
    found = diff(version(), version(*(image(number) for number in range(1000))))
    page = render(found, tmp_path, tmp_path, {})
    assert page.count("<figure>") == 200
    assert ">1,000<" in page
