"""A training that is interrupted says that the same command goes on."""

import signal
import sys

import pytest
from click.testing import CliRunner

from pipeline.cli import stages


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(128 + signal.SIGTERM)])
def test_whoever_interrupts_a_training_is_told_that_it_goes_on(monkeypatch, end):
    def interrupted() -> None:
        raise end

    monkeypatch.setattr(stages, "_train", interrupted)
    done = CliRunner().invoke(stages.train)
    assert done.exit_code != 0
    assert "the same command goes on from the last checkpoint" in done.output


def test_a_worker_that_has_told_its_error_otherwise_says_nothing_more(monkeypatch):
    monkeypatch.setattr(stages, "_train", lambda: sys.exit(0))
    assert CliRunner().invoke(stages.train).output == ""
