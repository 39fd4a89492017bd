"""Random changes of the grey values of a whole training example; images are float32 (z, y, x), normalised."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ffn.training.augmentation import Augmentation


def change_greys(image: np.ndarray, augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """The image after blur, other contrast and brightness, noise, and white and black voxels, in this order.

    Args:
      image: float32 (z, y, x), normalised.
      augmentation: how strong each change may be.
      rng: advanced by what is drawn.

    Returns:
      A new array, float32, of the image's shape.
    """
    blur = augmentation.blur_voxels * rng.random()
    if blur > 0:
        image = ndimage.gaussian_filter(image, blur)
    scale = 1.0 + augmentation.contrast * rng.uniform(-1, 1)
    shift = augmentation.brightness * rng.uniform(-1, 1)
    changed: np.ndarray = image * np.float32(scale) + np.float32(shift)
    level = augmentation.noise * rng.random()
    if level > 0:
        changed += np.float32(level) * rng.standard_normal(image.shape, dtype=np.float32)
    if augmentation.salt_and_pepper > 0:
        _salt_and_pepper(changed, augmentation.salt_and_pepper * rng.random(), rng)
    return changed


def _salt_and_pepper(image: np.ndarray, share: float, rng: np.random.Generator) -> None:
    """Sets a share of the voxels, half to the image's highest value and half to its lowest, in place."""
    white, black = image.max(), image.min()
    drawn = rng.random(image.shape, dtype=np.float32)
    image[drawn < share / 2] = white
    image[drawn >= 1 - share / 2] = black
