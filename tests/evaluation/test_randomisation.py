"""Swapped at random: an exact level for any metric, with draws enough for a spent alpha."""

import math

import numpy as np
import pytest

from pipeline.evaluation import randomisation
from pipeline.evaluation.comparison import mcnemar
from pipeline.evaluation.difference import Pair
from pipeline.evaluation.power import spent
from pipeline.evaluation.randomisation import draws_for, p_value

TINY = (0.6, 0.3, 0.05, 0.03, 0.02)


def answers(generator: np.random.Generator, images: int, shares=TINY, *, ahead: float = 0) -> Pair:
    """Two models that are one, each with noise of its own; the first may be *ahead*."""
    labels = generator.choice(len(shares), images, p=shares)
    right = np.eye(len(shares))[labels]
    shared = generator.normal(size=right.shape) + 2.5 * right

    def one(skill: float) -> np.ndarray:
        raised = np.exp(2 * (shared + 0.5 * generator.normal(size=right.shape) + skill * right))
        return raised / raised.sum(1, keepdims=True)

    return one(ahead), one(0), labels


def swapped(pair: Pair) -> Pair:
    return pair[1], pair[0], pair[2]


@pytest.mark.parametrize("metric", ["macro_f1", "balanced_accuracy", "log_loss", "roc_auc"])
def test_a_model_that_is_ahead_is_above_and_the_other_way_round_not(metric):
    pair = answers(np.random.default_rng(0), 300, ahead=1.0)
    assert p_value(pair, metric, alpha=0.01, seed=0) <= 0.01
    assert p_value(swapped(pair), metric, alpha=0.01, seed=0) > 0.5


def test_of_accuracy_it_is_mcnemars_exact_test():
    pair = ours, theirs, labels = answers(np.random.default_rng(1), 100, ahead=0.3)
    hit, other_hit = ours.argmax(1) == labels, theirs.argmax(1) == labels
    exact = mcnemar(int((hit & ~other_hit).sum()), int((~hit & other_hit).sum()), "greater")
    found = p_value(pair, "accuracy", alpha=0.1, seed=0)
    assert 0.001 < exact < 0.1
    assert found == pytest.approx(exact, abs=4 * math.sqrt(exact / 10_000))


@pytest.mark.parametrize("metric", ["macro_f1", "balanced_accuracy"])
def test_equal_models_are_seldom_found_apart_even_of_classes_of_two_images(metric):
    alpha, pairs = 0.2, 200
    generator = np.random.default_rng(2)
    found = [p_value(answers(generator, 60), metric, alpha=alpha, seed=0) for _ in range(pairs)]
    assert np.mean(np.array(found) <= alpha) <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / pairs)


def test_models_that_answer_alike_are_not_apart():
    ours, _, labels = answers(np.random.default_rng(3), 50)
    assert p_value((ours, ours, labels), "macro_f1", alpha=0.05, seed=0) == 1


@pytest.mark.parametrize("use", [1, 5, 20, 100])
@pytest.mark.parametrize("work", [100, 10**6])
def test_there_are_draws_enough_for_a_later_use(use, work):
    """However costly: else no model could be promoted any more."""
    alpha = spent(0.05, use)
    assert 1 / (1 + draws_for(alpha, work)) <= alpha
    assert draws_for(alpha, work) <= max(1 / alpha, 5 * 10**8 / work)


def test_draws_end_where_they_can_decide_nothing_any_more(monkeypatch):
    drawn = []

    def counted(*arguments: int):
        for kept in swaps(*arguments):
            drawn.append(kept.shape)
            yield kept

    swaps = randomisation._swaps
    monkeypatch.setattr(randomisation, "_swaps", counted)
    pair = answers(np.random.default_rng(4), 2000)
    assert p_value(pair, "macro_f1", alpha=0.0001, seed=0) > 0.0001
    assert len(drawn) == 1 and np.prod(drawn[0]) <= 1_000_000, "of 100,000 draws; 8 MB of counts"


def test_equal_answers_are_judged_equally():
    pair = answers(np.random.default_rng(5), 100, ahead=0.1)
    first, again = (p_value(pair, "macro_f1", alpha=0.05, seed=0) for _ in range(2))
    assert first == again
