"""data/dataset → data/splits.parquet: each image's split, a person's corrections applied.

And reports/data: what the dataset looks like.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pipeline.data.catalogue import Catalogue, read_catalogue, read_quarantine
from pipeline.data.corrections import read_corrections
from pipeline.data.report import describe, glance, write_report
from pipeline.data.split import split, unknown
from pipeline.data.splits import LEFT_OUT, USED, write_splits
from pipeline.data.store import held
from pipeline.errors import DatasetError
from pipeline.params import Params
from pipeline.workspace import Workspace, fresh


def run(workspace: Workspace, params: Params, say: Callable[[str], None]) -> None:
    """Raises DatasetError where snapshot, catalogue and params.yaml do not belong together."""
    catalogue = read_catalogue(workspace.catalogue)
    _refuse_other_source(catalogue, params.data.source)
    _refuse_other_images(catalogue, workspace.dataset)
    corrections = read_corrections(workspace.corrections)
    for sha256 in unknown(catalogue, [*corrections.excluded, *corrections.relabelled]):
        say(f"correction of {sha256[:12]}... ignored: no such image in the dataset")
    known = {row.label for row in catalogue.rows}
    for label in sorted(set(corrections.relabelled.values()) - known):
        say(f"data/corrections/relabel.csv names a class that the source does not have: {label}")
    distance = params.data.near_duplicate_distance
    splits = split(catalogue, params.split, distance, corrections)
    workspace.splits.parent.mkdir(parents=True, exist_ok=True)
    write_splits(workspace.splits, splits)
    report = describe(catalogue, splits, read_quarantine(workspace.quarantine), distance)
    out = fresh(workspace.data_report)
    write_report(out / "index.html", report, workspace.images)
    (out / "summary.md").write_text(glance(report), encoding="utf-8")
    counts = Counter(row.split for row in splits.rows)
    say(", ".join(f"{name} {counts[name]}" for name in (*USED, LEFT_OUT)))


def _refuse_other_source(catalogue: Catalogue, source: str) -> None:
    if catalogue.source != source:
        raise DatasetError(
            f"the dataset was taken from {catalogue.source}, but data.source is {source}",
            "training now would use the old images under the new name",
            mend="darkroom ingest (or set data.source back in params.yaml)",
        )


def _refuse_other_images(catalogue: Catalogue, dataset: Path) -> None:
    """A snapshot whose taking-in was cut off, or that was touched since, must not be trained on."""
    lying = held(dataset)
    found = dict(zip(lying["file"].to_pylist(), lying["size"].to_pylist(), strict=True))
    named = {row.file: row.bytes for row in catalogue.rows}
    if named == found:
        return
    missing, more = len(named.keys() - found.keys()), len(found.keys() - named.keys())
    other = sum(found[file] != named[file] for file in named.keys() & found.keys())
    raise DatasetError(
        "the snapshot's images are not those that its catalogue names",
        f"{missing} missing, {more} not named, {other} of another size, in {dataset / 'images'}",
        mend="darkroom ingest, or dvc pull in a clone",
    )
