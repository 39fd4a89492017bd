"""Decision points: where two supervoxels come closest, and a network is asked whether they are one.

Supervoxels are expanded by distance (`agglomeration.expansion`). Of the contacts of two of them
(`agglomeration.contacts`) those with the least mean distance count; of these the one nearest, in nm, to the
centroid of them all, of equally near ones the first in z, y, x. The decision point is the voxel at it with
the lower coordinate. Where several supervoxels enclose the shortest way between two, these have no contact
and are no pair.

    pairs = find_decision_points(labels, (8, 8, 8), max_distance_nm=100)

Source: M. Januszewski et al. 2018, Nature Methods 15:605, and its implementation in google/ffn, which counts
neighbours over edges and corners as contacts, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numba import njit

from agglomeration.candidate_pairs import CandidatePairs
from agglomeration.contacts import GAPS_PER_NM, Contacts, find_contacts
from agglomeration.expansion import expand
from inference.reconciliation import object_voxels
from volumes import Box
from volumes.base import checked_voxel_size

# Pairs, and the places of their tied contacts one pair after the other.
Part: TypeAlias = tuple[Contacts, np.ndarray]


def find_decision_points(
    labels: np.ndarray,
    voxel_size_nm: Iterable[float],
    *,
    origin_zyx: Iterable[int] = (0, 0, 0),
    max_distance_nm: float,
) -> CandidatePairs:
    """The pairs of supervoxels in an array.

    Args:
      labels: (z, y, x) integers >= 0, 0 = empty.
      voxel_size_nm: zyx.
      origin_zyx: absolute coordinates of the first voxel.
      max_distance_nm: supervoxels grow by up to this; those that meet are a pair.

    Returns:
      All pairs; sizes are those in the array.

    Raises:
      AgglomerationError: labels that are none, or a distance out of range.
      VolumeError: voxel sizes that are not positive.
    """
    size = checked_voxel_size(voxel_size_nm, "the labels")
    expanded = expand(labels, size, max_distance_nm)
    box = Box.from_shape(labels.shape, origin_zyx)
    part = find_contacts(expanded, box.start, box)
    return pairs_of(part[0], [part], size, object_voxels(labels))


def pairs_of(
    contacts: Contacts,
    parts: Iterable[Part],
    voxel_size_nm: Iterable[float],
    sizes: tuple[np.ndarray, np.ndarray],
) -> CandidatePairs:
    """Gives each pair its decision point.

    Args:
      contacts: the pairs wanted, merged from all parts.
      parts: what `find_contacts` gave for each part, in any order; looked at one by one.
      voxel_size_nm: zyx.
      sizes: IDs of all supervoxels, ascending, and their voxels.
    """
    places = np.zeros((contacts.id_a.size, 3), np.int64)
    away = np.full(contacts.id_a.size, np.inf)
    size_nm = np.array([*voxel_size_nm], np.float64)
    for part, tied in parts:
        wanted = _rows(contacts.id_a, contacts.id_b, part.id_a, part.id_b)
        known = wanted >= 0
        wanted[known] = np.where(part.gaps[known] == contacts.gaps[wanted[known]], wanted[known], -1)
        _approach(wanted, part.ties, tied, contacts.ties, contacts.tie_sums, size_nm, away, places)
    ids, voxels = sizes
    return CandidatePairs(
        contacts.id_a,
        contacts.id_b,
        places >> 1,
        contacts.gaps / GAPS_PER_NM,
        contacts.faces,
        voxels[np.searchsorted(ids, contacts.id_a)],
        voxels[np.searchsorted(ids, contacts.id_b)],
    )


@njit(cache=True, nogil=True)
def _rows(id_a: np.ndarray, id_b: np.ndarray, wanted_a: np.ndarray, wanted_b: np.ndarray) -> np.ndarray:
    """Where pairs stand in a table that ascends by (id_a, id_b); -1 where they do not."""
    rows = np.full(wanted_a.size, -1, np.int64)
    for i in range(wanted_a.size):
        low, high = 0, id_a.size
        while low < high:
            middle = (low + high) // 2
            a, b = id_a[middle], id_b[middle]
            if a < wanted_a[i] or (a == wanted_a[i] and b < wanted_b[i]):
                low = middle + 1
            else:
                high = middle
        if low < id_a.size and id_a[low] == wanted_a[i] and id_b[low] == wanted_b[i]:
            rows[i] = low
    return rows


@njit(cache=True, nogil=True)
def _approach(
    rows: np.ndarray,
    counts: np.ndarray,
    tied: np.ndarray,
    ties: np.ndarray,
    tie_sums: np.ndarray,
    size_nm: np.ndarray,
    away: np.ndarray,
    places: np.ndarray,
) -> None:
    """Moves the place of each pair to a tied contact that is nearer the centroid, or as near and before it.

    Both are scaled by the number of ties, which keeps the centroid a whole number.
    """
    end = 0
    for i in range(rows.size):
        begin, end = end, end + counts[i]
        row = rows[i]
        if row < 0:
            continue
        for tie in range(begin, end):
            squared = 0.0
            for axis in range(3):
                squared += ((ties[row] * tied[tie, axis] - tie_sums[row, axis]) * size_nm[axis]) ** 2
            if squared < away[row] or (squared == away[row] and _is_before(tied[tie], places[row])):
                away[row] = squared
                places[row] = tied[tie]


@njit(cache=True, nogil=True)
def _is_before(first: np.ndarray, second: np.ndarray) -> bool:
    for axis in range(3):
        if first[axis] != second[axis]:
            return bool(first[axis] < second[axis])
    return False
