"""What annotated volumes must hold to be trained on: finite grey values, and object IDs from 0 up.

One value that is not finite makes every later weight NaN, so it is named here, where it lies.
"""

from __future__ import annotations

import numpy as np

from volumes.box import Zyx
from volumes.errors import VolumeError


def require_finite(name: str, image: np.ndarray, start_zyx: Zyx) -> None:
    """Refuses an image with values that are infinite or not a number as float32, which training computes in.

    Args:
      name: of the volume, for the message.
      image: (z, y, x), whole numbers or floats.
      start_zyx: absolute coordinates of its first voxel.

    Raises:
      VolumeError: names the first such voxel.
    """
    if image.dtype.kind != "f":
        return
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(image.astype(np.float32))
    if bad.any():
        voxel, value = _first(bad, image, start_zyx)
        raise VolumeError(
            f"training volume {name} holds {value} at voxel {voxel} (zyx), which is not finite in float32; "
            f"replace such voxels or give a box without them"
        )


def require_object_ids(name: str, labels: np.ndarray, start_zyx: Zyx) -> None:
    """Refuses labels that are no object IDs.

    Args:
      name: of the volume, for the message.
      labels: (z, y, x).
      start_zyx: absolute coordinates of its first voxel.

    Raises:
      VolumeError: floats, or a negative number (names the first such voxel).
    """
    if labels.dtype.kind == "f":
        raise VolumeError(
            f"training volume {name}: labels are {labels.dtype}; object IDs are integers: "
            f"convert them, for example to uint32"
        )
    if labels.dtype.kind == "i" and labels.min() < 0:
        voxel, value = _first(labels < 0, labels, start_zyx)
        raise VolumeError(
            f"training volume {name} has label {value} at voxel {voxel} (zyx); object IDs begin at 1 and 0 "
            f"is no object: write 0 there or give a box without such voxels"
        )


def _first(chosen: np.ndarray, values: np.ndarray, start_zyx: Zyx) -> tuple[Zyx, str]:
    """The first chosen voxel, absolute, and its value."""
    z, y, x = (int(i) for i in np.unravel_index(int(np.argmax(chosen)), chosen.shape))
    voxel = (z + start_zyx[0], y + start_zyx[1], x + start_zyx[2])
    return voxel, str(values[z, y, x])
