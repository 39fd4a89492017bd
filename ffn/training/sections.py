"""Random faults of single sections of a training example; images are float32 (z, y, x), normalised.

Sections lie along z, so that this comes before axes are exchanged.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ffn.training.augmentation import Augmentation


def change_sections(image: np.ndarray, augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """The image with sections out of focus, of other contrast and brightness, dark or missing.

    Every section draws for itself; several faults of one come in this order.

    Args:
      image: float32 (z, y, x), normalised; z is the axis that the tissue was cut along.
      augmentation: chances and strengths.
      rng: advanced by what is drawn.

    Returns:
      float32 of the image's shape: a new array, or `image` itself where no fault is asked for.
    """
    chances = (augmentation.out_of_focus_section, augmentation.dark_section, augmentation.missing_section)
    if not any((*chances, augmentation.section_contrast, augmentation.section_brightness)):
        return image
    changed = image.copy()
    unfocused, dark, missing = (rng.random((3, len(image))) < np.array(chances)[:, None]).astype(bool)
    for z in np.flatnonzero(unfocused):
        sigma = augmentation.out_of_focus_voxels * rng.random()
        changed[z] = ndimage.gaussian_filter(changed[z], sigma)
    scale = 1 + augmentation.section_contrast * rng.uniform(-1, 1, len(image))
    shift = augmentation.section_brightness * rng.uniform(-1, 1, len(image))
    scale = np.where(dark, scale * augmentation.dark_contrast * rng.random(len(image)), scale)
    shift = np.where(dark, shift - 1, shift)
    changed *= np.where(missing, 0, scale).astype(np.float32)[:, None, None]
    changed += np.where(missing, 0, shift).astype(np.float32)[:, None, None]
    return changed
