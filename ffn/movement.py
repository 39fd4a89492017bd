"""How a field of view moves through a subvolume: what it reads, what it writes, and where it goes next.

The functions that touch every voxel of a field of view are compiled, free Python's global lock while they run
and work in place on plain arrays:

- image, logits: float32 (z, y, x), the subvolume; a logit of NaN has not been visited yet;
- a field of view: float32 (z, y, x) of its shape (odd along every axis), described by its centre voxel.

`MovementQueue` holds the positions of one object that wait for the network, first in, first out.

Source of the method: FaceMaxMovementPolicy and the update of one field of view in google/ffn (Januszewski
et al. 2018, doi:10.1038/s41592-018-0049-4).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

import numpy as np
from numba import njit

Zyx = tuple[int, int, int]

# A voxel the object held firmly (p >= 0.8) that a visit takes away (p < 0.5) counts as deleted.
_LOGIT_HELD = np.float32(math.log(0.8 / 0.2))
_LOGIT_UNDECIDED = np.float32(0)


class MovementQueue:
    """The positions (voxels, z, y, x) of one object that wait for the network, in the order they came.

    Positions are compared on a lattice with the seed in the middle of a cell and cells of the size of a
    move: of all positions in one cell the network sees only the first that can be visited.

    Args:
        seed: the first position to wait.
        deltas_zyx: distance of a move along each axis in voxels; 0 = no move along this axis.
        visited: positions the network has seen already.
        waiting: positions to begin with in place of the seed.
    """

    def __init__(
        self, seed: Zyx, deltas_zyx: Zyx, visited: Iterable[Zyx] = (), waiting: Iterable[Zyx] | None = None
    ) -> None:
        self._cell_size = tuple(max(delta, 1) for delta in deltas_zyx)
        self._origin = tuple(s - delta // 2 for s, delta in zip(seed, deltas_zyx, strict=True))
        self._done = {self._cell(position) for position in visited}
        self.waiting = deque([seed] if waiting is None else waiting)

    def is_done(self, position: Zyx) -> bool:
        """Whether the network has seen a position of this one's cell."""
        return self._cell(position) in self._done

    def finish_first(self, found: Iterable[Zyx]) -> None:
        """Takes the first position off as visited and appends the ones found from there."""
        self._done.add(self._cell(self.waiting.popleft()))
        self.waiting.extend(found)

    def _cell(self, position: Zyx) -> Zyx:
        (z, y, x), (oz, oy, ox), (dz, dy, dx) = position, self._origin, self._cell_size
        return (z - oz) // dz, (y - oy) // dy, (x - ox) // dx


@njit(cache=True, nogil=True)
def gather(image, logits, center, pad_logit, image_out, logits_out):  # type: ignore[no-untyped-def]
    """Copies one field of view out of a subvolume, unvisited voxels read as `pad_logit`.

    Args:
        image, logits: the subvolume, float32 (z, y, x).
        center: centre voxel of the field of view (z, y, x), which has to lie inside.
        pad_logit: float32 scalar.
        image_out, logits_out: float32 arrays of the shape of the field of view that are written to.
    """
    depth, height, width = image_out.shape
    z0, y0, x0 = center[0] - depth // 2, center[1] - height // 2, center[2] - width // 2
    for z in range(depth):
        for y in range(height):
            # Whole rows, here and below, since the compiler vectorises loops over one axis only.
            image_row = image[z0 + z, y0 + y, x0 : x0 + width]
            logits_row = logits[z0 + z, y0 + y, x0 : x0 + width]
            image_row_out, logits_row_out = image_out[z, y], logits_out[z, y]
            for x in range(width):
                image_row_out[x] = image_row[x]
                logits_row_out[x] = pad_logit if np.isnan(logits_row[x]) else logits_row[x]


@njit(cache=True, nogil=True)
def scatter(logits, center, predicted, move_logit, disconnected_fraction):  # type: ignore[no-untyped-def]
    """Writes the network's logits for one field of view into a subvolume.

    With `disconnected_fraction` >= 0 the disconnected-seed rule holds: once more than that fraction of the
    predicted logits reaches `move_logit`, a voxel that was visited and below p = 0.5 cannot rise any more.
    This keeps two objects apart that a full field of view would join.

    Args:
        logits: the subvolume, float32 (z, y, x), written to.
        center: centre voxel of the field of view (z, y, x).
        predicted: the network's answer, float32 of the shape of the field of view; not changed.
        move_logit: float32 scalar.
        disconnected_fraction: the rule's setting; negative = off.

    Returns:
        How many voxels the prediction deletes: p >= 0.8 before and p < 0.5 in `predicted`, whether or not the
        rule then restores anything.
    """
    depth, height, width = predicted.shape
    z0, y0, x0 = center[0] - depth // 2, center[1] - height // 2, center[2] - width // 2
    restrain = disconnected_fraction >= 0 and _active_share(predicted, move_logit) > disconnected_fraction
    deleted = 0
    for z in range(depth):
        for y in range(height):
            row, predicted_row = logits[z0 + z, y0 + y, x0 : x0 + width], predicted[z, y]
            for x in range(width):
                old, new = row[x], predicted_row[x]
                deleted += (old >= _LOGIT_HELD) & (new < _LOGIT_UNDECIDED)
                # Never true of an unvisited voxel, whose NaN is not below anything.
                restored = restrain and old < _LOGIT_UNDECIDED and new > old
                row[x] = old if restored else new
    return deleted


@njit(cache=True, nogil=True)
def _active_share(predicted, move_logit):  # type: ignore[no-untyped-def]
    active = 0
    for value in predicted.flat:
        active += value >= move_logit
    return active / predicted.size


@njit(cache=True, nogil=True)
def face_maxima(logits, center, deltas, move_logit):  # type: ignore[no-untyped-def]
    """The best position on each face of the cuboid that reaches one move in every direction.

    Args:
        logits: the subvolume, float32 (z, y, x).
        center: centre voxel of the cuboid (z, y, x).
        deltas: distances of a move (z, y, x) in voxels; an axis with 0 has no faces.
        move_logit: float32 scalar; a maximum below it is left out.

    Returns:
        List of at most six positions (z, y, x), the highest logit first; among equals the one farther along
        z, then y, then x. A voxel shared by two faces comes once.
    """
    best = []
    for axis in range(3):
        for side in (-deltas[axis], deltas[axis]):
            if side != 0:
                found = _face_maximum(logits, center, deltas, axis, side)
                if found[0] >= move_logit and found not in best:
                    best.append(found)
    best.sort(reverse=True)
    return [(z, y, x) for _, z, y, x in best]


@njit(cache=True, nogil=True)
def _face_maximum(logits, center, deltas, axis, side):  # type: ignore[no-untyped-def]
    """(logit, z, y, x) of the maximum of the face `side` voxels along an axis; the first among equals."""
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for i in range(3):
        low[i], high[i] = center[i] - deltas[i], center[i] + deltas[i]
    low[axis] = high[axis] = center[axis] + side
    best = (np.float32(-np.inf), low[0], low[1], low[2])
    for z in range(low[0], high[0] + 1):
        for y in range(low[1], high[1] + 1):
            for x in range(low[2], high[2] + 1):
                if logits[z, y, x] > best[0]:
                    best = (logits[z, y, x], z, y, x)
    return best
