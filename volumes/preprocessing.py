"""Changes of the grey values of an image, as functions over arrays: the core of `volumes.derived`.

Whatever a change has to know about voxels outside the array it is given (the sums of a section, the counts
of a volume) is an argument, so that the result is the same however a volume is cut into boxes. Local
contrast, which needs voxels around the box as well, is in `volumes._clahe`.

Arrays are (z, y, x). Whole numbers keep their dtype, floats become float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np

from volumes.errors import VolumeError

_NOISE = 1e-10


class Contrast(NamedTuple):
    """Mean and standard deviation of grey values."""

    mean: float
    stddev: float


@dataclass(frozen=True)
class Sums:
    """How many voxels a section has, their sum and the sum of their squares.

    Sums of whole numbers up to 16 bits are exact, and do not depend on the order in which parts are added.
    """

    count: int
    total: float
    squares: float

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def contrast(self) -> Contrast:
        """Mean and standard deviation of the voxels, all of them counted (divisor n).

        Of sums that are floats, a spread below 1e-5 of the values counts as none, being mere rounding.
        """
        squares = self.count * self.squares
        spread = squares - self.total * self.total
        noise = _NOISE * squares if isinstance(self.squares, float) else 0
        stddev = math.sqrt(spread / (self.count * self.count)) if spread > noise else 0.0
        return Contrast(self.total / self.count, stddev)


def inverted(image: np.ndarray) -> np.ndarray:
    """White becomes black: the dtype's highest value − voxel, or −voxel for floats.

    Args:
        image: any shape. Of signed whole numbers −1 − voxel is taken, which swaps the ends of their range.

    Returns:
        An array of the same shape, of the dtype of `changed_dtype`.
    """
    if image.dtype.kind == "f":
        return (-image).astype(changed_dtype(image.dtype), copy=False)
    return np.invert(image)


def changed_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype of an image after a change: whole numbers keep theirs, floats become float32."""
    return np.dtype(np.float32) if dtype.kind == "f" else dtype


def require_grey(dtype: np.dtype, what: str) -> None:
    """Refuse what holds no grey values: masks, and 64-bit whole numbers, which are labels.

    Args:
        dtype: of the image.
        what: begins the error, e.g. "preprocessing of 'file.h5:raw'".

    Raises:
        VolumeError: says what would do.
    """
    if dtype.kind not in "iuf" or (dtype.kind != "f" and dtype.itemsize > 4):
        raise VolumeError(f"{what} wants grey values, not {dtype}; give the image, not a mask or labels")


def require_levels(dtype: np.dtype, what: str) -> None:
    """Refuse an image whose grey values cannot be counted one by one.

    Args:
        dtype: of the image.
        what: begins the error, e.g. "histogram matching of 'file.h5:raw'".

    Raises:
        VolumeError: floats, or whole numbers of more than 16 bits.
    """
    if dtype.kind not in "iu" or dtype.itemsize > 2:
        raise VolumeError(
            f"{what} wants whole numbers of 8 or 16 bits, not {dtype}; convert the image to uint8 or uint16"
        )


def section_sums(image: np.ndarray) -> list[Sums]:
    """The sums of every section of a part of a volume.

    Args:
        image: (z, y, x), whole numbers up to 32 bits or floats.

    Returns:
        One for each z.
    """
    exact = image.dtype.kind in "iu" and image.dtype.itemsize <= 2
    accumulate, number = (_sums_of_integers, int) if exact else (_sums_of_floats, float)
    sums = []
    for section in image:
        total, squares = accumulate(section)
        # Python's whole numbers hold the squares of sections of any size.
        sums.append(Sums(section.size, number(total), number(squares)))
    return sums


def normalised_section(section: np.ndarray, there: Contrast, wanted: Contrast) -> np.ndarray:
    """A section, or part of one, with the mean and the standard deviation of the whole section replaced.

    Args:
        section: any shape; whole numbers up to 32 bits or floats.
        there: of the whole section.
        wanted: what they become, in grey values.

    Returns:
        An array of the same shape and the dtype of `changed_dtype`; whole numbers are rounded to the nearest
        and end at the dtype's range. A section of one value becomes the mean.
    """
    gain = wanted.stddev / there.stddev if there.stddev > 0 else 0.0
    values = (section.astype(np.float64) - there.mean) * gain + wanted.mean
    return rounded(values, changed_dtype(section.dtype))


def rounded(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Floats as `dtype`: whole numbers are rounded to the nearest and end at the dtype's range.

    Args:
        values: floats, any shape.
        dtype: whole numbers or floats.

    Returns:
        An array of that shape and dtype; `values` itself where it has the dtype already.
    """
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def count_levels(image: np.ndarray) -> np.ndarray:
    """How many voxels have each grey value.

    Args:
        image: any shape; whole numbers of 8 or 16 bits (see `require_levels`).

    Returns:
        (256,) or (65536,), int64, the dtype's lowest value first.
    """
    counts = np.zeros(256**image.dtype.itemsize, np.int64)
    _count(image, int(np.iinfo(image.dtype).min), counts)
    return counts


def matching_table(counts: np.ndarray, reference: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """What each grey value becomes, so that all are as frequent as in a reference.

    A value's quantile (the share of voxels not above it) is looked up among the reference's quantiles,
    between two of which is interpolated: the method of `skimage.exposure.match_histograms`, from counts
    instead of voxels.

    Args:
        counts: of the image, as `count_levels` gives them, at least one voxel.
        reference: counts of the reference, of the same dtype, at least one voxel.
        dtype: of both images.

    Returns:
        An array of the length of `counts`, of `dtype`: entry i is for the dtype's lowest value + i.
    """
    levels = np.arange(counts.size) + int(np.iinfo(dtype).min)
    there = reference > 0
    quantiles = np.cumsum(counts) / counts.sum()
    reference_quantiles = np.cumsum(reference[there]) / reference.sum()
    return rounded(np.interp(quantiles, reference_quantiles, levels[there]), dtype)


def replace_levels(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The image with every grey value replaced by its entry in a table of `matching_table`.

    Args:
        image: any shape; whole numbers of 8 or 16 bits.
        table: one entry for each grey value, the dtype's lowest first.

    Returns:
        A new array of the image's shape and the table's dtype.
    """
    # The table from value 0 on; negative values count from its end, as indices do.
    return np.roll(table, int(np.iinfo(image.dtype).min))[image]


@numba.njit(nogil=True, cache=True)
def _sums_of_integers(section: np.ndarray) -> tuple[np.int64, np.int64]:
    total, squares = np.int64(0), np.int64(0)
    for value in section.flat:
        total += np.int64(value)
        squares += np.int64(value) * np.int64(value)
    return total, squares


@numba.njit(nogil=True, cache=True)
def _sums_of_floats(section: np.ndarray) -> tuple[float, float]:
    total, squares = 0.0, 0.0
    for value in section.flat:
        total += np.float64(value)
        squares += np.float64(value) * np.float64(value)
    return total, squares


@numba.njit(nogil=True, cache=True)
def _count(image: np.ndarray, lowest: int, counts: np.ndarray) -> None:
    for value in image.flat:
        counts[np.int64(value) - lowest] += 1
