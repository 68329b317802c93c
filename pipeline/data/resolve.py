"""From records to the catalogue and the quarantine: the same image is in a dataset once."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.catalogue import CATALOGUE, DISAGREE, Refusal
from pipeline.data.records import columns_of

Row = dict[str, Any]


def resolve(known: pa.Table) -> tuple[pa.Table, list[Refusal]]:
    """Turn the joined table of records into the catalogue, sorted by sha256, and the quarantine,
    sorted by path.

    The same image twice in one class is kept once; under two classes it keeps no class.
    """
    reason = pc.coalesce(known["found_reason"], known["reason"])
    detail = pc.coalesce(known["found_detail"], known["detail"])
    refused = pa.table([known["path"], reason, detail], names=["path", "reason", "detail"])
    refusals = [Refusal(**row) for row in refused.filter(pc.is_valid(reason)).to_pylist()]
    images = _by_content(known, reason.is_null())
    starts, copies = _groups(images["sha256"])
    rows = images if len(starts) == len(images) else images.take(starts)
    merged = {}
    for place in np.flatnonzero(copies > 1):
        same = images.slice(starts[place], copies[place]).to_pylist()
        merged[int(place)] = _merge(same)
        refusals += _repeats(same)
    return _replace(rows, merged), sorted(refusals, key=lambda refusal: refusal.path)


def _by_content(known: pa.Table, is_taken: pa.ChunkedArray) -> pa.Table:
    """Return the images that are taken, with the catalogue's columns, sorted by sha256; those of
    the same content in the order of the source."""
    taken = np.flatnonzero(is_taken.to_numpy())
    by_sha256 = pc.sort_indices(known["sha256"].take(taken))  # equal ones keep their order
    places = pa.array(taken[by_sha256.to_numpy()])
    columns = {name: known[name] for name in CATALOGUE.names if name in known.schema.names}
    columns |= {
        "bytes": known["known_size"],
        "copies": pa.chunked_array([pa.nulls(len(known), pa.list_(pa.string()))]),
    }
    others = columns_of(known)
    table = pa.table(
        [columns[name] for name in CATALOGUE.names] + others.columns,
        names=[*CATALOGUE.names, *others.schema.names],
    )
    return table.take(places).combine_chunks()


def _groups(sha256: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where each run of equal values starts, and how long it is."""
    values = sha256.combine_chunks()
    is_new = pc.not_equal(values.slice(1), values.slice(0, max(len(values) - 1, 0)))
    starts = np.flatnonzero([True, *is_new.to_numpy(zero_copy_only=False)][: len(values)])
    return starts, np.diff(starts, append=len(values))


def _merge(same: list[Row]) -> Row:
    first = same[0]
    differing = [name for name in first if any(row[name] != first[name] for row in same)]
    disputed = {name: DISAGREE for name in differing if name not in CATALOGUE.names}
    label = None if "label" in differing else first["label"]
    return first | disputed | {"label": label, "copies": [row["path"] for row in same[1:]]}


def _repeats(same: list[Row]) -> Iterator[Refusal]:
    first = same[0]
    conflict = len({row["label"] for row in same}) > 1
    for row in same if conflict else same[1:]:
        if conflict:
            other = next(each for each in same if each["label"] != row["label"])
            detail = f"same content as {other['path']}, of class {other['label']}"
            yield Refusal(row["path"], "label_conflict", detail)
        else:
            yield Refusal(row["path"], "duplicate", f"same content as {first['path']}")


def _replace(rows: pa.Table, merged: dict[int, Row]) -> pa.Table:
    if not merged:
        return rows
    columns = []
    for name in rows.schema.names:
        changed = {place: row[name] for place, row in merged.items()}
        column = rows[name]
        if name in ("label", "copies") or name not in CATALOGUE.names:
            values = column.to_pylist()
            for place, value in changed.items():
                values[place] = value
            column = pa.array(values, column.type)
        columns.append(column)
    return pa.table(columns, schema=rows.schema)
