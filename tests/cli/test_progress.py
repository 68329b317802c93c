"""Training as a person sees it: figures while it runs, its pace at the end."""

import io
import sys

import pytest
from trainings import EPOCH

from pipeline.cli.progress import describe_step, watching
from pipeline.training.loop import Look, Step


def step(epoch: int, number: int) -> Step:
    return Step(
        epoch=epoch, number=number, of=3, images=number * 10, loss=0.5, accuracy=0.75, parts=1
    )


def test_a_step_shows_loss_accuracy_and_images_a_second():
    shown = describe_step(step(2, 1), 15, 1234.5)
    assert shown == "epoch 2/15  loss 0.5000  accuracy 0.750  1,234 images/s"


def watch_all() -> None:
    with watching(1) as watch:
        for number in (1, 2, 3):
            watch(step(1, number))
        watch(EPOCH)


def test_elsewhere_than_on_a_terminal_an_epoch_is_a_line_and_the_pace_the_last(capsys):
    watch_all()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/1  loss 0.5000  validation loss 0.2500  accuracy 0.8750")
    assert lines[1].startswith("took 0 s; trained at ")
    assert lines[1].endswith(" images/s")


def terminal(monkeypatch) -> io.StringIO:
    """What is shown on a terminal."""
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    return screen


def test_on_a_terminal_a_bar_has_the_figures(monkeypatch):
    screen = terminal(monkeypatch)
    watch_all()
    shown = screen.getvalue()
    assert "loss 0.5000  accuracy 0.750" in shown
    assert "images/s" in shown
    assert "3/3" in shown
    assert "validation loss 0.2500" in shown


def test_on_a_terminal_a_long_validation_is_seen_to_go_on(monkeypatch):
    screen = terminal(monkeypatch)
    with watching(15) as watch:
        watch(Look(epoch=2, images=256, of=6000))
    assert "epoch 2/15  validation: 256 of 6,000 images" in screen.getvalue()


def test_of_several_processes_only_the_first_is_seen(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    watch_all()
    assert capsys.readouterr().out == ""


def test_a_training_that_failed_has_no_summary(capsys):
    with pytest.raises(ValueError, match="it"), watching(1) as watch:
        watch(step(1, 1))
        watch(step(1, 2))
        raise ValueError("it")
    assert "took" not in capsys.readouterr().out
