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
from itertools import product

import numpy as np

from evaluation.boundaries import boundary_context, without_boundaries
from evaluation.errors import EvaluationError
from evaluation.overlap import ContingencyTable, contingency, merge_tables
from jobs.progress import Progress
from volumes.base import Volume
from volumes.box import Box, Zyx

BLOCK_VOXELS = 1 << 22
_SAME_SIZE = 1e-3


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
        if volume.dtype.kind not in "biu":
            raise EvaluationError(
                f"{what} '{volume.spec}' holds {volume.dtype}, but labels are integers; name another volume"
            )
    if not np.allclose(segmentation.voxel_size_nm, truth.voxel_size_nm, rtol=_SAME_SIZE, atol=0):
        raise EvaluationError(
            f"segmentation '{segmentation.spec}' has voxels of {segmentation.voxel_size_nm} nm and ground "
            f"truth '{truth.spec}' of {truth.voxel_size_nm} nm (zyx); bring both to one grid, or correct the "
            "size that is wrong"
        )
    shared = segmentation.bounds.intersect(truth.bounds)
    if shared.is_empty:
        raise EvaluationError(
            f"segmentation '{segmentation.spec}' ({segmentation.bounds}) and ground truth '{truth.spec}' "
            f"({truth.bounds}) share no voxel; check their offsets"
        )
    if asked is None:
        return shared
    if asked.is_empty or not shared.contains_box(asked):
        raise EvaluationError(
            f"box {asked} is empty or leaves what segmentation '{segmentation.spec}' and ground truth "
            f"'{truth.spec}' share ({shared}); give a box inside that"
        )
    return asked


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
        for block in _blocks(box, _coarser(segmentation, truth), block_voxels):
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


def _blocks(box: Box, volume: Volume, most: int) -> Iterator[Box]:
    """A box in parts of at most so many voxels, cut between the chunks of a volume if those are smaller."""
    shape = _block_shape(volume.chunk_shape, box.shape, most)
    origin = volume.bounds.start
    # The corners of all blocks that reach into the box, on the grid that begins at the volume's first voxel.
    firsts = (low - (low - zero) % edge for low, zero, edge in zip(box.start, origin, shape, strict=True))
    grid = (range(first, high, edge) for first, high, edge in zip(firsts, box.stop, shape, strict=True))
    return (Box.from_shape(shape, corner).intersect(box) for corner in product(*grid))


def _block_shape(chunk: Zyx, limit: Zyx, most: int) -> Zyx:
    """Whole chunks along every axis, about as long along each; a chunk too large for a block is halved."""
    shape = [max(1, edge) for edge in chunk]
    while math.prod(shape) > max(1, most):
        axis = shape.index(max(shape))
        shape[axis] = -(-shape[axis] // 2)
    while growing := [n for n in range(3) if shape[n] < limit[n] and 2 * math.prod(shape) <= most]:
        shape[min(growing, key=shape.__getitem__)] *= 2
    z, y, x = shape
    return z, y, x
