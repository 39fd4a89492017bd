"""The parts into which chunks cut supervoxels, and what has to hold them together.

Parts of one supervoxel that touch across a border are joined there. A supervoxel whose parts do not all hang
together in this way (one in several pieces) gets further joints, and a merge of two supervoxels that touch
nowhere one edge, between the parts nearest to the point where the decision was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from proofreading.export.chunk_ids import ChunkGrid


@dataclass(frozen=True, eq=False)
class Parts:
    """Which supervoxels lie in which chunks; one row each, ascending by supervoxel, then chunk.

    Attributes:
      grid: the chunks.
      supervoxels: (n,) uint64.
      chunks: (n,) int64, places in the order of the grid.
    """

    grid: ChunkGrid
    supervoxels: np.ndarray
    chunks: np.ndarray

    def __len__(self) -> int:
        return len(self.supervoxels)

    def rows(self, supervoxels: np.ndarray, chunks: np.ndarray) -> np.ndarray:
        """(m,) int64: the rows of supervoxels (m,) in chunks (m,), which are there."""
        names, keys = self._index
        return np.searchsorted(keys, np.searchsorted(names, supervoxels) * self._count + chunks)

    def rows_of(self, supervoxel: int) -> np.ndarray:
        """(k,) int64: the rows of one supervoxel."""
        low = np.searchsorted(self.supervoxels, np.uint64(supervoxel))
        high = np.searchsorted(self.supervoxels, np.uint64(supervoxel), side="right")
        return np.arange(low, high)

    @property
    def _count(self) -> int:
        return int(np.prod(self.grid.counts))

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        names, places = np.unique(self.supervoxels, return_inverse=True)
        return names, places * self._count + self.chunks


class Joint(NamedTuple):
    """An edge between two parts, by their rows."""

    first: int
    second: int


def parts_of(grid: ChunkGrid, members: list[np.ndarray]) -> Parts:
    """The parts of all supervoxels.

    Args:
      grid: the chunks.
      members: (m,) uint64 for each chunk, in the order of the grid: the supervoxels in it.
    """
    chunks = np.repeat(np.arange(len(members)), [len(each) for each in members])
    supervoxels = np.concatenate([np.zeros(0, np.uint64), *members])
    order = np.lexsort((chunks, supervoxels))
    return Parts(grid, supervoxels[order], chunks[order])


def missing_links(parts: Parts, first: np.ndarray, second: np.ndarray) -> list[Joint]:
    """Joints that supervoxels lack to be one.

    Args:
      parts: of all supervoxels.
      first, second: (m,) int64, rows of parts of one supervoxel that touch.

    Returns:
      For each supervoxel one less than there are groups of parts that hang together, from the first group on.
    """
    joined = coo_array((np.ones(first.size, np.int8), (first, second)), shape=(len(parts), len(parts)))
    groups = connected_components(joined, directed=False)[1]
    # The first part of each group, in the order of the parts.
    heads = np.sort(np.unique(groups, return_index=True)[1])
    same = parts.supervoxels[heads[1:]] == parts.supervoxels[heads[:-1]]
    return [Joint(a, b) for a, b in zip(heads[:-1][same].tolist(), heads[1:][same].tolist(), strict=True)]


def nearest_parts(parts: Parts, a: int, b: int, point: np.ndarray) -> Joint:
    """The parts of two supervoxels that lie nearest to a point, or else to each other.

    Args:
      parts: of all supervoxels.
      a, b: two of them.
      point: (3,) float64, voxels (zyx); NaN = not known.
    """
    rows_a, rows_b = parts.rows_of(a), parts.rows_of(b)
    if not np.isnan(point).any():
        return Joint(_nearest(parts, rows_a, point), _nearest(parts, rows_b, point))
    at_a, at_b = (
        np.array([parts.grid.at(n) for n in parts.chunks[rows].tolist()]) for rows in (rows_a, rows_b)
    )
    apart, of_a = cKDTree(at_a).query(at_b)
    nearest = int(apart.argmin())
    return Joint(int(rows_a[of_a[nearest]]), int(rows_b[nearest]))


def _nearest(parts: Parts, rows: np.ndarray, point: np.ndarray) -> int:
    """The row whose chunk is nearest to a point; of equals the first."""
    boxes = [parts.grid.box(parts.grid.at(n)) for n in parts.chunks[rows].tolist()]
    start, stop = np.array([box.start for box in boxes]), np.array([box.stop for box in boxes])
    outside = np.maximum(np.maximum(start - point, point - stop), 0)
    return int(rows[int(np.square(outside).sum(axis=1).argmin())])
