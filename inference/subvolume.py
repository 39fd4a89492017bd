"""Segments one subvolume with one network in one pass: image in, objects out.

This is where the parts meet: the image is read with its context and normalised (`inference.subject`),
seeds are found in it (`ffn.seed_policies`), and objects flooded one after the other (`ffn.canvas`) while the
network answers (`inference.executor`). Coordinates are zyx voxels of the image.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Protocol

import numpy as np

from ffn.backend import make_predictor
from ffn.canvas import Canvas, segment_all
from ffn.seed_policies import SeedContext, make_seeds
from ffn.weights import NetworkFile, instantiate
from inference.checkpoints import Keeper, Report, Watch, watched
from inference.context import grown
from inference.executor import FloodTask, run_floods
from inference.results import SubvolumeResult, load_result, subvolume_path
from inference.subject import (
    Loaded,
    Obstacles,
    PassSettings,
    Subject,
    Surroundings,
    load_subject,
    require_segmentable,
)
from volumes import Box, Volume, VolumeError
from volumes.box import Zyx

# Seeds take more memory than the flood; the subvolumes of a process find theirs one after the other.
_SEEDING = threading.Lock()


class Runner(Protocol):
    """Whatever runs a flood through the network to its end; `inference.service.FloodService.run` is one."""

    def __call__(self, task: FloodTask[Canvas], /) -> Canvas: ...


def segment_subvolume(
    image: Volume,
    box: Box,
    network: NetworkFile,
    settings: PassSettings,
    *,
    surroundings: Surroundings | None = None,
    report: Report | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
) -> SubvolumeResult:
    """Segments one box of an image.

    Args:
      image: the whole image.
      box: what to segment, inside the image's bounds.
      network: weights and architecture.
      settings: of the pass.
      surroundings: masks and earlier objects.
      report: see `segment_subject`.
      checkpoint: see `segment_subject`.
      checkpoint_seconds: see `segment_subject`.

    Returns:
      The objects in the box.

    Raises:
      VolumeError: the box is empty, leaves the image or is smaller than the field of view, or the image has
        NaN voxels.
    """
    subject = Subject(image, box, box, network, settings.resolved(), surroundings or Surroundings())
    require_segmentable(subject)

    def run(task: FloodTask[Canvas]) -> Canvas:
        predictor = make_predictor(instantiate(network, subject.settings.compute_dtype))
        (canvas,) = run_floods([task], predictor, subject.settings.options.fov_zyx)
        return canvas

    return segment_subject(
        subject,
        load_subject(subject),
        run,
        report=report,
        checkpoint=checkpoint,
        checkpoint_seconds=checkpoint_seconds,
    )


def segment_subject(
    subject: Subject,
    loaded: Loaded,
    run: Runner,
    *,
    report: Report | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
) -> SubvolumeResult:
    """Segments a subvolume whose image is there.

    Args:
      subject: the subvolume.
      loaded: what `load_subject` gave for it.
      run: runs the flood.
      report: called now and then with how far it is, see `inference.checkpoints`.
      checkpoint: file that an unfinished run is kept in and continued from; it stays until the result is
        stored (`save_result` removes the one beside it). None = not.
      checkpoint_seconds: time between two checkpoints; 0 = none.

    Returns:
      The objects in the box.
    """
    seen, obstacles, made_from = loaded
    if subject.surroundings.shut:
        return _nothing(subject, made_from)
    with _SEEDING:
        seeds = _seeds(subject, seen, obstacles)
    canvas = Canvas(
        seen,
        subject.settings.options,
        segmentation=obstacles.segmentation,
        movement_mask=obstacles.movement,
        seed_mask=obstacles.seeds,
    )
    watch = Watch(canvas, subject.inner, report)
    keeper = Keeper(checkpoint, checkpoint_seconds, made_from, watch)
    keeper.restore()
    if len(seeds):
        run(watched(segment_all(canvas, seeds), watch, keeper))
    watch.look()
    return _result(canvas, subject, {"seeds": len(seeds), **watch.counts()}, made_from)


def _seeds(subject: Subject, seen: np.ndarray, obstacles: Obstacles) -> np.ndarray:
    """Seeds (n, 3) in the order in which they are tried, voxels from the corner of the margin."""
    settings, mask = subject.settings, _united(obstacles.movement, obstacles.seeds)
    if mask is not None and mask.all():
        return np.zeros((0, 3), np.int64)
    context = SeedContext(
        image=seen,
        fov_zyx=settings.options.fov_zyx,
        voxel_size_nm=settings.seed_voxel_size_nm,
        segmentation=obstacles.segmentation,
        mask=mask,
        corner_zyx=grown(subject.box, subject.margin).start,
        load_origins=lambda directory, corner: _origins_of(directory, corner, subject),
    )
    seeds = make_seeds(settings.seed_policy, settings.seed_policy_args, context)
    return seeds[::-1] if settings.reversed_seeds else seeds


def _united(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    return first | second if first is not None and second is not None else second if first is None else first


def _origins_of(directory: str, corner_zyx: Zyx, subject: Subject) -> np.ndarray:
    """The seeds of a stored subvolume's objects in the order of their IDs, from the corner of the margin.

    The corner of the margin stands for this very subvolume.
    """
    inner = subject.inner
    if corner_zyx == grown(subject.box, subject.margin).start:
        corner_zyx = subject.box.start if subject.corner_zyx is None else subject.corner_zyx
    found = load_result(directory, corner_zyx)
    if found is None:
        raise VolumeError(
            f"there is no segmentation {subvolume_path(directory, corner_zyx)}, whose origins the seeds are; "
            "run the pass that writes it first"
        )
    return found.seeds_zyx[found.fovs > 0] + [part.start for part in inner]


def _nothing(subject: Subject, made_from: dict[str, object]) -> SubvolumeResult:
    """The result of a subvolume that nothing was done in."""
    none = np.zeros(0, np.int64)
    return SubvolumeResult(
        box=subject.box,
        segmentation=np.zeros(subject.box.shape, np.int32),
        probability=np.zeros(subject.box.shape, np.uint8),
        object_ids=none,
        seeds_zyx=none.reshape(0, 3),
        fovs=none,
        counts={"seeds": 0, "fovs": 0, "seconds": 0.0, "objects": 0},
        settings=made_from,
    )


def _result(
    canvas: Canvas, subject: Subject, counts: dict[str, float], settings: dict[str, object]
) -> SubvolumeResult:
    """The part of a canvas inside the box; objects that lie wholly in the margin are left out."""
    inner = subject.inner
    segmentation = np.ascontiguousarray(canvas.segmentation[inner])
    present = np.unique(segmentation)
    ids = present[present > 0].astype(np.int64)
    origins = [canvas.origins.get(int(i)) for i in ids]
    margin = [part.start for part in inner]
    none = np.array([-1, -1, -1]) + margin
    assert canvas.probability is not None
    return SubvolumeResult(
        box=subject.box,
        segmentation=segmentation,
        probability=np.ascontiguousarray(canvas.probability[inner]),
        object_ids=ids,
        seeds_zyx=np.array([o.seed if o else none for o in origins], np.int64).reshape(-1, 3) - margin,
        fovs=np.array([o.steps if o else 0 for o in origins], np.int64),
        counts={**counts, "objects": len(ids)},
        settings=settings,
    )
