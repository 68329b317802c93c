"""What others see of the predictions: one table, by pyarrow or pandas, from its top folder."""

from pathlib import Path

import pyarrow.dataset as ds
import pytest

from pipeline.inference.predictions import read_known, table_of, write_part
from pipeline.inference.rows import PredictionRow


def row(path: str, label: str | None) -> PredictionRow:
    return PredictionRow(
        path=path,
        row=None,
        sha256=f"sha256 of {path}" if label else None,
        bytes=100,
        modified_ns=1_767_323_045_123_456_789,
        label=label,
        confidence=0.75 if label else None,
        probabilities={"cat": 0.75, "dog": 0.25} if label else None,
        reason=None if label else "empty",
        detail=None if label else "the file has no bytes",
        abstain_reason="ambiguous" if label else None,
        conformal_set=("cat", "dog") if label else None,
        ood_score=0.25 if label else None,
        width=32 if label else None,
        height=24 if label else None,
        brightness=0.5 if label else None,
        sharpness=100.0 if label else None,
        metadata={"camera": "north"},
        model_name="pets",
        model_version=1,
        serving_digest="d" * 64,
        variant="fp32",
        predicted_at="2026-01-02T03:04:05+00:00",
    )


@pytest.fixture
def predictions(place) -> Path:
    """Two batches by version 1, one by version 12; one row of each is a refused file."""
    for version, names in ((1, ("monday", "tuesday")), (12, ("wednesday",))):
        place.model = type(place.model)("pets", version, "d" * 64, place.model.classifier)
        for name in names:
            place.put(f"{name}/good.png", 255)
            place.put(f"{name}/bad.png", b"")
        place.classify()
    return place.predictions


def test_pyarrow_reads_all_of_it_as_one_table_with_its_partitions(predictions):
    table = ds.dataset(predictions, partitioning="hive").to_table()
    assert len(table) == 6
    seen = {(r["model"], r["version"], r["batch"].split("-")[0]) for r in table.to_pylist()}
    assert seen == {("pets", 1, "monday"), ("pets", 1, "tuesday"), ("pets", 12, "wednesday")}
    assert all(r["version"] == r["model_version"] for r in table.to_pylist())


def test_pyarrow_opens_only_the_partitions_that_are_asked_for(predictions):
    dataset = ds.dataset(predictions, partitioning="hive")
    asked = ds.field("version") == 12
    assert len(list(dataset.get_fragments(asked))) == 1
    assert set(dataset.to_table(filter=asked)["path"].to_pylist()) == {
        "inbox/wednesday/good.png",
        "inbox/wednesday/bad.png",
    }


def test_pandas_reads_all_of_it_as_one_frame(predictions):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(predictions)
    assert len(frame) == 6
    assert frame.groupby("version", observed=True).size().to_dict() == {1: 4, 12: 2}
    good = frame[frame["reason"].isna()]
    assert set(good["label"]) == {"light"}
    for probabilities, confidence in zip(good["probabilities"], good["confidence"], strict=True):
        assert dict(probabilities)["light"] == confidence
        assert sum(dict(probabilities).values()) == pytest.approx(1)


def test_every_value_comes_back_as_it_was_written(tmp_path):
    rows = [row("a.png", "cat"), row("b.png", None)]
    write_part(tmp_path / "part-00000.parquet", table_of(rows))
    back = ds.dataset(tmp_path).to_table().to_pylist()
    back[0]["probabilities"] = dict(back[0]["probabilities"])
    back[0]["conformal_set"] = tuple(back[0]["conformal_set"])
    for each in back:
        each["metadata"] = dict(each["metadata"])
    assert [PredictionRow(**values) for values in back] == rows


def test_a_part_of_refused_files_alone_has_the_same_columns(tmp_path):
    """Else the column that is always empty would have no type, and the whole no schema."""
    write_part(tmp_path / "refused.parquet", table_of([row("b.png", None)]))
    write_part(tmp_path / "good.parquet", table_of([row("a.png", "cat")]))
    refused, good = (ds.dataset(tmp_path / f"{n}.parquet").schema for n in ("refused", "good"))
    assert refused.equals(good)


def test_all_versions_of_a_model_share_what_is_known_and_other_models_know_nothing(predictions):
    known = read_known(predictions, "pets")
    assert {path for path, _ in known.contents} == {
        f"inbox/{day}/{name}.png"
        for day in ("monday", "tuesday", "wednesday")
        for name in ("good", "bad")
    }
    assert read_known(predictions, "pet").contents == frozenset()
    assert read_known(predictions / "missing", "pets").states == frozenset()
