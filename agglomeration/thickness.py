"""Thick objects: those that hold a ball of a given radius, found in volumes of any size.

The depth of a voxel is its distance to the nearest voxel of anything else, the ends of the volume not
counted: an object that the volume cuts in half is as thick as the half shows. For objects many voxels thick
it is measured on coarse voxels (the most frequent label of each), an eighth of the wanted depth long.

Blocks are read with so much around them that depths up to the limit are exact, whatever the blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import edt
import numpy as np

from agglomeration.errors import AgglomerationError
from volumes import Box, Volume, downsample_labels
from volumes.box import Zyx

_STEPS = 8
_BLOCK = 96
_VOXELS_AT_ONCE = 1 << 22


class ThickObjects(NamedTuple):
    """Objects with a voxel at least so deep, ascending by ID.

    Attributes:
      ids: (n,) uint64.
      depth_nm: (n,) float64, of the deepest voxel, at most the limit.
      points_nm: (n, 3) float64, z, y, x, its centre; of equally deep ones the first.
    """

    ids: np.ndarray
    depth_nm: np.ndarray
    points_nm: np.ndarray


def thick_objects(
    labels: Volume, *, at_least_nm: float, up_to_nm: float, block_voxels: int = _BLOCK
) -> ThickObjects:
    """The objects that are at least so thick somewhere.

    Args:
      labels: object IDs, 0 = no object.
      at_least_nm: depth from which an object is one of them.
      up_to_nm: deeper voxels count as this deep.
      block_voxels: edge of the blocks, in coarse voxels, without what is read around them.

    Raises:
      AgglomerationError: a depth that is not above 0, or a limit below it.
      VolumeError: the volume cannot be read.
    """
    if not 0 < at_least_nm <= up_to_nm:
        raise AgglomerationError(f"depths of {at_least_nm:g} to {up_to_nm:g} nm do not ascend from 0")
    z, y, x = (max(1, int(at_least_nm / _STEPS / size)) for size in labels.voxel_size_nm)
    found = [_empty()]
    for block in _blocks(labels, (z, y, x), block_voxels):
        found.append(_in_block(labels, (z, y, x), block, at_least_nm, up_to_nm))
    return _deepest(np.concatenate(found))


# An object's deepest voxel in one block; the point in whole coarse voxels sorts the same as in nm.
_ROW = np.dtype([("id", np.uint64), ("depth", np.float64), ("point", np.float64, 3)])


def _empty() -> np.ndarray:
    return np.zeros(0, _ROW)


def _coarse_shape(labels: Volume, factors: Zyx) -> Zyx:
    z, y, x = (-(-n // f) for n, f in zip(labels.shape, factors, strict=True))
    return z, y, x


def _blocks(labels: Volume, factors: Zyx, edge: int) -> Iterator[Box]:
    """Blocks of coarse voxels, which are counted from the volume's first voxel."""
    whole = Box.from_shape(_coarse_shape(labels, factors))
    for corner in product(*(range(0, n, edge) for n in whole.shape)):
        yield Box.from_shape((edge,) * 3, corner).intersect(whole)


def _in_block(labels: Volume, factors: Zyx, block: Box, at_least_nm: float, up_to_nm: float) -> np.ndarray:
    size_nm = np.multiply(labels.voxel_size_nm, factors)
    context = [int(up_to_nm // n) + 2 for n in size_nm]
    around = block.grow(context).intersect(Box.from_shape(_coarse_shape(labels, factors)))
    coarse = _read_coarse(labels, factors, around)
    depth = edt.edt(coarse, anisotropy=tuple(size_nm), black_border=False)
    # From a voxel's centre to the surface of the next one, not to its centre.
    depth = np.minimum(depth[block.slices(around.start)].astype(np.float64) - size_nm.min() / 2, up_to_nm)
    there = depth >= at_least_nm
    rows = np.zeros(np.count_nonzero(there), _ROW)
    rows["id"] = coarse[block.slices(around.start)][there]
    rows["depth"] = depth[there]
    rows["point"] = _centres_nm(labels, factors, np.argwhere(there) + block.start)
    return _best_rows(rows)


def _read_coarse(labels: Volume, factors: Zyx, box: Box) -> np.ndarray:
    """The most frequent label of each coarse voxel of a box, read in parts."""
    coarse = np.empty(box.shape, labels.dtype)
    edge = max(1, int((_VOXELS_AT_ONCE / np.prod(factors)) ** (1 / 3)))
    for corner in product(*(range(a, b, edge) for a, b in zip(box.start, box.stop, strict=True))):
        part = Box.from_shape((edge,) * 3, corner).intersect(box)
        start = np.multiply(part.start, factors) + labels.bounds.start
        fine = Box.from_shape(np.multiply(part.shape, factors), start).intersect(labels.bounds)
        coarse[part.slices(box.start)] = downsample_labels(labels.read(fine), factors)
    return coarse


def _centres_nm(labels: Volume, factors: Zyx, coarse: np.ndarray) -> np.ndarray:
    """Where the centres of coarse voxels lie; of one that the volume's end cuts, that of the part inside."""
    start = coarse * factors
    stop = np.minimum(start + factors, labels.shape)
    return ((start + stop) / 2 + labels.bounds.start) * labels.voxel_size_nm


def _best_rows(rows: np.ndarray) -> np.ndarray:
    """For each object its deepest row, of equally deep ones that with the first point."""
    order = np.lexsort((*rows["point"].T[::-1], -rows["depth"], rows["id"]))
    rows = rows[order]
    return rows[np.append(True, rows["id"][1:] != rows["id"][:-1])[: rows.size]]


def _deepest(rows: np.ndarray) -> ThickObjects:
    best = _best_rows(rows)
    return ThickObjects(best["id"].copy(), best["depth"].copy(), best["point"].copy())
