"""A labelled volume that training examples are drawn from."""

from __future__ import annotations

import edt
import numpy as np

from configs.errors import ConfigError
from ffn.network import Architecture
from ffn.training.example_settings import ExampleSettings, canvas_shape
from ffn.training.partitions import NO_OBJECT, centres_by_class, partition_classes


class TrainingVolume:
    """A labelled volume ready to draw examples from.

    Args:
      name: used in messages.
      image: float32 (z, y, x), normalised.
      labels: integer (z, y, x), 0 = no object.

    Raises:
      ConfigError: shapes differ, or no example fits into any object.
    """

    def __init__(
        self,
        name: str,
        image: np.ndarray,
        labels: np.ndarray,
        architecture: Architecture,
        settings: ExampleSettings,
    ) -> None:
        if image.shape != labels.shape:
            raise ConfigError(f"training volume {name}: raw is {image.shape} but labels are {labels.shape}")
        self.name, self.image, self.labels = name, image, labels
        reach = zip(architecture.fov_zyx, architecture.deltas_zyx, strict=True)
        z, y, x = (fov // 2 + delta for fov, delta in reach)
        margin = _margin(canvas_shape(architecture, settings), settings.augmentation.permute_axes)
        classes = partition_classes(
            labels, (z, y, x), settings.partition_thresholds, settings.min_object_voxels
        )
        classes[edt.edt(labels) < settings.clearance] = NO_OBJECT
        self.centres = centres_by_class(classes, margin)
        if not self.centres:
            raise ConfigError(
                f"training volume {name} of shape {labels.shape} has no object of at least "
                f"{settings.min_object_voxels} voxels in which an example of "
                f"{canvas_shape(architecture, settings)} "
                "fits; lower min_object_voxels or give a larger volume"
            )

    def draw_centre(self, rng: np.random.Generator) -> tuple[int, int, int]:
        """A voxel (z, y, x): first a class, all alike, then one of its voxels."""
        of_class = self.centres[rng.integers(len(self.centres))]
        z, y, x = np.unravel_index(of_class[rng.integers(len(of_class))], self.labels.shape)
        return int(z), int(y), int(x)


def _margin(canvas: tuple[int, int, int], exchanged: tuple[tuple[int, ...], ...]) -> tuple[int, int, int]:
    """Voxels an example needs around its centre, whichever way the axes of a group are exchanged."""
    wide = [n // 2 for n in canvas]
    for group in exchanged:
        for axis in group:
            wide[axis] = max(canvas[a] // 2 for a in group)
    z, y, x = wide
    return z, y, x
