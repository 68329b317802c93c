"""`darkroom run`: training, then inference, under one parent flow."""

from dataclasses import dataclass
from typing import Any

from prefect import flow

from flows.inference import inference
from flows.outcome import attempt, value
from flows.training import training
from pipeline.operations.classify import Classified
from pipeline.operations.register import Registered


@dataclass(frozen=True)
class Done:
    registered: Registered
    classified: Classified


@flow(name="darkroom")
def everything(inbox: str | None = None) -> Any:
    """Return Done, or the failed state of the flow that failed."""
    return attempt(
        lambda: Done(value(training(return_state=True)), value(inference(inbox, return_state=True)))
    )
