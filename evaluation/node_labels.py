"""Which segment each node of a set of skeletons lies in, looked up block by block.

Nodes are grouped by the blocks of the volume they lie in, which are its chunks, or cut from or put together
of them where these are very large or very small. Of each block with nodes the bounding box of these is read,
once, so that nothing is read voxel by voxel, no voxel is read twice, and one block at a time is in memory.

A node at p nm lies in voxel v when v * voxel_size_nm <= p < (v + 1) * voxel_size_nm along z, y and x, in
absolute coordinates, so that an offset of the volume counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from evaluation.blocks import block_shape
from evaluation.checks import require_integers, require_not_negative
from evaluation.errors import EvaluationError
from jobs.progress import Progress
from volumes import Box, Skeleton, Volume

LEAST_BLOCK_VOXELS = 64**3
MOST_BLOCK_VOXELS = 1 << 24
# In edges of the largest side of a voxel: what is longer may pass through a foreign segment unseen.
LONG_EDGE_VOXELS = 4
_LARGEST_ID = 2**64 - 1


@dataclass(frozen=True, eq=False)
class NodeLabels:
    """The segments of all nodes of a set of skeletons, one skeleton after the other.

    Other segments for the same nodes, such as those after a merge, are
    `dataclasses.replace(node_labels, segments=...)`.

    Attributes:
        ids: of the s skeletons.
        starts: (s + 1,) int64; the nodes of skeleton i are `starts[i]` to `starts[i + 1]`.
        segments: (n,) uint64, 0 = in no segment.
        outside: nodes that lie outside the volume; they are in no segment.
    """

    ids: tuple[int, ...]
    starts: np.ndarray
    segments: np.ndarray
    outside: int = 0

    def of(self, skeleton_id: int) -> np.ndarray:
        """(n_i,) uint64: the segments of the nodes of one skeleton, in their order.

        Raises:
            EvaluationError: no skeleton of this ID was looked up.
        """
        if skeleton_id not in self._index:
            raise EvaluationError(f"skeleton {skeleton_id} has no node labels; look its nodes up first")
        index = self._index[skeleton_id]
        return self.segments[self.starts[index] : self.starts[index + 1]]

    @cached_property
    def _index(self) -> dict[int, int]:
        return {skeleton_id: index for index, skeleton_id in enumerate(self.ids)}


def node_labels_of(segments: Mapping[int, Sequence[int] | np.ndarray], outside: int = 0) -> NodeLabels:
    """Node labels that are known already.

    Args:
        segments: for each skeleton, the segment of each of its nodes, whole numbers >= 0, 0 = none.
        outside: nodes among them that lie outside the volume.

    Returns:
        The labels, in ascending order of the skeletons' IDs.

    Raises:
        EvaluationError: a segment is no whole number from 0 to 2^64 - 1; names the skeleton.
    """
    ids = tuple(sorted(segments))
    parts = [_checked_segments(skeleton_id, segments[skeleton_id]) for skeleton_id in ids]
    return NodeLabels(
        ids, _starts(map(len, parts)), np.concatenate([np.zeros(0, np.uint64), *parts]), outside
    )


def look_up_nodes(
    volume: Volume, skeletons: Mapping[int, Skeleton], *, progress: Progress | None = None
) -> NodeLabels:
    """The segment of every node.

    Time is that of sorting the nodes once, and of reading the blocks they lie in. Besides the nodes, memory
    is that of one block of at most `MOST_BLOCK_VOXELS` voxels.

    Args:
        volume: labels, whole numbers >= 0, 0 = no segment.
        skeletons: by ID; nodes in nm, zyx.
        progress: counts nodes.

    Returns:
        The labels, in ascending order of the skeletons' IDs. Nodes outside the volume are counted.

    Raises:
        EvaluationError: no skeletons, none with a node in the volume, or voxels that are no labels.
        VolumeError: the volume cannot be read.
    """
    if not skeletons:
        raise EvaluationError(
            "there are no skeletons to look up; check their path, or the labels they are of"
        )
    require_integers(f"volume '{volume.spec}'", volume.dtype)
    ids = tuple(sorted(skeletons))
    nodes_nm = np.concatenate([skeletons[skeleton_id].nodes_nm for skeleton_id in ids])
    voxels = _voxels_of(nodes_nm, volume.voxel_size_nm)
    inside = np.flatnonzero(((voxels >= volume.bounds.start) & (voxels < volume.bounds.stop)).all(axis=1))
    if inside.size == 0:
        raise _all_outside(volume, nodes_nm, len(ids))
    local = voxels[inside].astype(np.int64) - volume.bounds.start
    segments = np.zeros(len(nodes_nm), np.uint64)
    for part in _by_block(local, volume):
        segments[inside[part]] = _read_labels(volume, local[part])
        if progress is not None:
            progress.advance(part.size)
    starts = _starts(len(skeletons[skeleton_id].nodes_nm) for skeleton_id in ids)
    return NodeLabels(ids, starts, segments, len(nodes_nm) - inside.size)


def long_edges(skeletons: Mapping[int, Skeleton], voxel_size_nm: Sequence[float]) -> tuple[int, float]:
    """How many edges are so long that segments between their ends go unseen: only nodes are looked up.

    Sparse nodes pass over foreign segments and gaps, so that errors are missed and run lengths come out too
    long; `volumes.resample_skeleton` cuts long edges.

    Args:
        skeletons: by ID.
        voxel_size_nm: zyx, of the segmentation.

    Returns:
        The number of edges longer than `LONG_EDGE_VOXELS` times the largest side of a voxel, and the length
        of the longest edge in nm (0 without edges).
    """
    lengths_nm = [skeleton.edge_lengths_nm for skeleton in skeletons.values()]
    # An edge that was cut to this length may be longer by rounding.
    limit_nm = LONG_EDGE_VOXELS * max(voxel_size_nm) * (1 + 1e-9)
    count = sum(int(np.count_nonzero(each > limit_nm)) for each in lengths_nm)
    return count, max((float(each.max()) for each in lengths_nm if each.size), default=0.0)


def _checked_segments(skeleton_id: int, values: Sequence[int] | np.ndarray) -> np.ndarray:
    """Segments as uint64. IDs in lists go through Python's integers: together NumPy may make them floats."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "biu":
        wrong = values[values < 0].tolist() if values.dtype.kind == "i" else []
    else:
        wrong = [value for value in values if not _is_id(value)]
    if wrong:
        raise EvaluationError(
            f"a node of skeleton {skeleton_id} lies in segment {wrong[0]}, but segments are whole numbers "
            "from 0 (none) to 2^64 - 1; correct the segments"
        )
    if isinstance(values, np.ndarray):
        return values.astype(np.uint64)
    return np.array([int(value) for value in values], np.uint64)


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and 0 <= int(value) <= _LARGEST_ID


def _voxels_of(nodes_nm: np.ndarray, voxel_size_nm: Sequence[float]) -> np.ndarray:
    """(n, 3) float64: the voxel of each node. A quotient alone may be rounded into the voxel beside it."""
    size_nm = np.asarray(voxel_size_nm)
    voxels = np.floor(nodes_nm / size_nm)
    voxels += (voxels + 1) * size_nm <= nodes_nm
    voxels -= voxels * size_nm > nodes_nm
    return voxels


def _by_block(local: np.ndarray, volume: Volume) -> Iterator[np.ndarray]:
    """The indices of the nodes of each block that has any; `local` counts voxels from the bounds' start."""
    shape = block_shape(volume.chunk_shape, volume.shape, MOST_BLOCK_VOXELS, least=LEAST_BLOCK_VOXELS)
    grid = tuple(-(-length // edge) for length, edge in zip(volume.shape, shape, strict=True))
    keys = np.ravel_multi_index(tuple((local // shape).T), grid)
    order = np.argsort(keys, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)


def _read_labels(volume: Volume, local: np.ndarray) -> np.ndarray:
    """The labels (uint64) at some voxels of one block, from one read of their bounding box."""
    low, high = local.min(axis=0), local.max(axis=0) + 1
    labels = volume.read(Box(tuple(low.tolist()), tuple(high.tolist())).shift(volume.bounds.start))
    found = labels[tuple((local - low).T)]
    require_not_negative(f"volume '{volume.spec}'", found, "unsegmented")
    return found.astype(np.uint64)


def _starts(counts: Iterator[int]) -> np.ndarray:
    return np.cumsum([0, *counts], dtype=np.int64)


def _all_outside(volume: Volume, nodes_nm: np.ndarray, skeletons: int) -> EvaluationError:
    size_nm = np.asarray(volume.voxel_size_nm)
    spans = [
        _span_nm(ends[0], ends[1])
        for ends in (
            (nodes_nm.min(axis=0), nodes_nm.max(axis=0)),
            (size_nm * volume.bounds.start, size_nm * volume.bounds.stop),
        )
    ]
    return EvaluationError(
        f"none of the {len(nodes_nm)} nodes of {skeletons} skeletons lies in volume '{volume.spec}': they "
        f"span {spans[0]}, the volume {spans[1]}; check the unit of the skeletons (nm) and their axis order"
    )


def _span_nm(low_nm: np.ndarray, high_nm: np.ndarray) -> str:
    ends = (f"{axis} {low:g} to {high:g}" for axis, low, high in zip("zyx", low_nm, high_nm, strict=True))
    return ", ".join(ends) + " nm"
