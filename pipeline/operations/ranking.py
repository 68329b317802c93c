"""What a study has found: its trials, the best first, and the lines that a person reads of them."""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.errors import TrainingError
from pipeline.params import TrainParams
from pipeline.training.results import rank

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


def ranked(trials: optuna.Study, keep: str) -> Tuned:
    """Rank the trials as *keep* ranks the epochs of one training, among equal ones the first;
    raise TrainingError where none came to its end."""
    whole = [_trial(trial) for trial in trials.get_trials(states=[TrialState.COMPLETE])]
    faults = [t.user_attrs["fault"] for t in trials.trials if "fault" in t.user_attrs]
    if not whole:
        raise TrainingError(
            "no trial came to its end",
            *faults[:2],
            mend="mend tune.ranges in params.yaml, or let dvc repro train show the fault",
        )
    best_first = sorted(whole, key=lambda trial: rank(keep, trial.accuracy, trial.loss))
    cut_short = len(trials.get_trials(states=[TrialState.PRUNED]))
    return Tuned(trials.study_name, tuple(best_first), cut_short, len(faults))


def _trial(trial: FrozenTrial) -> Trial:
    facts = trial.user_attrs
    values = json.loads(facts["values"])
    return Trial(trial.number, values, facts["epoch"], facts["accuracy"], facts["loss"])


def told(trial: FrozenTrial, values: Mapping[str, Any]) -> str:
    """What came of a trial that has ended, in a line."""
    facts = trial.user_attrs
    if "fault" in facts:
        return f"failed ({facts['fault']})  {_list(values)}"
    figures = f"validation accuracy {facts['accuracy']:.4f}, loss {facts['loss']:.4f}"
    if trial.state == TrialState.PRUNED:
        figures += f", cut short after epoch {trial.last_step}"
    return f"{figures}  {_list(values)}"


def report(tuned: Tuned, train: TrainParams) -> Iterator[str]:
    """Yield the best trials, and what makes *train* the best of them."""
    whole = len(tuned.ranking)
    yield ""
    yield (
        f"study {tuned.name}: {whole} trials came to their end, {tuned.cut_short} were cut short, "
        f"{tuned.failed} failed; by {train.keep.replace('_', ' ')}:"
    )
    for place, trial in enumerate(tuned.ranking[:_SHOWN], 1):
        figures = f"accuracy {trial.accuracy:.4f}  loss {trial.loss:.4f}  epoch {trial.epoch:3}"
        yield f"  {place}. {figures}  {_list(trial.values)}"
    best = tuned.ranking[0].values
    changed = {k: v for k, v in best.items() if getattr(train, k) != v}
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
