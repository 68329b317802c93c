"""Questions to all that a model has predicted; DuckDB answers, and may do nothing else."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import CommandError, DarkroomError, legible
from pipeline.inference.predictions import SCHEMA, batch_folders, damaged
from pipeline.inference.published import nothing_predicted
from pipeline.inference.rows import PredictionRow

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MEMORY = "1GB"
_ROWS_AT_ONCE = 1_000
_NAMED = 10
"""Of the classes and versions that there are."""
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": _MEMORY,
    "temp_directory": "",  # what does not fit is an error, not a file beside the user's
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
    "python_enable_replacements": False,
}
_COLUMNS = ", ".join(f'"{name}"' for name in SCHEMA.names)
_SEEN = {"since": "predicted_at >= $since"}
_CHOSEN = {"label": "label = $label", "version": "model_version = $version"}
_NO_NUMBER = "CAST(confidence AS VARCHAR) = 'nan'"
"""Not isnan(confidence): from a column's least and largest value, DuckDB 2 concludes that it holds
none, and Parquet leaves NaN out of these."""
_LATEST = """
(filename, file_row_number) IN (
    SELECT filename, file_row_number FROM seen
    QUALIFY 1 = row_number() OVER (
        PARTITION BY path ORDER BY predicted_at DESC, model_version DESC, modified_ns DESC
    )
)"""
_COUNT = """
SELECT
    CASE GROUPING(version, day, class, reason)
        WHEN 7 THEN 'version' WHEN 11 THEN 'day' WHEN 13 THEN 'class' WHEN 14 THEN 'reason'
    END,
    coalesce(CAST(version AS VARCHAR), day, class, reason, abstain_reason) AS key,
    count(*) FILTER (outcome = 'answered'),
    count(*) FILTER (outcome = 'abstained'),
    count(*) FILTER (outcome = 'refused')
FROM (
    SELECT
        model_version AS version, left(predicted_at, 10) AS day, label AS class,
        reason, abstain_reason,
        CASE
            WHEN reason IS NOT NULL THEN 'refused'
            WHEN abstain_reason IS NOT NULL THEN 'abstained'
            ELSE 'answered'
        END AS outcome
    FROM chosen
)
GROUP BY GROUPING SETS (version, day, class, (reason, abstain_reason))
ORDER BY version DESC, day DESC, count(*) DESC, key
"""


@dataclass(frozen=True)
class Selection:
    """Which rows; by default all."""

    label: str | None = None
    version: int | None = None
    since: date | None = None
    """The first UTC day of classification."""
    latest: bool = False
    """Of several rows of one path the last that was given alone, settled before the others."""


@dataclass(frozen=True)
class Count:
    """Rows that share a version, day, class or reason; each is one of the three."""

    key: str
    answered: int
    abstained: int
    """With a label that is not to be relied on."""
    refused: int


@dataclass(frozen=True)
class Chosen:
    """The rows of a selection, as DuckDB finds them."""

    connection: "DuckDBPyConnection"
    selecting: str
    """What `chosen` is, with *parameters*."""
    parameters: dict[str, Any]

    def ask(self, question: str, **parameters: Any) -> "DuckDBPyConnection":
        """*question* selects from `chosen`."""
        return self.connection.execute(self.selecting + question, self.parameters | parameters)


@contextmanager
def choosing(predictions: Path, model_name: str, which: Selection) -> Iterator[Chosen]:
    """Yield the rows of *which* among all published ones, while they are asked about.

    Raises ReviewError where nothing was predicted, StorageError where a part cannot be read,
    CommandError where no row has the class or version asked for, or the answer does not fit into
    memory.
    """
    import duckdb  # a quarter of a second, for those who ask

    folders = batch_folders(predictions, model_name)
    parts = [part for folder in folders for part in sorted(folder.glob("part-*.parquet"))]
    if not parts:
        raise nothing_predicted(predictions, model_name)
    with duckdb.connect(config=_SETTINGS) as connection:
        _fence(connection, predictions)
        try:
            _publish(connection, parts)
            _refuse_unknown(connection, which)
            yield Chosen(connection, *_selecting(which))
        except RuntimeError as error:
            if str(error) != "Query interrupted":  # what DuckDB makes of Ctrl-C
                raise
            raise KeyboardInterrupt from None
        except duckdb.OutOfMemoryException:
            raise CommandError(
                f"so many predictions do not fit into the {_MEMORY} that a question may take",
                mend="ask about fewer: --since DAY",
            ) from None
        except duckdb.Error as error:
            raise _unreadable(parts, error) from None


def _fence(connection: "DuckDBPyConnection", predictions: Path) -> None:
    """Let *connection* open what lies in *predictions*, and nothing else any more."""
    folders = [str(predictions), _literal(predictions)]
    connection.execute("SET allowed_directories = $folders", {"folders": folders})
    connection.execute("SET enable_external_access = false")
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET lock_configuration = true")


def _publish(connection: "DuckDBPyConnection", parts: Sequence[Path]) -> None:
    """Let `published` be the rows of *parts*, and where each stands."""
    connection.read_parquet(
        [_literal(part) for part in parts],
        filename=True,
        file_row_number=True,
        hive_partitioning=False,  # a folder above the project may be called version=7
        union_by_name=True,
    ).create_view("published")


def _refuse_unknown(connection: "DuckDBPyConnection", which: Selection) -> None:
    """A mistyped name is no zero."""
    for noun, column, wanted in (
        ("class", "label", which.label),
        ("version", "model_version", which.version),
    ):
        if wanted is None:
            continue
        asked = f"SELECT DISTINCT {column} FROM published WHERE {column} IS NOT NULL ORDER BY 1"  # noqa: S608, our words
        there = [value for (value,) in connection.execute(asked).fetchall()]
        if wanted not in there:
            raise CommandError(
                f"no prediction has the {noun} {legible(str(wanted))[:100]}",
                f"there are {_some(there)}" if there else "none has a label",
                mend="name one of those",
            )


def _some(values: Sequence[Any]) -> str:
    more = f" and {len(values) - _NAMED} more" if len(values) > _NAMED else ""
    return ", ".join(legible(str(value))[:50] for value in values[:_NAMED]) + more


def _selecting(which: Selection) -> tuple[str, dict[str, Any]]:
    """Return the beginning of a question, and its parameters; what a user says is only in these."""
    since = which.since.isoformat() if which.since else None
    said = {"label": which.label, "version": which.version, "since": since}
    parameters = {name: value for name, value in said.items() if value is not None}
    seen = [_SEEN[name] for name in parameters if name in _SEEN]
    chosen = [_CHOSEN[name] for name in parameters if name in _CHOSEN]
    chosen += [_LATEST] if which.latest else []
    return (
        f"WITH seen AS NOT MATERIALIZED (SELECT * FROM published WHERE {_all(seen)}), "  # noqa: S608, our words
        f"chosen AS (SELECT * FROM seen WHERE {_all(chosen)}) "
    ), parameters


def _all(conditions: Sequence[str]) -> str:
    return " AND ".join(conditions) or "true"


def _literal(path: Path) -> str:
    """Return the pattern that *path* alone matches: DuckDB takes each name for a pattern."""
    return re.sub(r"[*?[]", r"[\g<0>]", str(path))


def _unreadable(parts: Sequence[Path], error: Exception) -> DarkroomError:
    """Name the part; DuckDB does not always."""
    for part in parts:
        try:
            pq.ParquetFile(part).read()
        except (pa.ArrowException, OSError) as found:
            return damaged(part, found)
    return damaged(parts[0].parents[2], error)


def count(chosen: Chosen) -> dict[str, list[Count]]:
    """Count by version, day, class and reason: the newest first, and the most; each key is there.

    A refused row is of no class, and an answered one has no reason.
    """
    counts: dict[str, list[Count]] = {what: [] for what in ("version", "day", "class", "reason")}
    for what, key, *rows in chosen.ask(_COUNT).fetchall():
        if key is not None:
            counts[what].append(Count(key, *rows))
    return counts


def least_confident(chosen: Chosen, count: int) -> Iterator[PredictionRow]:
    """Yield *count* rows that have a label; a confidence that is no number is the least."""
    found = chosen.ask(
        f"""
        SELECT {_COLUMNS} FROM chosen WHERE confidence IS NOT NULL
        ORDER BY {_NO_NUMBER} DESC, confidence, path, model_version, predicted_at
        LIMIT $count
        """,  # noqa: S608, the columns are the schema's
        count=count,
    )
    return _rows(found)


def refused(chosen: Chosen, count: int) -> Iterator[PredictionRow]:
    """Yield *count* rows that have none, the newest first."""
    found = chosen.ask(
        f"""
        SELECT {_COLUMNS} FROM chosen WHERE reason IS NOT NULL
        ORDER BY predicted_at DESC, path, model_version DESC
        LIMIT $count
        """,  # noqa: S608, as above
        count=count,
    )
    return _rows(found)


def all_rows(chosen: Chosen) -> Iterator[PredictionRow]:
    """Yield every row, without holding them all."""
    return _rows(chosen.ask(f"SELECT {_COLUMNS} FROM chosen"))  # noqa: S608, as above


def _rows(found: "DuckDBPyConnection") -> Iterator[PredictionRow]:
    while some := found.fetchmany(_ROWS_AT_ONCE):
        yield from (PredictionRow(*values) for values in some)
