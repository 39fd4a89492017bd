"""How training examples are made, out of a config or by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from configs import ConfigView
from ffn.network import Architecture
from ffn.training.augmentation import Augmentation
from ffn.training.partitions import THRESHOLDS


@dataclass(frozen=True)
class ExampleSettings:
    """How examples are made; probabilities, not logits.

    `moves` (z, y, x) is how many steps of delta the field of view may leave the centre. Centres
    lie at least `clearance` voxels from the nearest voxel of another object: inference never puts a
    seed on a membrane, and there the object to fill is anybody's guess.
    """

    init_activation: float = 0.95
    pad_value: float = 0.5
    move_threshold: float = 0.6
    target_inside: float = 0.95
    target_outside: float = 0.05
    moves: tuple[int, int, int] = (1, 1, 1)
    partition_thresholds: tuple[float, ...] = THRESHOLDS
    min_object_voxels: int = 10_000
    clearance: float = 2.0
    augmentation: Augmentation = field(default_factory=Augmentation)


def example_settings(training: ConfigView) -> ExampleSettings:
    """How examples are made, out of the config's `training` section."""
    shape, augmentation = training.architecture, training.augmentation
    return ExampleSettings(
        init_activation=training.init_activation,
        pad_value=training.pad_value,
        move_threshold=training.move_threshold,
        target_inside=training.target_inside,
        target_outside=training.target_outside,
        moves=(training.fov_moves,) * 3,
        partition_thresholds=tuple(training.partition_thresholds),
        min_object_voxels=training.min_object_voxels,
        clearance=training.centre_clearance_voxels,
        augmentation=Augmentation(
            permute_axes=_alike(list(zip(shape.fov, shape.deltas, strict=True)))
            if augmentation.permute_axes
            else (),
            reflect=augmentation.reflect,
            contrast=augmentation.contrast,
            brightness=augmentation.brightness,
            noise=augmentation.noise,
        ),
    )


def canvas_shape(architecture: Architecture, settings: ExampleSettings) -> tuple[int, int, int]:
    """Voxels (z, y, x) of one example's canvas.

    Args:
      architecture: its field of view and deltas.
      settings: its moves.
    """
    reach = zip(architecture.fov_zyx, architecture.deltas_zyx, settings.moves, strict=True)
    z, y, x = (fov + 2 * delta * moves for fov, delta, moves in reach)
    return z, y, x


def for_voxel_size(
    examples: ExampleSettings, architecture: Architecture, voxel_size_nm: tuple[float, float, float]
) -> ExampleSettings:
    """The settings with axes exchanged only where voxels are equally long too."""
    if not examples.augmentation.permute_axes:
        return examples
    keys = list(zip(architecture.fov_zyx, architecture.deltas_zyx, voxel_size_nm, strict=True))
    return replace(examples, augmentation=replace(examples.augmentation, permute_axes=_alike(keys)))


def _alike(keys: list[tuple]) -> tuple[tuple[int, ...], ...]:
    """Groups of two or more axes with equal keys."""
    groups: dict[tuple, list[int]] = {}
    for axis, key in enumerate(keys):
        groups.setdefault(key, []).append(axis)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)
