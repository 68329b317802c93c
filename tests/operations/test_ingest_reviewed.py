"""What a person has reviewed is trained on, and never measured on; the source's word goes first.

DVC is a stand-in here, so that a world is a few files in one folder.
"""

import hashlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import reviews
from brightness import png
from worlds import ROOT

from pipeline.data.catalogue import CatalogueRow, read_catalogue, read_quarantine
from pipeline.data.sources import Source
from pipeline.data.splits import read_splits
from pipeline.data.supplement import open_supplement
from pipeline.errors import SourceError
from pipeline.operations import apply_review
from pipeline.operations import ingest as operation
from pipeline.operations.ingest import Ingested
from pipeline.params import Params
from pipeline.stages.split import run as split_stage
from pipeline.workspace import Home, Workspace

NEW = {"a.png": 3, "b.png": 250, "c.png": 100, "d.png": 12}
"""In the inbox; the third is in the source as well."""
LABELS = {"a.png": "dark", "b.png": "dark", "c.png": "light", "d.png": "owl"}


@dataclass
class Project:
    root: Path
    params: Params

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)

    @property
    def home(self) -> Home:
        return Home(self.root)

    def ingest(self, **options: bool) -> Ingested:
        return operation.run(self.workspace, self.home, self.params, lambda line: None, **options)

    def set(self, section: str, **values: Any) -> None:
        update = getattr(self.params, section).model_copy(update=values)
        self.params = self.params.model_copy(update={section: update})

    def split(self) -> dict[str, str]:
        """Return sha256 → split."""
        split_stage(self.workspace, self.params, lambda line: None)
        return {row.sha256: row.split for row in read_splits(self.workspace.splits).rows}

    def review(self, labels: dict[str, str]) -> None:
        decisions = reviews.decisions_on(reviews.batch_of(self.home), labels, 0)
        file = reviews.write(self.root / "decisions.json", decisions)
        apply_review.run(self.home, self.params, file, lambda line: None)

    def rows(self) -> dict[str, CatalogueRow]:
        return {row.path: row for row in read_catalogue(self.workspace.catalogue).rows}

    def reviewed(self) -> dict[str, CatalogueRow]:
        """Those of the catalogue, by what the inbox called them."""
        batch = reviews.batch_of(self.home)
        names = {row["sha256"]: Path(row["path"]).name for row in batch.rows}
        rows = self.rows().items()
        return {names[row.sha256]: row for path, row in rows if path.startswith("data/reviewed/")}

    def refused(self) -> dict[str, str]:
        return {each.reason: each.detail for each in read_quarantine(self.workspace.quarantine)}


def version_of(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.md5(
        b"".join(hashlib.md5(path.read_bytes()).digest() for path in files)
    ).hexdigest()


@pytest.fixture
def project(tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A hundred dark images and as many light ones, written long ago, taken in; a batch."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10 * 10**9)

    def dvc(workspace: Workspace, *arguments: str) -> None:
        text = f"outs:\n- md5: {version_of(workspace.dataset)}.dir\n  path: dataset\n"
        workspace.dataset_dvc.write_text(text)

    monkeypatch.setattr(operation, "dvc", dvc)
    monkeypatch.setattr(operation, "link_to_cache", lambda workspace: None)
    made = Project(tmp_path / "project", params)
    shutil.copytree(ROOT / "data/corrections", made.root / "data/corrections")
    for grey in (*range(20, 124), *range(132, 236)):
        path = made.root / f"source/{'dark' if grey < 128 else 'light'}/{grey:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(grey))
    made.set("data", source="source")
    made.set("registry", model_name="digits")
    made.ingest()
    reviews.publish(made.root, NEW)
    return made


def test_without_a_review_the_catalogue_has_no_column_of_one(project):
    assert all(row.columns == {} for row in project.rows().values())


def test_reviewed_images_are_trained_on_with_their_provenance(project):
    before = project.ingest().version
    project.review(LABELS)
    done = project.ingest()
    assert done.version != before
    found = project.reviewed()
    assert {name: row.label for name, row in found.items()} == {"a.png": "dark", "b.png": "dark"}
    said = found["b.png"].columns
    assert said["split"] == "train"
    assert said["reviewed_batch"] == reviews.batch_of(project.home).name
    assert (said["reviewed_model"], said["reviewed_because"]) == ("digits/1", "least_certain")
    assert (said["reviewed_predicted"], said["reviewed_at"][:10]) == ("light", "2026-01-03")
    placed = project.split()
    assert {placed[row.sha256] for row in found.values()} == {"train"}


def test_other_images_stay_in_their_splits(project):
    before = project.split()
    project.review(LABELS)
    project.ingest()
    assert before.items() <= project.split().items()


def test_an_image_of_the_source_stays_what_it_is_there_and_is_named(project):
    project.review(LABELS)
    project.ingest()
    row = project.rows()["dark/100.png"]
    assert (row.label, row.copies, row.columns["split"]) == ("dark", (), None)
    assert project.refused()["in_source"].startswith("same content as dark/100.png, of class dark")


def test_an_image_of_a_class_that_the_source_lacks_waits_and_is_named(project):
    project.review(LABELS)
    project.ingest()
    assert project.refused()["new_class"] == "the source has no image of class owl"
    for grey in range(236, 246):
        (project.root / "source/owl").mkdir(exist_ok=True)
        (project.root / f"source/owl/{grey}.png").write_bytes(png(grey))
    project.ingest()
    assert project.reviewed()["d.png"].label == "owl"


def test_an_image_that_the_source_loses_is_a_reviewed_one_from_then_on(project):
    project.review(LABELS)
    project.ingest()
    (project.root / "source/dark/100.png").unlink()
    project.ingest()
    assert project.reviewed()["c.png"].label == "light"


def test_nothing_new_reads_nothing_and_keeps_the_version(project):
    project.review(LABELS)
    first = project.ingest()
    second = project.ingest()
    assert (second.version, second.read) == (first.version, 0)
    assert project.ingest(rescan=True).version == first.version


def test_one_more_decision_reads_that_image_alone(project):
    project.review({"a.png": "dark"})
    project.ingest()
    project.review({"b.png": "light"})
    assert project.ingest().read == 1


def test_decisions_on_another_models_batch_are_left_alone(project):
    before = project.ingest().version
    project.review(LABELS)
    project.set("registry", model_name="other")
    assert project.ingest().version == before


def test_without_data_reviewed_the_dataset_is_as_before(project):
    before = project.ingest().version
    project.review(LABELS)
    project.ingest()
    shutil.rmtree(project.home.reviewed)
    assert project.ingest().version == before


def test_a_copy_that_was_removed_by_hand_is_named(project):
    project.review(LABELS)
    for path in project.home.reviewed.glob("dark/*"):
        path.unlink()
    project.ingest()
    assert "gone" in project.refused()
    assert project.reviewed() == {}


def test_a_copy_that_is_not_what_was_decided_on_is_named(project):
    """Damaged, or drawn over: the label is of another picture."""
    project.review({"a.png": "dark", "b.png": "dark"})
    sha256 = hashlib.sha256(png(3)).hexdigest()
    (project.home.reviewed / f"dark/{sha256[:16]}.png").write_bytes(png(129))
    project.ingest()
    assert set(project.reviewed()) == {"b.png"}
    assert project.refused()["changed"] == "its content is not what was decided on"


def test_a_file_that_no_decision_names_is_not_taken(project):
    project.review({"a.png": "dark"})
    (project.home.reviewed / "dark/mine.png").write_bytes(png(1))
    project.ingest()
    assert set(project.reviewed()) == {"a.png"}


def test_a_source_around_data_reviewed_is_a_named_error(project):
    project.review({"a.png": "dark"})
    source = Source("data", project.root / "data")
    with pytest.raises(SourceError, match="data/reviewed lies in the source"):
        open_supplement(project.home.reviewed, "digits", source)
