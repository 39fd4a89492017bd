"""Coarser scales of a Precomputed volume, so that it can be looked at from afar.

Every scale halves those axes whose voxels are not yet coarser than the others, so that an anisotropic volume
first becomes nearly isotropic. A coarse voxel i covers the fine voxels from i·f to (i+1)·f in absolute
coordinates, whatever the volume's offset; at a face that cuts through it, it stands for the voxels there are.
Labels become the most frequent label, images the mean (`volumes.resample`).

A scale is filled from the next finer one, block by block. Blocks are whole chunks of the coarse scale, so
that separate processes may fill it side by side; each holds one block of both scales in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

import numpy as np
import numpy.typing as npt

from volumes.base import NewVolume, SizeNm, Volume
from volumes.box import Box, Zyx
from volumes.errors import VolumeError
from volumes.precomputed import create_precomputed_scales
from volumes.resample import downsample_image, downsample_labels

MOST_SCALES = 16
_SCHEME = "precomputed://"
# An axis is coarser than another when that brings it nearer to twice the other than to the other itself.
_COARSER = 2**0.5


def next_factors(voxel_size_nm: SizeNm) -> Zyx:
    """How many voxels (zyx) of a scale make one of the next: 2, or 1 along axes that are coarser already.

    Args:
        voxel_size_nm: zyx, of the finer scale.
    """
    z, y, x = (2 if edge < _COARSER * min(voxel_size_nm) else 1 for edge in voxel_size_nm)
    return z, y, x


def coarser_bounds(bounds: Box, factors: Zyx) -> Box:
    """The voxels of a coarser scale that cover any part of a box of the finer one.

    Args:
        bounds: absolute, finer voxels.
        factors: finer voxels of a coarser one (zyx).
    """
    start = [low // f for low, f in zip(bounds.start, factors, strict=True)]
    stop = [-(-high // f) for high, f in zip(bounds.stop, factors, strict=True)]
    return Box(tuple(start), tuple(stop))  # type: ignore[arg-type]


def create_pyramid(
    spec: str,
    *,
    bounds: Box,
    dtype: npt.DTypeLike,
    voxel_size_nm: Iterable[float],
    chunk_shape: Zyx = (64, 64, 64),
    scales: int = 0,
    overwrite: bool = False,
    labels: bool | None = None,
) -> list[Volume]:
    """Make a Precomputed volume of several scales, all of zeros, and open them for reading and writing.

    Later, and in other processes, the scale of index i is opened as `open_volume(f"{spec}#{i}", mode="r+")`.

    Args:
        spec: `precomputed://…`.
        bounds: of the finest scale (zyx).
        dtype: of the voxels.
        voxel_size_nm: zyx, of the finest scale.
        chunk_shape: zyx, of every scale.
        scales: how many; 0: as many as until one chunk holds everything, at most `MOST_SCALES`.
        overwrite: replace what is there.
        labels: whether voxels are object IDs; by default uint32 and uint64 are.

    Returns:
        The scales, finest first.

    Raises:
        VolumeError: another format, a number of scales out of range, or what `create_volume` refuses.
    """
    if not spec.startswith(_SCHEME):
        raise VolumeError(f"'{spec}' is no Precomputed volume, which alone has scales; write {_SCHEME}…")
    if not 0 <= scales <= MOST_SCALES:
        raise VolumeError(f"{scales} scales of '{spec}' are out of range; give 0 to {MOST_SCALES}")
    new = NewVolume(spec, bounds, dtype, voxel_size_nm, chunk_shape, overwrite, labels)  # type: ignore[arg-type]
    return create_precomputed_scales(spec.removeprefix(_SCHEME), new, list(_coarser_scales(new, scales)))


def scale_blocks(volume: Volume, edge_chunks: int) -> list[Box]:
    """Boxes of whole chunks that tile a volume, in (z, y, x) order.

    Args:
        volume: to be cut.
        edge_chunks: chunks along each edge of a block.
    """
    step = [edge * edge_chunks for edge in volume.chunk_shape]
    corners = product(*map(range, volume.bounds.start, volume.bounds.stop, step))
    return [Box.from_shape(step, corner).intersect(volume.bounds) for corner in corners]


def fill_scale(
    fine: Volume, coarse: Volume, factors: Zyx, coarse_box: Box, *, labels: bool | None = None
) -> None:
    """Write one block of a coarser scale from the finer one.

    Args:
        fine: the finer scale.
        coarse: the coarser one, open for writing.
        factors: voxels (zyx) of the finer scale in one of the coarser, see `next_factors`.
        coarse_box: what to fill, in voxels of the coarser scale; whole chunks, see `scale_blocks`.
        labels: whether voxels are object IDs; by default those of uint32 and uint64 are.

    Raises:
        VolumeError: the box leaves the coarser scale or covers no voxel of the finer one, the dtypes differ,
            or the volumes cannot be read or written.
    """
    spanned = Box(*(_scaled(corner, factors) for corner in (coarse_box.start, coarse_box.stop)))
    there = spanned.intersect(fine.bounds)
    if labels is None:
        labels = fine.dtype in (np.uint32, np.uint64)
    coarse.write(coarse_box, downsample_block(fine.read(there), there, factors, labels=labels))


def downsample_block(voxels: np.ndarray, box: Box, factors: Zyx, *, labels: bool) -> np.ndarray:
    """The coarse voxels that cover a box anywhere in a volume.

    Args:
        voxels: (z, y, x) of the box.
        box: where they lie; its start need not be a multiple of the factors.
        factors: voxels of the finer scale in one of the coarser, zyx.
        labels: whether to take the most frequent value or the mean.

    Returns:
        An array of `coarser_bounds(box, factors).shape` (z, y, x) and the dtype of `voxels`.

    Raises:
        VolumeError: see `volumes.resample`.
    """
    downsample = downsample_labels if labels else downsample_image
    bounds = coarser_bounds(box, factors)
    coarse = np.empty(bounds.shape, voxels.dtype)
    # Cut where the first whole coarse voxel begins, so that each part starts with a coarse voxel of its own.
    cuts = [_cut(*ends) for ends in zip(box.start, box.stop, factors, strict=True)]
    for part in product(*cuts):
        inner = Box(tuple(low for low, _ in part), tuple(high for _, high in part))  # type: ignore[arg-type]
        target = coarser_bounds(inner, factors).slices(bounds.start)
        coarse[target] = downsample(np.ascontiguousarray(voxels[inner.slices(box.start)]), factors)
    return coarse


def _coarser_scales(new: NewVolume, scales: int) -> Iterator[tuple[Box, SizeNm]]:
    bounds, size_nm = new.bounds, new.voxel_size_nm
    for _ in range(1, scales or MOST_SCALES):
        if not scales and all(n <= c for n, c in zip(bounds.shape, new.chunk_shape, strict=True)):
            return
        factors = next_factors(size_nm)
        bounds = coarser_bounds(bounds, factors)
        z, y, x = (edge * f for edge, f in zip(size_nm, factors, strict=True))
        size_nm = (z, y, x)
        yield bounds, size_nm


def _cut(start: int, stop: int, factor: int) -> list[tuple[int, int]]:
    """One axis of a box, cut at the first multiple of the factor where that lies inside."""
    first = -(-start // factor) * factor
    return [(start, first), (first, stop)] if start < first < stop else [(start, stop)]


def _scaled(corner: Zyx, factors: Zyx) -> Zyx:
    z, y, x = (p * f for p, f in zip(corner, factors, strict=True))
    return z, y, x
