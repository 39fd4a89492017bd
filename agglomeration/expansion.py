"""Supervoxels grown into the empty voxels around them, each voxel to the one that is nearest.

An empty voxel goes to the supervoxel with the nearest voxel, centre to centre in nm, unless that is farther
away than the limit; of equally near ones to that with the smallest ID. So it depends on nothing beyond the
limit, and a part of a volume that is read with as much around it grows as the whole does.

Nearest voxels are found one axis after the other: along x, then along y among what x found, then along z.
Squared distances are whole numbers (of 10⁻⁶ nm²), so that sums are exact and equal distances are equal.
The time is linear in voxels; of an empty one it grows with the limit, counted in voxels along y and along z.
Memory is 12 bytes a voxel besides the labels.

Source of the rule: M. Januszewski et al. 2018, Nature Methods 15:605 (labels expanded by a watershed on
distance). Squared distances add up axis by axis: T. Saito, J.-I. Toriwaki 1994, Pattern Recognition 27:1551.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numba import njit

from agglomeration.errors import AgglomerationError
from volumes.base import SizeNm, checked_voxel_size
from volumes.box import Zyx

# Squared distances count 10⁻⁶ nm²; the largest limit and voxel whose squares fit in 64 bits, with room.
_PER_NM2 = 1e6
_LARGEST_NM = 1e6


class Expanded(NamedTuple):
    """Labels that were expanded.

    Attributes:
      ids: (n,) uint64, ascending; the supervoxels.
      objects: (z, y, x) uint32, 1 + position in `ids`; 0 where none is within the limit.
      squared: (z, y, x) int64, squared distance to the supervoxel in 10⁻⁶ nm²; 0 inside it.
    """

    ids: np.ndarray
    objects: np.ndarray
    squared: np.ndarray


def expand(labels: np.ndarray, voxel_size_nm: Iterable[float], max_distance_nm: float) -> Expanded:
    """Grows supervoxels by distance.

    Args:
      labels: (z, y, x) integers >= 0, 0 = empty.
      voxel_size_nm: zyx.
      max_distance_nm: how far a voxel may lie from the supervoxel it goes to; up to a millimetre.

    Raises:
      AgglomerationError: no such labels, or a distance out of range.
      VolumeError: voxel sizes that are not positive.
    """
    require_labels(labels)
    size = checked_voxel_size(voxel_size_nm, "the labels")
    limit, reach = _limit(max_distance_nm), reach_voxels(size, max_distance_nm)
    ids, objects = _numbered(labels)
    squared = np.where(objects > 0, 0, np.int64(limit + 1))
    _grow(objects, squared, np.array(_squared_units(size)), reach[2], limit)
    return Expanded(ids, objects, squared)


def reach_voxels(voxel_size_nm: Iterable[float], max_distance_nm: float) -> Zyx:
    """How many voxels along each axis supervoxels grow at most.

    Args:
      voxel_size_nm: zyx.
      max_distance_nm: see `expand`.

    Raises:
      AgglomerationError: a distance out of range.
      VolumeError: voxel sizes that are not positive.
    """
    limit = _limit(max_distance_nm)
    units = _squared_units(checked_voxel_size(voxel_size_nm, "the labels"))
    z, y, x = (math.isqrt(limit // unit) for unit in units)
    return z, y, x


def require_labels(labels: np.ndarray) -> None:
    """Refuses what is no array of supervoxels.

    Raises:
      AgglomerationError: not three axes, no integers, or some below 0.
    """
    if np.ndim(labels) != 3:
        raise AgglomerationError(f"supervoxels have shape {np.shape(labels)}; give three axes (z, y, x)")
    if labels.dtype.kind not in "biu":
        raise AgglomerationError(f"supervoxels have dtype {labels.dtype}; give IDs, which are whole numbers")
    if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
        raise AgglomerationError(f"there is a supervoxel {labels.min()}; set empty voxels to 0")


def _limit(max_distance_nm: float) -> int:
    """The largest squared distance, in 10⁻⁶ nm²."""
    if not 0 < max_distance_nm <= _LARGEST_NM:
        raise AgglomerationError(
            f"supervoxels cannot grow by max_distance_nm {max_distance_nm}; give a length above 0 and up to "
            f"{_LARGEST_NM:g}"
        )
    return math.floor(max_distance_nm**2 * _PER_NM2)


def _squared_units(voxel_size_nm: SizeNm) -> tuple[int, int, int]:
    """The squared edges of a voxel in 10⁻⁶ nm²; larger ones than any limit count as just that."""
    z, y, x = (max(1, round(min(edge, 2 * _LARGEST_NM) ** 2 * _PER_NM2)) for edge in voxel_size_nm)
    return z, y, x


def _numbered(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The IDs, ascending, and for each voxel 1 + the position of its own, or 0."""
    import fastremap

    native = np.ascontiguousarray(labels, labels.dtype.newbyteorder("="))
    dense, numbers = fastremap.renumber(native.view(f"u{native.dtype.itemsize}"), preserve_zero=True)
    numbers.pop(0, None)
    given = np.fromiter(numbers.keys(), np.uint64, len(numbers))
    order = np.argsort(given)
    positions = np.zeros(order.size + 1, np.uint32)
    positions[np.fromiter(numbers.values(), np.int64, len(numbers))[order]] = np.arange(1, order.size + 1)
    return given[order], positions[dense]


@njit(cache=True, nogil=True)
def _grow(objects: np.ndarray, squared: np.ndarray, units: np.ndarray, reach_x: int, limit: int) -> None:
    """Fills `objects` and `squared` in place; the latter comes as 0 inside objects and limit + 1 outside."""
    for z in range(objects.shape[0]):
        for y in range(objects.shape[1]):
            _along_row(objects[z, y], squared[z, y], units[2], reach_x)
        _across_rows(objects[z], squared[z], units[1], limit)
    for y in range(objects.shape[1]):
        _across_rows(objects[:, y], squared[:, y], units[0], limit)


@njit(cache=True, nogil=True)
def _along_row(objects: np.ndarray, squared: np.ndarray, unit: int, reach: int) -> None:
    last = -1
    for x in range(objects.size):
        if squared[x] == 0:
            last = x
        elif last >= 0 and x - last <= reach:
            squared[x], objects[x] = (x - last) ** 2 * unit, objects[last]
    last = -1
    for x in range(objects.size - 1, -1, -1):
        if squared[x] == 0:
            last = x
        elif last >= 0 and last - x <= reach:
            away = (last - x) ** 2 * unit
            if away < squared[x] or (away == squared[x] and objects[last] < objects[x]):
                squared[x], objects[x] = away, objects[last]


@njit(cache=True, nogil=True)
def _across_rows(objects: np.ndarray, squared: np.ndarray, unit: int, limit: int) -> None:
    """Looks for each voxel of a plane at those of its column, from near to far, and what they are near to."""
    near, away = objects.copy(), squared.copy()
    rows, columns = near.shape
    for row in range(rows):
        for column in range(columns):
            best, chosen = away[row, column], near[row, column]
            step = 1
            while best > 0 and step * step * unit <= min(best, limit):
                extra = step * step * unit
                for other in (row - step, row + step):
                    if 0 <= other < rows:
                        there = away[other, column] + extra
                        if there < best or (
                            there == best and there <= limit and near[other, column] < chosen
                        ):
                            best, chosen = there, near[other, column]
                step += 1
            squared[row, column], objects[row, column] = best, chosen
