"""Distances between found and true synaptic clefts in volumes of any size, read block by block.

The figures are those of `evaluation.clefts`, with distances exact and without any limit. Both volumes are
read twice: for the surfaces of all clefts, which stay in memory, and for the distances of every voxel to the
nearest voxel of the other surface. Memory is that of one block of both volumes and of the surfaces, some 60
bytes for each of their voxels; clefts are thin and few, so that these are a small share of the volume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation._nearest import NearestVoxel, Tally, merged, surface, tally
from evaluation.blocks import block_shape, tiles
from evaluation.checks import require_integers, shared_box
from evaluation.clefts import THRESHOLD_NM, cleft_figures, cremi_clefts, require_no_mark, require_threshold
from evaluation.errors import EvaluationError
from jobs.progress import Progress
from volumes import Box, Volume

BLOCK_VOXELS = 1 << 24
# Of both sets of clefts together: 4 GB.
MOST_SURFACE_VOXELS = 1 << 26


@dataclass(frozen=True)
class CleftMarks:
    """How volumes say what is a cleft.

    Attributes:
        ignore: voxels of this true label are not known; None: all are.
        cremi_truth: the ground truth has the marks of a CREMI file (see `cremi_clefts`).
        cremi_prediction: the prediction has.
    """

    ignore: int | None = None
    cremi_truth: bool = False
    cremi_prediction: bool = False


def compare_clefts(
    prediction: Volume,
    truth: Volume,
    box: Box | None = None,
    *,
    threshold_nm: float = THRESHOLD_NM,
    marks: CleftMarks = CleftMarks(),
    block_voxels: int = BLOCK_VOXELS,
    most_surface_voxels: int = MOST_SURFACE_VOXELS,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The distances between found and true clefts of two volumes, and what follows from them.

    Args:
        prediction: found clefts, integer labels; 0 is no cleft unless `marks` say otherwise.
        truth: true clefts, of the same voxel size.
        box: zyx, absolute, inside both; None: all that both hold. Clefts outside count nowhere.
        threshold_nm: farther than this is a false positive or negative.
        marks: what is a cleft, and what is not known.
        block_voxels: most voxels of a block.
        most_surface_voxels: most voxels that the surfaces of all clefts may have.
        progress: counts voxels, twice each.

    Returns:
        See `cleft_distances`; and `box`, what was compared, as [start, stop] (zyx, voxels).

    Raises:
        EvaluationError: labels that are no integers, voxel sizes that differ, volumes that share no voxel or
            not the box, a threshold that is none, CREMI's marks where none were announced, truth that is
            known nowhere, or larger surfaces.
        VolumeError: a volume cannot be read.
    """
    for what, volume in (("prediction", prediction), ("ground truth", truth)):
        require_integers(f"{what} '{volume.spec}'", volume.dtype)
    require_threshold(threshold_nm)
    box = shared_box("prediction", prediction, truth, box)

    def masks(part: Box) -> tuple[np.ndarray, np.ndarray, bool]:
        return _masks(prediction, truth, part, marks)

    shape = block_shape(truth.chunk_shape, box.shape, block_voxels)
    blocks = list(tiles(box, shape, truth.bounds.start))
    found, true = _surfaces(masks, blocks, box, most_surface_voxels, progress)
    nearest_found = NearestVoxel(found, truth.voxel_size_nm)
    nearest_true = NearestVoxel(true, truth.voxel_size_nm)
    to_truth = to_found = tally(np.zeros(0))
    for block in blocks:
        of_found, of_true, _ = masks(block)
        start = np.subtract(block.start, box.start)
        to_truth = merged([to_truth, *_distances(of_found, of_true, start, nearest_true)])
        to_found = merged([to_found, *_distances(of_true, of_found, start, nearest_found)])
        if progress is not None:
            progress.advance(block.size)
    return {**cleft_figures(to_truth, to_found, threshold_nm), "box": [list(box.start), list(box.stop)]}


def _masks(
    prediction: Volume, truth: Volume, box: Box, marks: CleftMarks
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Found and true clefts where the truth is known, and whether it is anywhere."""
    true = truth.read(box)
    known = np.ones(true.shape, bool) if marks.ignore is None else true != marks.ignore
    if marks.cremi_truth:
        true, ignored = cremi_clefts(true)
        known &= ~ignored
    else:
        require_no_mark(f"ground truth '{truth.spec}'", true, "say that the labels are CREMI's")
        true = true != 0
    found = prediction.read(box)
    if marks.cremi_prediction:
        found, _ = cremi_clefts(found)
    else:
        require_no_mark(f"prediction '{prediction.spec}'", found, "say that the prediction is CREMI's")
        found = found != 0
    return found & known, true & known, bool(known.any())


def _surfaces(
    masks: Callable[[Box], tuple[np.ndarray, np.ndarray, bool]],
    blocks: list[Box],
    box: Box,
    most: int,
    progress: Progress | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The surface voxels (n, 3) int32 of found and of true clefts, zyx from the start of the box."""
    found, true = ([np.zeros((0, 3), np.int32)] for _ in range(2))
    known, total = False, 0
    for block in blocks:
        around = block.grow(1).intersect(box)
        *both, here = masks(around)
        known |= here
        for mask, points in zip(both, (found, true), strict=True):
            inner = np.argwhere(surface(mask)[block.slices(around.start)])
            points.append((inner + np.subtract(block.start, box.start)).astype(np.int32))
            total += len(inner)
        if total > most:
            raise EvaluationError(
                f"the clefts in {box} have more than {most} voxels on their surfaces, which would not fit in "
                "memory; check that 0 is no cleft, or compare smaller boxes"
            )
        if progress is not None:
            progress.advance(block.size)
    if not known:
        raise EvaluationError("the ground truth is not known anywhere (all ignored); check the ignore label")
    return np.concatenate(found), np.concatenate(true)


def _distances(
    voxels: np.ndarray, targets: np.ndarray, start: np.ndarray, nearest: NearestVoxel
) -> Iterator[Tally]:
    """Of the voxels of one mask to the other set: 0 where they are in it, to its surface elsewhere."""
    shared = int(np.count_nonzero(voxels & targets))
    if shared:
        yield Tally(np.zeros(1), np.array([shared]))
    apart = np.argwhere(voxels & ~targets)
    if len(apart):
        yield nearest.tally(apart + start)
