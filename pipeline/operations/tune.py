"""Hyperparameters → a study: trainings that are tried, the poor ones cut short, the best one named.

What a trial tries follows from the seed and from the trials that have come to an end, so that a
study that was killed goes on to what it would have found.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from pipeline.data.splits import read_splits
from pipeline.errors import DarkroomError, ParamsError, TrainingError
from pipeline.graph import dataset_version
from pipeline.operations.dvc import dvc
from pipeline.operations.ranking import Tuned, ranked, report, told
from pipeline.operations.study import (
    FILE_FAULTS,
    Study,
    ended,
    file_of,
    line_up,
    must_repeat,
    opened,
)
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
    with file_of(study) as path:
        shown = open_study(
            home, params.model_name, study.key, study.facts, dataset_version(workspace), say
        )
        with shown.ending(), opened(path, params.train.keep) as trials:
            _search(study, trials, shown, say, watch)
            tuned = ranked(trials, params.train.keep)
        shown.end({f"train.{name}": value for name, value in tuned.ranking[0].values.items()})
    for line in report(tuned, params.train):
        say(line)
    if apply:
        best = {f"train.{name}": value for name, value in tuned.ranking[0].values.items()}
        for key, before in set_values(workspace.params, best).items():
            say(f"params.yaml: {key}: {before} -> {best[key]}")
    return tuned


def _search(
    study: Study, trials: optuna.Study, shown: ShownStudy, say: Callable[[str], None], watch: Watch
) -> None:
    tune, started = study.params.tune, time.monotonic()
    line_up(study, trials)
    known = ended(trials)
    say(f"study {trials.study_name}: {tune.trials} trials" + (f", {known} known" if known else ""))
    while (done := ended(trials)) < tune.trials:
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
        say(f"trial {done + 1}/{tune.trials}: {told(trials.trials[trial.number], values)}")


def _try(
    study: Study,
    trial: optuna.Trial,
    values: Mapping[str, Any],
    shown: ShownTrial,
    before: int,
    watch: Watch,
) -> tuple[float | None, TrialState]:
    """Train with *values*; a training that cannot be is a failed trial, and not the end.

    What nobody foresaw ends the study, so that somebody sees it, until it is sure to come again.
    """
    try:
        results, pruned = _train(study, trial, values, shown, before, watch)
    except (TrainingError, ParamsError) as error:
        return _failed(trial, shown, "; ".join((error.what, *error.where)))
    except (DarkroomError, OSError, *FILE_FAULTS):  # of the machine, and not of the values
        raise
    except Exception as error:
        if must_repeat(trial):
            shown.outcome = "failed"
            raise
        return _failed(trial, shown, " ".join(f"{type(error).__name__}: {error}".split())[:200])
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
    return getattr(best, results.keep), TrialState.COMPLETE


def _failed(trial: optuna.Trial, shown: ShownTrial, fault: str) -> tuple[None, TrialState]:
    trial.set_user_attr("fault", fault)
    shown.outcome = "failed"
    return None, TrialState.FAIL


def _train(
    study: Study,
    trial: optuna.Trial,
    values: Mapping[str, Any],
    shown: ShownTrial,
    before: int,
    watch: Watch,
) -> tuple[Results, bool]:
    """Return what the training with *values* has shown, and whether it was cut short."""
    train = study.train_params(values)
    results = Results(train.keep)
    for epoch in _epochs(study, train, results):
        shown.epoch(epoch)
        trial.report(getattr(epoch, train.keep), epoch.epoch)
        watch(before * train.epochs + epoch.epoch, study.params.tune.trials * train.epochs)
        if epoch.epoch < train.epochs and trial.should_prune():
            return results, True
        if results.is_over(train.patience):
            break
    return results, False


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
