"""The source and data/reviewed → data/dataset, a new dataset version: the only way in for images.

The order makes every moment safe to be killed at: images are staged outside the snapshot, moved
in, then the catalogue that names them replaces the old one by rename, then what it does not name
is swept out, then DVC is told. `split` refuses a snapshot whose images are not those that its
catalogue names; `verify` and `diff` refuse one that DVC was not told of.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import PIL
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.data import appearance
from pipeline.data.acceptance import refuse_poor
from pipeline.data.catalogue import (
    read_identities,
    read_quarantine,
    write_catalogue,
    write_quarantine,
)
from pipeline.data.digits import DIGITS, write_digits_inbox
from pipeline.data.limits import image_limits
from pipeline.data.records import (
    RECORDS,
    Record,
    join,
    names,
    read_known,
    records_of,
    tabulate,
    unchanged,
    write_known,
)
from pipeline.data.resolve import resolve
from pipeline.data.snapshot import take
from pipeline.data.sources import Source, open_source
from pipeline.data.store import held, holds, move_in, sweep
from pipeline.data.supplement import Supplement, beside, give_way, open_supplement, padded
from pipeline.data.tables import to_table
from pipeline.errors import DatasetError, SourceError
from pipeline.graph import dataset_version
from pipeline.operations.dvc import dvc
from pipeline.operations.dvc_cache import link_to_cache
from pipeline.operations.lock import dataset_lock
from pipeline.params import DataParams, Params
from pipeline.serving import images
from pipeline.words import counted
from pipeline.workspace import Home, Workspace

Watch = Callable[[int, int], None]
"""Is shown how many files have been read, of how many."""


@dataclass(frozen=True)
class Ingested:
    version: str
    images: int
    refused: Counter[str]
    """Lines of the quarantine by reason."""
    read: int
    """Files that were opened; the others are known to be as they were."""
    gone: int
    """Images of the last version that the source does not have any more."""


def run(
    workspace: Workspace,
    home: Home,
    params: Params,
    say: Callable[[str], None],
    watch: Watch = lambda done, of: None,
    *,
    rescan: bool = False,
) -> Ingested:
    """Take in what is new or changed; with *rescan*, read every file again.

    Raises SourceError where the source cannot make a dataset; then nothing has changed.
    """
    with dataset_lock(workspace):
        source = open_source(params.data.source, home)
        _refuse_overlap(workspace.dataset, source.root)
        supplement = open_supplement(home.reviewed, params.model_name, source)
        ingested = _ingest(workspace, home, params.data, source, supplement, watch, rescan)
    if source.name == DIGITS:
        inbox = home.inbox(params.model_name)
        if write_digits_inbox(inbox):
            say(f"laid down {len(list(inbox.iterdir()))} unlabelled digits in {inbox}")
    say(_describe(ingested))
    return ingested


def _ingest(
    workspace: Workspace,
    home: Home,
    params: DataParams,
    source: Source,
    supplement: Supplement,
    watch: Watch,
    rescan: bool,
) -> Ingested:
    memory = home.private / "ingest" / f"{_digest(str(source.root).encode())[:16]}.parquet"
    settings = _settings(params)
    limits = image_limits(params)
    columns = supplement.columns(source)
    of_source = tabulate(padded(source, columns), columns, limits.bytes)
    reviewed = tabulate(supplement.entries(columns), columns, limits.bytes)
    found = beside(of_source, reviewed)
    snapshot = held(workspace.dataset)
    known, made = read_known(memory, settings, columns)
    if rescan:
        known = known.slice(0, 0)
    place = _still_known(found, known, snapshot)
    is_new = pc.and_(pc.is_null(place), pc.is_null(found["found_reason"]))
    new = found.filter(is_new)
    is_same = not len(new) and found.equals(known.select(found.schema.names))
    if is_same and made == _made(workspace, source):
        return _as_it_is(workspace)
    before = _before(workspace, source)
    staging = workspace.staging
    shutil.rmtree(staging, ignore_errors=True)
    try:
        count = pc.sum(is_new.slice(0, len(of_source))).as_py() or 0
        parts = [(new.slice(0, count), source.root), (new.slice(count), supplement.root)]
        taken = chain.from_iterable(
            take(names(some), root, staging, workspace.images, limits)
            for some, root in parts
            if len(some)
        )
        records = _in_order(
            records_of(known), place, to_table(_watched(taken, len(new), watch), RECORDS), is_new
        )
        known = join(found, records)
        catalogue, refusals = resolve(give_way(known, len(of_source), supplement))
        refuse_poor(source, catalogue, refusals, before, params)
        move_in(staging, workspace.images)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    write_quarantine(workspace.quarantine, refusals)
    write_catalogue(workspace.catalogue, catalogue, source.name)
    sweep(workspace.dataset, snapshot, catalogue["file"])
    dvc(workspace, "add", "data/dataset")
    link_to_cache(workspace)
    shutil.rmtree(staging, ignore_errors=True)
    write_known(memory, known, settings, _made(workspace, source))
    return Ingested(
        version=dataset_version(workspace),
        images=len(catalogue),
        refused=Counter(refusal.reason for refusal in refusals),
        read=len(new),
        gone=len(before) - len(before.filter(pc.is_in(before, value_set=catalogue["sha256"]))),
    )


def _before(workspace: Workspace, source: Source) -> pa.ChunkedArray:
    """Return the hashes of the images of the last version, where that came of the same source."""
    with suppress(DatasetError):
        taken_from, hashes = read_identities(workspace.catalogue)
        if taken_from == source.name:
            return hashes
    return pa.chunked_array([], pa.string())


def _still_known(found: pa.Table, known: pa.Table, snapshot: pa.Table) -> pa.Array:
    """Return, for each file of *found*, its row in *known*; null where it must be read: it is new
    or changed, or the snapshot has lost its copy."""
    place = unchanged(found, known)
    is_held = holds(snapshot, known["file"], known["known_size"])
    return pc.if_else(pc.fill_null(is_held, True).take(place), place, None).combine_chunks()


def _in_order(
    known: pa.Table, place: pa.Array, records: pa.Table, is_new: pa.ChunkedArray
) -> pa.Table:
    """Return a record for each file found: the one of *place*, or the next of *records*."""
    if len(records) == len(is_new):
        return records  # as they are: a first ingest is the largest
    number = pc.cumulative_sum(pc.cast(is_new, pa.int64()))
    fresh = pc.add(number, len(known) - 1)
    order = pc.if_else(is_new, fresh, pc.cast(place, pa.int64()))
    return pa.concat_tables([known, records]).take(order)


def _watched(records: Iterable[Record], of: int, watch: Watch) -> Iterator[Record]:
    for done, record in enumerate(records, 1):
        yield record
        watch(done, of)


def _settings(params: DataParams) -> str:
    """What decides about a file besides its bytes: with other limits or another decoder, what is
    remembered of it says nothing."""
    code = [Path(module.__file__ or "").read_bytes() for module in (images, appearance)]
    limits = f"{params.max_megabytes} {params.max_megapixels} Pillow {PIL.__version__}"
    return _digest(limits.encode(), *code)


def _made(workspace: Workspace, source: Source) -> str:
    """What an ingest of *source* leaves behind, in a word: if it is still so, nothing has been
    touched, and the source has kept its name."""
    files = (workspace.catalogue, workspace.quarantine, workspace.dataset_dvc)
    left = [path.read_bytes() if path.is_file() else b"" for path in files]
    return _digest(source.name.encode(), *left)


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _as_it_is(workspace: Workspace) -> Ingested:
    return Ingested(
        version=dataset_version(workspace),
        images=pq.read_metadata(workspace.catalogue).num_rows,
        refused=Counter(refusal.reason for refusal in read_quarantine(workspace.quarantine)),
        read=0,
        gone=0,
    )


def _refuse_overlap(dataset: Path, source: Path) -> None:
    if dataset.is_symlink():
        raise SourceError(
            "data/dataset is a link", f"to {dataset.resolve()}", mend="remove the link"
        )
    inside, around = source.resolve(), dataset.resolve()
    if inside.is_relative_to(around) or around.is_relative_to(inside):
        raise SourceError(
            "the source and the project's own data/dataset lie in one another",
            f"source: {inside}",
            mend="put the images into a folder outside data/dataset, and name that",
        )


def _describe(ingested: Ingested) -> str:
    refused = ", ".join(f"{count} {reason}" for reason, count in sorted(ingested.refused.items()))
    return (
        f"dataset {ingested.version[:12]}: {counted(ingested.images, 'image')}, "
        f"{counted(ingested.read, 'file')} read"
        + (
            f"; {ingested.gone} of the last version {'is' if ingested.gone == 1 else 'are'} gone"
            if ingested.gone
            else ""
        )
        + (f"; set aside: {refused} (data/dataset/quarantine.csv)" if refused else "")
    )
