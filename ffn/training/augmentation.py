"""Random changes of a training example that a network must not care about.

Geometry is applied to image and labels alike; grey values to the image alone.
Arrays are (z, y, x); images are float32 and normalised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """Which changes are drawn.

    Attributes:
      permute_axes: groups of axes (0 = z, 1 = y, 2 = x) that may be exchanged; the voxel size must
        be equal within a group.
      reflect: mirror each axis with probability one half.
      contrast: the image is scaled by 1 ± this.
      brightness: ± this is added, in units of the normalised image.
      noise: standard deviation of white noise, drawn from 0 to this.
    """

    permute_axes: tuple[tuple[int, ...], ...] = ((0, 1, 2),)
    reflect: bool = True
    contrast: float = 0.15
    brightness: float = 0.15
    noise: float = 0.0


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


def change_greys(image: np.ndarray, augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """A copy of the image (float32) with other contrast, brightness and noise.

    Args:
      image: (z, y, x), normalised.
      augmentation: how strong each change may be.
      rng: advanced by what is drawn.

    Returns:
      A new array, float32, of the image's shape.
    """
    scale = 1.0 + augmentation.contrast * rng.uniform(-1, 1)
    shift = augmentation.brightness * rng.uniform(-1, 1)
    changed = (image * np.float32(scale) + np.float32(shift)).astype(np.float32)
    level = augmentation.noise * rng.random()
    if level > 0:
        changed += np.float32(level) * rng.standard_normal(image.shape, dtype=np.float32)
    return changed
