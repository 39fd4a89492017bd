"""Splitting one supervoxel between two sets of points, and reading labels with such splits in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volumes import Box


@dataclass(frozen=True)
class SupervoxelParts:
    """The two sides of a supervoxel.

    Attributes:
      supervoxel: its ID.
      new_ids: of the two sides.
      box: the voxels looked at (zyx, absolute); holds the whole supervoxel.
      sides: (z, y, x) uint8, 1 and 2 on the sides of points_a and points_b; 0 elsewhere.
    """

    supervoxel: int
    new_ids: tuple[int, int]
    box: Box
    sides: np.ndarray
