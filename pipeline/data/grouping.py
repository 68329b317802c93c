"""Which images belong together, never to be in two splits: a patient, a camera, a day."""

import re
from collections.abc import Callable

from pipeline.data.catalogue import DISAGREE, Catalogue, CatalogueRow
from pipeline.errors import DatasetError


def groups(catalogue: Catalogue, group_by: str) -> dict[str, str]:
    """Return the group of each image by sha256; an image alone is a group of its own.

    An image whose copies belong to different groups has the group DISAGREE. Raises DatasetError
    where *group_by* names a column that the catalogue does not have, or fits no path at all.
    """
    kind, _, what = group_by.partition(":")
    named = {row.sha256: group for row in catalogue.rows if (group := _finder(kind, what)(row))}
    if not named and kind == "path":
        raise DatasetError(
            "split.group_by fits no path of the dataset",
            f"the expression: {what}",
            *(f"a path: {row.path}" for row in catalogue.rows[:1]),
            mend="mend split.group_by in params.yaml, or set it to auto",
        )
    if kind == "column" and not any(what in row.columns for row in catalogue.rows):
        columns = sorted({name for row in catalogue.rows[:1] for name in row.columns})
        raise DatasetError(
            f"split.group_by names the column {what}, which the dataset does not have",
            f"it has: {', '.join(columns) or 'none; only a list of images brings columns'}",
            mend="mend split.group_by in params.yaml, or add the column to the list and ingest",
        )
    return {row.sha256: named.get(row.sha256, row.sha256) for row in catalogue.rows}


def _finder(kind: str, what: str) -> Callable[[CatalogueRow], str | None]:
    if kind == "path":
        expression = re.compile(what)
        return lambda row: _of_paths(row, expression)
    name = what if kind == "column" else "group"
    return lambda row: row.columns.get(name)


def _of_paths(row: CatalogueRow, expression: re.Pattern[str]) -> str | None:
    found = {_first_group(expression, path) for path in (row.path, *row.copies)} - {None}
    return DISAGREE if len(found) > 1 else next(iter(found), None)


def _first_group(expression: re.Pattern[str], path: str) -> str | None:
    match = expression.search(path)
    if match is None:
        return None
    return match[1] if expression.groups else match[0]
