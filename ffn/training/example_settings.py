"""How training examples are made, out of a config or by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from configs import ConfigView
from ffn.network import Architecture
from ffn.training.augmentation import Augmentation
from ffn.training.partitions import THRESHOLDS
from volumes.base import SizeNm
from volumes.box import Zyx


@dataclass(frozen=True)
class ExampleSettings:
    """How examples are made; probabilities, not logits.

    Attributes:
      init_activation: of the centre voxel.
      pad_value: of all others.
      move_threshold: from which the field of view moves to a position.
      target_inside, target_outside: what the network is taught inside and outside the object.
      moves: (z, y, x) how many steps of delta the field of view may leave the centre.
      max_moves: the first position not counted; 0: as many as the threshold lets through.
      move_window: (z, y, x) the field of view moves to a position when any voxel so near to it reaches the
        threshold; 0: that voxel alone.
      partition_thresholds, min_object_voxels: see `ffn.training.partitions`.
      min_class_voxels: a class of centres with fewer is drawn together with the next.
      clearance: voxels from a centre to the nearest voxel of another label at least: inference never puts a
        seed on a membrane, and there the object to fill is anybody's guess.
      image_mean, image_stddev: the network sees (value - mean) / stddev.
      augmentation: random changes.
    """

    init_activation: float = 0.95
    pad_value: float = 0.5
    move_threshold: float = 0.6
    target_inside: float = 0.95
    target_outside: float = 0.05
    moves: Zyx = (1, 1, 1)
    max_moves: int = 0
    move_window: Zyx = (0, 0, 0)
    partition_thresholds: tuple[float, ...] = THRESHOLDS
    min_object_voxels: int = 10_000
    min_class_voxels: int = 1000
    clearance: float = 2.0
    image_mean: float = 0.0
    image_stddev: float = 1.0
    augmentation: Augmentation = field(default_factory=Augmentation)


def example_settings(training: ConfigView) -> ExampleSettings:
    """How examples are made, out of the config's `training` section."""
    shape = training.architecture
    alike = _split((0, 1, 2), list(zip(shape.fov, shape.deltas, strict=True)))
    changes = training.augmentation.to_dict()
    changes["permute_axes"] = alike if changes["permute_axes"] else ()
    return ExampleSettings(
        init_activation=training.init_activation,
        pad_value=training.pad_value,
        move_threshold=training.move_threshold,
        target_inside=training.target_inside,
        target_outside=training.target_outside,
        moves=(training.fov_moves,) * 3,
        max_moves=training.max_moves,
        move_window=training.move_window,
        partition_thresholds=tuple(training.partition_thresholds),
        min_object_voxels=training.min_object_voxels,
        min_class_voxels=training.min_class_voxels,
        clearance=training.centre_clearance_voxels,
        image_mean=training.image_mean,
        image_stddev=training.image_stddev,
        augmentation=Augmentation(**changes),
    )


def canvas_shape(architecture: Architecture, settings: ExampleSettings) -> Zyx:
    """Voxels (z, y, x) of one example's canvas.

    Args:
      architecture: its field of view and deltas.
      settings: its moves.
    """
    reach = zip(architecture.fov_zyx, architecture.deltas_zyx, settings.moves, strict=True)
    z, y, x = (fov + 2 * delta * moves for fov, delta, moves in reach)
    return z, y, x


def for_voxel_size(settings: ExampleSettings, voxel_size_nm: SizeNm) -> ExampleSettings:
    """The settings with axes exchanged only where voxels are equally long too.

    Args:
      settings: with groups of axes that are alike in field of view and deltas.
      voxel_size_nm: zyx, of the volume that examples are made of.
    """
    groups = (_split(group, voxel_size_nm) for group in settings.augmentation.permute_axes)
    alike = tuple(group for parts in groups for group in parts)
    return replace(settings, augmentation=replace(settings.augmentation, permute_axes=alike))


def _split(axes: Iterable[int], keys: tuple | list) -> tuple[tuple[int, ...], ...]:
    """The axes in groups of two or more with equal keys (one key for each of the three axes)."""
    groups: dict[object, list[int]] = {}
    for axis in axes:
        groups.setdefault(keys[axis], []).append(axis)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)
