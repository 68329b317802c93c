"""What is measured, when, and that it is remembered. Times are made up: no test waits."""

from dataclasses import dataclass, field

import pytest
import torch
from trainings import PLAIN, SIZE, fresh_network, train_params

from pipeline.training import machine
from pipeline.training.machine import Choice

AUTO: dict[str, object] = PLAIN | {"precision": "auto", "compile": "auto"}
FP32, BF16, COMPILED = Choice("fp32", False), Choice("bf16", False), Choice("bf16", True)


@dataclass
class Stopwatch:
    """Takes the place of measuring: every choice has its seconds a step."""

    seconds: dict[Choice, float]
    measured: list[Choice] = field(default_factory=list)

    def __call__(self, network, size, batch_size, *choices) -> list[float]:
        torch.rand(1)  # dropout draws
        self.measured += [choice for choice in choices if choice not in self.measured]
        return [self.seconds[choice] for choice in choices]


@pytest.fixture
def chooses(monkeypatch, tmp_path):
    """Choose by these seconds a step, in a training of so many steps."""

    def choose(seconds: dict[Choice, float], steps: int = 1000, **changes: object):
        watch = Stopwatch(seconds)
        monkeypatch.setattr(machine, "_seconds_a_step", watch)
        monkeypatch.setattr(machine, "_has_compiler", lambda: True)
        params, said = train_params(**(AUTO | changes)), []
        network = fresh_network(params)
        choice = machine.choose(network, SIZE, steps, params, tmp_path / "machine", said.append)
        return choice, watch.measured, said

    return choose


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("compiled", ["on", "off"])
def test_what_is_given_is_obeyed_and_nothing_measured(chooses, tmp_path, precision, compiled):
    choice, measured, said = chooses({}, precision=precision, compile=compiled)
    assert (choice, measured, said) == (Choice(precision, compiled == "on"), [], [])
    assert not (tmp_path / "machine").exists()


def test_half_precision_is_taken_where_it_is_faster_and_said(chooses):
    choice, _, said = chooses({FP32: 0.1, BF16: 0.05})
    assert choice == BF16
    assert said == [
        "measuring what is faster here, once: fp32",
        "measuring what is faster here, once: fp32 or bf16, about 1 s",
        "measured to be faster here: bf16",
    ]


@pytest.mark.parametrize("seconds", [0.098, 0.1, 0.5])
def test_full_precision_stays_where_half_of_it_gains_next_to_nothing(chooses, seconds):
    choice, measured, said = chooses({FP32: 0.1, BF16: seconds})
    assert (choice, measured) == (FP32, [FP32, BF16])
    assert not any("faster here:" in line for line in said)


@pytest.mark.parametrize("loaded", [range(4), range(5, 9), range(0, 12, 2), range(0, 12, 3)])
def test_what_else_the_machine_does_meanwhile_decides_nothing(monkeypatch, loaded):
    """Its other work may end, or begin, in the middle of the measuring."""
    steps = []

    def step(network, pixels, precision):
        steps.append(precision)
        round_ = (len(steps) - 1) // 2
        return (1.0 if precision == "fp32" else 1.3) * (9 if round_ in loaded else 1)

    monkeypatch.setattr(machine, "_step", step)
    network = fresh_network(train_params(**AUTO))
    assert machine._seconds_a_step(network, SIZE, 2, FP32, BF16) == [1.0, 1.3]
    assert steps[:4] == ["fp32", "bf16", "fp32", "bf16"]


def test_a_training_of_less_than_half_a_minute_is_not_measured_further(chooses):
    choice, measured, _ = chooses({FP32: 0.029, BF16: 0.001})
    assert (choice, measured) == (FP32, [FP32])


def test_a_training_of_few_steps_is_not_measured_at_all(chooses, tmp_path):
    assert chooses({}, steps=99)[:2] == (FP32, [])
    assert not (tmp_path / "machine").exists()


def test_what_memory_does_not_hold_is_left_to_the_loop_and_not_remembered(chooses, tmp_path):
    class Short(dict):
        def __getitem__(self, choice):
            raise torch.OutOfMemoryError("of 80 GiB none is free")

    assert chooses(Short())[:2] == (FP32, [FP32])
    assert not list((tmp_path / "machine").glob("*"))
    assert chooses({FP32: 0.1, BF16: 0.05})[0] == BF16


def test_compiling_is_tried_where_training_takes_long_enough_to_gain(chooses):
    seconds = {FP32: 2.0, BF16: 1.5, COMPILED: 1.0}
    choice, _, said = chooses(seconds)
    assert choice == COMPILED
    assert said[-1] == "measured to be faster here: bf16, compiled"


def test_compiling_is_not_tried_where_training_is_too_short_to_gain(chooses):
    choice, measured, _ = chooses({FP32: 2.0, BF16: 1.5}, steps=790)
    assert (choice, measured) == (BF16, [FP32, BF16])


def test_what_was_measured_before_an_interrupt_is_kept(chooses, tmp_path):
    class Interrupted(dict):
        def __missing__(self, choice):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chooses(Interrupted({FP32: 2.0, BF16: 1.5}))
    choice, measured, _ = chooses({BF16: 1.5, COMPILED: 1.0})
    assert (choice, measured) == (COMPILED, [BF16, COMPILED])


def test_a_longer_training_measures_only_what_the_shorter_one_did_not_need(chooses):
    chooses({FP32: 2.0, BF16: 1.5}, steps=100)
    assert chooses({BF16: 1.5, COMPILED: 1.0})[:2] == (COMPILED, [BF16, COMPILED])


def test_without_a_compiler_nothing_is_compiled(chooses, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert not machine._has_compiler()


@pytest.mark.parametrize(
    ("given", "measured"),
    [
        ({"precision": "fp32"}, [FP32, Choice("fp32", True)]),
        ({"compile": "off"}, [FP32, BF16]),
    ],
)
def test_only_what_is_left_open_is_measured(chooses, given, measured):
    seconds = {FP32: 2.0, BF16: 1.0, Choice("fp32", True): 1.0}
    assert chooses(seconds, **given)[1] == measured


def test_a_choice_is_remembered_even_if_the_machine_is_busy_next_time(chooses):
    first, measured, _ = chooses({FP32: 0.1, BF16: 0.05})
    again, nothing, said = chooses({FP32: 0.05, BF16: 0.1})
    assert measured and again == first == BF16
    assert (nothing, said) == ([], [])


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"precision": "bf16", "compile": false}',
        '{"fp32": 0.1}',
        '{"fp32": ["fast"]}',
        '{"fp32": [NaN], "fp32 or bf16": [0.1, 0.2]}',
        '{"fp32": [], "fp32 or bf16": [0.1]}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_note_is_measured_anew_and_mended(chooses, tmp_path, damage):
    seconds = {FP32: 0.1, BF16: 0.05}
    chooses(seconds)
    (note,) = (tmp_path / "machine").glob("*.json")
    note.write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    assert chooses(seconds)[:2] == (BF16, [FP32, BF16])
    assert chooses(seconds)[:2] == (BF16, [])


@pytest.mark.parametrize(
    "change", [{"batch_size": 7}, {"hidden": 9}, {"compile": "off"}, {"precision": "fp32"}]
)
def test_another_training_is_measured_for_itself(chooses, change):
    seconds = {FP32: 0.1, BF16: 0.05}
    chooses(seconds)
    assert chooses(seconds, **change)[1]


def test_measuring_draws_no_random_number_and_moves_no_weight(tmp_path):
    """Really measured, once."""
    params = train_params(**AUTO, batch_size=2, hidden=4)
    network = fresh_network(params)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    state = torch.get_rng_state()
    machine.choose(network, SIZE, 100, params, tmp_path, lambda _: None)
    assert list(tmp_path.glob("*.json")), "it was measured"
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
