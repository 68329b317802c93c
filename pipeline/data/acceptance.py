"""Is what a source gave enough to make a dataset of?"""

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.catalogue import Refusal
from pipeline.data.sources import Source
from pipeline.data.supplement import IN_SOURCE, NEW_CLASS
from pipeline.errors import SourceError
from pipeline.params import DataParams

_NOT_AN_IMAGE_FAULT = ("duplicate", "label_conflict", IN_SOURCE, NEW_CLASS)
"""Reasons of the quarantine that do not mean that a file could not be read."""


def refuse_poor(
    source: Source,
    catalogue: pa.Table,
    refusals: list[Refusal],
    before: pa.ChunkedArray,
    params: DataParams,
) -> None:
    """Raise SourceError where too little can be read, or too much of what was there *before* (the
    hashes of the last version) is gone."""
    unreadable = [r for r in refusals if r.reason not in _NOT_AN_IMAGE_FAULT]
    copies = pc.sum(pc.list_value_length(catalogue["copies"])).as_py() or 0
    files = len(catalogue) + copies + len(unreadable)
    examples = [f"{r.path}: {r.reason}, {r.detail}" for r in unreadable]
    if not len(catalogue):
        raise SourceError(
            f"the source {source.name} has no readable image among {files} files",
            *examples[:3],
            mend=f"paths of a list start at its own folder, {source.root}"
            if source.listing
            else "set data.source in params.yaml to a folder of class folders with images",
        )
    _refuse_unreadable_classes(source, unreadable)
    if len(unreadable) > params.max_refused * files:
        raise SourceError(
            f"{len(unreadable)} of the {files} files of {source.name} cannot be read",
            *examples[:3],
            mend=f"look at them, or raise data.max_refused ({params.max_refused}) in params.yaml",
        )
    if len(catalogue) < (1 - params.max_lost) * len(before):
        raise SourceError(
            f"the source {source.name} has {len(catalogue)} images; "
            f"in the last version there were {len(before)}",
            "is it copied, or mounted, in full?",
            mend=f"if they are meant to be gone, raise data.max_lost ({params.max_lost}) in "
            "params.yaml for this once",
        )
    _refuse_few(source, catalogue, refusals, params)


def _refuse_unreadable_classes(source: Source, unreadable: list[Refusal]) -> None:
    """A whole class must not be lost over somebody's rights."""
    folders = [r for r in unreadable if r.reason == "unreadable" and "/" not in r.path]
    if source.listing is None and folders:
        raise SourceError(
            f"the class folder {folders[0].path} of {source.name} cannot be read",
            folders[0].detail,
            mend="give it back its rights, or take it out of the source",
        )


def _refuse_few(
    source: Source, catalogue: pa.Table, refusals: list[Refusal], params: DataParams
) -> None:
    counts = {
        row["values"]: row["counts"]
        for row in pc.value_counts(catalogue["label"]).to_pylist()
        if row["values"] is not None
    }
    by_reason = Counter(refusal.reason for refusal in refusals)
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(by_reason.items()))
    if len(counts) < 2:
        raise SourceError(
            f"{source.name} has images of {len(counts)} class; there must be two or more",
            f"found: {', '.join(counts) or 'none'}",
            f"refused: {told or 'none'}",
            mend="name two classes or more in the column label"
            if source.listing
            else "put the images into one folder for each class, such as cat/ and dog/",
        )
    label, fewest = min(counts.items(), key=lambda item: (item[1], item[0]))
    if fewest < params.min_per_class:
        raise SourceError(
            f"class {label} of {source.name} has {fewest} readable images; "
            f"a class needs {params.min_per_class} to be split",
            f"refused in all: {told or 'none'}",
            mend="add images of it, or take it out of the source"
            + (f", or set data.min_per_class: {fewest}" if fewest > 2 else ""),
        )
