"""Where supervoxels share voxels or faces with other labels: vessels, or what lies outside the tissue.

Inputs: two label volumes (z, y, x), 0 = nothing, the second one of the same or of coarser voxels; both are
read block by block. A face counts in the block of its lower voxel, so that blocks do not show in the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agglomeration.soma_fillings import boxes_of, sampled
from volumes import Box, Volume, whole_factors
from volumes.box import Zyx

_EDGE = 256


@dataclass(frozen=True)
class Contacts:
    """What supervoxels share with labels of something else; those that share anything, ascending.

    Attributes:
      ids: (n,) uint64.
      overlap_voxels: (n,) int64, voxels of the supervoxel that are labelled.
      contact_faces: (n,) int64, faces between its voxels and labelled ones that are not its own.
      point_zyx: (n, 3) int64, its first labelled voxel, or the first one in contact; absolute.
    """

    ids: np.ndarray
    overlap_voxels: np.ndarray
    contact_faces: np.ndarray
    point_zyx: np.ndarray


def contacts(supervoxels: Volume, labels: Volume, *, block_edge: int = _EDGE) -> Contacts:
    """What each supervoxel shares with labelled voxels, block by block.

    Args:
      supervoxels: labels.
      labels: anything but 0 counts; voxels of the same size, or of whole multiples. Beyond their bounds
        nothing is labelled.
      block_edge: of the blocks, in voxels of the supervoxels.

    Raises:
      VolumeError: a volume that cannot be read, or voxels that are no whole multiples.
    """
    factors = whole_factors(supervoxels.voxel_size_nm, labels.voxel_size_nm, f"labels '{labels.spec}'")
    found = [np.zeros(0, _ROW)]
    for box in boxes_of(supervoxels.bounds, block_edge):
        found.append(_contacts_in(supervoxels, labels, factors, box))
    rows = np.concatenate(found)
    # Overlaps come first, so that the point is one of them where there is any.
    rows = rows[np.lexsort((*rows["point"].T[::-1], rows["overlap"] == 0, rows["id"]))]
    ids, first, which = np.unique(rows["id"], return_index=True, return_inverse=True)
    overlap, faces = (np.zeros(ids.size, np.int64) for _ in range(2))
    np.add.at(overlap, which, rows["overlap"])
    np.add.at(faces, which, rows["faces"])
    return Contacts(ids, overlap, faces, rows["point"][first])


_ROW = np.dtype([("id", np.uint64), ("overlap", np.int64), ("faces", np.int64), ("point", np.int64, 3)])


def _contacts_in(supervoxels: Volume, labels: Volume, factors: Zyx, box: Box) -> np.ndarray:
    """Rows of one block: a face belongs to the block of its lower voxel."""
    around = Box(box.start, box.grow(1).stop).intersect(supervoxels.bounds)
    ends = zip(around.start, around.stop, factors, strict=True)
    labelled = sampled(labels, [np.arange(low, high) // factor for low, high, factor in ends]) > 0
    if not labelled.any():
        return np.zeros(0, _ROW)
    ids = supervoxels.read(around).astype(np.uint64)
    inner = box.slices(around.start)
    rows = [_counted(ids[inner], labelled[inner] & (ids[inner] > 0), box, "overlap")]
    for axis in range(3):
        low, high = _neighbours(axis, box.shape, around.shape)
        apart = ids[low] != ids[high]
        for here, there in ((low, high), (high, low)):
            touching = apart & labelled[there] & ~labelled[here] & (ids[here] > 0)
            start = np.add(around.start, [part.start for part in here])
            rows.append(_counted(ids[here], touching, Box.from_shape(touching.shape, start), "faces"))
    return np.concatenate(rows)


def _neighbours(axis: int, core: Zyx, shape: Zyx) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The voxels of the core that have a next one along an axis, and those next ones."""
    length = min(core[axis], shape[axis] - 1)
    low = tuple(slice(0, length if i == axis else core[i]) for i in range(3))
    high = tuple(slice(1, length + 1) if i == axis else part for i, part in enumerate(low))
    return low, high


def _counted(ids: np.ndarray, chosen: np.ndarray, box: Box, column: str) -> np.ndarray:
    """How many chosen voxels each supervoxel has, and the first of them."""
    found, first, counts = np.unique(ids[chosen], return_index=True, return_counts=True)
    rows = np.zeros(found.size, _ROW)
    rows["id"], rows[column] = found, counts
    rows["point"] = np.argwhere(chosen)[first] + box.start
    return rows
