"""One object of a large volume in coarser voxels, each of which knows a voxel of the object inside it.

A coarse voxel is a block of `factors` (zyx) voxels, counted from the first voxel of the object's box, and
belongs to the object if any of its voxels does: what hangs together stays together, however thin it is. The
object's voxel nearest to the block's centre stands for it, so that a path through coarse voxels leads back to
voxels of the object itself.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from evaluation.blocks import tiles
from evaluation.checks import unsigned
from volumes import Box, Volume
from volumes.base import SizeNm
from volumes.box import Zyx

_BLOCK_EDGE = 256


def coarse_factors(shape: Zyx, voxel_size_nm: SizeNm, most_voxels: int) -> Zyx:
    """Whole factors under which a box has at most so many coarse voxels, as isotropic as they can be.

    Args:
        shape: voxels (zyx) of the box.
        voxel_size_nm: zyx.
        most_voxels: wanted, at least 1.
    """
    factors = [1, 1, 1]
    while math.prod(-(-n // f) for n, f in zip(shape, factors, strict=True)) > most_voxels:
        divisible = [axis for axis in range(3) if factors[axis] < shape[axis]]
        factors[min(divisible, key=lambda axis: factors[axis] * voxel_size_nm[axis])] += 1
    z, y, x = factors
    return z, y, x


def coarse_object(
    volume: Volume, box: Box, object_id: int, factors: Zyx, most_voxels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Read an object in coarser voxels, block by block.

    Args:
        volume: integer labels.
        box: absolute, inside the volume.
        object_id: the label.
        factors: voxels (zyx) of a coarse one.
        most_voxels: of a block that is read at once, where one coarse voxel has no more.

    Returns:
        Two arrays of shape ceil(box.shape / factors): bool, where the object is, and uint32, which of the
        voxels in the block (C order) stands for it.
    """
    shape = tuple(-(-n // f) for n, f in zip(box.shape, factors, strict=True))
    inside, nearest = np.zeros(shape, bool), np.zeros(shape, np.uint32)
    ranks = _by_distance(factors, volume.voxel_size_nm)
    edge = min(_BLOCK_EDGE, int(most_voxels ** (1 / 3) + 1e-6))
    block_shape = tuple(max(1, edge // f) * f for f in factors)
    for block in tiles(box, block_shape, box.start):  # type: ignore[arg-type]
        first = [(b - s) // f for b, s, f in zip(block.start, box.start, factors, strict=True)]
        there = tuple(
            slice(at, at + -(-n // f)) for at, n, f in zip(first, block.shape, factors, strict=True)
        )
        wanted = unsigned(volume.read(block), f"'{volume.spec}'") == object_id
        _coarsen(wanted, factors, ranks, inside[there], nearest[there])
    return inside, nearest


def fine_voxels(coarse: np.ndarray, nearest: np.ndarray, factors: Zyx, start: Zyx) -> np.ndarray:
    """The voxels that stand for coarse ones.

    Args:
        coarse: (n, 3) int64 indices into `nearest`.
        nearest: of `coarse_object`.
        factors: voxels (zyx) of a coarse one.
        start: first voxel of the box, absolute.

    Returns:
        (n, 3) int64 absolute voxels, zyx.
    """
    within = np.stack(np.unravel_index(nearest[tuple(coarse.T)], factors), axis=1)
    return coarse * factors + within + start


def _by_distance(factors: Zyx, voxel_size_nm: SizeNm) -> np.ndarray:
    """Float32 array of shape `factors`: how far (nm, squared) a voxel lies from the centre of its block."""
    axes = [
        ((np.arange(f) + 0.5 - f / 2) * size) ** 2 for f, size in zip(factors, voxel_size_nm, strict=True)
    ]
    return (axes[0][:, None, None] + axes[1][:, None] + axes[2]).astype(np.float32)


@numba.njit(nogil=True, cache=True)
def _coarsen(
    wanted: np.ndarray, factors: Zyx, ranks: np.ndarray, inside: np.ndarray, nearest: np.ndarray
) -> None:
    best = np.full(inside.shape, np.float32(np.inf))
    for z, y, x in np.ndindex(wanted.shape):
        if wanted[z, y, x]:
            coarse = z // factors[0], y // factors[1], x // factors[2]
            dz, dy, dx = z % factors[0], y % factors[1], x % factors[2]
            if ranks[dz, dy, dx] < best[coarse]:
                best[coarse] = ranks[dz, dy, dx]
                inside[coarse] = True
                nearest[coarse] = (dz * factors[1] + dy) * factors[2] + dx
