"""Two supervoxels flooded again around the place where they come closest: is each a part of the other?

Both are taken out of a box around the decision point; all other objects stay and keep fields of view out.
Then the network floods from the deepest point of each. Where they are one neurite, both floods fill both.

`resegment_pair` is a generator like `ffn.flood.flood`: it yields the fields of view it wants to see and is
sent the network's answer to each, so that `inference.executor` and `inference.service` run many pairs in
shared batches, and no result depends on what shares a batch.

A flood that recovers too little of the object it began in is tried again from the deepest point elsewhere.
The first one that recovers enough is kept; of floods that all fail, the one that recovers most, the earliest
of equal ones (google/ffn keeps the last; `keep_last` does so too).

An end of an object with no other one near is flooded the same way, but with nothing else in the box: what the
flood shares with the objects that were there says where the object may go on. That is what google/ffn does;
obstacles would hide just these.

Arrays are (z, y, x) of the box, positions are voxels (z, y, x) in it, depths nm.

Source of the method: resegmentation.py of google/ffn; Januszewski et al. 2018,
doi:10.1038/s41592-018-0049-4.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from agglomeration.errors import AgglomerationError
from agglomeration.pair_box import PairBox
from agglomeration.starts import deepest_points
from configs import ConfigView
from ffn.flood import Flood, FloodOptions, FovRequest, flood, logit
from volumes.base import SizeNm
from volumes.box import Box, Zyx


@dataclass(frozen=True)
class ResegmentationSettings:
    """How a pair is flooded again; extents are half edges in voxels, the centre not counted.

    Attributes:
      radius_zyx: of the box that is flooded.
      analysis_radius_zyx: of the box in which it is measured what was recovered.
      max_starts: starts per object.
      exclusion_radius_zyx: of the box around each start that has been tried, in which no other one lies.
      min_recovered: no further start is tried once this share of the object's voxels in the analysis box is
        recovered.
      terminate_early: leave the second object out when the flood from the first one did not recover it, or
        not that share of the second one, as google/ffn does.
      point_exclusion_zyx: of a box around the decision point in which no start lies; None = there is none.
      min_recovered_voxels: voxels of the object that have to be recovered besides.
      keep_last: keep the last flood of an object instead of the best one.
    """

    radius_zyx: Zyx
    analysis_radius_zyx: Zyx
    max_starts: int = 8
    exclusion_radius_zyx: Zyx = (0, 0, 0)
    min_recovered: float = 0.6
    terminate_early: bool = False
    point_exclusion_zyx: Zyx | None = None
    min_recovered_voxels: int = 0
    keep_last: bool = False


@dataclass(frozen=True)
class ObjectFlood:
    """What a flood from inside one object came to.

    Attributes:
      start: where the flood that was kept began.
      logits: float32 (z, y, x) of the box; NaN where no field of view has been.
      visited: (n, 3) int64, centres of its fields of view, in order.
      deleted: (n,) int64, the voxels that each of them took away (p >= 0.8 before, < 0.5 after).
      recovered: whether it recovered enough of the object.
      share: of the object's voxels in the analysis box that it recovered, those of the segment threshold.
      starts: all starts that were tried, in order.
      fovs: fields of view that they took together.
    """

    start: Zyx
    logits: np.ndarray
    visited: np.ndarray
    deleted: np.ndarray
    recovered: bool
    share: float
    starts: tuple[Zyx, ...] = ()
    fovs: int = 0

    def mask(self, box: Box) -> np.ndarray:
        """The voxels (bool, z, y, x) with p >= 0.5 in a part of the box."""
        inside: np.ndarray = self.logits[box.slices()] >= 0
        return inside


@dataclass(frozen=True)
class PairFloods:
    """The floods of a pair.

    Attributes:
      from_a, from_b: of each object; None = it has no place for a start, or was left out (`terminate_early`).
      analysis: the box in which outcomes are measured, in voxels of the flooded box.
      fovs: fields of view in all.
    """

    from_a: ObjectFlood | None
    from_b: ObjectFlood | None
    analysis: Box
    fovs: int


@dataclass(frozen=True)
class EndpointFlood:
    """The flood of one object beyond its end.

    Attributes:
      flood: None = the object has no place for a start.
      voxels: of the flood (p >= 0.5), in the whole box.
      ids: (n,) int32 local IDs of the objects that share voxels with it, ascending, its own included.
      overlapping: (n,) int64, the voxels shared.
      original: (n,) int64, the voxels these objects have in the box.
    """

    flood: ObjectFlood | None
    voxels: int
    ids: np.ndarray
    overlapping: np.ndarray
    original: np.ndarray


def resegmentation_settings(section: ConfigView, voxel_size_nm: SizeNm) -> ResegmentationSettings:
    """The settings of a config's section `agglomeration.resegmentation`, in voxels.

    Args:
      section: the section.
      voxel_size_nm: (z, y, x) of the image.
    """

    def voxels(length_nm: float) -> Zyx:
        z, y, x = (round(length_nm / edge) for edge in voxel_size_nm)
        return z, y, x

    return ResegmentationSettings(
        radius_zyx=voxels(section.radius_nm),
        analysis_radius_zyx=voxels(section.analysis_radius_nm),
        max_starts=section.max_starts,
        exclusion_radius_zyx=voxels(section.exclusion_radius_nm),
        min_recovered=section.min_recovered,
        terminate_early=section.terminate_early,
    )


def require_room(settings: ResegmentationSettings, options: FloodOptions) -> None:
    """Refuses a box in which a field of view cannot be centred on the decision point.

    Args:
      settings: states the box.
      options: state the field of view.

    Raises:
      AgglomerationError: the box is smaller than the field of view.
    """
    if any(r < f for r, f in zip(settings.radius_zyx, options.radius_zyx, strict=True)):
        z, y, x = (2 * r + 1 for r in settings.radius_zyx)
        raise AgglomerationError(
            f"a box of {z}×{y}×{x} voxels around a decision point is smaller than the field of view "
            f"{options.fov_zyx} (z, y, x); raise resegmentation.radius_nm"
        )


def resegment_pair(
    box: PairBox, options: FloodOptions, settings: ResegmentationSettings
) -> Generator[FovRequest, np.ndarray, PairFloods]:
    """Floods both objects of a pair anew.

    Args:
      box: image and objects around the decision point; not changed.
      options: of the flood.
      settings: of the resegmentation.

    Returns:
      The floods.

    Raises:
      AgglomerationError: the box has none of one of the objects.
    """
    assert box.b is not None, "an end point has no second object"
    analysis = analysis_box(box, settings)
    own, other = _object(box, box.a), _object(box, box.b)
    task = _Task(box, options, settings, analysis)
    state = task.flood((box.labels > 0) & ~own & ~other)
    if state is None:
        return PairFloods(None, None, analysis, 0)
    from_a = yield from _flood_object(task, state, own)
    if settings.terminate_early and not task.is_worth_going_on(from_a, other):
        return PairFloods(from_a, None, analysis, 0 if from_a is None else from_a.fovs)
    from_b = yield from _flood_object(task, state, other)
    return PairFloods(from_a, from_b, analysis, sum(each.fovs for each in (from_a, from_b) if each))


def resegment_end(
    box: PairBox, options: FloodOptions, settings: ResegmentationSettings
) -> Generator[FovRequest, np.ndarray, EndpointFlood]:
    """Floods one object beyond its end, with no other object in the way.

    Args:
      box: image and objects around the end point, without a second object; not changed.
      options: of the flood.
      settings: of the resegmentation.

    Returns:
      The flood and what it shares with the objects that were there.

    Raises:
      AgglomerationError: the box has none of the object.
    """
    own = _object(box, box.a)
    task = _Task(box, options, settings, analysis_box(box, settings))
    state = task.flood(None)
    found = None if state is None else (yield from _flood_object(task, state, own))
    labels = box.labels[box.inner.slices()]
    inside = np.zeros(labels.shape, bool) if found is None else found.mask(box.inner)
    shared = np.bincount(labels[inside], minlength=len(box.ids) + 1)
    ids = np.flatnonzero(shared[1:]) + 1
    original = np.bincount(labels.reshape(-1), minlength=len(box.ids) + 1)
    return EndpointFlood(found, int(inside.sum()), ids.astype(np.int32), shared[ids], original[ids])


def analysis_box(box: PairBox, settings: ResegmentationSettings) -> Box:
    """Where outcomes are measured, in voxels of the flooded box: no farther than the volume goes.

    Args:
      box: around the decision point.
      settings: state the extent.
    """
    around = Box.from_shape((1, 1, 1), box.point).grow(settings.analysis_radius_zyx)
    return around.intersect(box.inner)


@dataclass(frozen=True)
class _Task:
    """What the floods of both objects of a box share."""

    box: PairBox
    options: FloodOptions
    settings: ResegmentationSettings
    analysis: Box

    def flood(self, obstacles: np.ndarray | None) -> Flood | None:
        """The state to flood in; None where the volume leaves no room for a field of view."""
        fov, shape = self.options.fov_zyx, self.box.image.shape
        if any(n < f for n, f in zip(shape, fov, strict=True)):
            return None
        mask = self.box.movement_mask
        return Flood(self.box.image, self.options, obstacles=obstacles, movement_mask=mask)

    def starts(self, mask: np.ndarray) -> Iterator[Zyx]:
        """Where to begin in an object, one place after the other."""
        settings, point, unwanted = self.settings, self.box.point, None
        if settings.point_exclusion_zyx is not None:
            unwanted = Box.from_shape((1, 1, 1), point).grow(settings.point_exclusion_zyx)
        found = deepest_points(
            mask,
            self.box.voxel_size_nm,
            margin_zyx=self.options.radius_zyx,
            apart_zyx=settings.exclusion_radius_zyx,
            unwanted=unwanted,
        )
        return islice(found, settings.max_starts)

    def voxels_recovered(self, logits: np.ndarray, mask: np.ndarray) -> tuple[int, int]:
        """Voxels of an object in the analysis box that a flood recovered, and all it has there."""
        where, threshold = self.analysis.slices(), logit(self.options.segment_threshold)
        there = mask[where]
        return int(np.count_nonzero(there & (logits[where] >= threshold))), int(np.count_nonzero(there))

    def suffices(self, found: int, voxels: int) -> bool:
        """Whether so many voxels of so many make an object recovered."""
        settings = self.settings
        return voxels > 0 and found >= max(settings.min_recovered * voxels, settings.min_recovered_voxels)

    def is_worth_going_on(self, found: ObjectFlood | None, other: np.ndarray) -> bool:
        """Whether the flood from the first object recovered it, and enough of the second one."""
        if found is None or not found.recovered:
            return False
        shared, voxels = self.voxels_recovered(found.logits, other)
        return shared >= self.settings.min_recovered * voxels


def _flood_object(
    task: _Task, state: Flood, mask: np.ndarray
) -> Generator[FovRequest, np.ndarray, ObjectFlood | None]:
    """Floods from one object until enough of it is recovered; None where there is no place for a start."""
    kept: ObjectFlood | None = None
    tried: list[Zyx] = []
    fovs = 0
    for start in task.starts(mask):
        fovs += yield from flood(state, start)
        tried.append(start)
        found, voxels = task.voxels_recovered(state.logits, mask)
        recovered, share = task.suffices(found, voxels), found / voxels if voxels else 0.0
        if kept is None or recovered or task.settings.keep_last or share > kept.share:
            kept = ObjectFlood(
                start,
                state.logits.copy(),
                np.array(state.visited, np.int64).reshape(-1, 3),
                np.array(state.deleted, np.int64),
                recovered,
                share,
            )
        if recovered:
            break
    return None if kept is None else replace(kept, starts=tuple(tried), fovs=fovs)


def _object(box: PairBox, local_id: int) -> np.ndarray:
    """The voxels (bool, z, y, x) of one of the objects."""
    mask: np.ndarray = box.labels == local_id
    if not mask.any():
        raise AgglomerationError(
            f"object {local_id} has no voxel in the box of shape {mask.shape} around the decision point; "
            "find the pairs again, these belong to another segmentation"
        )
    return mask
