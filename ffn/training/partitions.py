"""How enclosed by its own object each voxel is: the classes training centres are drawn from.

Most voxels of neuropil lie deep inside large processes, which are easy. The share of same-object
voxels in the box that a field of view and its moves can reach tells thin processes and borders
from interiors; drawing centres equally from classes of that share shows a network all of them.
Source: Januszewski et al. 2018 (doi:10.1038/s41592-018-0049-4), Methods, "Network training".
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

THRESHOLDS = (0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
NO_OBJECT = 255


def partition_classes(
    labels: np.ndarray,
    radius_zyx: tuple[int, int, int],
    thresholds: tuple[float, ...] = THRESHOLDS,
    min_object_voxels: int = 10_000,
) -> np.ndarray:
    """The class of every voxel: how many thresholds its share of same-object voxels reaches.

    The share is taken over the box of ±radius around the voxel, cut at the volume's border as if
    nothing of the object lay outside. Work is linear in the bounding boxes of the objects.

    Args:
      labels: integer (z, y, x), 0 = no object.
      radius_zyx: half size of the box in voxels.
      thresholds: ascending shares.
      min_object_voxels: smaller objects count as no object.

    Returns:
      uint8 (z, y, x): 0 … len(thresholds), `NO_OBJECT` where there is none.
    """
    classes = np.full(labels.shape, NO_OBJECT, np.uint8)
    dense, inverse = np.unique(labels, return_inverse=True)
    numbered = inverse.reshape(labels.shape).astype(np.int32) + (0 if dense[0] == 0 else 1)
    sizes = np.bincount(numbered.ravel())
    for number, box in enumerate(ndimage.find_objects(numbered), start=1):
        if box is None or sizes[number] < min_object_voxels:
            continue
        own = numbered[box] == number
        share = _box_share(own, radius_zyx)
        classes[box][own] = np.searchsorted(thresholds, share[own], side="right").astype(np.uint8)
    return classes


def _box_share(own: np.ndarray, radius_zyx: tuple[int, int, int]) -> np.ndarray:
    """Mean of a mask over the box around each voxel, nothing outside the array."""
    share = own.astype(np.float32)
    for axis, radius in enumerate(radius_zyx):
        share = ndimage.uniform_filter1d(share, 2 * radius + 1, axis=axis, mode="constant")
    return share


def centres_by_class(classes: np.ndarray, margin_zyx: tuple[int, int, int]) -> list[np.ndarray]:
    """Flat indices of the voxels of each class at which a training example fits.

    Args:
      classes: as `partition_classes` returns it.
      margin_zyx: voxels an example needs on either side of its centre.

    Returns:
      One ascending int64 array for each class that has voxels, lowest class first; empty when an
      example fits nowhere.
    """
    fits = np.zeros(classes.shape, bool)
    inner = tuple(slice(m, n - m) for m, n in zip(margin_zyx, classes.shape, strict=True))
    fits[inner] = classes[inner] != NO_OBJECT
    where = np.flatnonzero(fits)
    found = classes.ravel()[where]
    return [where[found == c] for c in np.unique(found)]
