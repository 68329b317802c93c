"""Two samples of one source are rarely told apart; two sources are; odd values have a result."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inference.two_samples import (
    energy,
    kolmogorov_smirnov,
    psi,
    psi_of_counts,
    same_shares,
)

NUMBERS = st.lists(st.floats(width=32) | st.just(float("nan")), min_size=1, max_size=30)


def counts_of(random: np.random.Generator, n: int, shares: list[float]) -> np.ndarray:
    return random.multinomial(n, shares)


def share_at_5_percent(p_values: list[float]) -> float:
    return float(np.mean([p <= 0.05 for p in p_values]))


@pytest.mark.parametrize("n", [1, 2, 20, 200])
def test_values_of_one_source_differ_at_5_percent_in_one_of_twenty_samples(n):
    random = np.random.default_rng(n)
    found = [
        kolmogorov_smirnov(random.normal(size=300), random.normal(size=n)).p_value
        for _ in range(400)
    ]
    assert share_at_5_percent(found) <= 0.075


@pytest.mark.parametrize("n", [1, 3, 40])
def test_classes_however_rare_differ_at_5_percent_in_one_of_twenty_samples(n):
    random = np.random.default_rng(n)
    shares = [0.9, 0.08, 0.018, 0.002, 0.0]
    found = [
        same_shares(counts_of(random, 500, shares), counts_of(random, n, shares)).p_value
        for _ in range(300)
    ]
    assert share_at_5_percent(found) <= 0.08


@pytest.mark.parametrize("n", [1, 5, 40])
def test_embeddings_of_one_source_differ_at_5_percent_in_one_of_twenty_samples(n):
    random = np.random.default_rng(n)
    found = [
        energy(random.normal(size=(100, 6)), random.normal(size=(n, 6))).p_value for _ in range(200)
    ]
    assert share_at_5_percent(found) <= 0.085


def test_two_sources_are_told_apart():
    random = np.random.default_rng(0)
    reference = random.normal(size=500)
    assert kolmogorov_smirnov(reference, random.normal(0.5, size=200)).p_value < 0.001
    assert kolmogorov_smirnov(reference, random.normal(0, 3, size=200)).p_value < 0.001
    assert same_shares(np.array([500, 500]), np.array([130, 70])).p_value < 0.005
    directions = random.normal(size=(300, 8))
    shifted = random.normal(size=(100, 8)) + 0.7 * np.eye(8)[0]
    found = energy(directions, shifted)
    assert found.p_value == 1 / 2000  # none of the 1,999 is as far
    assert found.distance > 0.01


def test_the_same_question_has_the_same_answer():
    random = np.random.default_rng(0)
    known, new = random.normal(size=(50, 4)), random.normal(size=(1500, 4))
    assert energy(known, new) == energy(known, new)
    counts = np.array([5, 3, 1]), np.array([2, 2, 2])
    assert same_shares(*counts) == same_shares(*counts)


def test_what_never_changes_has_not_changed():
    assert kolmogorov_smirnov(np.full(300, 32.0), np.full(20, 32.0)).p_value == 1
    assert same_shares(np.array([300, 0]), np.array([20, 0])).p_value == 1
    assert energy(np.ones((300, 4)), np.ones((20, 4))).p_value == 1
    assert energy(np.zeros((300, 4)), np.zeros((20, 4))).p_value == 1
    assert psi(np.full(300, 32.0), np.full(20, 32.0)) == 0


def test_a_sure_network_on_another_machine_is_as_sure():
    rounded = np.nextafter(np.ones(20, np.float32), np.float32(0))
    assert kolmogorov_smirnov(np.ones(300), rounded).p_value == 1
    assert psi(np.ones(300), rounded) == 0


@pytest.mark.parametrize("changed", [16.0, 64.0, float("nan")])
def test_a_constant_that_changes_is_seen_by_test_and_index(changed):
    reference, values = np.full(300, 32.0), np.full(20, changed)
    assert kolmogorov_smirnov(reference, values).p_value < 1e-6
    assert psi(reference, values) > 1


def test_a_few_values_that_are_no_numbers_do_not_hide_the_others():
    random = np.random.default_rng(0)
    values = random.normal(1, size=200)
    values[:10] = np.nan
    assert kolmogorov_smirnov(random.normal(size=300), values).p_value < 0.001
    embeddings = random.normal(size=(100, 4))
    embeddings[:20] = np.nan
    embeddings[20] = np.inf
    assert energy(random.normal(size=(300, 4)), embeddings).p_value < 0.01


@given(reference=NUMBERS, values=NUMBERS)
@settings(max_examples=100, deadline=None)
def test_any_values_have_a_distance_a_p_value_and_an_index(reference, values):
    found = kolmogorov_smirnov(np.array(reference), np.array(values))
    assert 0 <= found.distance <= 1
    assert 0 < found.p_value <= 1
    assert 0 <= psi(np.array(reference), np.array(values)) < 20


@given(
    shares=st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 9)), min_size=1, max_size=6
    ).filter(lambda pairs: all(sum(column) for column in zip(*pairs, strict=True)))
)
@settings(max_examples=60, deadline=None)
def test_any_counts_have_a_distance_a_p_value_and_an_index(shares):
    reference, counts = (np.array(column) for column in zip(*shares, strict=True))
    found = same_shares(reference, counts)
    assert 0 <= found.distance <= 1
    assert 0 < found.p_value <= 1
    assert psi_of_counts(reference, counts) >= 0
    assert same_shares(reference, reference).p_value == 1


def test_the_index_is_that_of_the_textbook():
    before, after = np.array([50, 30, 20]), np.array([30, 30, 40])
    assert psi_of_counts(before, after) == pytest.approx(
        (0.3 - 0.5) * np.log(0.3 / 0.5) + (0.4 - 0.2) * np.log(0.4 / 0.2)
    )
    uniform = np.arange(1000) / 1000
    assert psi(uniform, uniform) == pytest.approx(0, abs=1e-3)
    assert psi(uniform, uniform[:500]) > 1
