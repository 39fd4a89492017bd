"""Which subvolume says what of a voxel that several have segmented.

In an overlap every voxel was segmented twice. Its object is that of the subvolume in whose core it lies;
where that found nothing, the voxel is filled with what the neighbour across the cut found, if it did. A flood
misses parts of thin objects, and not the same ones when it comes from elsewhere.

So that one neighbour alone is asked about a voxel, the rim of each core is divided into boxes: what lies in
the overlaps along z belongs to the neighbours along z, of the rest what lies in those along y, and of what is
left then that in those along x.

Inputs and outputs: boxes and labels (z, y, x) in voxels of the raw volume; 0 = no object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from inference.reconciliation import object_voxels
from jobs.plan import Subvolume
from volumes import Box
from volumes.box import Zyx

_STEPS = (((-1, 0, 0), (1, 0, 0)), ((0, -1, 0), (0, 1, 0)), ((0, 0, -1), (0, 0, 1)))


def rims(plan: Sequence[Subvolume], positions: Mapping[Zyx, int], position: int) -> list[tuple[int, Box]]:
    """The parts of a subvolume's core that neighbours have segmented, too, each with the one that fills it.

    Args:
        plan: subvolumes of one plan, all or some of them.
        positions: of each index in the plan.
        position: of the subvolume.

    Returns:
        Positions of neighbours in the plan, each once, and disjoint boxes, absolute, each in the core and in
        the box of that neighbour. None is empty.
    """
    subvolume, found = plan[position], []
    rest = subvolume.core
    for axis, steps in enumerate(_STEPS):
        along = []
        for step in steps:
            z, y, x = (n + by for n, by in zip(subvolume.index, step, strict=True))
            there = positions.get((z, y, x))
            part = rest if there is None else rest.intersect(plan[there].box)
            if there is not None and not part.is_empty:
                along.append((there, part))
        for _, part in along:
            rest = _without(rest, part, axis)
        found += along
    return found


def filled_voxels(own: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """How many of a subvolume's empty voxels each object of its neighbour fills.

    Args:
        own: labels (z, y, x) of the subvolume in its rim.
        theirs: those of the neighbour for the same voxels.

    Returns:
        (n, 2) uint64: IDs of the neighbour's objects, ascending, and voxels.
    """
    ids, voxels = object_voxels(np.where(own > 0, 0, theirs))
    return np.stack([ids, voxels.astype(np.uint64)], axis=1)


def _without(box: Box, part: Box, axis: int) -> Box:
    """The rest of a box of which a part at one end of an axis is taken away."""
    start, stop = list(box.start), list(box.stop)
    if part.start[axis] == box.start[axis]:
        start[axis] = part.stop[axis]
    else:
        stop[axis] = part.start[axis]
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
