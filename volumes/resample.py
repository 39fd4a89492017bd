"""Coarser images and labels: the mean, or the most frequent label, of blocks of voxels.

A block is `factors` (zyx) voxels; the first begins at the array's first voxel. At the far end, where the
shape is no multiple of the factors, a block holds the voxels that are there, so that nothing is padded and
the result is exact. One pass over the voxels, no copy of the input.
"""

from __future__ import annotations

from collections.abc import Iterable

import numba
import numpy as np

from volumes.base import require_voxels
from volumes.box import Box, Zyx
from volumes.errors import VolumeError


def whole_factors(fine_nm: Iterable[float], coarse_nm: Iterable[float], what: str) -> Zyx:
    """How many fine voxels make a coarse one along each axis.

    Args:
        fine_nm: voxel size (zyx) of the data, in nm.
        coarse_nm: voxel size (zyx) wanted, in nm.
        what: begins the error, e.g. 'pass "coarse"'.

    Raises:
        VolumeError: the quotient is not a whole number (within a thousandth) of at least 1.
    """
    fine, coarse = tuple(fine_nm), tuple(coarse_nm)
    quotients = [c / f for c, f in zip(coarse, fine, strict=True)]
    factors = [round(q) for q in quotients]
    if min(factors) < 1 or any(abs(q / f - 1) > 1e-3 for q, f in zip(quotients, factors, strict=True)):
        raise VolumeError(
            f"{what}: voxels of {coarse} nm are not made of whole voxels of {fine} nm (zyx); "
            f"give whole multiples along every axis"
        )
    z, y, x = factors
    return z, y, x


def downsample_image(image: np.ndarray, factors: Iterable[int]) -> np.ndarray:
    """The mean of every block.

    Args:
        image: (z, y, x), whole numbers up to 32 bits or floats.
        factors: voxels of a block along z, y, x, each at least 1.

    Returns:
        An array of shape ceil(shape / factors) and the image's dtype; means of whole numbers are rounded
        to the nearest (halves up), exactly.

    Raises:
        VolumeError: not three axes, a factor below 1, or 64-bit whole numbers, which are labels.
    """
    block = _block("image", image, factors)
    if image.dtype.kind in "iu" and image.dtype.itemsize > 4:
        raise VolumeError(
            f"a mean of {image.dtype} is not exact; IDs want downsample_labels, images at most 32 bits"
        )
    if image.dtype.kind == "b":
        raise VolumeError("a mean of bool is no bool; give the mask as float32, or take downsample_labels")
    if image.dtype == np.float16:
        return downsample_image(image.astype(np.float32), block).astype(np.float16)
    coarse = np.empty(_coarse_shape(image.shape, block), image.dtype)
    mean = _mean_of_floats if image.dtype.kind == "f" else _mean_of_integers
    mean(image, block, coarse)
    return coarse


def downsample_labels(labels: np.ndarray, factors: Iterable[int]) -> np.ndarray:
    """The most frequent label of every block.

    Among equally frequent labels 0 gives way, since thin processes should not vanish, and then the smallest
    is taken.

    Args:
        labels: (z, y, x), whole numbers of any size, or bool.
        factors: voxels of a block along z, y, x, each at least 1.

    Returns:
        An array of shape ceil(shape / factors) and the labels' dtype.

    Raises:
        VolumeError: not three axes, a factor below 1, or floats.
    """
    block = _block("labels", labels, factors)
    if labels.dtype.kind == "f":
        raise VolumeError(
            f"labels are whole numbers, not {labels.dtype}; convert them or take downsample_image"
        )
    coarse = np.empty(_coarse_shape(labels.shape, block), labels.dtype)
    _mode(labels, block, coarse)
    return coarse


def _block(name: str, array: np.ndarray, factors: Iterable[int]) -> Zyx:
    require_voxels(name, array.shape, array.dtype)
    block = Box.from_shape(factors).shape
    if min(block) < 1:
        raise VolumeError(f"factors {block} are not all at least 1; give whole numbers (z, y, x)")
    return block


def _coarse_shape(shape: Iterable[int], block: Zyx) -> tuple[int, ...]:
    return tuple(-(-length // factor) for length, factor in zip(shape, block, strict=True))


@numba.njit(nogil=True, cache=True)
def _mean_of_integers(image: np.ndarray, block: Zyx, coarse: np.ndarray) -> None:
    for z, y, x in np.ndindex(coarse.shape):
        part = image[
            z * block[0] : (z + 1) * block[0],
            y * block[1] : (y + 1) * block[1],
            x * block[2] : (x + 1) * block[2],
        ]
        total = np.int64(0)
        for value in part.flat:
            total += np.int64(value)
        # Halves up, in whole numbers: floor((2 * total + count) / (2 * count)).
        coarse[z, y, x] = (2 * total + part.size) // (2 * part.size)


@numba.njit(nogil=True, cache=True)
def _mean_of_floats(image: np.ndarray, block: Zyx, coarse: np.ndarray) -> None:
    for z, y, x in np.ndindex(coarse.shape):
        part = image[
            z * block[0] : (z + 1) * block[0],
            y * block[1] : (y + 1) * block[1],
            x * block[2] : (x + 1) * block[2],
        ]
        total = 0.0
        for value in part.flat:
            total += value
        coarse[z, y, x] = total / part.size


@numba.njit(nogil=True, cache=True)
def _mode(labels: np.ndarray, block: Zyx, coarse: np.ndarray) -> None:
    seen = np.empty(block[0] * block[1] * block[2], labels.dtype)
    counts = np.empty(seen.size, np.int64)
    for z, y, x in np.ndindex(coarse.shape):
        part = labels[
            z * block[0] : (z + 1) * block[0],
            y * block[1] : (y + 1) * block[1],
            x * block[2] : (x + 1) * block[2],
        ]
        kinds = 0
        for label in part.flat:
            kind = 0
            while kind < kinds and seen[kind] != label:
                kind += 1
            if kind == kinds:
                seen[kind] = label
                counts[kind] = 0
                kinds += 1
            counts[kind] += 1
        best = 0
        for kind in range(1, kinds):
            more = counts[kind] > counts[best]
            tied = counts[kind] == counts[best]
            better = seen[best] == 0 or (seen[kind] != 0 and seen[kind] < seen[best])
            if more or (tied and better):
                best = kind
        coarse[z, y, x] = seen[best]
