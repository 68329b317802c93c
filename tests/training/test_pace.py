"""How fast a training goes: its descents, and nothing beside them."""

from pipeline.training.loop import Step
from pipeline.training.pace import Pace, duration


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


def test_after_the_first_steps_the_rest_is_estimated_and_what_is_shorter_on_a_processor_is_said():
    pace = Pace()
    pace.see(step(1, 1), 0.0)
    pace.see(step(1, 2), 9.0)
    assert pace.estimate(100, "cpu") is None, "too early to tell"
    pace.see(step(1, 3), 18.0)
    short, long = pace.estimate(10, "cpu"), pace.estimate(100, "cpu")
    assert short == "about 4 min 3 s for the 10 epochs, validation apart"
    assert long.startswith("about 44 min 33 s") and "small_cnn" in long
    assert "small_cnn" not in pace.estimate(100, "cuda")


def test_a_training_that_is_nearly_done_is_not_estimated():
    pace = Pace()
    pace.see(step(1, 1), 0.0)
    pace.see(step(1, 2), 20.0)
    assert pace.estimate(1, "cpu") is None


def test_a_time_is_told_in_hours_where_it_is_long():
    assert [duration(s) for s in (45, 125, 15_130)] == ["45 s", "2 min 5 s", "4 h 12 min"]
