"""What a pass finds in a subvolume besides the image: masks, and the objects of the pass it fills.

Masks are defined on the raw volume; a coarse pass takes a voxel as kept out when any raw voxel in it is.
Beyond the volume's end, in a mirrored margin, they are mirrored like the image. Objects to be filled around
are known in the subvolume itself, not in its margin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from configs import ConfigView
from inference.context import face_margins, grown
from inference.identity import settings_digest
from inference.masks import box_excluded, build_mask, downsample_mask
from inference.passes import ResolvedPass
from inference.results import load_result
from inference.shift_masks import shift_mask
from inference.subject import Obstacles, Surroundings
from inference.workspace import Workspace
from jobs.pieces import PieceError
from jobs.plan import Subvolume
from volumes import Box, Volume
from volumes.box import Zyx
from volumes.derived import to_coarse, upsample_labels
from volumes.pyramid import downsample_block


def surroundings_of(workspace: Workspace, each: ResolvedPass, subvolume: Subvolume) -> Surroundings:
    """Masks and earlier objects of one subvolume in one pass.

    Args:
      workspace: of the project.
      each: the pass.
      subvolume: one of the plan.

    Raises:
      PieceError: the pass to fill from has no result there.
    """
    masks = workspace.config.masks
    described: dict[str, object] = {}
    objects = None
    if each.fill_from is not None:
        objects, source = _objects_to_fill(workspace, each, subvolume)
        described = {"fill_from": source, "fill_min_size": each.fill_min_size}
    described["masks"] = masks.to_text()
    inner = each.own_box(subvolume.box)

    def obstacles(box: Box) -> Obstacles:
        return Obstacles(
            None if objects is None else _placed(objects, inner, box),
            _movement_mask(workspace, each, box),
            _mask(masks.seeds, workspace.inputs.image, each, box),
        )

    return Surroundings(obstacles, described, objects is None and _is_shut(workspace, each, inner))


def objects_at(
    workspace: Workspace, stage: str, subvolume: Subvolume, factors: Zyx
) -> tuple[np.ndarray, dict[str, object]]:
    """The objects of a finished pass or consensus in one subvolume, at another resolution.

    Args:
      workspace: the project.
      stage: name of the pass or consensus.
      subvolume: where.
      factors: raw voxels (z, y, x) of a voxel of the grid wanted; a multiple or a divisor of the stage's.

    Returns:
      Labels (z, y, x) of the box of that grid that covers the subvolume, and what they were made from.

    Raises:
      PieceError: there is no result yet, or a damaged one.
    """
    directory = workspace.stage_directory(stage)
    found = load_result(directory, subvolume.box.start)
    if found is None:
        raise PieceError(f"{directory} has no result for subvolume {subvolume.name}; run the stage first")
    own = workspace.passes[stage].factors if stage in workspace.passes else (1, 1, 1)
    common = _zyx(min(pair) for pair in zip(own, factors, strict=True))
    at = to_coarse(subvolume.box, common)
    labels = found.segmentation
    if own != common:
        labels = upsample_labels(labels, found.box.start, _ratio(own, common), at)
    if factors != common:
        labels = downsample_block(labels, at, _ratio(factors, common), labels=True)
    return labels, found.settings


def _ratio(coarse: Zyx, fine: Zyx) -> Zyx:
    return _zyx(c // f for c, f in zip(coarse, fine, strict=True))


def _zyx(values: Iterable[int]) -> Zyx:
    z, y, x = values
    return z, y, x


def _objects_to_fill(
    workspace: Workspace, each: ResolvedPass, subvolume: Subvolume
) -> tuple[np.ndarray, str]:
    """The large objects of the source pass on this pass's grid, and a name of what made them."""
    assert each.fill_from is not None
    labels, settings = objects_at(workspace, each.fill_from, subvolume, each.factors)
    ids, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    large = counts * np.prod(each.factors) >= each.fill_min_size
    kept = np.where(large, ids, 0).astype(np.int32)
    return kept[index].reshape(labels.shape), settings_digest(settings)


def _placed(objects: np.ndarray, inner: Box, box: Box) -> np.ndarray:
    """The objects of a box in one that has a margin around it."""
    around = np.zeros(box.shape, np.int32)
    around[inner.slices(box.start)] = objects
    return around


def _is_shut(workspace: Workspace, each: ResolvedPass, inner: Box) -> bool:
    """Whether masks keep out every voxel of a box and its margin."""
    masks, image = workspace.config.masks, workspace.inputs.image
    region, settings = each.own_box(workspace.inputs.box), each.settings
    margin = face_margins(inner, region, settings.options.radius_zyx, mirror=settings.mirror_margin)
    there = each.raw_box(grown(inner, margin)).intersect(image.bounds)
    return box_excluded([*masks.movement, *masks.seeds], there, image)


def _movement_mask(workspace: Workspace, each: ResolvedPass, box: Box) -> np.ndarray | None:
    section, image = workspace.config.masks, workspace.inputs.image
    mask = _mask(section.movement, image, each, box)
    if section.shifts is None:
        return mask
    fov = [n * f for n, f in zip(each.settings.options.fov_zyx, each.factors, strict=True)]
    shifted = _on_grid(lambda raw_box: shift_mask(section.shifts, raw_box, _zyx(fov)), image, each, box)
    return shifted if mask is None else mask | shifted


def _mask(masks: Sequence[ConfigView], image: Volume, each: ResolvedPass, box: Box) -> np.ndarray | None:
    if not masks:
        return None

    def build(raw_box: Box) -> np.ndarray:
        built = build_mask(masks, raw_box, image.read(raw_box), image.voxel_size_nm)
        assert built is not None
        return built

    return _on_grid(build, image, each, box)


def _on_grid(build: Callable[[Box], np.ndarray], image: Volume, each: ResolvedPass, box: Box) -> np.ndarray:
    """A mask of raw voxels on the grid of a pass, for a box that may leave the image."""
    return downsample_mask(mirrored(build, image, each, box), each.factors)


def mirrored(build: Callable[[Box], np.ndarray], image: Volume, each: ResolvedPass, box: Box) -> np.ndarray:
    """Raw voxels of a box of a pass, mirrored where it leaves the image, as the image is.

    Args:
      build: gives an array (z, y, x) for a box of raw voxels inside the image.
      image: the raw volume.
      each: the pass.
      box: its voxels.
    """
    wanted = each.raw_box(box)
    there = wanted.intersect(image.bounds)
    missing = [
        (t - w, v - s) for w, t, s, v in zip(wanted.start, there.start, there.stop, wanted.stop, strict=True)
    ]
    return np.pad(build(there), missing, mode="reflect")
