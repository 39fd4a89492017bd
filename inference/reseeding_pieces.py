"""The pieces of a reseeding job: what is there in a block, and one subvolume with new objects flooded.

A subvolume's canvas begins with the objects that are there, in its box and in the margin around it. What is
kept of it are the new objects alone, at the raw volume's resolution and without the voxels that are taken, so
that reconciliation and everything after it are those of any other stage.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from inference.context import grown
from inference.finished_blocks import examined
from inference.flooding import PieceReport, flood_or_find, workspace_of
from inference.identity import array_digest, settings_digest
from inference.label_stages import kept_piece
from inference.passes import ResolvedPass
from inference.reconciliation import object_voxels, relabel
from inference.reseeding_job import STAGE, Reseeding, ReseedingJob, seed_room, seeds_in
from inference.results import SubvolumeResult
from inference.subject import Obstacles, PassSettings, Subject, Surroundings
from inference.surroundings import mirrored, surroundings_of
from jobs.plan import Subvolume
from volumes import Box, VolumeError, downsample_labels
from volumes.box import Zyx
from volumes.derived import upsample_labels

_LARGEST_LOCAL = 2**31 - 2


def survey_block(job: ReseedingJob, block: Box) -> PieceReport:
    """The objects that are there in one block: listed, and compared with the ground truth.

    Args:
      job: the job.
      block: of the region, absolute, raw voxels.

    The piece's `made_from` begins with the digest of the labels, before a dash.
    """
    workspace = reseeding(job)
    labels, truth = workspace.existing.read(block), workspace.inputs.labels
    made_from = f"{array_digest(labels)}-{settings_digest({'truth': truth and truth.spec})}"
    return kept_piece(survey_path(workspace, block), made_from, lambda: examined(workspace, labels, block))


def survey_path(workspace: Reseeding, block: Box) -> Path:
    """What `survey_block` writes; the same arrays as a finished block's.

    Args:
      workspace: of the job.
      block: of the region, absolute, raw voxels.
    """
    z, y, x = block.start
    return workspace.output / "before" / f"{x}_{y}_{z}.npz"


def reseed_subvolume(job: ReseedingJob, position: int) -> PieceReport:
    """Floods new objects in one subvolume, unless its result is there.

    Args:
      job: which.
      position: of the subvolume in the job's plan.

    Raises:
      ReconstructionError: a result of other settings, or of other supervoxels, in its place.
    """
    workspace = reseeding(job)
    each, subvolume = workspace.chosen, workspace.plan[position]
    plain = Subject(
        each.image,
        each.own_box(subvolume.box),
        each.own_box(workspace.inputs.box),
        each.network,
        _settings(workspace, subvolume),
        corner_zyx=subvolume.box.start,
    )
    subject = replace(plain, surroundings=_surroundings(workspace, subvolume, plain))
    stored = partial(_stored, workspace, subvolume)
    return flood_or_find(job.config, each, subject, workspace.stage_directory(STAGE), stored)


def reseeding(job: ReseedingJob) -> Reseeding:
    """The workspace of a job, opened once per worker."""
    workspace = workspace_of(job)
    assert isinstance(workspace, Reseeding)
    return workspace


def new_objects(
    result: SubvolumeResult, box: Box, factors: Zyx, taken: np.ndarray, min_voxels: int
) -> SubvolumeResult:
    """The objects that a flood added, on the raw grid, where nothing was before.

    Args:
      result: of a pass, with the objects that were there: their seeds are unknown and their IDs below all
        others.
      box: the subvolume, raw voxels.
      factors: raw voxels (z, y, x) of a voxel of the pass.
      taken: bool (z, y, x) of the box, True = in an object that was there.
      min_voxels: objects of which fewer raw voxels are left, because the others are taken, are dropped.

    Returns:
      The new objects alone, IDs 1, 2, …
    """
    is_new = result.fovs > 0
    labels, probability = result.segmentation, result.probability
    if factors != (1, 1, 1):
        labels, probability = (
            upsample_labels(array, result.box.start, factors, box) for array in (labels, probability)
        )
    first = result.object_ids[is_new].min(initial=np.iinfo(np.int32).max)
    labels = np.where((labels >= first) & ~taken, labels, 0)
    ids, voxels = object_voxels(labels)
    if factors != (1, 1, 1):
        ids = ids[voxels >= min_voxels]
        labels = np.where(np.isin(labels, ids.astype(labels.dtype)), labels, 0)
    labels = relabel(labels, ids, np.arange(1, len(ids) + 1, dtype=np.uint64)).astype(np.int32)
    rows = np.searchsorted(result.object_ids, ids.astype(np.int64))
    seeds = result.seeds_zyx[rows] + result.box.start
    return replace(
        result,
        box=box,
        segmentation=labels,
        probability=np.where(labels > 0, probability, 0).astype(np.uint8),
        object_ids=np.arange(1, len(ids) + 1, dtype=np.int64),
        seeds_zyx=seeds * factors + np.array(factors) // 2 - box.start,
        fovs=result.fovs[rows],
        counts={**result.counts, "objects": len(ids)},
    )


def existing_on_grid(workspace: Reseeding, each: ResolvedPass, box: Box) -> np.ndarray:
    """The objects that are there in a box of a pass: int32 (z, y, x), numbered 1, 2, …

    A voxel of a coarse pass has the object that most of its raw voxels have. Beyond the volume's end they are
    mirrored, as the image is; beyond the region there are none.

    Args:
      workspace: of the job.
      each: the pass.
      box: absolute, voxels of the pass; may leave the region.

    Raises:
      VolumeError: more objects than can be numbered.
    """

    def read(raw_box: Box) -> np.ndarray:
        labels = np.zeros(raw_box.shape, np.uint64)
        known = raw_box.intersect(workspace.existing.bounds)
        labels[known.slices(raw_box.start)] = workspace.existing.read(known)
        ids, _ = object_voxels(labels)
        if len(ids) > _LARGEST_LOCAL:
            raise VolumeError(f"{len(ids)} objects in {raw_box} are too many; take smaller subvolumes")
        return relabel(labels, ids, np.arange(1, len(ids) + 1, dtype=np.uint64)).astype(np.int32)

    labels = mirrored(read, workspace.inputs.image, each, box)
    return labels if each.factors == (1, 1, 1) else downsample_labels(labels, each.factors)


def _stored(workspace: Reseeding, subvolume: Subvolume, result: SubvolumeResult) -> SubvolumeResult:
    each = workspace.chosen
    taken = workspace.existing.read(subvolume.box) > 0
    return new_objects(result, subvolume.box, each.factors, taken, each.settings.options.min_segment_size)


def _settings(workspace: Reseeding, subvolume: Subvolume) -> PassSettings:
    """Those of the pass; points take the place of its seeds."""
    each = workspace.chosen
    if workspace.seeds is None:
        return each.settings
    seeds = seeds_in(workspace.seeds, seed_room(workspace, each, subvolume), each)
    return replace(
        each.settings,
        seed_policy="PolicyPoints",
        seed_policy_args=json.dumps({"points_zyx": seeds.tolist()}),
        reversed_seeds=False,
    )


def _surroundings(workspace: Reseeding, subvolume: Subvolume, subject: Subject) -> Surroundings:
    """Masks, the objects that are there, and where no seed is wanted."""
    each, canvas = workspace.chosen, grown(subject.box, subject.margin)
    masks = surroundings_of(workspace, each, subvolume)
    existing = existing_on_grid(workspace, each, canvas)

    def obstacles(box: Box) -> Obstacles:
        assert box == canvas
        found = masks.obstacles(box)
        return replace(found, segmentation=existing, seeds=_unwanted(workspace, each, box, found.seeds))

    return Surroundings(obstacles, {**masks.made_from, "existing_digest": array_digest(existing)})


def _unwanted(
    workspace: Reseeding, each: ResolvedPass, box: Box, masked: np.ndarray | None
) -> np.ndarray | None:
    """Masked voxels, and those outside the job's box."""
    if workspace.job.box is None:
        return masked
    wanted = each.own_box(workspace.job.box).intersect(box)
    outside = np.ones(box.shape, bool)
    if not wanted.is_empty:
        outside[wanted.slices(box.start)] = False
    return outside if masked is None else outside | masked
