"""A labelled volume that training examples are drawn from."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from configs.errors import ConfigError
from ffn.network import Architecture
from ffn.training.centres import CentreRule, Centres, Survey, find_centres, survey
from ffn.training.example_settings import ExampleSettings, canvas_shape, for_voxel_size
from volumes.arrays import ArrayVolume
from volumes.base import SizeNm, Volume
from volumes.box import Box, Zyx


class Cutout(NamedTuple):
    """What a box of a training volume holds: normalised image, labels, and weights in the loss (1 or 0)."""

    image: np.ndarray
    labels: np.ndarray
    weight: np.ndarray


class TrainingVolume:
    """A labelled volume ready to draw examples from.

    Attributes:
      name: used in messages.
      shape: voxels (zyx).
      voxel_size_nm: zyx, of the image.
      settings: how its centres were chosen and its greys are normalised.
      centres: where examples may have their centre.
      digest: of labels and mask.

    Args:
      image: (z, y, x), finite numbers, not yet normalised; a volume whose bounds begin at 0, read for every
        example, or an array.
      labels: integer, like image; 0 = no object.
      architecture: its field of view and deltas.
      settings: how examples are made.
      mask: like image; where it is not 0 no example has its centre and no voxel counts in the loss.
      folder: where classes of centres are kept for the next start; None: in memory.

    Raises:
      ConfigError: shapes or voxel sizes differ, or no example fits into any object; says why.
    """

    def __init__(
        self,
        name: str,
        image: Volume | np.ndarray,
        labels: Volume | np.ndarray,
        architecture: Architecture,
        settings: ExampleSettings,
        mask: Volume | np.ndarray | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self._image, self._labels = _volume(image), _volume(labels)
        self._mask = None if mask is None else _volume(mask)
        self.shape, self.voxel_size_nm = self._image.shape, self._image.voxel_size_nm
        self._require_one_grid()
        self.settings = for_voxel_size(settings, self.voxel_size_nm)
        canvas = canvas_shape(architecture, settings)
        rule = _rule(architecture, self.settings, self.voxel_size_nm)
        self._require_room(canvas, rule)
        found = survey(self._labels, self._mask)
        self._require_objects(found)
        self.digest = found.digest
        self.centres: Centres = find_centres(self._labels, self._mask, rule, found, folder)
        if not len(self.centres):
            raise ConfigError(
                f"training volume {name} of shape {self.shape} has no object of at least "
                f"{settings.min_object_voxels} voxels in which an example of {canvas} fits outside the mask; "
                f"lower min_object_voxels, or give a larger volume or less of a mask"
            )

    def read(self, box: Box) -> Cutout:
        """The voxels of a box inside the volume; new arrays, safe in any number of threads.

        Returns:
          Image (float32, normalised), labels (integer) and weight (float32), each of the box's shape.
        """
        image = self.greys(box)
        image -= np.float32(self.settings.image_mean)
        image /= np.float32(self.settings.image_stddev)
        if self._mask is None:
            weight = np.ones(box.shape, np.float32)
        else:
            weight = (self._mask.read(box) == 0).astype(np.float32)
        return Cutout(image, self._labels.read(box), weight)

    def greys(self, box: Box) -> np.ndarray:
        """float32 image of a box inside the volume, preprocessed and not normalised; a new array."""
        return self._image.read(box).astype(np.float32)

    def close(self) -> None:
        """Releases the files."""
        for volume in (self._image, self._labels, self._mask):
            if volume is not None:
                volume.close()

    def _require_one_grid(self) -> None:
        for role, other in (("labels", self._labels), ("mask", self._mask)):
            if other is not None and other.shape != self.shape:
                raise ConfigError(
                    f"training volume {self.name}: raw is {self.shape} but {role} are {other.shape} voxels "
                    f"(zyx); give both on one grid"
                )

    def _require_room(self, canvas: Zyx, rule: CentreRule) -> None:
        needed = tuple(2 * margin + 1 for margin in rule.margin_zyx)
        if any(n > there for n, there in zip(needed, self.shape, strict=True)):
            raise ConfigError(
                f"training volume {self.name} of shape {self.shape} is smaller than an example of {canvas} "
                f"voxels (zyx: field of view and moves, axes exchanged or not), so that no object is seen "
                f"whole; give a larger volume, or a smaller field of view, deltas or fov_moves"
            )

    def _require_objects(self, found: Survey) -> None:
        sizes = {label: n for label, n in found.sizes.items() if label != 0}
        largest = max(sizes.values(), default=0)
        if largest < self.settings.min_object_voxels:
            raise ConfigError(
                f"training volume {self.name} of shape {self.shape} has no object of at least "
                f"{self.settings.min_object_voxels} voxels, the largest has {largest}; lower "
                f"min_object_voxels or give a larger volume"
            )
        if len(found.sizes) == 1:
            raise ConfigError(
                f"training volume {self.name} holds the label {next(iter(sizes))} alone, so that there is "
                f"nothing to tell it from; give a box with borders in it"
            )
        if found.masked == sum(found.sizes.values()):
            raise ConfigError(
                f"training volume {self.name} lies under its mask altogether (not 0 = left out); correct the "
                f"mask or give another box"
            )


def _volume(voxels: Volume | np.ndarray) -> Volume:
    return voxels if isinstance(voxels, Volume) else ArrayVolume(voxels)


def _rule(architecture: Architecture, settings: ExampleSettings, voxel_size_nm: SizeNm) -> CentreRule:
    z, y, x = (
        fov // 2 + delta for fov, delta in zip(architecture.fov_zyx, architecture.deltas_zyx, strict=True)
    )
    edges = [edge / min(voxel_size_nm) for edge in voxel_size_nm]
    return CentreRule(
        radius_zyx=(z, y, x),
        margin_zyx=_margin(canvas_shape(architecture, settings), settings.augmentation.permute_axes),
        thresholds=settings.partition_thresholds,
        min_object_voxels=settings.min_object_voxels,
        clearance=settings.clearance,
        edges_zyx=(edges[0], edges[1], edges[2]),
    )


def _margin(canvas: Zyx, exchanged: tuple[tuple[int, ...], ...]) -> Zyx:
    """Voxels an example needs around its centre, whichever way the axes of a group are exchanged."""
    wide = [n // 2 for n in canvas]
    for group in exchanged:
        for axis in group:
            wide[axis] = max(canvas[a] // 2 for a in group)
    z, y, x = wide
    return z, y, x
