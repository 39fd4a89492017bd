"""Contrast-limited adaptive histogram equalisation (CLAHE), the same for every box of a volume.

Every tile has a table from grey value to equalised value, made of the tile's histogram with its peaks cut
off; a voxel takes the values of the tables around it, weighted by how near the tiles' centres are.
`skimage.exposure.equalize_adapthist` does so for a whole array: it lays the tiles from the array's corner
and stretches grey values by the array's extremes, both before and after, so that blocks of a volume would
come out different. Here the tiles lie on a grid from coordinate 0 of the volume and the range is that of the
dtype: a voxel depends on the tiles around it and on nothing else.

As in scikit-image, a tile cut by the volume's border is filled up with mirrored voxels. The centre of a tile
is its true middle, so that a tile of one section equalises the section by itself.

Source: Zuiderveld, Graphics Gems IV (1994), VIII.5.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from volumes.box import Box, Zyx

# Grey values are counted in this many equal steps of the dtype's range.
_BINS = 256


class _Axis(NamedTuple):
    """What one axis of a box takes part in.

    Attributes:
        first: the first tile, counted from coordinate 0.
        voxels: (tiles × extent of a tile,) absolute coordinates, those beyond the volume's ends mirrored.
        below: (voxels of the box,) the tile whose centre is at or before each voxel, counted from `first`.
        above: likewise, at or behind it; one of both at the ends.
        weights: (voxels of the box,) of `above`, 0 to 1.
    """

    first: int
    voxels: np.ndarray
    below: np.ndarray
    above: np.ndarray
    weights: np.ndarray


def clahe_context(box: Box, bounds: Box, tile: Zyx) -> Box:
    """The voxels that the equalised voxels of a box depend on: less than two tiles more on every side.

    Args:
        box: inside the bounds, not empty.
        bounds: of the volume.
        tile: extent of a tile (zyx), voxels.
    """
    used = [axis.voxels for axis in _axes(box, bounds, tile)]
    context = Box(
        tuple(int(voxels.min()) for voxels in used),  # type: ignore[arg-type]
        tuple(int(voxels.max()) + 1 for voxels in used),  # type: ignore[arg-type]
    )
    # At a border the mirrored voxels of a tile may end short of the box itself.
    return Box(
        tuple(map(min, context.start, box.start)),  # type: ignore[arg-type]
        tuple(map(max, context.stop, box.stop)),  # type: ignore[arg-type]
    )


def equalised(
    context: np.ndarray, start: Zyx, box: Box, bounds: Box, tile: Zyx, clip_limit: float
) -> np.ndarray:
    """The equalised voxels of a box.

    Args:
        context: (z, y, x) voxels of `clahe_context`, whole numbers of 8 or 16 bits.
        start: absolute coordinates (zyx) of its first voxel.
        box: what is asked for.
        bounds: of the volume.
        tile: extent of a tile (zyx), voxels.
        clip_limit: share of a tile's voxels that a 256th of the range of grey values may hold; the others are
            spread evenly over the parts with room. From 1 on nothing is cut, up to 1/256 nothing changes but
            by rounding.

    Returns:
        An array of `box.shape` and the dtype of `context`.
    """
    z, y, x = _axes(box, bounds, tile)
    limits = np.iinfo(context.dtype)
    lowest, shift = int(limits.min), 8 * (context.dtype.itemsize - 1)
    out = np.empty(box.shape, context.dtype)
    tables: dict[int, np.ndarray] = {}

    def row(index: int) -> np.ndarray:
        """The tables of all tiles of one z."""
        if index not in tables:
            sections = z.voxels[index * tile[0] : (index + 1) * tile[0]]
            places = np.ix_(sections - start[0], y.voxels - start[1], x.voxels - start[2])
            tables[index] = _tables(context[places], tile, lowest, shift, clip_limit)
        return tables[index]

    sections = context[box.slices(start)]
    for index, (below, above, weight) in enumerate(zip(z.below, z.above, z.weights, strict=True)):
        for passed in [tile_z for tile_z in tables if tile_z < below]:
            del tables[passed]
        _blend(sections[index], row(below), row(above), weight, y[2:], x[2:], lowest, shift, out[index])
    return out


def _axes(box: Box, bounds: Box, tile: Zyx) -> list[_Axis]:
    ends = zip(box.start, box.stop, bounds.start, bounds.stop, tile, strict=True)
    return [_axis(*end) for end in ends]


def _axis(start: int, stop: int, first_voxel: int, end: int, tile: int) -> _Axis:
    # Twice the distance from the centre of tile 0, (tile - 1) / 2, in whole numbers.
    doubled = 2 * np.arange(start, stop) - (tile - 1)
    below, rest = np.divmod(doubled, 2 * tile)
    above = below + (rest > 0)
    below, above = (np.clip(t, first_voxel // tile, (end - 1) // tile) for t in (below, above))
    first, last = int(below[0]), int(above[-1])
    voxels = _mirrored(np.arange(first * tile, (last + 1) * tile), first_voxel, end)
    return _Axis(first, voxels, below - first, above - first, rest / (2 * tile))


def _mirrored(voxels: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Coordinates brought into start:stop by mirroring at the first and the last voxel."""
    if stop - start == 1:
        return np.full_like(voxels, start)
    period = 2 * (stop - start - 1)
    away = (voxels - start) % period
    return start + np.minimum(away, period - away)


@numba.njit(nogil=True, cache=True)
def _tables(image: np.ndarray, tile: Zyx, lowest: int, shift: int, clip_limit: float) -> np.ndarray:
    """(tiles along y, along x, _BINS + 1): the share of voxels below each step, peaks cut; 0 to 1."""
    rows, columns = image.shape[1] // tile[1], image.shape[2] // tile[2]
    tables = np.empty((rows, columns, _BINS + 1), np.float32)
    size = tile[0] * tile[1] * tile[2]
    for row in range(rows):
        for column in range(columns):
            counts = np.zeros(_BINS, np.float64)
            part = image[:, row * tile[1] : (row + 1) * tile[1], column * tile[2] : (column + 1) * tile[2]]
            for value in part.flat:
                counts[(np.int64(value) - lowest) >> shift] += 1
            _cut_peaks(counts, clip_limit * size)
            total = counts.sum()
            below = 0.0
            tables[row, column, 0] = 0
            for level in range(_BINS):
                below += counts[level]
                tables[row, column, level + 1] = below / total
    return tables


@numba.njit(nogil=True, cache=True)
def _cut_peaks(counts: np.ndarray, limit: float) -> None:
    """Spread what exceeds the limit evenly over the bins with room, until it is placed or all are full."""
    excess = 0.0
    for level in range(counts.size):
        if counts[level] > limit:
            excess += counts[level] - limit
            counts[level] = limit
    # Every round but the last fills a bin.
    for _ in range(counts.size):
        room = 0
        for level in range(counts.size):
            room += counts[level] < limit
        if room == 0 or excess <= 0:
            return
        share, excess = excess / room, 0.0
        for level in range(counts.size):
            if counts[level] < limit:
                counts[level] += share
                if counts[level] > limit:
                    excess += counts[level] - limit
                    counts[level] = limit


@numba.njit(nogil=True, cache=True)
def _blend(
    section: np.ndarray,
    front: np.ndarray,
    back: np.ndarray,
    back_weight: float,
    along_y: tuple[np.ndarray, np.ndarray, np.ndarray],
    along_x: tuple[np.ndarray, np.ndarray, np.ndarray],
    lowest: int,
    shift: int,
    out: np.ndarray,
) -> None:
    """One section: the tables in front of, behind, above, below, left and right of each voxel, weighted."""
    span = (_BINS << shift) - 1
    for y in range(section.shape[0]):
        y0, y1, wy = along_y[0][y], along_y[1][y], along_y[2][y]
        for x in range(section.shape[1]):
            x0, x1, wx = along_x[0][x], along_x[1][x], along_x[2][x]
            level = np.int64(section[y, x]) - lowest
            value = _between(front, y0, y1, wy, x0, x1, wx, level, shift)
            if back_weight > 0:
                behind = _between(back, y0, y1, wy, x0, x1, wx, level, shift)
                value = (1 - back_weight) * value + back_weight * behind
            out[y, x] = lowest + np.int64(value * span + 0.5)


@numba.njit(nogil=True, cache=True)
def _between(
    tables: np.ndarray, y0: int, y1: int, wy: float, x0: int, x1: int, wx: float, level: int, shift: int
) -> float:
    """The entries of four tables for a grey value, weighted."""
    upper = (1 - wx) * _look(tables, y0, x0, level, shift) + wx * _look(tables, y0, x1, level, shift)
    lower = (1 - wx) * _look(tables, y1, x0, level, shift) + wx * _look(tables, y1, x1, level, shift)
    return (1 - wy) * upper + wy * lower


@numba.njit(nogil=True, cache=True)
def _look(tables: np.ndarray, y: int, x: int, level: int, shift: int) -> float:
    """The entry of a table, 0 to 1; between two steps it rises evenly."""
    step = level >> shift
    high = np.float64(tables[y, x, step + 1])
    if shift == 0:
        return high
    low = np.float64(tables[y, x, step])
    return low + (high - low) * ((level & ((1 << shift) - 1)) + 1) / (1 << shift)
