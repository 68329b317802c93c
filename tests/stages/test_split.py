"""The stage refuses a dataset that is not what params.yaml and its catalogue say."""

import shutil
from pathlib import Path

import pytest
from catalogues import catalogue, image, one_in_each_split, table

from pipeline.data.catalogue import Catalogue, write_catalogue, write_quarantine
from pipeline.data.splits import Splits, read_splits
from pipeline.errors import DatasetError
from pipeline.params import Params
from pipeline.stages import split
from pipeline.workspace import Workspace

SIX = one_in_each_split()
GONE = "f" * 64
MORE = f"00/{'0' * 64}.png"


def lay_down(workspace: Workspace, made: Catalogue) -> None:
    """Write *made* as a dataset whose images are empty files: the stage opens none."""
    for row in made.rows:
        path = workspace.images / row.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(row.bytes))
    write_catalogue(workspace.catalogue, table(made.rows), made.source)
    write_quarantine(workspace.quarantine, [])
    workspace.corrections.mkdir(parents=True, exist_ok=True)
    (workspace.corrections / "exclude.csv").write_text("sha256,reason\n")
    (workspace.corrections / "relabel.csv").write_text("sha256,label,reason\n")


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    """A dataset of six images, and no correction."""
    made = Workspace(tmp_path)
    lay_down(made, catalogue(SIX))
    return made


@pytest.fixture
def of_photos(params) -> Params:
    return params.model_copy(update={"data": params.data.model_copy(update={"source": "photos"})})


def split_of(workspace: Workspace, params: Params) -> tuple[Splits, list[str]]:
    said: list[str] = []
    split.run(workspace, params, said.append)
    return read_splits(workspace.splits), said


def changed(params: Params, section: str, **values: object) -> Params:
    return params.model_copy(update={section: getattr(params, section).model_copy(update=values)})


def test_each_image_gets_its_split_and_the_numbers_are_told(workspace, of_photos):
    splits, said = split_of(workspace, of_photos)
    assert {row.sha256: row.split for row in splits.rows} == {
        row.sha256: row.columns["split"] for row in SIX
    }
    assert said == ["train 2, validation 2, test 2, left_out 0"]


def test_a_dataset_of_another_source_is_refused(workspace, of_photos):
    with pytest.raises(DatasetError) as caught:
        split_of(workspace, changed(of_photos, "data", source="other"))
    assert caught.value.what == "the dataset was taken from photos, but data.source is other"
    assert not workspace.splits.exists()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        pytest.param(
            lambda images: (images / MORE).parent.mkdir(exist_ok=True) or (images / MORE).touch(),
            "0 missing, 1 not named",
            id="one too many",
        ),
        pytest.param(
            lambda images: (images / SIX[0].file).unlink(), "1 missing, 0 not named", id="one gone"
        ),
        pytest.param(
            lambda images: (images / SIX[0].file).rename(
                images / SIX[0].file[:2] / Path(MORE).name
            ),
            "1 missing, 1 not named",
            id="one under another name",
        ),
        pytest.param(
            lambda images: (images / SIX[0].file).write_bytes(b"damaged"),
            "1 of another size",
            id="one damaged",
        ),
        pytest.param(
            lambda images: shutil.rmtree(images),
            "6 missing, 0 not named",
            id="all gone",
        ),
    ],
)
def test_images_that_are_not_those_of_the_catalogue_are_refused(workspace, of_photos, spoil, told):
    spoil(workspace.images)
    with pytest.raises(DatasetError) as caught:
        split_of(workspace, of_photos)
    assert told in caught.value.where[0]
    assert "darkroom ingest" in caught.value.mend
    assert not workspace.splits.exists()


@pytest.mark.parametrize("table", ["exclude.csv", "relabel.csv"])
def test_a_correction_of_an_image_that_is_gone_is_told_and_ignored(workspace, of_photos, table):
    before, _ = split_of(workspace, of_photos)
    cells = f"{GONE},dog,no cat" if table == "relabel.csv" else f"{GONE},blurred"
    with (workspace.corrections / table).open("a") as lines:
        lines.write(cells + "\n")
    after, said = split_of(workspace, of_photos)
    assert after == before
    assert said[0] == "correction of ffffffffffff... ignored: no such image in the dataset"


def test_a_persons_corrections_are_applied(workspace, of_photos):
    spare, wrong = image(100, split="train"), image(101, split="train")
    lay_down(workspace, catalogue([*SIX, spare, wrong]))
    with (workspace.corrections / "exclude.csv").open("a") as lines:
        lines.write(f"{spare.sha256},blurred\n")
    with (workspace.corrections / "relabel.csv").open("a") as lines:
        lines.write(f"{wrong.sha256},dog,no cat\n")
    splits, said = split_of(workspace, of_photos)
    rows = {row.sha256: row for row in splits.rows}
    assert (rows[spare.sha256].reason, rows[spare.sha256].detail) == ("excluded", "blurred")
    assert (rows[wrong.sha256].label, rows[wrong.sha256].split) == ("dog", "train")
    assert said == ["train 3, validation 2, test 2, left_out 1"]


def test_the_knobs_of_nearness_and_of_groups_are_obeyed(workspace, of_photos):
    test = image(100, phash=0b000, split="test")
    train = image(101, phash=0b111, split="train")
    lay_down(workspace, catalogue([*SIX, test, train]))
    for distance, count in ((3, 1), (2, 0)):
        near = changed(of_photos, "data", near_duplicate_distance=distance)
        assert len(split_of(workspace, near)[0].of("left_out")) == count
    grouped = changed(of_photos, "split", group_by="column:patient")
    with pytest.raises(DatasetError, match="patient"):
        split_of(workspace, grouped)


def test_renaming_a_photo_changes_nothing_that_later_stages_see(workspace, of_photos):
    split_of(workspace, of_photos)
    before = workspace.splits.read_bytes()
    renamed = [image(n, row.label, path=f"new/{n}.png", **row.columns) for n, row in enumerate(SIX)]
    lay_down(workspace, catalogue(renamed))
    split_of(workspace, of_photos)
    assert workspace.splits.read_bytes() == before
