"""Label arrays of any integer dtype as slabs of flat uint64, which is what the compiled loops take.

One dtype keeps each loop compiled once; the copy is of about a million voxels at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from jobs.plan import Cuts
from volumes import VolumeError

_SLAB_VOXELS = 1 << 20
_LARGEST_ID = 2**64 - 1


def require_labels(what: str, labels: np.ndarray) -> None:
    """Refuse what is no volume of labels.

    Args:
        what: names the array in messages.
        labels: to be checked.

    Raises:
        VolumeError: not three axes, no whole numbers, or some below 0.
    """
    if labels.ndim != 3:
        raise VolumeError(f"{what} has {labels.ndim} axes, shape {labels.shape}; give labels (z, y, x)")
    if labels.dtype.kind not in "biu":
        raise VolumeError(f"{what} has dtype {labels.dtype}, but labels are whole numbers; convert them")
    if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
        raise VolumeError(f"{what} holds the negative label {labels.min()}; set unsegmented voxels to 0")


def require_label_pair(first: np.ndarray, second: np.ndarray) -> None:
    """Refuse two arrays that are not labels of the same voxels.

    Raises:
        VolumeError: see `require_labels`, or the shapes differ.
    """
    require_labels("the first segmentation", first)
    require_labels("the second segmentation", second)
    if first.shape != second.shape:
        raise VolumeError(
            f"segmentations of shapes {first.shape} and {second.shape} do not cover the same voxels; "
            "cut both to one box"
        )


def slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of the first axis that together cover an array, of about a million voxels each."""
    step = max(1, _SLAB_VOXELS // max(1, math.prod(shape[1:])))
    return (slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step))


def layers_at(shape: tuple[int, ...], cuts: Cuts) -> Iterator[tuple[slice, ...]]:
    """Slices of the outermost layer of an array (z, y, x) at each of its faces that are cuts."""
    for axis, faces in enumerate(cuts):
        for is_cut, layer in zip(faces, (slice(0, 1), slice(shape[axis] - 1, shape[axis])), strict=True):
            if is_cut and shape[axis]:
                yield (*(slice(None),) * axis, layer)


def flat(labels: np.ndarray) -> np.ndarray:
    """A slab as contiguous uint64 of one axis, in C order; copied where it is not so already."""
    return np.ascontiguousarray(labels, np.uint64).reshape(-1)


def narrowed(labels: np.ndarray) -> np.ndarray:
    """Labels of at least 0 in 32 bits where the largest fits, else as they are; copied only where that halves
    them."""
    if labels.itemsize <= 4 or labels.max(initial=0) > np.iinfo(np.uint32).max:
        return labels
    return labels.astype(np.uint32)


def ids_after(largest: int, count: int) -> np.ndarray:
    """The `count` IDs (uint64) that follow `largest`.

    Raises:
        VolumeError: they leave the range of 64 bits.
    """
    if largest + count > _LARGEST_ID:
        raise VolumeError(f"{count} new IDs above {largest} do not fit in 64 bits; renumber the labels first")
    return np.arange(count, dtype=np.uint64) + np.uint64(min(largest + 1, _LARGEST_ID))
