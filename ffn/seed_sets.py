"""Seeds by rule: grids, all voxels from the brightest down, all voxels above a value.

The simple ones among google/ffn's seed policies (`ffn.seed_policies`). They take arrays of a subvolume
(z, y, x) and return positions in it (voxels, z, y, x), int64 (n, 3), in the order in which they are tried.

Source of the methods: seed.py of google/ffn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage


def grid_seeds(
    shape: tuple[int, ...], *, steps_zyx: tuple[int, int, int], offsets_zyx: Sequence[tuple[int, int, int]]
) -> np.ndarray:
    """The points of one regular grid after the other.

    Args:
        shape: of the subvolume.
        steps_zyx: voxels between the points of a grid.
        offsets_zyx: the first point of each grid, at least 0.

    Returns:
        int64 (n, 3); grid after grid, each in ascending order.

    Source: google/ffn, PolicyGrid3d and PolicyGrid2d.
    """
    grids = [
        np.stack(
            np.meshgrid(
                *(np.arange(first, n, step) for first, n, step in zip(offset, shape, steps_zyx, strict=True)),
                indexing="ij",
            ),
            axis=-1,
        ).reshape(-1, 3)
        for offset in offsets_zyx
    ]
    return np.concatenate([np.empty((0, 3), np.int64), *grids])


def brightest_first(image: np.ndarray, free: np.ndarray) -> np.ndarray:
    """All free voxels in descending order of intensity, equal ones in ascending order of position.

    Args:
        image: normalised image, float32 (z, y, x).
        free: bool, like image; True = may be a seed.

    Source: google/ffn, PolicyMax (which leaves the order of equal voxels open).
    """
    places = np.flatnonzero(free)
    places = places[np.argsort(-image[free], kind="stable")]
    points = np.empty((len(places), 3), np.int64)
    for axis in (2, 1, 0):
        np.mod(places, image.shape[axis], out=points[:, axis])
        places //= image.shape[axis]
    return points


def dense_seeds(
    image: np.ndarray,
    free: np.ndarray,
    *,
    threshold: float = 0.5,
    num_erosions: int = 0,
    invert: bool = False,
) -> np.ndarray:
    """All free voxels above a value, less a rim.

    Args:
        image: normalised image, float32 (z, y, x).
        free: bool, like image; True = may be a seed.
        threshold: of the normalised image.
        num_erosions: voxels taken off around what is above it (by faces; none off the array's own faces).
        invert: voxels up to the threshold instead.

    Returns:
        int64 (n, 3) in ascending order.

    Source: google/ffn, PolicyDenseSeeds.
    """
    chosen = (image <= threshold) if invert else (image > threshold)
    if num_erosions:
        # More than the longest way through the array take nothing further off.
        times = min(num_erosions, sum(image.shape))
        chosen = ndimage.binary_erosion(chosen, iterations=times, border_value=1)
    return np.argwhere(chosen & free)
