"""Exact distances to the nearest voxel of a sparse set that is scattered over a volume of any size.

The voxel of a set that is nearest to a voxel outside it always lies on its surface: if all six neighbours of
a voxel were in the set, the one towards the outside would be nearer. So the surface is all that has to be in
memory, in a k-d tree (scipy), of some 60 bytes for each of its voxels; a distance has no limit and needs no
surroundings of the block it is asked from. A search takes the time of log n for n voxels.

Distances are kept as a tally, how often each occurs: there are few different ones, since voxels lie on a
grid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

_BATCH = 1 << 18


@dataclass(frozen=True)
class Tally:
    """How often each distance occurs.

    Attributes:
        values_nm: (n,) float64, ascending.
        counts: (n,) int64, all above 0.
    """

    values_nm: np.ndarray
    counts: np.ndarray

    @property
    def total(self) -> int:
        """Distances there are."""
        return int(self.counts.sum())

    def beyond(self, limit_nm: float) -> int:
        """Distances that are longer."""
        return int(self.counts[self.values_nm > limit_nm].sum())

    def figures(self) -> dict[str, float]:
        """`mean`, `std`, `median` and `max` (nm) of at least one distance."""
        mean = float(np.dot(self.values_nm, self.counts)) / self.total
        variance = float(np.dot((self.values_nm - mean) ** 2, self.counts)) / self.total
        middle = np.array([(self.total - 1) // 2, self.total // 2])
        median = self.values_nm[np.searchsorted(np.cumsum(self.counts), middle, side="right")]
        return {
            "mean": mean,
            "std": variance**0.5,
            "median": float(median.mean()),
            "max": float(self.values_nm[-1]),
        }


def tally(distances_nm: np.ndarray) -> Tally:
    """The tally of distances (n,)."""
    values_nm, counts = np.unique(distances_nm.astype(np.float64), return_counts=True)
    return Tally(values_nm, counts.astype(np.int64))


def merged(parts: Iterable[Tally]) -> Tally:
    """The tally of all distances in several."""
    every = list(parts)
    values_nm, at = np.unique(np.concatenate([each.values_nm for each in every]), return_inverse=True)
    counts = np.zeros(len(values_nm), np.int64)
    np.add.at(counts, at, np.concatenate([each.counts for each in every]))
    return Tally(values_nm, counts)


def surface(mask: np.ndarray) -> np.ndarray:
    """The voxels of a mask (bool, zyx) with one of their six neighbours in the array outside it."""
    inside = mask.copy()
    for axis in range(mask.ndim):
        there, here = np.moveaxis(inside, axis, 0), np.moveaxis(mask, axis, 0)
        there[1:] &= here[:-1]
        there[:-1] &= here[1:]
    return mask & ~inside


class NearestVoxel:
    """Looks up how far the nearest voxel of a set is.

    Args:
        voxels: (n, 3) integers, zyx, all of its surface; n may be 0.
        voxel_size_nm: zyx.
    """

    def __init__(self, voxels: np.ndarray, voxel_size_nm: tuple[float, float, float]) -> None:
        self._voxels = voxels
        self._size_nm = np.asarray(voxel_size_nm, np.float64)
        self._tree = cKDTree(voxels * self._size_nm) if len(voxels) else None

    def tally(self, voxels: np.ndarray) -> Tally:
        """Distances from voxels (n, 3) outside the set; infinite where it is empty."""
        if self._tree is None:
            return tally(np.full(len(voxels), np.inf))
        parts = [tally(np.zeros(0))]
        for begin in range(0, len(voxels), _BATCH):
            batch = voxels[begin : begin + _BATCH]
            _, nearest = self._tree.query(batch * self._size_nm)
            # From whole voxels, so that equal steps are equal distances wherever they begin.
            steps_nm = (self._voxels[nearest].astype(np.int64) - batch) * self._size_nm
            parts.append(tally(np.sqrt((steps_nm**2).sum(axis=1))))
        return merged(parts)
