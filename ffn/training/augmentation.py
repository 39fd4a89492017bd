"""Which random changes of a training example are made: things that a network must not care about.

Geometry (`geometry`) and deformation (`deformation`) change image and labels alike; grey values of sections
(`sections`) and of the whole (`greys`) the image alone. The order is that of a microscope: the tissue deforms
and is cut, sections suffer, the picture is taken.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Augmentation:
    """Which changes are drawn, and how strong; chances are from 0 to 1, greys are normalised.

    Attributes:
      permute_axes: groups of axes (0 = z, 1 = y, 2 = x) that may be exchanged; field of view and deltas must
        be equal within a group. Axes of other voxel sizes are never exchanged.
      reflect: mirror each axis with probability one half.
      contrast: the image is scaled by 1 ± this.
      brightness: ± this is added.
      noise: standard deviation of white noise, drawn from 0 to this.
      section_contrast, section_brightness: the same of every section (z) for itself.
      missing_section: chance of a section to be 0 everywhere, the mean grey value.
      dark_section: chance of a section to be one standard deviation darker, of a contrast from 0 to
        `dark_contrast`.
      out_of_focus_section: chance of a section to be blurred in its plane, by a Gaussian of up to
        `out_of_focus_voxels`.
      slip: chance of a slip in the plane by up to `slip_voxels`.
      salt_and_pepper: largest share of voxels that become white or black.
      blur_voxels: standard deviation of a Gaussian over the image, drawn from 0 to this.
      elastic: chance of a deformation, of `elastic_nm` (standard deviation) on a grid of `elastic_grid_nm`.
    """

    permute_axes: tuple[tuple[int, ...], ...] = ((0, 1, 2),)
    reflect: bool = True
    contrast: float = 0.15
    brightness: float = 0.15
    noise: float = 0.0
    section_contrast: float = 0.0
    section_brightness: float = 0.0
    missing_section: float = 0.0
    dark_section: float = 0.0
    dark_contrast: float = 0.5
    out_of_focus_section: float = 0.0
    out_of_focus_voxels: float = 2.0
    slip: float = 0.0
    slip_voxels: int = 4
    salt_and_pepper: float = 0.0
    blur_voxels: float = 0.0
    elastic: float = 0.0
    elastic_nm: float = 20.0
    elastic_grid_nm: float = 200.0
