"""Contacts: the faces of voxels at which two expanded supervoxels meet, summed up for each pair.

A contact lies between a voxel and the next one along an axis. The gap at it is the sum of the two voxels'
distances to their supervoxels, 0 where these touch: twice the mean distance, and the number of empty voxels
between two flat faces times their size. It is rounded to 10⁻⁶ nm, so that equal gaps are equal numbers
however they were added up.

What is kept of a pair can be merged from parts of a volume that own different contacts, in any order and
grouping, to the last bit: counts, the least gap, how many contacts have it (ties) and the sum of their
places. A contact belongs to the part that holds the voxel with the lower coordinate. Places count half voxels
(zyx, absolute), so that the centre of a face is a whole number: twice the lower voxel, plus 1 along the axis.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numba import njit, types
from numba.typed import Dict

from agglomeration.expansion import Expanded
from volumes import Box
from volumes.box import Zyx

# Gaps count 10⁻⁶ nm.
GAPS_PER_NM = 1e6
# Square root of the unit of squared distances, in units of gaps.
_PER_ROOT = 1e3
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True, eq=False)
class Contacts:
    """One row for each pair, ascending by (id_a, id_b).

    Attributes:
      id_a, id_b: (n,) uint64, id_a < id_b.
      faces: (n,) int64, contacts.
      gaps: (n,) int64, the least gap of them in 10⁻⁶ nm.
      ties: (n,) int64, contacts with that gap.
      tie_sums: (n, 3) int64, sum of their places in half voxels.
    """

    id_a: np.ndarray
    id_b: np.ndarray
    faces: np.ndarray
    gaps: np.ndarray
    ties: np.ndarray
    tie_sums: np.ndarray

    def select(self, rows: np.ndarray) -> Contacts:
        """Some of the rows.

        Args:
          rows: (n,) bool, or indices.
        """
        return Contacts(**{name: column[rows] for name, column in vars(self).items()})


def find_contacts(expanded: Expanded, start: Zyx, core: Box) -> tuple[Contacts, np.ndarray]:
    """The contacts that a part of a volume owns.

    Args:
      expanded: the part with what lies around it.
      start: absolute coordinates of its first voxel.
      core: the part (absolute). Contacts with the next voxel beyond it count where that voxel is given.

    Returns:
      The pairs, and the places (k, 3) int64, in half voxels, of all tied contacts, pair after pair.
    """
    part = core.slices(start)
    begin = np.array([each.start for each in part], np.int64)
    end = np.array([each.stop for each in part], np.int64)
    keys, sums, order, places = _tally(expanded.objects, expanded.squared, begin, end)
    keys, sums, corner = keys[order], sums[order], 2 * np.array(start, np.int64)
    contacts = Contacts(
        expanded.ids[(keys >> 32) - 1],
        expanded.ids[(keys & 0xFFFFFFFF) - 1],
        sums[:, 0],
        sums[:, 1],
        sums[:, 2],
        sums[:, 3:] + sums[:, 2:3] * corner,
    )
    return contacts, places + corner


def merge_contacts(parts: Iterable[Contacts]) -> Contacts:
    """The contacts of parts that share none; their order does not matter.

    Args:
      parts: looked at one by one; held in memory are the pairs so far and as many that wait.
    """
    merged, waiting, rows = _merged([]), [], 0
    for part in parts:
        waiting.append(part)
        rows += part.faces.size
        if rows > max(merged.faces.size, _ROWS_AT_ONCE):
            merged, waiting, rows = _merged([merged, *waiting]), [], 0
    return _merged([merged, *waiting])


def _merged(parts: list[Contacts]) -> Contacts:
    if not any(part.ties.size for part in parts):
        ids, counts = np.zeros(0, np.uint64), np.zeros(0, np.int64)
        return Contacts(ids, ids, counts, counts, counts, np.zeros((0, 3), np.int64))
    columns = {
        each.name: np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Contacts)
    }
    order = np.lexsort((columns["id_b"], columns["id_a"]))
    every = Contacts(**columns).select(order)
    is_new = (every.id_a[1:] != every.id_a[:-1]) | (every.id_b[1:] != every.id_b[:-1])
    first = np.flatnonzero(np.append(True, is_new))
    gaps = np.minimum.reduceat(every.gaps, first)
    has_least = every.gaps == np.repeat(gaps, np.diff(np.append(first, order.size)))
    return Contacts(
        every.id_a[first],
        every.id_b[first],
        np.add.reduceat(every.faces, first),
        gaps,
        np.add.reduceat(every.ties * has_least, first),
        np.add.reduceat(every.tie_sums * has_least[:, None], first),
    )


@njit(cache=True, nogil=True)
def _key(objects: np.ndarray, z: int, y: int, x: int, axis: int) -> np.int64:
    """The pair whose contact lies after a voxel along an axis, or 0."""
    after = (z + (axis == 0), y + (axis == 1), x + (axis == 2))
    if after[0] == objects.shape[0] or after[1] == objects.shape[1] or after[2] == objects.shape[2]:
        return np.int64(0)
    here, there = np.int64(objects[z, y, x]), np.int64(objects[after])
    if here == there or here == 0 or there == 0:
        return np.int64(0)
    return min(here, there) << 32 | max(here, there)


@njit(cache=True, nogil=True)
def _gap(squared: np.ndarray, z: int, y: int, x: int, axis: int) -> np.int64:
    there = squared[z + (axis == 0), y + (axis == 1), x + (axis == 2)]
    return np.int64(np.rint((np.sqrt(squared[z, y, x]) + np.sqrt(there)) * _PER_ROOT))


@njit(cache=True, nogil=True)
def _tally(
    objects: np.ndarray, squared: np.ndarray, begin: np.ndarray, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pairs, what `_count` gives for each, their order, and in that order the places of their ties."""
    rows = Dict.empty(types.int64, types.int64)
    sums = _count(objects, squared, begin, end, rows)
    keys = np.empty(len(sums), np.int64)
    for key, row in rows.items():
        keys[row] = key
    order = np.argsort(keys)
    next_tie, ties = np.empty(order.size, np.int64), 0
    for row in order:
        next_tie[row] = ties
        ties += sums[row, 2]
    places = _places(objects, squared, begin, end, rows, sums[:, 1], next_tie, ties)
    return keys, sums, order, places


@njit(cache=True, nogil=True)
def _count(
    objects: np.ndarray, squared: np.ndarray, begin: np.ndarray, end: np.ndarray, rows: Dict
) -> np.ndarray:
    """Numbers the pairs in `rows`; gives for each faces, least gap, ties, and the sums of their places."""
    sums = np.zeros((64, 6), np.int64)
    count, last_key, row = 0, 0, -1
    for z in range(begin[0], end[0]):
        for y in range(begin[1], end[1]):
            for x in range(begin[2], end[2]):
                for axis in range(3):
                    key = _key(objects, z, y, x, axis)
                    if key == 0:
                        continue
                    gap = _gap(squared, z, y, x, axis)
                    if key != last_key and key not in rows:
                        rows[key] = count
                        sums = _with_room(sums, count)
                        sums[count, 1] = gap
                        count += 1
                    if key != last_key:
                        last_key, row = key, rows[key]
                    sums[row, 0] += 1
                    if gap < sums[row, 1]:
                        sums[row, 1] = gap
                        for column in range(2, 6):
                            sums[row, column] = 0
                    if gap == sums[row, 1]:
                        sums[row, 2] += 1
                        sums[row, 3] += 2 * z + (axis == 0)
                        sums[row, 4] += 2 * y + (axis == 1)
                        sums[row, 5] += 2 * x + (axis == 2)
    return sums[:count]


@njit(cache=True, nogil=True)
def _with_room(sums: np.ndarray, count: int) -> np.ndarray:
    """The first rows of a table that has room for one more."""
    if count < len(sums):
        return sums
    longer = np.zeros((2 * count, sums.shape[1]), np.int64)
    # By item: an assignment of slices takes seconds to compile.
    for row, column in np.ndindex(sums.shape):
        longer[row, column] = sums[row, column]
    return longer


@njit(cache=True, nogil=True)
def _places(
    objects: np.ndarray,
    squared: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    rows: Dict,
    gaps: np.ndarray,
    next_tie: np.ndarray,
    ties: int,
) -> np.ndarray:
    """The places of contacts with the least gap of their pair; `next_tie` says where those of a row go."""
    places = np.empty((ties, 3), np.int64)
    last_key, row = 0, -1
    for z in range(begin[0], end[0]):
        for y in range(begin[1], end[1]):
            for x in range(begin[2], end[2]):
                for axis in range(3):
                    key = _key(objects, z, y, x, axis)
                    if key == 0:
                        continue
                    if key != last_key:
                        last_key, row = key, rows[key]
                    if _gap(squared, z, y, x, axis) == gaps[row]:
                        tie = next_tie[row]
                        places[tie, 0] = 2 * z + (axis == 0)
                        places[tie, 1] = 2 * y + (axis == 1)
                        places[tie, 2] = 2 * x + (axis == 2)
                        next_tie[row] += 1
    return places
