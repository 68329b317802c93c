"""A registered version, made again from what its run recorded: does the same come out?

Every stage from `split` on is run by force, in a scratch worktree with a home of its own, so that
neither a checkpoint, nor DVC's run cache, nor MLflow, nor an edit of today can take part.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.cards import read_card
from pipeline.errors import ArtefactError, CommandError, DarkroomError
from pipeline.graph import read_stages
from pipeline.operations.dvc_stage import reproduce
from pipeline.operations.sameness import (
    TOLERANCE,
    Row,
    Sameness,
    curve_rows,
    figure_rows,
    figures_of,
    weights_row,
)
from pipeline.operations.scratch import Scratch, scratch_of
from pipeline.params import Params
from pipeline.tracking import registry
from pipeline.tracking.recording import Recording, fetch_recording
from pipeline.tracking.store import connect, reaching
from pipeline.workspace import Home, Workspace

_BY_FORCE = ("--force", "--no-run-cache", "--no-commit")
_NEAR = 1e-9
"""What stands for the difference of bytes that have no figures: they bar `same`, no more."""


@dataclass(frozen=True)
class Reproduced:
    uri: str
    """models:/NAME/VERSION."""
    rows: tuple[Row, ...]
    epochs: int
    """That were trained anew."""
    unlike: tuple[str, ...]
    """What was not as it was: code edited between two stages, the machine, its libraries."""

    @property
    def verdict(self) -> Sameness:
        verdicts = {row.verdict for row in self.rows}
        return next(v for v in (Sameness.DIFFERENT, Sameness.NEAR, Sameness.SAME) if v in verdicts)


def run(
    workspace: Workspace, home: Home, params: Params, version: str, say: Callable[[str], None]
) -> Reproduced:
    """Make *version* (a number, or models:/NAME/VERSION, or models:/NAME@ALIAS) again.

    Raises ArtefactError where other weights or metrics come out (beyond a relative 1e-6), and by
    name what keeps it from being made again at all. Nothing of the project is changed.
    """
    uri = version if version.startswith("models:") else f"models:/{params.model_name}/{version}"
    client = connect(home, os.environ)
    with tempfile.TemporaryDirectory() as folder:
        with reaching(home, os.environ):
            recording = fetch_recording(client, registry.named(client, uri), Path(folder))
        with scratch_of(workspace, home, recording) as scratch:
            _run_stages(scratch, recording, say)
            done = _compare(recording, scratch)
    for line in _report(done):
        say(line)
    if done.verdict is Sameness.DIFFERENT:
        raise _other(done)
    return done


def _run_stages(scratch: Scratch, recording: Recording, say: Callable[[str], None]) -> None:
    for stage in read_stages(scratch.workspace.dvc_yaml):
        try:
            reproduce(scratch.workspace, stage.name, say, *_BY_FORCE, environ=scratch.environ)
        except DarkroomError as error:
            raise CommandError(
                f"{recording.version.uri} cannot be made again: stage {stage.name} failed in its "
                "scratch worktree",
                error.what,
                *error.where[:2],
                mend="what that names must be as it was when the version was trained",
            ) from None


def _compare(recording: Recording, scratch: Scratch) -> Reproduced:
    was, now = recording.folder, scratch.workspace
    digest = read_card(now.export_report / "card.json")["serving_digest"]
    recorded = figures_of(was / "evaluation/metrics.json")
    shown = {name: value for name, value in recording.metrics.items() if name in recorded}
    curves = curve_rows(was / "training/epochs.csv", now.trained / "epochs.csv")
    rows = (
        weights_row(was / "training/model.safetensors", now.trained / "model.safetensors"),
        _bytes_row("served model", recording.version.serving_digest, digest),
        *curves,
        *figure_rows(recorded | shown, figures_of(now.evaluation / "metrics.json")),
    )
    epochs = int(curves[0].found)
    return Reproduced(recording.version.uri, rows, epochs, tuple(_unlike(recording, scratch)))


def _bytes_row(name: str, recorded: str, found: str) -> Row:
    return Row(name, recorded[:12], found[:12], 0.0 if recorded == found else _NEAR)


def _unlike(recording: Recording, scratch: Scratch) -> Iterator[str]:
    yield from (f"{dep}: edited while the recorded run was made" for dep in scratch.edited)
    if not recording.machine:
        yield "the recorded run does not say what machine it ran on"
        return
    from pipeline.tracking.machine import facts

    now = facts(recording.device)
    settled = ("threads", "processes")  # as recorded, here too
    for name, was in recording.machine.items():
        if name not in settled and now.get(name) != was:
            yield f"{name}: {was} then, {now.get(name, 'none')} now"


def _report(done: Reproduced) -> Iterator[str]:
    width = max(len(row.name) for row in done.rows)
    shown = max(len(text) for row in done.rows for text in (row.recorded, row.found, "recorded"))
    yield ""
    yield f"{'':{width}}  {'recorded':{shown}}  {'found':{shown}}"
    for row in done.rows:
        yield f"{row.name:{width}}  {row.recorded:{shown}}  {row.found:{shown}}  {_told(row)}"
    if done.verdict is not Sameness.SAME:
        for line in done.unlike or ("nothing that is on record of code and machine has changed",):
            yield f"unlike       {line}"
    yield (
        f"{done.uri}, {done.epochs} epochs trained anew: {done.verdict}"
        + (f" ({TOLERANCE:g}, relative)" if done.verdict is Sameness.NEAR else "")
    )


def _told(row: Row) -> str:
    if row.verdict is Sameness.SAME:
        return "same to the byte" if row.name in ("weights", "served model") else "same"
    if row.name == "served model":
        return "other bytes"
    return f"{row.verdict}: {row.difference:.1e}"


def _other(done: Reproduced) -> ArtefactError:
    others = [row for row in done.rows if row.verdict is Sameness.DIFFERENT]
    named = ", ".join(row.name for row in others)
    return ArtefactError(
        f"{done.uri} was made again, and came out different: {len(others)} of {len(done.rows)}",
        named[:300],
        *(f"unlike: {line}" for line in done.unlike[:2]),
        mend="repeat it on the machine, and with the library versions, of the record; else the "
        "record was changed, or the training is not deterministic there",
    )
