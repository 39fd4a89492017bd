"""Counting pairs of labels in time linear in the voxels.

A hash table with open addressing in three arrays: labels of the first array, labels of the second, counts
(uint64, uint64, int64; all of one length, a power of two; count 0 marks a free slot). Neighbouring voxels
mostly carry the same pair, so the table is touched once per run of equal pairs. Sorting the voxels instead,
as a coordinate matrix does, takes ten times as long on labels of tissue.
"""

from __future__ import annotations

import numpy as np
from numba import njit

START_SLOTS = 1 << 12
_MIX_FIRST = np.uint64(0x9E3779B97F4A7C15)
_MIX_SECOND = np.uint64(0xC2B2AE3D27D4EB4F)
_FOLD = np.uint64(32)


class PairCounts:
    """How often each pair of labels occurred at one place, in the voxels added so far."""

    def __init__(self) -> None:
        self._used = 0
        self._allot(START_SLOTS)

    def add(self, first: np.ndarray, second: np.ndarray) -> None:
        """Count the pairs of two flat uint64 arrays of one length, element by element."""
        self.add_counted(first, second, np.ones(0, np.int64))

    def add_counted(self, first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> None:
        """Count each pair as often as its weight (int64 above 0) says; no weights at all: once."""
        begin = 0
        while True:
            begin, self._used = _count_runs(
                first, second, weights, begin, self._first, self._second, self._counts, self._used
            )
            if begin == first.size:
                return
            self._double()

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First labels, second labels (uint64) and counts (int64), ordered by first and then second."""
        taken = np.flatnonzero(self._counts)
        order = taken[np.lexsort((self._second[taken], self._first[taken]))]
        return self._first[order], self._second[order], self._counts[order]

    def _double(self) -> None:
        taken = np.flatnonzero(self._counts)
        first, second, counts = self._first[taken], self._second[taken], self._counts[taken]
        self._used = 0
        self._allot(2 * self._counts.size)
        self.add_counted(first, second, counts)

    def _allot(self, slots: int) -> None:
        self._first = np.zeros(slots, np.uint64)
        self._second = np.zeros(slots, np.uint64)
        self._counts = np.zeros(slots, np.int64)


@njit(cache=True, nogil=True)
def _slot_of(
    label_first: np.uint64,
    label_second: np.uint64,
    slots_first: np.ndarray,
    slots_second: np.ndarray,
    counts: np.ndarray,
) -> np.uint64:
    """The slot that holds a pair, or the free one where it belongs."""
    mask = np.uint64(counts.size - 1)
    mixed = (label_first * _MIX_FIRST + label_second) * _MIX_SECOND
    slot = (mixed ^ (mixed >> _FOLD)) & mask
    while counts[slot] and (slots_first[slot] != label_first or slots_second[slot] != label_second):
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(cache=True, nogil=True)
def _count_runs(
    first: np.ndarray,
    second: np.ndarray,
    weights: np.ndarray,
    begin: int,
    slots_first: np.ndarray,
    slots_second: np.ndarray,
    counts: np.ndarray,
    used: int,
) -> tuple[int, int]:
    """Add runs of equal pairs from `begin` until the end or until the table is half full.

    Without weights each element counts once. Returns where to go on, and the slots in use.
    """
    size = first.size
    while begin < size and 2 * used < counts.size:
        end = begin + 1
        while end < size and first[end] == first[begin] and second[end] == second[begin]:
            end += 1
        slot = _slot_of(first[begin], second[begin], slots_first, slots_second, counts)
        if counts[slot] == 0:
            slots_first[slot] = first[begin]
            slots_second[slot] = second[begin]
            used += 1
        counts[slot] += weights[begin:end].sum() if weights.size else end - begin
        begin = end
    return begin, used
