"""What is asked of predictions/: each row counted once, the doubtful first, nothing else read."""

import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from predicted import NAME, answered, publish, refused

from pipeline.errors import CommandError, ReviewError, StorageError
from pipeline.inference import queries
from pipeline.inference.outputs import write_rows
from pipeline.inference.queries import (
    Count,
    Selection,
    all_rows,
    choosing,
    count,
    least_confident,
)

ALL = Selection()


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    return tmp_path / "predictions"


def counts(predictions: Path, which: Selection = ALL) -> dict[str, list[Count]]:
    with choosing(predictions, NAME, which) as chosen:
        return count(chosen)


def paths(predictions: Path, **which) -> list[str]:
    with choosing(predictions, NAME, Selection(**which)) as chosen:
        return sorted(row.path for row in all_rows(chosen))


def surest_last(predictions: Path, most: int = 10) -> list[str]:
    with choosing(predictions, NAME, ALL) as chosen:
        return [row.path for row in least_confident(chosen, most)]


def test_each_row_is_counted_once_as_answered_abstained_or_refused(predictions):
    publish(
        predictions,
        "a-1",
        answered("a"),
        answered("b", "dog", abstain_reason="ambiguous"),
        refused("c", "damaged"),
        refused("d", "damaged"),
        refused("e", "empty"),
    )
    assert counts(predictions) == {
        "version": [Count("1", 1, 1, 3)],
        "day": [Count("2026-03-01", 1, 1, 3)],
        "class": [Count("cat", 1, 0, 0), Count("dog", 0, 1, 0)],
        "reason": [Count("damaged", 0, 0, 2), Count("ambiguous", 0, 1, 0), Count("empty", 0, 0, 1)],
    }


def test_versions_and_days_come_newest_first_and_classes_the_most_first(predictions):
    publish(predictions, "a-1", answered("a", "dog"), version=2, day="2026-03-09")
    publish(predictions, "b-1", answered("b", "dog"), version=10, day="2026-03-10")
    publish(predictions, "c-1", answered("c", "ant"), version=1, day="2025-12-31")
    found = counts(predictions)
    assert [row.key for row in found["version"]] == ["10", "2", "1"]
    assert [row.key for row in found["day"]] == ["2026-03-10", "2026-03-09", "2025-12-31"]
    assert [row.key for row in found["class"]] == ["dog", "ant"]


def test_the_least_confident_come_first_and_refused_files_not_at_all(predictions):
    publish(
        predictions,
        "a-1",
        answered("sure", confidence=0.9),
        refused("none"),
        answered("doubtful", confidence=0.5),
        answered("no number", confidence=float("nan")),
    )
    publish(predictions, "b-1", answered("most doubtful", confidence=0.3), version=2)
    assert surest_last(predictions) == ["no number", "most doubtful", "doubtful", "sure"]
    assert surest_last(predictions, most=2) == ["no number", "most doubtful"]


def test_rows_are_chosen_by_class_version_and_day(predictions):
    publish(predictions, "a-1", answered("a"), answered("b", "dog"), refused("c"))
    publish(predictions, "b-1", answered("d"), version=2, day="2026-03-02")
    assert paths(predictions) == ["a", "b", "c", "d"]
    assert paths(predictions, label="cat") == ["a", "d"]
    assert paths(predictions, version=1) == ["a", "b", "c"]
    assert paths(predictions, since=date(2026, 3, 2)) == ["d"]
    assert paths(predictions, label="cat", version=1, since=date(2026, 3, 1)) == ["a"]
    with pytest.raises(CommandError, match="no prediction has the class cow"):
        counts(predictions, Selection(label="cow"))


def test_what_a_user_says_is_never_part_of_the_question(predictions):
    label = "x' OR 1=1; DROP VIEW published; --"
    publish(predictions, "a-1", answered("a"), answered("b", label))
    assert paths(predictions, label=label) == ["b"]


def test_of_the_answers_on_a_file_the_last_one_is_the_latest(predictions):
    """`again` was answered by two versions, `changed` twice by one, `back` by an older one last."""
    publish(predictions, "a-1", answered("again"), answered("changed"), answered("once"))
    publish(predictions, "b-1", answered("changed", "dog"), day="2026-03-02")
    publish(predictions, "a-1", answered("again", "dog"), refused("back"), version=2)
    publish(predictions, "c-1", answered("back"), day="2026-03-03")
    with choosing(predictions, NAME, Selection(latest=True)) as chosen:
        rows = {row.path: (row.label, row.model_version) for row in all_rows(chosen)}
        assert sum(row.answered for row in count(chosen)["version"]) == len(rows)
    assert rows == {
        "again": ("dog", 2),
        "changed": ("dog", 1),
        "once": ("cat", 1),
        "back": ("cat", 1),
    }


def test_the_latest_is_settled_before_class_and_version_choose(predictions):
    """Else a file that was once taken for a cat would be among the cats of today."""
    publish(predictions, "a-1", answered("was", "cat"), answered("is", "cat"))
    publish(predictions, "a-1", answered("was", "dog"), version=2, day="2026-03-02")
    assert paths(predictions, latest=True, label="cat") == ["is"]
    assert paths(predictions, latest=True, version=1) == ["is"]
    assert paths(predictions, latest=True, since=date(2026, 3, 2)) == ["was"]


def test_two_answers_of_one_second_are_not_both_the_latest(predictions):
    publish(predictions, "a-1", refused("a"))
    publish(predictions, "b-1", answered("a"))
    assert len(paths(predictions, latest=True)) == 1


def test_every_value_comes_back_as_it_was_published(predictions):
    rows = [
        answered("a", metadata={"camera": "north", "day": ""}, conformal_set=()),
        refused("b", metadata={}),
    ]
    publish(predictions, "a-1", *rows)
    with choosing(predictions, NAME, ALL) as chosen:
        back = {row.path: vars(row) for row in all_rows(chosen)}
    for row in rows:
        values = vars(row) | {"conformal_set": row.conformal_set and list(row.conformal_set)}
        values |= {"conformal_set": []} if row.conformal_set == () else {}
        assert back[row.path] == values


def test_a_part_of_an_older_darkroom_lacks_a_column_and_is_counted(predictions):
    import pyarrow.parquet as pq

    part = publish(predictions, "a-1", answered("old"))
    pq.write_table(pq.ParquetFile(part).read().drop_columns(["sharpness"]), part)
    publish(predictions, "b-1", answered("new"))
    assert paths(predictions) == ["new", "old"]


def test_what_is_staged_or_another_models_is_not_seen(predictions):
    part = publish(predictions, "a-1", answered("a"))
    for folder in ("model=digits/.staging/x-y", "model=digit/version=1/batch=a-1"):
        (predictions / folder).mkdir(parents=True)
        shutil.copy(part, predictions / folder)
    (predictions / "model=digits/version=3/batch=empty-1").mkdir(parents=True)
    (part.parent / ".part").write_bytes(b"half")
    assert paths(predictions) == ["a"]


@pytest.mark.parametrize(
    "name",
    [
        "it's",
        'a "b"',
        "version=7",
        "model=x",
        "猫 🐈",
        "s3:",
        "100%",
        "a,b;c",
        "a[1]",
        "a*",
        "a?",
        "**",
    ],
)
def test_a_project_may_lie_in_a_folder_of_any_name(tmp_path, name):
    """DuckDB takes names for patterns, and `a=b` above the project for a column."""
    publish(tmp_path / name / "predictions", "a-1", answered("mine"), version=2)
    publish(tmp_path / "a1" / "predictions", "a-1", answered("a neighbour's"))
    assert paths(tmp_path / name / "predictions") == ["mine"]
    assert [row.key for row in counts(tmp_path / name / "predictions")["version"]] == ["2"]


def test_where_nothing_was_predicted_that_is_said(predictions):
    with pytest.raises(ReviewError, match="model digits has no batch of predictions"):
        counts(predictions)


def _cut(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-100])


def _empty(part: Path) -> None:
    part.write_bytes(b"")


def _scratched(part: Path) -> None:
    """Its footer is whole, its first page is not."""
    data = part.read_bytes()
    part.write_bytes(data[:4] + b"\xff" * 200 + data[204:])


@pytest.mark.parametrize("damage", [_cut, _empty, _scratched])
def test_a_damaged_part_is_named_and_nothing_half_written(predictions, tmp_path, damage):
    publish(predictions, "a-1", answered("a"))
    part = publish(predictions, "b-1", answered("b"))
    damage(part)
    out = tmp_path / "rows.csv"
    unreadable = pytest.raises(StorageError, match="cannot be read")
    with unreadable as caught, choosing(predictions, NAME, ALL) as chosen:
        list(write_rows(out, all_rows(chosen)))
    assert str(part) in str(caught.value) and len(str(caught.value).splitlines()) <= 5
    assert list(tmp_path.iterdir()) == [predictions]


FORBIDDEN = (
    "SELECT * FROM read_text('{outside}')",
    "SELECT * FROM read_parquet('{predictions}/../{outside.name}')",
    "SELECT * FROM '{outside}'",
    "SELECT * FROM read_parquet('http://127.0.0.1:9/x.parquet')",
    "COPY (SELECT 1) TO '{outside}'",
    "ATTACH '{outside}'",
    "INSTALL httpfs",
    "SET enable_external_access = true",
    "SET autoload_known_extensions = true",
    "SET memory_limit = '100GB'",
)


def test_no_question_reaches_anything_but_the_predictions(predictions, tmp_path):
    import duckdb

    part = publish(predictions, "a-1", answered("a"))
    outside = shutil.copy(part, tmp_path / "outside.parquet")
    before = outside.read_bytes()
    with choosing(predictions, NAME, ALL) as chosen:
        for question in FORBIDDEN:
            with pytest.raises(duckdb.Error, match=r"disabled|locked"):
                asked = question.format(outside=outside, predictions=predictions)
                chosen.connection.execute(asked).fetchall()
        assert count(chosen)["version"] == [Count("1", 1, 0, 0)]
    assert outside.read_bytes() == before


def test_what_does_not_fit_into_memory_is_told(predictions, monkeypatch):
    monkeypatch.setitem(queries._SETTINGS, "memory_limit", "1MB")
    rows = [answered(f"{number:0200}") for number in range(5_000)]
    publish(predictions, "a-1", *rows)
    with pytest.raises(CommandError, match="do not fit"):
        paths(predictions, latest=True)
    assert sorted(path.name for path in predictions.parent.iterdir()) == ["predictions"]


def test_what_duckdb_makes_of_ctrl_c_is_an_interruption_again(predictions):
    """It takes a signal for a fault of the query, at some time of its own."""
    publish(predictions, "a-1", answered("a"))
    with pytest.raises(KeyboardInterrupt), choosing(predictions, NAME, ALL):
        raise RuntimeError("Query interrupted")
    with pytest.raises(RuntimeError, match="another"), choosing(predictions, NAME, ALL):
        raise RuntimeError("another")


_EXPORT = """
import resource, sys
from pathlib import Path
from pipeline.inference.outputs import write_rows
from pipeline.inference.queries import Selection, all_rows, choosing

with choosing(Path(sys.argv[1]), "digits", Selection()) as chosen:
    rows = sum(1 for _ in write_rows(Path(sys.argv[2]), all_rows(chosen)))
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.full
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_memory_does_not_grow_with_the_rows_that_are_exported(predictions, tmp_path, suffix):
    """100 classes, 50,000 rows against 10,000, in MiB."""
    classes = {f"class {number}": number / 4950 for number in range(100)}
    used = []
    for batches in (range(1), range(1, 5)):
        for batch in batches:
            rows = (answered(f"{batch}/{n}", probabilities=classes) for n in range(10_000))
            publish(predictions, f"a-{batch}", *rows)
        done = subprocess.run(
            [sys.executable, "-c", _EXPORT, predictions, tmp_path / f"rows{suffix}"],
            capture_output=True,
            text=True,
            check=True,
        )
        exported, memory = map(int, done.stdout.split())
        assert exported == 10_000 * batches.stop
        used.append(memory)
    assert used[1] < used[0] + 150, used
