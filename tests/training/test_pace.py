"""How fast a training goes: its descents, and nothing beside them."""

from pipeline.training.loop import Step
from pipeline.training.pace import Pace


def step(epoch: int, number: int) -> Step:
    return Step(
        epoch=epoch, number=number, of=3, images=number * 10, loss=0.5, accuracy=0.75, parts=1
    )


def test_the_pace_leaves_out_the_time_of_validation():
    pace = Pace()
    for epoch, start in ((1, 0.0), (2, 100.0)):
        for number in (1, 2, 3):
            pace.see(step(epoch, number), start + number)
    assert pace.images == 40
    assert pace.images_per_second == 10


def test_a_training_of_one_step_an_epoch_has_no_pace():
    pace = Pace()
    pace.see(step(1, 1), 0.0)
    pace.see(step(2, 1), 9.0)
    assert pace.images_per_second == 0
