"""Reviewed images beside a source: taken in with their provenance, for training alone.

The model itself chose most of them, as hard: in the validation or the test split they would bias
what is measured. What the source has as well stays what it is there.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.folders import Entry, printable
from pipeline.data.reviewed import Reviewed, read_reviewed
from pipeline.data.sources import Source
from pipeline.errors import SourceError

REVIEWED = "reviewed_batch"
"""The catalogue's column that no other image has."""
IN_SOURCE, NEW_CLASS, CHANGED = "in_source", "new_class", "changed"
"""Why a reviewed image is set aside: the source has it; or has nothing of its class, which then
could be trained on and never be measured; or it is not the image that was decided on."""
_PREFIX = "data/reviewed/"


@dataclass(frozen=True)
class Supplement:
    root: Path
    """data/reviewed."""
    reviewed: tuple[Reviewed, ...]
    """Those of the model that the source makes."""

    def columns(self, source: Source) -> tuple[str, ...]:
        """Return the names of all columns that a catalogue of both has besides its own."""
        if not self.reviewed:
            return source.columns
        more = tuple(_said(self.reviewed[0]))
        return source.columns + tuple(name for name in more if name not in source.columns)

    def entries(self, columns: tuple[str, ...]) -> Iterator[Entry]:
        for each in self.reviewed:
            said = _said(each)
            values = tuple(said.get(name) for name in columns)
            shown = _PREFIX + printable(each.path)
            try:
                found = os.lstat(self.root / each.path)
            except (OSError, ValueError) as error:
                gone = ("gone", getattr(error, "strerror", None) or "no such file")
                yield Entry(shown, each.path, each.label, None, gone, values)
            else:
                yield Entry(shown, each.path, each.label, found, columns=values)


def open_supplement(folder: Path, model_name: str, source: Source) -> Supplement:
    """Return what was decided on batches of *model_name*; raise DatasetError where its provenance
    is damaged, SourceError where *folder* lies in the source."""
    reviewed = tuple(each for each in read_reviewed(folder) if each.model_name == model_name)
    inside, around = folder.resolve(), source.root.resolve()
    if reviewed and source.listing is None and inside.is_relative_to(around):
        raise SourceError(
            "data/reviewed lies in the source: what was reviewed could come to the test split",
            f"source: {around}",
            mend="put the source's images into a folder of their own, and name that",
        )
    return Supplement(folder, reviewed)


def padded(source: Source, columns: tuple[str, ...]) -> Iterator[Entry]:
    """Yield the source's entries, with nothing in those of *columns* that are not its own."""
    nothing = (None,) * (len(columns) - len(source.columns))
    for each in source.entries():
        yield replace(each, columns=each.columns + nothing) if nothing else each


def beside(of_source: pa.Table, reviewed: pa.Table) -> pa.Table:
    """Return both tables of found files as one; a reviewed one whose class the source does not
    have is refused, unread."""
    labels = pc.unique(of_source["label"].filter(of_source["found_reason"].is_null()))
    lacks = pc.invert(pc.is_in(reviewed["label"], value_set=labels.cast(pa.string())))
    detail = pc.binary_join_element_wise("the source has no image of class", reviewed["label"], " ")
    refused = _refuse(reviewed, lacks, NEW_CLASS, detail)
    return pa.concat_tables([of_source, refused])


def give_way(known: pa.Table, first: int, supplement: Supplement) -> pa.Table:
    """Refuse, from row *first* on, the reviewed images that are not what was decided on, and those
    that the source has as well."""
    of_source, reviewed = known.slice(0, first), known.slice(first)
    stated = {_PREFIX + printable(each.path): each.sha256 for each in supplement.reviewed}
    decided_on = pa.array([stated[path] for path in reviewed["path"].to_pylist()], pa.string())
    changed = pc.fill_null(pc.not_equal(reviewed["sha256"], decided_on), False)
    reviewed = _refuse(reviewed, changed, CHANGED, "its content is not what was decided on")
    taken = pc.and_(of_source["found_reason"].is_null(), of_source["reason"].is_null())
    images = of_source.filter(taken)
    place = pc.index_in(reviewed["sha256"], value_set=images["sha256"].combine_chunks())
    path, label = images["path"].take(place), images["label"].take(place)
    detail = pc.binary_join_element_wise("same content as ", path, ", of class ", label, "")
    again = pc.and_(reviewed["sha256"].is_valid(), place.is_valid())
    return pa.concat_tables([of_source, _refuse(reviewed, again, IN_SOURCE, detail)])


def _refuse(
    found: pa.Table, which: pa.ChunkedArray, reason: str, detail: pa.ChunkedArray | str
) -> pa.Table:
    which = pc.and_(which, found["found_reason"].is_null())
    for name, value in (("found_reason", reason), ("found_detail", detail)):
        values = pc.if_else(which, value, found[name])
        found = found.set_column(found.schema.get_field_index(name), name, values)
    return found


def _said(each: Reviewed) -> dict[str, str]:
    """What the catalogue says of a reviewed image, by column."""
    return {
        "split": "train",
        REVIEWED: each.batch,
        "reviewed_model": f"{each.model_name}/{each.model_version}",
        "reviewed_because": each.because,
        "reviewed_predicted": each.predicted,
        "reviewed_at": each.decided_at,
    }
