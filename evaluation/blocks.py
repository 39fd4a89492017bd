"""Boxes and arrays in parts that fit in memory: how large the parts are, and where they lie.

A volume is read in whole chunks as far as memory allows, so that hardly any chunk is read twice. Where the
voxels of a part depend on its surroundings, the context (voxels zyx on either side) is read with it, and
counts in what memory allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from volumes import Box, Volume
from volumes.box import Zyx

SLAB_VOXELS = 1 << 20
READ_VOXELS = 1 << 24
_NO_CONTEXT = (0, 0, 0)
# With a context, blocks grow by about this share of themselves at a time: a doubling could waste half.
_GROWTH = 8


def slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slabs along the first axis of about `SLAB_VOXELS` voxels, at least one section each."""
    step = max(1, SLAB_VOXELS // max(1, math.prod(shape[1:])))
    return (slice(start, start + step) for start in range(0, shape[0], step))


def tiles(box: Box, shape: Zyx, origin: Zyx) -> Iterator[Box]:
    """A box in parts, cut along the grid of `shape` that begins at `origin`; z slowest.

    Args:
        box: absolute, not empty.
        shape: voxels (zyx) of a whole part.
        origin: a corner of the grid, absolute.
    """
    firsts = (low - (low - zero) % edge for low, zero, edge in zip(box.start, origin, shape, strict=True))
    grid = (range(low, high, edge) for low, high, edge in zip(firsts, box.stop, shape, strict=True))
    return (Box.from_shape(shape, corner).intersect(box) for corner in product(*grid))


def read_pairs(volume: Volume, truth: Volume, box: Box) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The voxels of two volumes in blocks that tile a box, of about `READ_VOXELS` voxels at most.

    Args:
        volume: what is judged, covering the box.
        truth: ground truth, covering the box; blocks are whole chunks of it where they fit.
        box: zyx, absolute.
    """
    shape = block_shape(truth.chunk_shape, box.shape, READ_VOXELS)
    for block in tiles(box, shape, truth.bounds.start):
        yield volume.read(block), truth.read(block)


def block_shape(
    chunk: Sequence[int],
    limit: Sequence[int],
    most: int,
    *,
    least: int | None = None,
    context: Zyx = _NO_CONTEXT,
    extent: Sequence[int] | None = None,
) -> Zyx:
    """Whole chunks along every axis, about as long along each; a chunk too large for a block is halved.

    With a context blocks are about as many times as long as it along each axis, which is where the fewest
    voxels are read.

    Args:
        chunk: voxels (zyx) that are stored as one.
        limit: voxels (zyx) of what is cut into blocks.
        most: voxels that may be read for a block, its context included. One voxel and its context may still
            be more: see `voxels_read`.
        least: a block of so many voxels is large enough; None: as large as can be.
        context: voxels (zyx) that are read on either side of a block.
        extent: voxels (zyx) of the volume, which a context ends with; None: it does not end.
    """

    def read(shape: Sequence[int]) -> int:
        return voxels_read(shape, limit, context, extent)

    shape, unit = [max(1, edge) for edge in chunk], [max(1, edge) for edge in chunk]
    while read(shape) > max(1, most) and max(shape) > 1:
        axis = shape.index(max(shape))
        shape[axis], unit[axis] = -(-shape[axis] // 2), 1
    if not any(context):
        unit = list(shape)
    while least is None or read(shape) < least:
        longer = [
            _grown(shape, axis, unit, limit, double=not any(context))
            for axis in sorted(range(3), key=lambda axis: shape[axis] / (1 + context[axis]))
            if shape[axis] < limit[axis]
        ]
        fitting = [each for each in longer if read(each) <= most]
        if not fitting:
            break
        shape = fitting[0]
    z, y, x = shape
    return z, y, x


def voxels_read(
    shape: Sequence[int],
    limit: Sequence[int],
    context: Zyx = _NO_CONTEXT,
    extent: Sequence[int] | None = None,
) -> int:
    """How many voxels are read for a block and its context.

    Args:
        shape: voxels (zyx) of a whole block.
        limit: voxels (zyx) of what is cut into blocks.
        context: voxels (zyx) on either side of a block.
        extent: voxels (zyx) of the volume; None: it does not end.
    """
    around = (min(n, most) + 2 * c for n, most, c in zip(shape, limit, context, strict=True))
    return math.prod(around if extent is None else map(min, around, extent))


def _grown(shape: list[int], axis: int, unit: list[int], limit: Sequence[int], *, double: bool) -> list[int]:
    """A block that is longer along one axis by whole units, but no longer than its limit asks for."""
    units = shape[axis] // unit[axis]
    units += units if double else max(1, units // _GROWTH)
    whole = -(-limit[axis] // unit[axis])
    return [min(units, whole) * unit[n] if n == axis else edge for n, edge in enumerate(shape)]
