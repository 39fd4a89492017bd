"""Numbers of supervoxels that say in which chunk they lie, as PyChunkedGraph wants them.

A supervoxel that crosses the border of a chunk becomes one for each chunk. From the highest bit on a number
holds the layer (8 bits, 1 for supervoxels), the chunk along x, y and z (as many bits each), and which
supervoxel of the chunk it is, from 1.

Source: CAVEconnectome/PyChunkedGraph, docs/segmentation_preprocessing.md and
pychunkedgraph/graph/chunks/utils.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from proofreading.errors import ProofreadingError
from volumes import Box
from volumes.box import Zyx

LAYER_BITS = 8
_LAYER = 1


@dataclass(frozen=True)
class ChunkGrid:
    """Chunks that tile a volume from its lowest corner.

    Attributes:
      bounds: of the volume (absolute, voxels).
      chunk: shape of a chunk (zyx); those at the upper ends are smaller.

    Raises:
      ProofreadingError: so many chunks, or so large ones, that their supervoxels have no numbers.
    """

    bounds: Box
    chunk: Zyx

    def __post_init__(self) -> None:
        if min(self.chunk) < 1 or self.id_bits < 16:
            raise ProofreadingError(
                f"chunks of {self.chunk} voxels (zyx) do not divide {self.bounds} into numbers of 64 bits; "
                "choose larger ones"
            )

    @property
    def counts(self) -> Zyx:
        """How many there are along z, y and x."""
        z, y, x = (-(-n // edge) for n, edge in zip(self.bounds.shape, self.chunk, strict=True))
        return z, y, x

    @property
    def bits(self) -> int:
        """Of a number, for a chunk's place along one axis."""
        return max(1, (max(self.counts) - 1).bit_length())

    @property
    def id_bits(self) -> int:
        """Of a number, for the supervoxels of a chunk."""
        return 64 - LAYER_BITS - 3 * self.bits

    def __iter__(self) -> Iterator[Zyx]:
        """The chunks (zyx) in the order of their places."""
        yield from product(*map(range, self.counts))  # type: ignore[misc]

    def box(self, at: Zyx) -> Box:
        """The voxels of a chunk (absolute)."""
        start = [low + n * edge for low, n, edge in zip(self.bounds.start, at, self.chunk, strict=True)]
        return Box.from_shape(self.chunk, start).intersect(self.bounds)

    def index(self, at: Zyx) -> int:
        """The chunk's place in the order."""
        _, rows, columns = self.counts
        return (at[0] * rows + at[1]) * columns + at[2]

    def at(self, index: int) -> Zyx:
        """The chunk at a place in the order."""
        _, rows, columns = self.counts
        return index // (rows * columns), index // columns % rows, index % columns

    def neighbours(self, at: Zyx) -> Iterator[tuple[int, int, Zyx]]:
        """The chunks that share a face with one: axis, side (0 = below, 1 = above), and chunk."""
        for axis, side in product(range(3), (0, 1)):
            other = [*at]
            other[axis] += 2 * side - 1
            if 0 <= other[axis] < self.counts[axis]:
                yield axis, side, (other[0], other[1], other[2])

    def name(self, at: Zyx) -> str:
        """As it stands in names of files, x_y_z."""
        return "_".join(str(n) for n in reversed(at))

    def base(self, at: Zyx) -> int:
        """The number to which that of a supervoxel in the chunk is added."""
        z, y, x = at
        number = _LAYER
        for n in (x, y, z):
            number = number << self.bits | n
        return number << self.id_bits

    def numbers(self, at: Zyx, members: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """The numbers of supervoxels in a chunk.

        Args:
          at: the chunk.
          members: (m,) uint64, ascending: all supervoxels in it.
          ids: (n,) uint64, some of them.

        Returns:
          (n,) uint64.

        Raises:
          ProofreadingError: more supervoxels than there are numbers.
        """
        if len(members) >= 1 << self.id_bits:
            raise ProofreadingError(
                f"chunk {self.name(at)} (x_y_z) has {len(members)} supervoxels; choose smaller chunks"
            )
        return np.searchsorted(members, ids).astype(np.uint64) + np.uint64(self.base(at) + 1)
