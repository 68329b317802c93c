"""A study: what its trials have in common, and the file that they are kept in.

The file outlives the process: it is named by all that the trials follow from, and a trial that was
under way when its process ended is repeated from it.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.pruners import MedianPruner
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from pipeline.data.splits import Splits
from pipeline.errors import Busy, DarkroomError, ProjectError, StorageError
from pipeline.graph import training_key
from pipeline.holding import held
from pipeline.params import Params, Range, TrainParams
from pipeline.workspace import Home, Workspace

FILE_FAULTS = (StorageInternalError, SQLAlchemyError)
"""What Optuna raises where a study's file does not do what it should."""
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)
"""No database, malformed, or without a table: only these lose nothing when the file is deleted."""
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_OF_THE_DISK = (
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN),
    *(sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM),
)
_REPEATS = 2
_SPARED = 4
"""Trials that come to their end before others are held against them."""


@dataclass(frozen=True)
class Study:
    """What all trials have in common."""

    workspace: Workspace
    home: Home
    params: Params
    splits: Splits

    @property
    def fixed(self) -> dict[str, Any]:
        """The parameters of `train` that are the same for every trial."""
        train, tune = self.params.train.model_dump(), self.params.tune
        epochs = tune.epochs or train["epochs"]
        return {k: v for k, v in train.items() if k not in tune.ranges} | {"epochs": epochs}

    @property
    def key(self) -> str:
        """Equal splits, code, ranges and everything fixed: the same study."""
        tune = self.params.tune
        ranges = tune.model_dump(include={"ranges", "seed"})
        values = {"train": self.fixed | {"tune": ranges}}
        return training_key(self.workspace, self.home, self.params.train, values)

    @property
    def facts(self) -> dict[str, str]:
        """All that is fixed, and the ranges, by their names in params.yaml."""
        tune = self.params.tune
        ranges = {f"tune.ranges.{k}": json.dumps(v) for k, v in tune.model_dump()["ranges"].items()}
        fixed = {f"train.{name}": str(value) for name, value in self.fixed.items()}
        return ranges | fixed | {"tune.seed": str(tune.seed)}

    def train_params(self, values: Mapping[str, Any]) -> TrainParams:
        return TrainParams.model_validate(self.fixed | dict(values))


@contextmanager
def file_of(study: Study) -> Iterator[Path]:
    """Hold the study's file; raise Busy where another process does."""
    path = study.home.private / "tune" / f"{study.key[:16]}.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    busy = Busy(
        "another process is at this very study", f"study: {path}", mend="wait until it is done"
    )
    with held(Path(f"{path}.lock"), busy):
        yield path


@contextmanager
def opened(path: Path, keep: str) -> Iterator[optuna.Study]:
    """Open, or begin, the study in the file *path*, for a block that reads and writes it.

    Raises ProjectError where the file is damaged, Busy where another program keeps it locked, and
    StorageError where the disk is full, read-only or failing: the study is then kept.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield _create(path, keep)
    except FILE_FAULTS as error:
        if (named := _named(path, error)) is None:
            raise
        raise named from None


def _create(path: Path, keep: str) -> optuna.Study:
    try:
        return optuna.create_study(
            storage=f"sqlite:///{path}",
            study_name=path.stem,
            direction="minimize" if keep == "validation_loss" else "maximize",
            pruner=MedianPruner(n_startup_trials=_SPARED, n_warmup_steps=2),
            load_if_exists=True,
        )
    except KeyError:  # what was found has rows that belong to none
        raise _damaged(path, "rows of it are missing") from None


def _named(path: Path, error: BaseException) -> DarkroomError | None:
    """Return what a fault of SQLite's is to a person; None for any other one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, sqlite3.Error):
        cause = cause.__cause__
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # its kind, of which the rest tells more
    if code in _DAMAGED:
        return _damaged(path, str(cause))
    if code in _LOCKED:
        return Busy(
            "another program is at the study's file",
            f"{path}: {cause}",
            mend="wait until it is done, or end it, and run the same command again",
        )
    if code in _OF_THE_DISK:
        return StorageError(
            "the study's file cannot be read or written",
            f"{path}: {cause}",
            mend="free space, or give the folder back its rights, and run the same command again",
        )
    return None


def _damaged(path: Path, told: str) -> ProjectError:
    return ProjectError(
        "the study's file is damaged", f"{path}: {told}", mend="delete it: the study begins anew"
    )


def ended(trials: optuna.Study) -> int:
    """How many trials have told something; one that was killed has not."""
    return sum(
        trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or "fault" in trial.user_attrs
        for trial in trials.get_trials(deepcopy=False)
    )


def must_repeat(trial: optuna.Trial) -> bool:
    """Note that *trial* raised what nobody foresaw; return whether it is to be tried again.

    Once may be the machine's doing; what raises each time would be repeated at every start.
    """
    raised = trial.user_attrs.get("raised", 0) + 1
    trial.set_user_attr("raised", raised)
    return bool(raised <= _REPEATS)


def line_up(study: Study, trials: optuna.Study) -> None:
    """What params.yaml says now is tried first; what was being tried when all ended, next."""
    if not trials.trials:
        present = {name: getattr(study.params.train, name) for name in study.params.tune.ranges}
        if all(_is_in(present[name], kind) for name, kind in study.params.tune.ranges.items()):
            trials.enqueue_trial(present)
    for trial in trials.get_trials(states=[TrialState.RUNNING]):
        trials.tell(trial.number, state=TrialState.FAIL)
        values = trial.system_attrs.get("fixed_params", trial.params)
        is_known = "fault" in trial.user_attrs  # it had told all but its end
        if not is_known and set(values) == set(study.params.tune.ranges):
            trials.enqueue_trial(values, user_attrs=trial.user_attrs)


def _is_in(value: Any, kind: Sequence[Any] | Range) -> bool:
    if not isinstance(kind, Range):
        return value in kind
    return isinstance(value, int | float) and kind.low <= value <= kind.high
