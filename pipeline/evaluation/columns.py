"""By what the images are sliced: what the catalogue knows of them."""

from collections.abc import Sequence

from pipeline.data.catalogue import CATALOGUE, Catalogue, CatalogueRow
from pipeline.data.splits import SplitRow
from pipeline.errors import ParamsError
from pipeline.evaluation.assess import Column

ALWAYS = ("short_side", "brightness")
_OF_ITSELF = ("sharpness", "width", "height", "bytes", "mode")


def columns_of(
    catalogue: Catalogue, rows: Sequence[SplitRow], names: Sequence[str]
) -> dict[str, Column]:
    """Return those of ALWAYS, and *names*, for each of *rows*: a list's own columns (camera, day,
    ...), or sharpness, width, height, bytes, mode. A list's numbers count as numbers.

    Raises ParamsError where the catalogue has no such column.
    """
    known = {row.sha256: row for row in catalogue.rows}
    found = [known[row.sha256] for row in rows]
    own = sorted({name for row in catalogue.rows for name in row.columns})
    for name in names:
        if name not in {*own, *_OF_ITSELF, *ALWAYS}:
            raise ParamsError(
                f"evaluate.slices names {name}, which the catalogue does not have",
                f"it has {', '.join((*own, *_OF_ITSELF))}"[:200],
                mend="name other columns in params.yaml, or none: []",
            )
    wanted = dict.fromkeys((*ALWAYS, *names))
    return {name: _numbers_or_words([_value(row, name) for row in found]) for name in wanted}


def _value(row: CatalogueRow, name: str) -> float | str | None:
    if name == "short_side":
        return min(row.width, row.height)
    if name in CATALOGUE.names:
        value: float | str = getattr(row, name)
        return value
    return row.columns.get(name)


def _numbers_or_words(values: list[float | str | None]) -> Column:
    try:
        return [None if value is None or value == "" else float(value) for value in values]
    except ValueError:
        return [None if value is None else str(value) for value in values]
