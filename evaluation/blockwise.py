"""The contingency table of two volumes of any size, block by block.

Both volumes lie on one grid: equal voxel sizes, and absolute coordinates that mean the same place. Their
offsets, bounds, chunks and dtypes may differ. Blocks are whole chunks of the volume whose chunks are larger,
as far as a block has room for them, so that hardly any chunk is read twice. Memory is that of one block of
both volumes, and of the table.

With a boundary tolerance each block of the ground truth is read with so much of its surroundings that the
blocks do not show in the result (`evaluation.boundaries`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from evaluation.blocks import block_shape, tiles
from evaluation.boundaries import boundary_context, without_boundaries
from evaluation.checks import require_integers, shared_box
from evaluation.errors import EvaluationError
from evaluation.overlap import ContingencyTable, contingency, merge_tables
from jobs.progress import Progress
from volumes.base import Volume
from volumes.box import Box

BLOCK_VOXELS = 1 << 22


def common_box(segmentation: Volume, truth: Volume, asked: Box | None = None) -> Box:
    """Where two volumes are compared, after checking that they can be.

    Args:
        segmentation: labels, 0 = unsegmented.
        truth: labels, 0 = unlabelled.
        asked: absolute (zyx), inside both volumes; None: all that both hold.

    Returns:
        A box of at least one voxel, absolute.

    Raises:
        EvaluationError: a volume of floats, voxel sizes that differ by more than a thousandth, volumes that
            share no voxel, or a box that is empty or leaves one of them.
    """
    for what, volume in (("segmentation", segmentation), ("ground truth", truth)):
        require_integers(f"{what} '{volume.spec}'", volume.dtype)
    return shared_box("segmentation", segmentation, truth, asked)


def compare_volumes(
    segmentation: Volume,
    truth: Volume,
    box: Box | None = None,
    *,
    boundary_tolerance_nm: float = 0,
    block_voxels: int = BLOCK_VOXELS,
    progress: Progress | None = None,
) -> ContingencyTable:
    """Count how many voxels each segment shares with each true object, label 0 included.

    Args:
        segmentation: integer labels >= 0.
        truth: integer labels >= 0.
        box: absolute (zyx), inside both volumes; None: all that both hold.
        boundary_tolerance_nm: true voxels at this distance or closer to a boundary of the ground truth count
            as unlabelled. The boundaries beyond the box count, as far as the ground truth goes.
        block_voxels: most voxels of a block, without the surroundings that the tolerance needs.
        progress: counts voxels.

    Returns:
        The table over all voxels of the box.

    Raises:
        EvaluationError: see `common_box`; negative labels; a tolerance that is no distance, or one that
            leaves no labelled voxel of those there are.
        VolumeError: what is stored is damaged.
    """
    box = common_box(segmentation, truth, box)
    context = boundary_context(truth.voxel_size_nm, boundary_tolerance_nm)
    n_labelled = 0

    def tables() -> Iterator[ContingencyTable]:
        nonlocal n_labelled
        coarser = _coarser(segmentation, truth)
        shape = block_shape(coarser.chunk_shape, box.shape, block_voxels)
        for block in tiles(box, shape, coarser.bounds.start):
            around = block.grow(context).intersect(truth.bounds)
            labels = truth.read(around)
            inner = block.slices(around.start)
            n_labelled += int(np.count_nonzero(labels[inner]))
            if boundary_tolerance_nm:
                labels = without_boundaries(labels, truth.voxel_size_nm, boundary_tolerance_nm)
            yield contingency(segmentation.read(block), labels[inner])
            if progress is not None:
                progress.advance(block.size)

    table = merge_tables(tables())
    if n_labelled and not table.truth_ids.any():
        raise EvaluationError(
            f"every labelled voxel of '{truth.spec}' in {box} lies within {boundary_tolerance_nm:g} nm of a "
            "boundary; lower the boundary tolerance"
        )
    return table


def _coarser(first: Volume, second: Volume) -> Volume:
    """The volume with more voxels in a chunk."""
    return first if math.prod(first.chunk_shape) >= math.prod(second.chunk_shape) else second
