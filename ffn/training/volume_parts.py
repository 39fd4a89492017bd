"""A box of a volume as a volume of its own, which begins at voxel 0 and may be coarser.

Image, labels and mask of training data come to one grid in this way, whether they are held in memory or read
example by example: a box of a part is the crop of what the whole part would be.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from typing import TypeAlias

import numpy as np

from volumes.arrays import ArrayVolume
from volumes.base import Volume
from volumes.box import Box, Zyx
from volumes.resample import downsample_image

# Voxels (zyx) that are read at a time where a whole volume is gone through: a whole number of bricks of
# `ffn.training.centres`, which takes some 300 MB for it with the context of a wide field of view.
BLOCK: Zyx = (192, 192, 192)
Coarser: TypeAlias = Callable[[np.ndarray, Zyx], np.ndarray]


class VolumePart(Volume):
    """A box of a volume, for reading only, by any number of threads.

    Args:
      source: the volume; read by one thread at a time.
      box: what is seen of it, absolute coordinates; becomes (0, 0, 0) onwards.
      factors: voxels (zyx) that become one, counted from the box's start.
      coarser: makes one of them, as `volumes.resample` does.
    """

    def __init__(self, source: Volume, box: Box, factors: Zyx, coarser: Coarser) -> None:
        z, y, x = (size * f for size, f in zip(source.voxel_size_nm, factors, strict=True))
        super().__init__(
            source.spec,
            bounds=Box.from_shape(-(-n // f) for n, f in zip(box.shape, factors, strict=True)),
            dtype=source.dtype,
            voxel_size_nm=(z, y, x),
            chunk_shape=[max(1, n // f) for n, f in zip(source.chunk_shape, factors, strict=True)],
            writable=False,
        )
        self._source, self._box, self._factors, self._coarser = source, box, factors, coarser
        self._reading = threading.Lock()

    def close(self) -> None:
        self._source.close()

    def _load(self, box: Box) -> np.ndarray:
        ends = ([n * f for n, f in zip(end, self._factors, strict=True)] for end in (box.start, box.stop))
        fine = Box(*ends).shift(self._box.start).intersect(self._box)  # type: ignore[arg-type]
        with self._reading:
            voxels = self._source.read(fine)
        return voxels if self._factors == (1, 1, 1) else self._coarser(voxels, self._factors)


def any_of_block(mask: np.ndarray, factors: Zyx) -> np.ndarray:
    """Whether any voxel of each block is not 0: masks become coarser by it.

    Args:
      mask: (z, y, x), numbers or bool.
      factors: voxels of a block (zyx).

    Returns:
      The mask's dtype, 0 and 1.
    """
    return (downsample_image((mask != 0).astype(np.float32), factors) > 0).astype(mask.dtype)


def held_in_memory(part: Volume, block: Zyx = BLOCK) -> Volume:
    """The same voxels, read once; the volume they came from is closed.

    Args:
      part: the volume.
      block: voxels (zyx) that are read at a time, since what they are made from may be much more.
    """
    with part:
        voxels = np.empty(part.shape, part.dtype)
        for box in blocks_of(part.bounds, block):
            voxels[box.slices(part.bounds.start)] = part.read(box)
        return ArrayVolume(voxels, voxel_size_nm=part.voxel_size_nm, start=part.bounds.start)


def bytes_of(*volumes: Volume | None) -> int:
    """What volumes take in memory; None takes nothing."""
    return sum(prod(volume.shape) * volume.dtype.itemsize for volume in volumes if volume is not None)


def blocks_of(box: Box, shape: Zyx) -> Iterator[Box]:
    """The blocks that tile a box from its start, in (z, y, x) order; the last along an axis may be smaller.

    Args:
      box: what is cut.
      shape: of a block, in voxels.
    """
    ranges = (range(a, b, n) for a, b, n in zip(box.start, box.stop, shape, strict=True))
    for start in product(*ranges):
        yield Box.from_shape(shape, start).intersect(box)
