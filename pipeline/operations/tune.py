"""Hyperparameters → a study: trainings that are tried, the poor ones cut short, the best one named.

The study's file outlives the process. What a trial tries follows from the seed and from the trials
that have come to an end, so that a study that was killed goes on to what it would have found.
"""

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import StorageInternalError
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from pipeline.data.splits import Splits, read_splits
from pipeline.errors import Busy, ParamsError, ProjectError, TrainingError
from pipeline.graph import dataset_version, training_key
from pipeline.holding import held
from pipeline.operations.dvc import dvc
from pipeline.params import Params, Range, TrainParams, is_whole, set_values
from pipeline.tracking.studies import ShownStudy, ShownTrial, open_study
from pipeline.training.loop import Epoch, fit
from pipeline.training.preparation import architecture_for, prepare
from pipeline.training.results import Results
from pipeline.workspace import Home, Workspace

Watch = Callable[[int, int], None]
"""Is shown how many epochs are done, of how many."""
_DRAWN = 6
"""Trials that are drawn blindly before the sampler learns."""
_SPARED = 4
"""Trials that come to their end before others are held against them."""
_SHOWN = 5


@dataclass(frozen=True)
class Trial:
    """One training that came to its end."""

    number: int
    values: Mapping[str, Any]
    """Of the parameters of `train` that were tried."""
    epoch: int
    """The one that did best."""
    accuracy: float
    loss: float


@dataclass(frozen=True)
class Tuned:
    name: str
    ranking: tuple[Trial, ...]
    """The best first; those that were cut short or failed are not in it."""
    cut_short: int
    failed: int


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

    def train_params(self, values: Mapping[str, Any]) -> TrainParams:
        return TrainParams.model_validate(self.fixed | dict(values))


def run(
    workspace: Workspace,
    home: Home,
    params: Params,
    say: Callable[[str], None],
    watch: Watch = lambda done, of: None,
    *,
    apply: bool = False,
) -> Tuned:
    """Go on with the study of params.yaml until it has its trials, or its minutes are over (one
    trial is made in any case).

    *apply* writes the best one to params.yaml. Raises Busy where another process is at the same
    study, TrainingError where no trial came to its end.
    """
    dataset_version(workspace)  # a clear error where there is none
    dvc(workspace, "repro", "--quiet", "split")
    study = Study(workspace, home, params, read_splits(workspace.splits))
    with _file_of(study) as path:
        shown = open_study(
            home, params.model_name, study.key, _facts(study), dataset_version(workspace), say
        )
        with shown.ending(), _opened(path, params.train.keep) as trials:
            _search(study, trials, shown, say, watch)
            tuned = _tuned(study, trials)
        shown.end({f"train.{name}": value for name, value in tuned.ranking[0].values.items()})
    for line in _report(tuned, params):
        say(line)
    if apply:
        best = {f"train.{name}": value for name, value in tuned.ranking[0].values.items()}
        for key, before in set_values(workspace.params, best).items():
            say(f"params.yaml: {key}: {before} -> {best[key]}")
    return tuned


@contextmanager
def _file_of(study: Study) -> Iterator[Path]:
    path = study.home.private / "tune" / f"{study.key[:16]}.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    busy = Busy(
        "another process is at this very study", f"study: {path}", mend="wait until it is done"
    )
    with held(Path(f"{path}.lock"), busy):
        yield path


@contextmanager
def _opened(path: Path, keep: str) -> Iterator[optuna.Study]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield optuna.create_study(
            storage=f"sqlite:///{path}",
            study_name=path.stem,
            direction="minimize" if keep == "validation_loss" else "maximize",
            pruner=MedianPruner(n_startup_trials=_SPARED, n_warmup_steps=2),
            load_if_exists=True,
        )
    except (StorageInternalError, SQLAlchemyError) as error:
        raise ProjectError(
            "the study's file cannot be used",
            str(path),
            str(error.__cause__ or error).splitlines()[0],
            mend="delete it, and the study begins anew",
        ) from None


def _search(
    study: Study, trials: optuna.Study, shown: ShownStudy, say: Callable[[str], None], watch: Watch
) -> None:
    tune, started = study.params.tune, time.monotonic()
    _repeat_killed(study, trials)
    known = _ended(trials)
    say(f"study {trials.study_name}: {tune.trials} trials" + (f", {known} known" if known else ""))
    while (done := _ended(trials)) < tune.trials:
        if done > known and tune.minutes and time.monotonic() - started > tune.minutes * 60:
            say(f"tune.minutes: {tune.minutes:g} are over; darkroom tune goes on from here")
            break
        trials.sampler = TPESampler(n_startup_trials=_DRAWN, seed=_seed(tune.seed, done))
        trial = trials.ask()
        present = study.params.train.model_dump()
        values = {n: _draw(trial, n, kind, present[n]) for n, kind in tune.ranges.items()}
        with shown.trial(trial.number, values) as shown_trial:
            outcome = _try(study, trial, values, shown_trial, done, watch)
        trials.tell(trial, *outcome)
        say(
            f"trial {done + 1}/{tune.trials}: {_told(trials.trials[trial.number])}  {_list(values)}"
        )


def _repeat_killed(study: Study, trials: optuna.Study) -> None:
    """What params.yaml says now is tried first; what was being tried when all ended, next."""
    if not trials.trials:
        present = {name: getattr(study.params.train, name) for name in study.params.tune.ranges}
        if all(_is_in(present[name], kind) for name, kind in study.params.tune.ranges.items()):
            trials.enqueue_trial(present)
    for trial in trials.get_trials(states=[TrialState.RUNNING]):
        trials.tell(trial.number, state=TrialState.FAIL)
        values = trial.system_attrs.get("fixed_params", trial.params)
        if set(values) == set(study.params.tune.ranges):
            trials.enqueue_trial(values)


def _try(
    study: Study,
    trial: optuna.Trial,
    values: Mapping[str, Any],
    shown: ShownTrial,
    before: int,
    watch: Watch,
) -> tuple[float | None, TrialState]:
    """Train with *values*; a training that cannot be is a failed trial, and not the end."""
    try:
        train = study.train_params(values)
        results = Results(train.keep)
        pruned = False
        for epoch in _epochs(study, train, results):
            shown.epoch(epoch)
            trial.report(getattr(epoch, train.keep), epoch.epoch)
            watch(before * train.epochs + epoch.epoch, study.params.tune.trials * train.epochs)
            pruned = epoch.epoch < train.epochs and trial.should_prune()
            if pruned or results.is_over(train.patience):
                break
    except (TrainingError, ParamsError) as error:
        trial.set_user_attr("fault", "; ".join((error.what, *error.where)))
        shown.outcome = "failed"
        return None, TrialState.FAIL
    best = results.best_epoch
    facts = {
        "epoch": best.epoch,
        "accuracy": best.validation_accuracy,
        "loss": best.validation_loss,
        "values": json.dumps(dict(values)),
    }
    for key, value in facts.items():
        trial.set_user_attr(key, value)
    shown.outcome = "cut short" if pruned else "whole"
    if pruned:
        return None, TrialState.PRUNED
    return getattr(best, train.keep), TrialState.COMPLETE


def _epochs(study: Study, train: TrainParams, results: Results) -> Iterator[Epoch]:
    """The training of the stage, without its checkpoints and files."""
    architecture = architecture_for(study.splits, train)
    training, validation, _ = prepare(
        study.workspace, study.home, train, study.splits, architecture, lambda line: None
    )
    for record in fit(training, *validation):
        if isinstance(record, Epoch):
            results.add(record, training.judged)
            yield record


def _seed(seed: int, ended: int) -> int:
    """Another one for each trial: what is drawn follows from it and from the trials before."""
    return int(np.random.SeedSequence((seed, ended)).generate_state(1)[0])


def _draw(trial: optuna.Trial, name: str, kind: Sequence[Any] | Range, present: Any) -> Any:
    if not isinstance(kind, Range):
        return trial.suggest_categorical(name, kind)
    if is_whole(name):
        return trial.suggest_int(name, int(kind.low), int(kind.high), log=kind.log)
    value = trial.suggest_float(name, kind.low, kind.high, log=kind.log)
    if value == present:  # as params.yaml has it
        return value
    return min(max(float(f"{value:.3g}"), kind.low), kind.high)  # a person can write it


def _is_in(value: Any, kind: Sequence[Any] | Range) -> bool:
    if not isinstance(kind, Range):
        return value in kind
    return isinstance(value, int | float) and kind.low <= value <= kind.high


def _ended(trials: optuna.Study) -> int:
    """How many trials have told something; one that was killed has not."""
    return sum(
        trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or "fault" in trial.user_attrs
        for trial in trials.get_trials(deepcopy=False)
    )


def _tuned(study: Study, trials: optuna.Study) -> Tuned:
    whole = [_trial(trial) for trial in trials.get_trials(states=[TrialState.COMPLETE])]
    faults = [t.user_attrs["fault"] for t in trials.trials if "fault" in t.user_attrs]
    if not whole:
        raise TrainingError(
            "no trial came to its end",
            *faults[:2],
            mend="mend tune.ranges in params.yaml, or let dvc repro train show the fault",
        )
    ranking = tuple(sorted(whole, key=_rank(study.params.train.keep)))
    cut_short = len(trials.get_trials(states=[TrialState.PRUNED]))
    return Tuned(trials.study_name, ranking, cut_short, len(faults))


def _rank(keep: str) -> Callable[[Trial], tuple[float, float, int]]:
    """As train.keep ranks the epochs of one training."""
    if keep == "validation_loss":
        return lambda trial: (trial.loss, -trial.accuracy, trial.number)
    return lambda trial: (-trial.accuracy, trial.loss, trial.number)


def _trial(trial: FrozenTrial) -> Trial:
    facts = trial.user_attrs
    values = json.loads(facts["values"])
    return Trial(trial.number, values, facts["epoch"], facts["accuracy"], facts["loss"])


def _told(trial: FrozenTrial) -> str:
    if "fault" in trial.user_attrs:
        return f"failed ({trial.user_attrs['fault']})"
    facts = trial.user_attrs
    figures = f"validation accuracy {facts['accuracy']:.4f}, loss {facts['loss']:.4f}"
    pruned = trial.state == TrialState.PRUNED
    return figures + (f", cut short after epoch {trial.last_step}" if pruned else "")


def _report(tuned: Tuned, params: Params) -> Iterator[str]:
    whole = len(tuned.ranking)
    yield ""
    yield (
        f"study {tuned.name}: {whole} trials came to their end, {tuned.cut_short} were cut short, "
        f"{tuned.failed} failed; by {params.train.keep.replace('_', ' ')}:"
    )
    for place, trial in enumerate(tuned.ranking[:_SHOWN], 1):
        figures = f"accuracy {trial.accuracy:.4f}  loss {trial.loss:.4f}  epoch {trial.epoch:3}"
        yield f"  {place}. {figures}  {_list(trial.values)}"
    best = tuned.ranking[0].values
    changed = {k: v for k, v in best.items() if getattr(params.train, k) != v}
    if not changed:
        yield "nothing did better than params.yaml as it is"
        return
    settings = " ".join(f"-S {shlex.quote(f'train.{k}={_text(v)}')}" for k, v in changed.items())
    yield f"try it       dvc exp run {settings}"
    yield "keep it      darkroom tune --apply, or in params.yaml:"
    yield "  train:"
    yield from (f"    {name}: {_text(value)}" for name, value in changed.items())


def _list(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_text(value)}" for name, value in values.items())


def _text(value: Any) -> str:
    """As YAML and the command line have it."""
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _facts(study: Study) -> dict[str, str]:
    tune = study.params.tune
    ranges = {f"tune.ranges.{k}": json.dumps(v) for k, v in tune.model_dump()["ranges"].items()}
    fixed = {f"train.{name}": str(value) for name, value in study.fixed.items()}
    return ranges | fixed | {"tune.seed": str(tune.seed)}
