"""Volumes that are computed from others on reading: coarser ones, and ones with changed grey values.

Nothing is stored. A box of a derived volume is the crop of what the whole would be, however the volume is cut
into boxes, so that pieces, workers and training see one image (docs/decisions/0013-derived-volumes.md).

Coarse voxels lie on the grid of the whole volume: voxel i of an axis is the fine voxels i * f to (i + 1) * f
in absolute coordinates, f being the factor. Where a volume begins or ends within a coarse voxel, that voxel
is made of the fine ones that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import product

import numpy as np

from configs import ConfigView, box_bounds
from volumes._grey_stages import (
    EqualisedVolume,
    InvertedVolume,
    MatchedVolume,
    NormalisedVolume,
    PreprocessedVolume,
)
from volumes._grey_statistics import MOST_VOXELS, StatisticsPart, StatisticsStore, bricks
from volumes.arrays import ArrayVolume
from volumes.base import SizeNm, Volume
from volumes.box import Box, Zyx
from volumes.errors import VolumeError
from volumes.opening import open_volume
from volumes.preprocessing import Contrast
from volumes.resample import downsample_image, whole_factors

__all__ = [
    "PreprocessedVolume",
    "ResampledVolume",
    "StatisticsPart",
    "StatisticsStore",
    "missing_statistics",
    "preprocess_array",
    "preprocessed",
    "resampled",
    "to_coarse",
    "upsample_labels",
]


class ResampledVolume(Volume):
    """An image at a coarser grid, for reading only; made by `resampled`. Closing it closes its source.

    Args:
        source: the image.
        factors: fine voxels of a coarse one (zyx).

    Raises:
        VolumeError: a dtype that has no mean.
    """

    def __init__(self, source: Volume, factors: Zyx) -> None:
        # What cannot be averaged is refused now, not in the middle of a run.
        downsample_image(np.zeros((1, 1, 1), source.dtype), factors)
        chunk = [max(1, n // f) for n, f in zip(source.chunk_shape, factors, strict=True)]
        z, y, x = (size * f for size, f in zip(source.voxel_size_nm, factors, strict=True))
        super().__init__(
            source.spec,
            bounds=to_coarse(source.bounds, factors),
            dtype=source.dtype,
            voxel_size_nm=(z, y, x),
            chunk_shape=chunk,
            writable=False,
        )
        self._source = source
        self._factors = factors

    def close(self) -> None:
        self._source.close()

    def finer(self, box: Box) -> tuple[Volume, Box]:
        """The image it is made from, and the voxels of it that a box is made from."""
        return self._source, _to_fine(box, self._factors).intersect(self._source.bounds)

    def _load(self, box: Box) -> np.ndarray:
        coarse = np.empty(box.shape, self.dtype)
        most = MOST_VOXELS // int(np.prod(self._factors))
        for even in self._even_parts(box):
            for part in bricks(even, most):
                source, fine = self.finer(part)
                coarse[part.slices(box.start)] = downsample_image(source.read(fine), self._factors)
        return coarse

    def _even_parts(self, box: Box) -> Iterator[Box]:
        """The box, cut behind coarse voxels that are not whole at the volume's start.

        A block of `downsample_image` begins at its array's first voxel; only its last one may be cut.
        """
        cuts = []
        for axis, (low, high) in enumerate(zip(box.start, box.stop, strict=True)):
            first, begins = self.bounds.start[axis], self._source.bounds.start[axis]
            cut = low == first and begins % self._factors[axis] != 0 and high > low + 1
            cuts.append([(low, low + 1), (low + 1, high)] if cut else [(low, high)])
        for ends in product(*cuts):
            yield Box(*zip(*ends, strict=True))  # type: ignore[arg-type]


def resampled(volume: Volume, voxel_size_nm: SizeNm) -> Volume:
    """An image at a coarser grid, averaged on reading (`downsample_image`).

    Args:
        volume: the image.
        voxel_size_nm: zyx, whole multiples of the image's.

    Returns:
        A volume for reading, whose bounds are the coarse voxels that hold any of the image; the volume itself
        where the sizes are equal.

    Raises:
        VolumeError: no whole multiples, or a dtype that has no mean (bool, 64-bit labels).
    """
    factors = whole_factors(volume.voxel_size_nm, voxel_size_nm, f"volume '{volume.spec}'")
    return volume if factors == (1, 1, 1) else ResampledVolume(volume, factors)


def preprocessed(
    volume: Volume,
    section: ConfigView | None,
    open_reference: Callable[..., Volume] = open_volume,
    store: StatisticsStore | None = None,
) -> Volume:
    """An image with changed grey values: inversion, sections, histogram, CLAHE, in this order, on reading.

    Statistics are those of the whole volume, or of its whole sections: (y, x) of its bounds. They are read in
    blocks when first needed, unless a store has them (`missing_statistics`).

    Args:
        volume: the image.
        section: a view of the message `Preprocessing`; None changes nothing.
        open_reference: called with the SPEC and `voxel_size_nm` of the reference, whose grey values are taken
            as they are.
        store: keeps the statistics of this volume and section; None = each process makes its own.

    Returns:
        A volume for reading of the same grid. Whole numbers keep their dtype, floats become float32. The
        volume itself where nothing is asked.

    Raises:
        VolumeError: masks or labels; floats or 32-bit numbers for histogram matching or CLAHE; a reference
            that cannot be opened, has another dtype, or does not hold the box.
    """
    if section is None:
        return volume
    changed = volume
    if section.invert:
        changed = InvertedVolume(changed)
    if section.sections is not None:
        changed = NormalisedVolume(changed, Contrast(section.sections.mean, section.sections.stddev), store)
    if section.histogram is not None:
        changed = _matched(changed, section.histogram, open_reference, store)
    if section.clahe is not None:
        changed = EqualisedVolume(changed, section.clahe.tile, section.clahe.clip_limit)
    return changed


def missing_statistics(volume: Volume, box: Box) -> Iterator[StatisticsPart]:
    """The statistics that reading a box takes and that the volume's store does not have.

    Args:
        volume: of `preprocessed` or `resampled`; others need none, nor does one without a store.
        box: inside its bounds.

    Yields:
        Parts to be made, in this order; each reads its voxels in blocks.

    Raises:
        VolumeError: by a part that is made: voxels that cannot be read, or that are NaN or infinite.
    """
    if isinstance(volume, ResampledVolume):
        yield from missing_statistics(*volume.finer(box))
    elif isinstance(volume, PreprocessedVolume):
        yield from volume.missing_statistics(box)


def preprocess_array(
    raw: np.ndarray,
    voxel_size_nm: SizeNm,
    section: ConfigView | None,
    start_zyx: Zyx = (0, 0, 0),
    open_reference: Callable[..., Volume] = open_volume,
) -> np.ndarray:
    """An array with its grey values changed, as `preprocessed` does with a volume.

    Args:
        raw: (z, y, x); taken for the whole volume: its sections are whole sections.
        voxel_size_nm: zyx.
        section: a view of the message `Preprocessing`; None changes nothing.
        start_zyx: absolute coordinates of its first voxel, where CLAHE's tiles are counted from.
        open_reference: as for `preprocessed`.

    Returns:
        An array of the same shape: a new one, or `raw` where nothing is asked. Whole numbers keep their dtype
        and are those the volume gives; floats become float32 and are equal up to rounding.

    Raises:
        VolumeError: as for `preprocessed`.
    """
    volume = ArrayVolume(raw, voxel_size_nm=voxel_size_nm, start=start_zyx)
    changed = preprocessed(volume, section, open_reference)
    return raw if changed is volume else changed.read()


def to_coarse(box: Box, factors: Iterable[int]) -> Box:
    """The smallest box of coarse voxels that covers a box of fine ones.

    Args:
        box: absolute, fine voxels.
        factors: fine voxels of a coarse one (zyx).
    """
    by = tuple(factors)
    start = tuple(low // f for low, f in zip(box.start, by, strict=True))
    stop = tuple(-(-high // f) for high, f in zip(box.stop, by, strict=True))
    return Box(start, stop)  # type: ignore[arg-type]


def upsample_labels(
    coarse: np.ndarray, coarse_start_zyx: Zyx, factors: Iterable[int], box: Box
) -> np.ndarray:
    """Labels at the fine grid: every fine voxel has the label of the coarse one it lies in.

    Args:
        coarse: (z, y, x), any dtype.
        coarse_start_zyx: absolute coordinates of its first voxel, in coarse voxels.
        factors: fine voxels of a coarse one (zyx).
        box: what is wanted, absolute, fine voxels.

    Returns:
        A new array of `box.shape` and the labels' dtype.

    Raises:
        VolumeError: the labels do not cover the box.
    """
    by = tuple(factors)
    there = Box.from_shape(coarse.shape, coarse_start_zyx)
    if not there.contains_box(to_coarse(box, by)):
        raise VolumeError(
            f"labels at {there} (coarse voxels) do not cover box {box} at factors {by}; give a box inside "
            f"{_to_fine(there, by)}"
        )
    ends = zip(box.start, box.stop, by, coarse_start_zyx, strict=True)
    return coarse[np.ix_(*[np.arange(low, high) // f - first for low, high, f, first in ends])]


def _to_fine(box: Box, factors: Iterable[int]) -> Box:
    by = tuple(factors)
    start = tuple(low * f for low, f in zip(box.start, by, strict=True))
    stop = tuple(high * f for high, f in zip(box.stop, by, strict=True))
    return Box(start, stop)  # type: ignore[arg-type]


def _matched(
    source: Volume,
    section: ConfigView,
    open_reference: Callable[..., Volume],
    store: StatisticsStore | None,
) -> MatchedVolume:
    # Grey values are counted whatever their voxels' size, so that a reference need not state one.
    size_nm = section.reference.voxel_size_nm or source.voxel_size_nm
    reference = open_reference(section.reference.spec, voxel_size_nm=tuple(size_nm))
    try:
        box = reference.bounds if section.box is None else Box(*box_bounds(section.box))
        return MatchedVolume(source, reference, box, section.each_section, store)
    except BaseException:
        reference.close()
        raise
