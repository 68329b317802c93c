"""The index finds what comparing every pair would find, and compares few pairs for it."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import near
from pipeline.data.near import Hashes, nearest


def flip(hash_: int, bits: set[int]) -> int:
    for bit in bits:
        hash_ ^= 1 << bit
    return hash_


def as_hashes(values: list[int]) -> Hashes:
    return np.array(values, np.uint64)


def by_all_pairs(hashes: list[int], among: list[int], distance: int) -> list[int]:
    found = []
    for each in hashes:
        bits, place = min(
            (((each ^ other).bit_count(), place) for place, other in enumerate(among)),
            default=(65, -1),
        )
        found.append(place if bits <= distance else -1)
    return found


crowds = st.lists(
    st.builds(
        flip,
        st.sampled_from([0, 2**64 - 1, 0x0123456789ABCDEF]),
        st.sets(st.integers(0, 63), max_size=8),
    ),
    max_size=20,
)
"""Hashes that lie about three places: equal ones, near ones, and far ones."""


@settings(max_examples=300, deadline=None)
@given(crowds, crowds, st.integers(0, 10), st.sampled_from([1, 2, 7, near._AT_ONCE]))
def test_it_finds_what_comparing_all_pairs_finds(hashes, among, distance, at_once):
    with mock.patch.object(near, "_AT_ONCE", at_once):
        found = nearest(as_hashes(hashes), as_hashes(among), distance)
    assert found.tolist() == by_all_pairs(hashes, among, distance)


@pytest.mark.parametrize("distance", range(11))
def test_the_distance_is_within_and_one_bit_more_is_not(distance):
    """Bits flipped side by side, and spread over all of the hash."""
    for bits in (range(distance + 1), np.linspace(0, 63, distance + 1).astype(int).tolist()):
        inside, outside = flip(0, set(bits[:-1])), flip(0, set(bits))
        assert nearest(as_hashes([0, 0]), as_hashes([outside, inside]), distance).tolist() == [1, 1]
        assert nearest(as_hashes([0]), as_hashes([outside]), distance).tolist() == [-1]


def test_of_equally_near_ones_the_first_is_found():
    among = as_hashes([0b111, 0b10, 0b01, 0b10])
    assert nearest(as_hashes([0, 0b10]), among, 4).tolist() == [1, 1]
    assert nearest(as_hashes([0, 0b10]), among[::-1], 4).tolist() == [0, 0]


@pytest.mark.parametrize("distance", [0, 4, 10])
def test_nothing_is_near_where_there_is_nothing(distance):
    nothing, one = as_hashes([]), as_hashes([5])
    assert nearest(nothing, one, distance).tolist() == []
    assert nearest(one, nothing, distance).tolist() == [-1]


def test_among_100_000_hashes_fewer_than_100_are_compared_with_each():
    """All pairs would be 100,000 with each: a thousand times the work."""
    among = np.random.default_rng(0).integers(0, 2**64, 100_000, np.uint64)
    flipped = among[::-1] ^ np.uint64(0b1000_0001_0001_0001)  # 4 bits
    compared = 0

    def counting(left: Hashes, right: Hashes) -> np.ndarray:
        nonlocal compared
        compared += len(left)
        assert compared < 100 * len(among)
        return counted(left, right)

    counted = near._differing
    with mock.patch.object(near, "_differing", counting):
        found = nearest(flipped, among, 4)
    assert found.tolist() == list(range(99_999, -1, -1))


def test_pictures_that_all_look_the_same_are_compared_once_each():
    """Ten thousand black frames have one hash."""
    same = np.zeros(10_000, np.uint64)
    with mock.patch.object(near, "_differing", wraps=near._differing) as compared:
        assert not nearest(same, same, 4).any()
    assert sum(len(call.args[0]) for call in compared.call_args_list) == 5 * len(same)
