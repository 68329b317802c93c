"""What has been predicted: counted, the least confident first, or written to one file."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.inference import queries
from pipeline.inference.outputs import write_rows
from pipeline.inference.queries import Chosen, Count, Selection, choosing
from pipeline.inference.rows import PredictionRow
from pipeline.params import Params
from pipeline.workspace import Home


def count(home: Home, params: Params, which: Selection) -> dict[str, list[Count]]:
    """Return what `queries.count` does. All of these raise what `choosing` raises."""
    with choosing(home.predictions, params.model_name, which) as chosen:
        return queries.count(chosen)


def least_confident(home: Home, params: Params, which: Selection, most: int) -> list[PredictionRow]:
    with choosing(home.predictions, params.model_name, which) as chosen:
        return list(queries.least_confident(chosen, most))


def refused(home: Home, params: Params, which: Selection, most: int) -> list[PredictionRow]:
    with choosing(home.predictions, params.model_name, which) as chosen:
        return list(queries.refused(chosen, most))


def export(home: Home, params: Params, which: Selection, most: int | None, output: Path) -> int:
    """Write the rows, or the *most* least confident of them, to *output*; return how many.

    Raises ProjectError for a suffix that is none of outputs.SUFFIXES, or where *output* cannot be
    written; nothing is left there then.
    """
    with choosing(home.predictions, params.model_name, which) as chosen:
        return sum(1 for _ in write_rows(output, _rows(chosen, most)))


def _rows(chosen: Chosen, most: int | None) -> Iterator[PredictionRow]:
    return queries.all_rows(chosen) if most is None else queries.least_confident(chosen, most)
