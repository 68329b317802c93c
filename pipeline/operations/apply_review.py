"""A file of decisions → data/reviewed, and the live accuracy that its audit measured.

Images are laid down first, each by a rename; then provenance.csv, which says what counts, is
replaced by one, and so is what the batch's audits come to. So a run that is killed leaves what the
next one completes, and a file that is applied twice changes nothing.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.limits import image_limits
from pipeline.data.reading import read_regular
from pipeline.data.reviewed import Reviewed, place_of, put, read_reviewed, sweep, write_reviewed
from pipeline.errors import Busy, ReviewError, UnreadableImage
from pipeline.holding import held
from pipeline.inference import decisions as files
from pipeline.inference import label_studio
from pipeline.inference.decisions import Decided, Decisions
from pipeline.inference.live_accuracy import (
    LiveAccuracy,
    add,
    describe,
    read_audit,
    write_audit,
)
from pipeline.inference.originals import read_original
from pipeline.inference.published import Published, find
from pipeline.params import Params
from pipeline.serving.images import EXTENSIONS, Limits, inspect
from pipeline.words import images
from pipeline.workspace import Home

_LARGEST = 64 * 2**20


@dataclass(frozen=True)
class Applied:
    batch: str
    decided: int
    """Images with a label."""
    copied: int
    lost: int
    """Images that are gone or changed since they were predicted."""
    new_classes: tuple[str, ...]
    live: LiveAccuracy
    """Of all audits of the batch so far."""


def run(home: Home, params: Params, file: Path, say: Callable[[str], None]) -> Applied:
    """Raises ReviewError where the file does not fit the batch; then nothing is taken of it."""
    data = _bytes(file)
    decisions = label_studio.read(data) if label_studio.is_export(data) else files.read(data)
    published = _batch(home, params, decisions)
    drawn = files.drawn(decisions, published.rows)
    decided = files.decided(decisions, published.rows, published.classes)
    lock = home.private / "reviewed.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with held(lock, Busy("another run is applying decisions", mend="wait until it is done")):
        copied, lost = _take(home, params, decisions, decided)
        live = _add_to_the_audit(published.folder, drawn, decided)
    new = sorted({each.label for each in decided} - set(published.classes))
    applied = Applied(published.name, len(decided), copied, len(lost), tuple(new), live)
    if lost:
        say(f"left out, as they cannot be copied: {images(len(lost))}: {lost[0]}")
    for line in _lines(applied, len(decisions.items), decided):
        say(line)
    return applied


def _add_to_the_audit(
    batch: Path, drawn: Mapping[str, str], decided: list[Decided]
) -> LiveAccuracy:
    """Return what all decisions on the batch's audit say that were ever applied."""
    before = read_audit(batch)
    audit = add(before, drawn, decided)
    if audit.drawn and audit != before:
        write_audit(batch, audit)
    return audit.live


def _bytes(file: Path) -> bytes:
    file = file.expanduser()
    try:
        if not file.exists():
            raise ReviewError(
                "there is no such file of decisions",
                str(file),
                mend="name the place where the browser saved it: "
                f"darkroom review apply ~/Downloads/{file.name}",
            )
        return read_regular(file.resolve(), _LARGEST)
    except (OSError, UnreadableImage) as error:
        said = error.detail if isinstance(error, UnreadableImage) else error.strerror
        raise ReviewError(
            "the file of decisions cannot be read",
            f"{file}: {said}",
            mend="name the file that the review page saved, such as ~/Downloads/….decisions.json",
        ) from None


def _batch(home: Home, params: Params, decisions: Decisions) -> Published:
    if decisions.model_name != params.model_name:
        raise ReviewError(
            "the decisions are about another model's batch",
            f"theirs: {files.shown(decisions.model_name)}; this project's: {params.model_name}",
            mend="apply them where data.source and registry.model_name are those of that model",
        )
    published = find(home.predictions, params.model_name, decisions.batch)
    if (published.name, published.model_version) != (decisions.batch, decisions.model_version):
        raise ReviewError(
            "the decisions name another batch, or version of the model, than there is",
            f"theirs: {files.shown(decisions.batch)}, version {decisions.model_version}",
            f"there is: {published.name}, version {published.model_version}",
            mend="make the page anew: darkroom review page " + published.name,
        )
    return published


def _take(
    home: Home, params: Params, decisions: Decisions, decided: list[Decided]
) -> tuple[int, list[str]]:
    """Copy what is not there yet; return how many files that were, and what could not be."""
    folder, limits = home.reviewed, image_limits(params.data)
    known = {each.sha256: each for each in read_reviewed(folder)}
    before, copied = dict(known), 0
    lost: list[str] = []
    sweep(folder)
    for each in decided:
        sha256 = each.row["sha256"]
        at = each.decided_at.isoformat(timespec="milliseconds")
        if sha256 in known and at <= known[sha256].decided_at:
            if (folder / known[sha256].path).is_file():
                continue  # it is there, or a later decision is
            at = known[sha256].decided_at
        try:
            data, extension = _image(home, each, limits)
        except UnreadableImage as error:
            lost.append(f"{each.row['path']}: {error.reason}, {error.detail}")
            continue
        record = known.get(sha256)
        if record is None or at > record.decided_at:
            record = _record(decisions, each, extension, at)
        copied += put(folder, record.path, data)
        known[sha256] = record
    if known != before:
        write_reviewed(folder, known.values())
    for sha256, record in before.items():
        if known[sha256].path != record.path:  # decided otherwise since
            (folder / record.path).unlink(missing_ok=True)
    return copied, lost


def _image(home: Home, each: Decided, limits: Limits) -> tuple[bytes, str]:
    archive, row = home.archive(each.row["model_name"]), each.row
    data = read_original(home.root, archive, row["path"], row["sha256"], limits.bytes)
    return data, EXTENSIONS[inspect(data, limits).format]


def _record(decisions: Decisions, each: Decided, extension: str, at: str) -> Reviewed:
    return Reviewed(
        path=place_of(each.label, each.row["sha256"], extension),
        label=each.label,
        sha256=each.row["sha256"],
        predicted=each.row["label"],
        because=each.because,
        batch=decisions.batch,
        model_name=decisions.model_name,
        model_version=str(decisions.model_version),
        decided_at=at,
        found_at=each.row["path"],
    )


def _lines(applied: Applied, items: int, decided: list[Decided]) -> list[str]:
    right = sum(each.label == each.row["label"] for each in decided)
    counts = Counter(each.label for each in decided)
    return [
        f"{applied.batch}: {applied.decided} of {images(items)} decided on: {right} as predicted, "
        f"{applied.decided - right} corrected, {items - applied.decided} skipped",
        f"copied to data/reviewed: {applied.copied}; "
        f"there already, or decided on later: {applied.decided - applied.copied - applied.lost}",
        *(
            f"new class: {name} ({images(counts[name])}): set aside by ingest until the source "
            f"has images of {name}, since it could be trained on, but not measured"
            for name in applied.new_classes
        ),
        *describe(applied.live),
        "next: darkroom ingest takes them in, for training alone",
    ]
