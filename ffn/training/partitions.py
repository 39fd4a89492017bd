"""How enclosed by its own object each voxel is: the classes training centres are drawn from.

Most voxels of neuropil lie deep inside large processes, which are easy. The share of same-object
voxels in the box that a field of view and its moves can reach tells thin processes and borders
from interiors; drawing centres equally from classes of that share shows a network all of them.
Source: Januszewski et al. 2018 (doi:10.1038/s41592-018-0049-4), Methods, "Network training".

The share comes from a summed-volume table of each object over its own bounding box: eight look-ups a voxel,
whatever the radius. A block with the context of the radius has the classes that it has in the whole volume.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import fastremap
import numpy as np
from numba import njit

from volumes.box import Box, Zyx

THRESHOLDS = (0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
NO_OBJECT = 255


def block_classes(
    labels: np.ndarray,
    core: Box,
    large: Collection[int] | np.ndarray,
    radius_zyx: Zyx,
    thresholds: Sequence[float] = THRESHOLDS,
) -> np.ndarray:
    """The class of every voxel of a block: how many thresholds its share of same-object voxels reaches.

    The share is taken over the box of ±radius around the voxel, cut at the volume's border as if nothing of
    the object lay outside. Memory is a few times that of the labels; work is linear in the bounding boxes of
    the objects.

    Args:
      labels: integer (z, y, x) of the block and its context: the radius on every side, less where the volume
        ends.
      core: the block, in voxels of `labels`.
      large: IDs of the objects that have classes; sizes are those in the whole volume, so that a block cannot
        know them.
      radius_zyx: half size of the box the share is taken over, in voxels.
      thresholds: ascending shares, at most 254.

    Returns:
      uint8 of the core's shape: 0 … len(thresholds), `NO_OBJECT` where there is none.
    """
    dense, numbers = fastremap.renumber(labels, in_place=False)
    dense = dense.astype(np.int32, copy=False)
    wanted = np.zeros(len(numbers) + 1, np.bool_)
    known = set(map(int, large))
    wanted[[number for label, number in numbers.items() if number != 0 and int(label) in known]] = True
    window = int(np.prod([2 * radius + 1 for radius in radius_zyx]))
    class_of_count = np.searchsorted(thresholds, np.arange(window + 1) / window, side="right")
    classes = np.full(core.shape, NO_OBJECT, np.uint8)
    start, stop = np.array(core.start), np.array(core.stop)
    boxes = _bounding_boxes(dense, np.zeros(3, np.int64), np.array(dense.shape), len(wanted))
    inner = _bounding_boxes(dense, start, stop, len(wanted))
    _count(dense, wanted, boxes, inner, start, np.array(radius_zyx), class_of_count.astype(np.uint8), classes)
    return classes


@njit(cache=True, nogil=True)
def _bounding_boxes(dense, start, stop, numbers):  # type: ignore[no-untyped-def]
    """(numbers, 2, 3): each number's lowest voxel in a box, and one past its highest; low > high: none."""
    boxes = np.empty((numbers, 2, 3), np.int64)
    boxes[:, 0] = np.iinfo(np.int64).max
    boxes[:, 1] = 0
    for z in range(start[0], stop[0]):
        for y in range(start[1], stop[1]):
            for x in range(start[2], stop[2]):
                box = boxes[dense[z, y, x]]
                box[0, 0], box[0, 1], box[0, 2] = min(box[0, 0], z), min(box[0, 1], y), min(box[0, 2], x)
                box[1, 0], box[1, 1] = max(box[1, 0], z + 1), max(box[1, 1], y + 1)
                box[1, 2] = max(box[1, 2], x + 1)
    return boxes


@njit(cache=True, nogil=True)
def _count(dense, wanted, boxes, inner, start, radius, class_of_count, classes):  # type: ignore[no-untyped-def]
    """Writes the class of every voxel of a wanted object: one table per object."""
    for number in range(1, len(wanted)):
        first, last = inner[number]
        if not wanted[number] or first[0] >= last[0]:
            continue
        low = np.maximum(boxes[number, 0], first - radius)
        high = np.minimum(boxes[number, 1], last + radius)
        table = _summed(dense, number, low, high)
        for z in range(first[0], last[0]):
            a, b = max(z - radius[0], low[0]) - low[0], min(z + radius[0] + 1, high[0]) - low[0]
            for y in range(first[1], last[1]):
                c, d = max(y - radius[1], low[1]) - low[1], min(y + radius[1] + 1, high[1]) - low[1]
                for x in range(first[2], last[2]):
                    if dense[z, y, x] != number:
                        continue
                    e, f = max(x - radius[2], low[2]) - low[2], min(x + radius[2] + 1, high[2]) - low[2]
                    above = table[b, d, f] - table[b, c, f] - table[b, d, e] + table[b, c, e]
                    below = table[a, d, f] - table[a, c, f] - table[a, d, e] + table[a, c, e]
                    classes[z - start[0], y - start[1], x - start[2]] = class_of_count[above - below]


@njit(cache=True, nogil=True)
def _summed(dense, number, low, high):  # type: ignore[no-untyped-def]
    """int32, one larger than the box along each axis: voxels of the number before each corner of the box."""
    shape = high - low
    table = np.zeros((shape[0] + 1, shape[1] + 1, shape[2] + 1), np.int32)
    for z in range(shape[0]):
        for y in range(shape[1]):
            row = np.int32(0)
            for x in range(shape[2]):
                row += np.int32(dense[low[0] + z, low[1] + y, low[2] + x] == number)
                # The sum of this layer so far, and of the layers before it.
                layer = row + table[z + 1, y, x + 1] - table[z, y, x + 1]
                table[z + 1, y + 1, x + 1] = layer + table[z, y + 1, x + 1]
    return table
