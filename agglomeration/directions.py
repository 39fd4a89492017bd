"""In which direction an object ends at a point, and whether another one goes on there.

The direction is the way from the centroid of the object's voxels near the point to the point. It is as long
as the object extends that way: 1 at the tip of a neurite, next to nothing where the point lies at its side.
No axis has to be chosen, so that round objects do not make it jump.

Inputs: masks (z, y, x), points in voxels, lengths nm. Outputs: vectors z, y, x in space.
"""

from __future__ import annotations

import numpy as np

from volumes.base import SizeNm


def direction_agreement(
    own: np.ndarray, other: np.ndarray, point: np.ndarray, voxel_size_nm: SizeNm, radius_nm: float
) -> float:
    """How straight one object goes on in the other at a point: 1 in one line, -1 side by side, ending alike.

    Minus the scalar product of the two objects' directions at the point (`end_direction`). An object that
    passes the point, or touches it with its side, has hardly any direction there, which gives about 0.

    Args:
      own: bool (z, y, x), one object.
      other: bool like it, the other one.
      point: voxel (z, y, x) in these arrays.
      voxel_size_nm: edges of a voxel (z, y, x).
      radius_nm: voxels farther from the point do not count.

    Returns:
      From -1 to 1; 0 where one of them has no voxel near.
    """
    first, second = (end_direction(mask, point, voxel_size_nm, radius_nm) for mask in (own, other))
    return float(np.clip(-(first @ second), -1.0, 1.0))


def end_direction(mask: np.ndarray, point: np.ndarray, voxel_size_nm: SizeNm, radius_nm: float) -> np.ndarray:
    """The direction in which an object ends at a point.

    Args:
      mask: bool (z, y, x), the object.
      point: voxel (z, y, x) in it or beside it.
      voxel_size_nm: edges of a voxel (z, y, x).
      radius_nm: voxels farther from the point do not count.

    Returns:
      float64 (3,), z, y, x in space, at most 1 long: the unit vector from the centroid of the voxels to the
      point, times their covariance (in nm²) by its largest eigenvalue.
    """
    offsets = (np.argwhere(mask) - np.asarray(point)) * np.asarray(voxel_size_nm, np.float64)
    near = offsets[(offsets**2).sum(axis=1) <= radius_nm**2]
    if not len(near):
        return np.zeros(3)
    centroid = near.mean(axis=0)
    distance = float(np.linalg.norm(centroid))
    # A voxel is no point: with its own spread one voxel, or a row of them, has a direction as well.
    spread = np.cov(near.T, bias=True) + np.diag(np.square(voxel_size_nm)) / 12
    if distance < 1e-9:
        return np.zeros(3)
    direction: np.ndarray = spread @ (-centroid / distance) / np.linalg.eigvalsh(spread)[-1]
    return direction
