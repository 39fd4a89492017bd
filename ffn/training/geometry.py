"""Random exchange and mirroring of the axes of a training example.

Arrays are (z, y, x) of any dtype; what is drawn is applied to image, target and weight alike.
"""

from __future__ import annotations

import numpy as np

from ffn.training.augmentation import Augmentation


def random_geometry(
    augmentation: Augmentation, rng: np.random.Generator
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Draws an axis order and the axes to mirror.

    Args:
      augmentation: which axes may be exchanged, and whether axes are mirrored.
      rng: advanced by what is drawn.

    Returns:
      The order, as `numpy.transpose` takes it, and the axes to mirror after the exchange, ascending (0 = z).
    """
    order = [0, 1, 2]
    for group in augmentation.permute_axes:
        for axis, source in zip(group, rng.permutation(group), strict=True):
            order[axis] = int(source)
    mirrored = tuple(a for a in range(3) if augmentation.reflect and rng.random() < 0.5)
    return tuple(order), mirrored


def apply_geometry(array: np.ndarray, order: tuple[int, ...], mirrored: tuple[int, ...]) -> np.ndarray:
    """A view of the array with axes exchanged, then mirrored.

    Args:
      array: (z, y, x), any dtype.
      order: the axis of the array that each axis of the result is.
      mirrored: axes of the result.
    """
    return np.flip(array.transpose(order), mirrored)
