"""Which images are near-duplicates: their perceptual hashes differ in a few bits at most."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

_BITS = 64
_AT_ONCE = 1 << 22
"""Pairs that are compared at a time: 100 MB."""
_ONES = np.array([number.bit_count() for number in range(256)], np.uint8)


def nearest(hashes: Hashes, among: Hashes, distance: int) -> npt.NDArray[np.int64]:
    """Return, for each of *hashes* (n,), the place in *among* of the nearest within *distance*
    bits, the first of several; -1 where there is none.

    Multi-index hashing (Norouzi, Punjani and Fleet 2012, "Fast Search in Hamming Space with
    Multi-Index Hashing"): two hashes that differ in d bits agree in one of d + 1 bands of theirs,
    so that only those are compared that share a band.
    """
    unique, first = np.unique(among, return_index=True)
    best = np.full(len(hashes), (distance + 1) << 32, np.int64)  # distance, then place
    for band in _bands(distance):
        for left, right in _sharing(hashes & band, unique & band):
            bits = _differing(hashes[left], unique[right])
            found = (bits << 32) | first[right]
            np.minimum.at(best, left, found)
    place = best & 0xFFFFFFFF
    return np.where(best >> 32 <= distance, place, -1)


def _bands(distance: int) -> Iterator[np.uint64]:
    """Yield distance + 1 masks that share out the 64 bits."""
    edges = np.linspace(0, _BITS, distance + 2).astype(int)
    for low, high in pairwise(edges):
        yield np.uint64(((1 << int(high)) - 1) ^ ((1 << int(low)) - 1))


def _sharing(
    keys: Hashes, among: Hashes
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Yield the places of all pairs with equal keys, some at a time."""
    order = np.argsort(among, kind="stable")
    start = np.searchsorted(among[order], keys, "left")
    count = np.searchsorted(among[order], keys, "right") - start
    total = np.cumsum(count)
    begin = 0
    while begin < len(keys):
        before = total[begin - 1] if begin else 0
        end = max(int(np.searchsorted(total, before + _AT_ONCE, "right")), begin + 1)
        left = np.repeat(np.arange(begin, end), count[begin:end])
        offset = np.arange(len(left)) - np.repeat(
            total[begin:end] - count[begin:end], count[begin:end]
        )
        offset += before
        yield left, order[np.repeat(start[begin:end], count[begin:end]) + offset]
        begin = end


def _differing(left: Hashes, right: Hashes) -> npt.NDArray[np.int64]:
    different = np.ascontiguousarray(left ^ right).view(np.uint8).reshape(-1, 8)
    return np.asarray(_ONES[different].sum(axis=1, dtype=np.int64))
