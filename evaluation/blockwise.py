"""The contingency table of two volumes of any size, block by block.

Both volumes lie on one grid: equal voxel sizes, and absolute coordinates that mean the same place. Their
offsets, bounds, chunks and dtypes may differ. Blocks are whole chunks of the volume whose chunks are larger,
as far as a block has room for them, so that hardly any chunk is read twice. Memory is that of one block of
both volumes, and of the table.

With a boundary tolerance each block of the ground truth is read with so much of its surroundings, its
context, that the blocks do not show in the result (`evaluation.boundaries`). The context counts in the voxels
that a block may have, so that it costs no memory beyond that. Blocks are made larger with it, since a context
longer than half a block multiplies what is read by more than eight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from evaluation.blocks import block_shape, tiles, voxels_read
from evaluation.boundaries import boundary_context, near_boundaries
from evaluation.checks import require_integers, shared_box
from evaluation.errors import EvaluationError
from evaluation.overlap import ContingencyTable, contingency, merge_tables
from jobs.progress import Progress
from volumes.base import Volume
from volumes.box import Box, Zyx

BLOCK_VOXELS = 1 << 22
# With a context: at most 13 bytes a voxel for labels of 64 bits, their distances and a mask, 0.9 GB.
MOST_VOXELS = 1 << 26
# Blocks this many times as long as the context on either side read eight times their own voxels.
_BLOCK_PER_CONTEXT = 2


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
            share no voxel, or a box that is empty or leaves one of them; without a box, two volumes that
            begin at the same voxel and have the same edges in another order.
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
    block_voxels: int | None = None,
    most_voxels: int = MOST_VOXELS,
    progress: Progress | None = None,
) -> ContingencyTable:
    """Count how many voxels each segment shares with each true object, label 0 included.

    Args:
        segmentation: integer labels >= 0.
        truth: integer labels >= 0.
        box: absolute (zyx), inside both volumes; None: all that both hold.
        boundary_tolerance_nm: true voxels at this distance or closer to a boundary of the ground truth count
            as unlabelled. The boundaries beyond the box count, as far as the ground truth goes.
        block_voxels: most voxels that are read of one volume at a time, with the surroundings that the
            tolerance needs. None: `BLOCK_VOXELS`, or with a tolerance as many as it takes for blocks twice
            as long as their surroundings on either side.
        most_voxels: `block_voxels` of None are no more than these.
        progress: counts voxels.

    Returns:
        The table over all voxels of the box.

    Raises:
        EvaluationError: see `common_box`; negative labels; a tolerance that is no distance, that reaches
            farther than a block has room for, or that leaves no labelled voxel of those there are.
        VolumeError: what is stored is damaged.
    """
    box = common_box(segmentation, truth, box)
    context = boundary_context(truth.voxel_size_nm, boundary_tolerance_nm)
    coarser = _coarser(segmentation, truth)
    if block_voxels is None:
        wanted = math.prod((_BLOCK_PER_CONTEXT + 2) * c for c in context)
        block_voxels = min(most_voxels, max(BLOCK_VOXELS, wanted))
    shape = _room_for(coarser, truth, box, context, block_voxels, boundary_tolerance_nm)
    n_labelled = 0

    def tables() -> Iterator[ContingencyTable]:
        nonlocal n_labelled
        for block in tiles(box, shape, coarser.bounds.start):
            labels, labelled = _labels_of(truth, block, context, boundary_tolerance_nm)
            n_labelled += labelled
            yield contingency(segmentation.read(block), labels)
            if progress is not None:
                progress.advance(block.size)

    table = merge_tables(tables())
    if n_labelled and not table.truth_ids.any():
        raise EvaluationError(
            f"every labelled voxel of '{truth.spec}' in {box} lies within {boundary_tolerance_nm:g} nm of a "
            "boundary; lower the boundary tolerance"
        )
    return table


def _labels_of(truth: Volume, block: Box, context: Zyx, tolerance_nm: float) -> tuple[np.ndarray, int]:
    """The true labels of a block, 0 within the tolerance of a boundary, and how many there were before."""
    around = block.grow(context).intersect(truth.bounds)
    labels = truth.read(around)
    inner = block.slices(around.start)
    labelled = int(np.count_nonzero(labels[inner]))
    if not tolerance_nm:
        return labels, labelled
    near = near_boundaries(labels, truth.voxel_size_nm, tolerance_nm)[inner]
    return np.where(near, labels.dtype.type(0), labels[inner]), labelled


def _room_for(
    chunks: Volume, truth: Volume, box: Box, context: Zyx, block_voxels: int, tolerance_nm: float
) -> Zyx:
    """The shape of the blocks, for which there has to be room with their context."""
    extent = truth.bounds.shape
    least = voxels_read((1, 1, 1), box.shape, context, extent)
    if any(context) and least > block_voxels:
        raise EvaluationError(
            f"a boundary tolerance of {tolerance_nm:g} nm reaches {context} voxels (zyx) around every voxel "
            f"of '{truth.spec}', {least} with it, but {block_voxels} may be read at a time; lower the "
            "tolerance, or compare at a coarser resolution"
        )
    return block_shape(chunks.chunk_shape, box.shape, block_voxels, context=context, extent=extent)


def _coarser(first: Volume, second: Volume) -> Volume:
    """The volume with more voxels in a chunk."""
    return first if math.prod(first.chunk_shape) >= math.prod(second.chunk_shape) else second
