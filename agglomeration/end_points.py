"""End points: skeleton tips at which an object stops inside the volume and no other one goes on.

A tip is a node with one neighbour. It points outward along the last stretch of its path. It is an end point
unless it lies near a face of the box, where the tissue goes on unseen, or another supervoxel lies ahead: a
voxel of it within the distance and less than 60° off the way the tip points. Then the two are for
`agglomeration.candidates` to look at.

Skeletons may come from anywhere, one at a time. All that is kept of them are their tips; the labels around
these are read block by block. The outcome depends neither on the blocks nor on the order of the skeletons.

Inputs: supervoxels (zyx, integers), 0 = empty; skeletons in nm (zyx). Outputs: `EndPoints`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np
from numba import njit

from agglomeration.errors import AgglomerationError
from agglomeration.expansion import reach_voxels, require_labels
from jobs.pieces import load_npz, save_npz
from volumes import Box, Skeleton, Volume
from volumes.base import SizeNm
from volumes.box import Zyx

_AHEAD_COSINE = 0.5
_BLOCK_EDGE = 256


@dataclass(frozen=True, eq=False)
class EndPoints:
    """One row for each end point, ascending by ID, then by point.

    Attributes:
      ids: (n,) uint64, the supervoxel that ends.
      points_zyx: (n, 3) int64, the voxel of the tip (absolute).
      directions: (n, 3) float64, unit vectors (zyx, in nm) outward.
    """

    ids: np.ndarray
    points_zyx: np.ndarray
    directions: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: np.ndarray) -> EndPoints:
        """Some of the rows.

        Args:
          rows: (n,) bool, or indices; to keep the table's order they ascend.
        """
        return EndPoints(self.ids[rows], self.points_zyx[rows], self.directions[rows])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the table as one `.npz` piece.

        Raises:
          PieceError: the file cannot be written.
        """
        save_npz(path, vars(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EndPoints:
        """Reads a table that `save` wrote.

        Raises:
          PieceError: there is no such file, or it is damaged.
        """
        return cls(**load_npz(path, [each.name for each in fields(cls)]))


def find_end_points(
    volume: Volume,
    box: Box,
    skeletons: Iterable[tuple[int, Skeleton]],
    *,
    max_distance_nm: float,
    margin_nm: float,
    stretch_nm: float = 300.0,
) -> EndPoints:
    """Finds the tips from which an object may go on.

    Args:
      volume: supervoxels, integers >= 0.
      box: where they are looked for (absolute), inside the volume; voxels beyond it are not seen.
      skeletons: ID and skeleton of each object that is large enough, such as the items of
        `evaluation.skeletonise_volume`.
      max_distance_nm: how far ahead another supervoxel is looked for; up to a millimetre.
      margin_nm: tips up to this far from a face of the box are left out.
      stretch_nm: the direction is that of the last stretch of path of about this length, or of less where it
        branches before.

    Raises:
      AgglomerationError: a box that leaves the volume, lengths out of range, or labels that are none.
    """
    if box.is_empty or not volume.bounds.contains_box(box):
        raise AgglomerationError(
            f"end points are looked for in {box}, but supervoxels '{volume.spec}' are {volume.bounds}; give "
            "a box inside that is not empty"
        )
    for name, value in (("margin_nm", margin_nm), ("stretch_nm", stretch_nm)):
        if not (math.isfinite(value) and value >= 0):
            raise AgglomerationError(f"end points: {name} is {value}; give a length of at least 0")
    reach = reach_voxels(volume.voxel_size_nm, max_distance_nm)
    tips = _tips_of(skeletons, volume.voxel_size_nm, stretch_nm)
    tips = tips.select(_are_inside(tips.points_zyx, box, volume.voxel_size_nm, margin_nm))
    is_open = np.zeros(len(tips), bool)
    for block, rows in _by_block(tips.points_zyx):
        window = block.grow(reach).intersect(box)
        labels = volume.read(window)
        require_labels(labels)
        is_open[rows] = ~_is_met(
            labels.astype(np.uint64, copy=False),
            tips.ids[rows],
            tips.points_zyx[rows] - window.start,
            tips.directions[rows],
            np.array(volume.voxel_size_nm),
            np.array(reach),
            float(max_distance_nm),
        )
    return tips.select(is_open)


def skeleton_tips(skeleton: Skeleton, stretch_nm: float) -> tuple[np.ndarray, np.ndarray]:
    """The tips of a skeleton and where they point.

    Args:
      skeleton: a forest; isolated nodes have no direction and are no tips.
      stretch_nm: see `find_end_points`.

    Returns:
      Nodes, (n,) int64, and unit vectors (n, 3) float64, zyx in nm.
    """
    partners: list[list[int]] = [[] for _ in skeleton.nodes_nm]
    for first, second in skeleton.edges.tolist():
        partners[first].append(second)
        partners[second].append(first)
    nodes, directions = [], []
    for tip in (node for node, near in enumerate(partners) if len(near) == 1):
        outward = skeleton.nodes_nm[tip] - skeleton.nodes_nm[_inner(skeleton, partners, tip, stretch_nm)]
        length = np.linalg.norm(outward)
        if length > 0:
            nodes.append(tip)
            directions.append(outward / length)
    return np.array(nodes, np.int64), np.array(directions, np.float64).reshape(-1, 3)


def _inner(skeleton: Skeleton, partners: list[list[int]], tip: int, stretch_nm: float) -> int:
    """The node at which the last stretch before a tip begins, at least one edge away."""
    before, node, length = tip, partners[tip][0], 0.0
    while True:
        length += float(np.linalg.norm(skeleton.nodes_nm[node] - skeleton.nodes_nm[before]))
        if length >= stretch_nm or len(partners[node]) != 2:
            return node
        first, second = partners[node]
        before, node = node, second if first == before else first


def _tips_of(
    skeletons: Iterable[tuple[int, Skeleton]], voxel_size_nm: SizeNm, stretch_nm: float
) -> EndPoints:
    """The tips of all skeletons, in the order of the table."""
    ids, points, directions = [np.zeros(0, np.uint64)], [np.zeros((0, 3), np.int64)], [np.zeros((0, 3))]
    for identity, skeleton in skeletons:
        nodes, outward = skeleton_tips(skeleton, stretch_nm)
        ids.append(np.full(nodes.size, identity, np.uint64))
        points.append(np.floor(skeleton.nodes_nm[nodes] / voxel_size_nm).astype(np.int64))
        directions.append(outward)
    tips = EndPoints(np.concatenate(ids), np.concatenate(points), np.concatenate(directions))
    return tips.select(np.lexsort((*tips.points_zyx.T[::-1], tips.ids)))


def _are_inside(points: np.ndarray, box: Box, voxel_size_nm: SizeNm, margin_nm: float) -> np.ndarray:
    """Which voxels' centres are farther than the margin from all faces."""
    to_start = (points - box.start + 0.5) * voxel_size_nm
    to_stop = (np.array(box.stop) - points - 0.5) * voxel_size_nm
    return np.minimum(to_start, to_stop).min(axis=1, initial=np.inf) > margin_nm


def _by_block(points: np.ndarray) -> Iterator[tuple[Box, np.ndarray]]:
    """The points of each block of a grid, which shrinks to what they span."""
    cells = points // _BLOCK_EDGE
    order = np.lexsort(cells.T[::-1])
    for rows in np.split(order, np.flatnonzero(np.any(np.diff(cells[order], axis=0), axis=1)) + 1):
        if rows.size:
            yield Box(_zyx(points[rows].min(axis=0)), _zyx(points[rows].max(axis=0) + 1)), rows


def _zyx(values: np.ndarray) -> Zyx:
    z, y, x = values.tolist()
    return z, y, x


@njit(cache=True, nogil=True)
def _is_met(
    labels: np.ndarray,
    ids: np.ndarray,
    points: np.ndarray,
    directions: np.ndarray,
    size_nm: np.ndarray,
    reach: np.ndarray,
    max_distance_nm: float,
) -> np.ndarray:
    """Which tips have a voxel of another supervoxel ahead."""
    met = np.zeros(ids.size, np.bool_)
    for i in range(ids.size):
        low = np.maximum(points[i] - reach, 0)
        for z in range(low[0], min(points[i, 0] + reach[0] + 1, labels.shape[0])):
            for y in range(low[1], min(points[i, 1] + reach[1] + 1, labels.shape[1])):
                for x in range(low[2], min(points[i, 2] + reach[2] + 1, labels.shape[2])):
                    if labels[z, y, x] == 0 or labels[z, y, x] == ids[i]:
                        continue
                    squared = along = 0.0
                    for axis, voxel in enumerate((z, y, x)):
                        away = (voxel - points[i, axis]) * size_nm[axis]
                        squared += away * away
                        along += away * directions[i, axis]
                    length = math.sqrt(squared)
                    if length <= max_distance_nm and along > _AHEAD_COSINE * length:
                        met[i] = True
    return met
