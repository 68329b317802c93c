"""A training that was killed after any step goes on to the same weights, to the byte."""

import copy

import pytest
import torch
from trainings import fresh_network, greys, make_feed, make_training, run, weights

from pipeline.training import checkpoint
from pipeline.training.results import Results
from pipeline.training.session import Training

RECORDS = 8
"""Two epochs of three steps, each with its own record."""
AUGMENTED = {"flip": 0.5, "rotation": 20.0, "scale": 0.25, "shift": 0.1, "colour": 0.2}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="plain"),
        pytest.param({"dropout": 0.5, "hidden": 16}, id="dropout"),
        pytest.param({"ema": 0.9}, id="ema"),
        pytest.param({"mixup": 0.4}, id="mixup"),
        pytest.param({"balance": "sampling"}, id="sampling"),
        pytest.param({"balance": "loss"}, id="class weights"),
        pytest.param({"l1": 0.001}, id="l1"),
        pytest.param({"clip": 0.5}, id="clip"),
        pytest.param({"optimizer": "adamw", "learning_rate": 0.001}, id="adamw"),
        pytest.param({"schedule": "one_cycle"}, id="one cycle"),
        pytest.param({"accumulate": 4}, id="accumulate"),
        pytest.param({"freeze": "backbone"}, id="frozen"),
        pytest.param({"freeze": 2}, id="frozen until epoch 2"),
        pytest.param({"label_smoothing": 0.1}, id="label smoothing"),
        pytest.param(AUGMENTED | {"trivial": True, "erasing": 0.5}, id="augmentation"),
        pytest.param(
            AUGMENTED
            | {"dropout": 0.3, "ema": 0.9, "mixup": 0.2, "l1": 0.001, "clip": 1.0, "freeze": 2}
            | {"balance": "sampling", "optimizer": "adamw", "accumulate": 2},
            id="all at once",
        ),
    ],
)
def test_killed_after_any_step_it_ends_with_the_same_weights_to_the_byte(tmp_path, changes):
    def save_all() -> None:
        folder = tmp_path / str(next(number))
        folder.mkdir()
        state = {"training": whole.state(), "results": results.state()}
        checkpoint.save(folder, whole.progress.steps, state)

    undisturbed = make_training(**changes)
    records = run(undisturbed)
    assert len(records) == RECORDS
    number = iter(range(1, RECORDS + 1))
    whole, results = make_training(**changes), Results("validation_loss")
    run(whole, results, save_all)
    assert weights(whole.network) == weights(undisturbed.network), "saving changes nothing"
    for done in range(1, RECORDS + 1):
        state = checkpoint.load(tmp_path / str(done))
        again, found = make_training(**changes), Results("validation_loss")
        torch.manual_seed(99)  # another process
        again.restore(state["training"])
        found.restore(state["results"])
        assert run(again, found) == records[done:]
        assert weights(again.network) == weights(whole.network)
        assert weights(again.judged) == weights(whole.judged)
        assert found == results


def test_the_parts_of_a_batch_are_not_forgotten():
    short, again = make_training(), make_training()
    short.parts = 8
    again.restore(copy.deepcopy(short.state()))
    assert again.parts == 8


def test_rarer_classes_weigh_more_and_the_mean_image_weighs_one():
    inputs, _ = greys(60)
    labels = torch.arange(60).remainder(4).eq(3).long().numpy()
    params = make_training(balance="loss").params
    training = Training(fresh_network(params), make_feed(params, inputs, labels), params, "fp32")
    assert training.class_weights.tolist() == pytest.approx([60 / 2 / 45, 60 / 2 / 15])
    assert float(training.class_weights[torch.from_numpy(labels)].mean()) == pytest.approx(1)


@pytest.mark.parametrize("balance", ["none", "sampling"])
def test_classes_weigh_the_same_unless_asked(balance):
    assert make_training(balance=balance).class_weights is None
