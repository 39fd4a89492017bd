"""What a pass finds in a subvolume besides the image: masks, and the objects of the pass it fills.

Masks are defined on the raw volume; a coarse pass takes a voxel as kept out when any raw voxel in it is.
Objects to be filled around are the large ones, and those that reach a cut, since they may be large behind it.
In the margin they are those that the subvolumes around found there. Beyond the volume's end, in a mirrored
margin, masks and objects are mirrored like the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from configs import ConfigView
from inference._label_slabs import layers_at, narrowed
from inference.context import face_margins, grown
from inference.identity import settings_digest
from inference.masks import box_excluded, build_mask, downsample_mask
from inference.passes import ResolvedPass
from inference.reconciliation import object_voxels, relabel
from inference.results import load_labels
from inference.shift_masks import shift_mask
from inference.subject import Obstacles, Surroundings
from inference.workspace import AT_CUTS, Workspace
from jobs.pieces import PieceError
from jobs.plan import Subvolume, cut_faces
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
        described = {"fill_from": source, "fill_min_size": each.fill_min_size, **AT_CUTS}
    described["masks"] = masks.to_text()
    inner = each.own_box(subvolume.box)

    def obstacles(box: Box) -> Obstacles:
        return Obstacles(
            None if objects is None else _with_those_around(workspace, each, subvolume, objects, box),
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
      Labels (z, y, x) of the box of that grid that covers the subvolume, of 32 bits where they fit, and
      what they were made from.

    Raises:
      PieceError: there is no result yet, or a damaged one.
    """
    directory = workspace.stage_directory(stage)
    found = load_labels(directory, subvolume.box.start)
    if found is None:
        raise PieceError(f"{directory} has no result for subvolume {subvolume.name}; run the stage first")
    own = workspace.passes[stage].factors if stage in workspace.passes else (1, 1, 1)
    common = _zyx(min(pair) for pair in zip(own, factors, strict=True))
    at = to_coarse(subvolume.box, common)
    labels = narrowed(found.segmentation)
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
    """The objects of the source pass that are filled around, int32 on this pass's grid, and a name of what
    made them."""
    assert each.fill_from is not None
    labels, settings = objects_at(workspace, each.fill_from, subvolume, each.factors)
    ids, voxels = object_voxels(labels)
    is_kept = voxels * math.prod(each.factors) >= each.fill_min_size
    for layer in layers_at(labels.shape, cut_faces(subvolume.box, workspace.inputs.box)):
        is_kept |= np.isin(ids, labels[layer])
    kept = relabel(labels, ids, np.where(is_kept, ids, np.uint64(0)))
    return kept.astype(np.int32), settings_digest(settings)


def _with_those_around(
    workspace: Workspace, each: ResolvedPass, subvolume: Subvolume, objects: np.ndarray, box: Box
) -> np.ndarray:
    """The objects of a subvolume in a box with a margin, and in this those of the subvolumes around.

    A voxel of the margin has the object of the subvolume in whose core it lies, under an ID of its own.
    """
    known = box.intersect(each.image.bounds)
    found = np.zeros(known.shape, np.int32)
    highest = int(objects.max(initial=0))
    for position in workspace.touching(each.raw_box(known)):
        other = workspace.plan[position]
        part = each.own_box(other.core).intersect(known)
        if other == subvolume or part.is_empty:
            continue
        theirs, _ = _objects_to_fill(workspace, each, other)
        cut = theirs[part.slices(each.own_box(other.box).start)]
        found[part.slices(known.start)] = np.where(cut > 0, cut + highest, 0)
        highest += int(theirs.max(initial=0))
    found[each.own_box(subvolume.box).slices(known.start)] = objects
    return np.pad(found, _missing(known, box), mode="reflect")


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
    return np.pad(build(there), _missing(there, wanted), mode="reflect")


def _missing(there: Box, wanted: Box) -> list[tuple[int, int]]:
    """Voxels of a box that are not in another one inside it, on either side of each axis."""
    ends = zip(wanted.start, there.start, there.stop, wanted.stop, strict=True)
    return [(t - w, v - s) for w, t, s, v in ends]
