"""What the voxel-by-voxel comparisons share: ratios that may be undefined, checks of a pair, and blocks.

A ratio of nothing to nothing (0/0) says nothing about a result: it is None here, and `null` in metrics.json,
never 0 or 1. A mean leaves such ratios out, and is None when there is no other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.errors import EvaluationError

if TYPE_CHECKING:
    from volumes import Box, Volume

SLAB_VOXELS = 1 << 20
READ_VOXELS = 1 << 24
_SAME_SIZE = 1e-3


def ratio(part: float, whole: float) -> float | None:
    """part / whole, or None where the whole is 0."""
    return part / whole if whole else None


def mean_defined(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are not None, or None where there is no such value."""
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None


def require_one_shape(what: str, values: Any, truth: Any) -> None:
    """Refuse arrays of two shapes, or without an axis; `what` names the first."""
    if values.shape != truth.shape:
        raise EvaluationError(
            f"{what} of shape {values.shape} and ground truth of shape {truth.shape} cannot be compared; "
            "cut both to one box"
        )
    if not values.shape:
        raise EvaluationError(f"{what} is a single value, but an array of voxels is needed")


def require_whole_numbers(what: str, dtype: np.dtype) -> None:
    """Refuse labels of a dtype that is neither bool nor whole numbers; `what` names them."""
    if dtype.kind not in "biu":
        raise EvaluationError(f"{what} has dtype {dtype}, but labels are integers; convert them first")


def slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slabs along the first axis of about `SLAB_VOXELS` voxels, at least one section each."""
    step = max(1, SLAB_VOXELS // max(1, math.prod(shape[1:])))
    return (slice(start, start + step) for start in range(0, shape[0], step))


def shared_box(what: str, volume: Volume, truth: Volume, box: Box | None) -> Box:
    """The box over which a volume is compared with ground truth: the given one, or all that both hold.

    Args:
        what: names the volume in errors, such as "prediction".
        volume: what is judged.
        truth: ground truth.
        box: zyx, absolute, inside both; None: all that both hold.

    Raises:
        EvaluationError: voxel sizes that differ by more than a thousandth, volumes that share no voxel, or a
            box that is empty or leaves one of them.
    """
    if not np.allclose(volume.voxel_size_nm, truth.voxel_size_nm, rtol=_SAME_SIZE, atol=0):
        raise EvaluationError(
            f"{what} '{volume.spec}' has voxels of {volume.voxel_size_nm} nm and ground truth '{truth.spec}' "
            f"of {truth.voxel_size_nm} nm (zyx); bring both to one grid, or correct a voxel_size_nm"
        )
    shared = volume.bounds.intersect(truth.bounds)
    if shared.is_empty:
        raise EvaluationError(
            f"{what} '{volume.spec}' ({volume.bounds}) and ground truth '{truth.spec}' ({truth.bounds}) "
            "share no voxel; check their offsets"
        )
    box = shared if box is None else box
    if box.is_empty or not shared.contains_box(box):
        raise EvaluationError(
            f"box {box} is empty or leaves what {what} '{volume.spec}' and ground truth '{truth.spec}' share "
            f"({shared}); give a box inside that"
        )
    return box


def read_blocks(volume: Volume, truth: Volume, box: Box) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Both volumes' voxels in blocks that tile a box, of whole chunks of the ground truth where they fit.

    Args:
        volume: what is judged, covering the box.
        truth: ground truth, covering the box.
        box: zyx, absolute.
    """
    step = _block_shape(truth.chunk_shape, box.shape)
    starts = [
        range(low - (low - origin) % edge, high, edge)
        for low, high, origin, edge in zip(box.start, box.stop, truth.bounds.start, step, strict=True)
    ]
    for corner in product(*starts):
        block = type(box).from_shape(step, corner).intersect(box)
        yield volume.read(block), truth.read(block)


def _block_shape(chunk: tuple[int, ...], shape: tuple[int, ...]) -> list[int]:
    """Chunks doubled, last axis first, up to about `READ_VOXELS`; a larger chunk is cut, first axis first."""
    step = list(chunk)
    for axis in range(len(step)):
        step[axis] = max(1, min(step[axis], READ_VOXELS * step[axis] // math.prod(step)))
    for axis in reversed(range(len(step))):
        while step[axis] < shape[axis] and 2 * math.prod(step) <= READ_VOXELS:
            step[axis] *= 2
    return step
