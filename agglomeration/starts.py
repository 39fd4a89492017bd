"""Where floods of an object begin: its deepest points.

Inputs: masks (z, y, x), lengths nm. Outputs: depths nm, positions in voxels (z, y, x).

Source of the method: resegmentation.py of google/ffn.
"""

from __future__ import annotations

from collections.abc import Iterator

import edt
import numpy as np

from volumes.base import SizeNm
from volumes.box import Box, Zyx


def depths_nm(mask: np.ndarray, voxel_size_nm: SizeNm) -> np.ndarray:
    """Distance of every voxel of an object to the nearest voxel outside, in nm.

    The object goes on behind the faces of the array, unless it fills all of it.

    Args:
      mask: bool (z, y, x), the object.
      voxel_size_nm: edges of a voxel (z, y, x).

    Returns:
      float32 (z, y, x); 0 outside.
    """
    distance: np.ndarray = edt.edt(mask, anisotropy=voxel_size_nm, black_border=bool(mask.all()))
    return distance


def deepest_points(
    mask: np.ndarray,
    voxel_size_nm: SizeNm,
    *,
    margin_zyx: Zyx,
    apart_zyx: Zyx,
    unwanted: Box | None = None,
) -> Iterator[Zyx]:
    """The deepest point of an object, then the deepest one outside of the box around it, and so on.

    Of equally deep points that of the lowest (z, y, x) comes first.

    Args:
      mask: bool (z, y, x), the object.
      voxel_size_nm: edges of a voxel (z, y, x).
      margin_zyx: voxels that a point keeps from every face of the array.
      apart_zyx: half the edge of the box around each point in which no later one lies (voxels, the point not
        counted).
      unwanted: no point lies in this part of the array; may leave it. None = all of it may be used.

    Yields:
      Voxels (z, y, x).
    """
    everything = Box.from_shape(mask.shape)
    room = everything.grow(tuple(-n for n in margin_zyx)).slices()
    depth = np.zeros(mask.shape, np.float32)
    depth[room] = depths_nm(mask, voxel_size_nm)[room]
    if unwanted is not None:
        depth[unwanted.intersect(everything).slices()] = 0
    while True:
        z, y, x = (int(n) for n in np.unravel_index(int(np.argmax(depth)), depth.shape))
        if depth[z, y, x] <= 0:
            return
        yield z, y, x
        around = Box.from_shape((1, 1, 1), (z, y, x)).grow(apart_zyx)
        depth[around.intersect(everything).slices()] = 0
