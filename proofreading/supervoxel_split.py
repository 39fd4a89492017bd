"""Splitting one supervoxel between two sets of points, and reading labels with such splits in them.

Each of the supervoxel's voxels goes to the point from which the shortest way leads to it, where a way is the
longer the thinner the supervoxel is along it. So it is parted where it is thin, and in the middle between the
points where it is thin nowhere. Its edges go to the parts that touch the other supervoxel, each with the
share of the evidence that its share of the contact is: with weights -log(1 - certainty) the parts' weights
add up to what the edge had. One that touches neither goes to the part nearest to where the edge was seen.

A split is kept as a piece `<edit>.npz` (the supervoxel's box, and for each voxel its side); labels on disk
stay as they are, and `edited_labels` puts the parts in their place.

Arrays are zyx, boxes absolute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from jobs.pieces import load_npz, save_npz
from proofreading.edits import Part, Point, SupervoxelSplit
from proofreading.errors import ProofreadingError
from volumes import Box, Volume

# A supervoxel in a larger box is not split: all its voxels are held in memory, some twenty bytes each.
MOST_VOXELS = 2**28
_PIECES_IN_MEMORY = 16


@dataclass(frozen=True, eq=False)
class SupervoxelParts:
    """The two sides of a supervoxel.

    Attributes:
      supervoxel: its ID.
      new_ids: of the two sides.
      box: the voxels looked at (zyx, absolute); holds the whole supervoxel.
      sides: (z, y, x) uint8, 1 and 2 on the sides of points_a and points_b; 0 elsewhere.
    """

    supervoxel: int
    new_ids: tuple[int, int]
    box: Box
    sides: np.ndarray


def split_supervoxel(
    inside: np.ndarray,
    points_a: np.ndarray,
    points_b: np.ndarray,
    voxel_size_nm: Sequence[float],
) -> np.ndarray:
    """Parts an object between two sets of points.

    Args:
      inside: (z, y, x) bool, its voxels.
      points_a: (n, 3) int64, voxels on one side (zyx, in the array); one outside the object stands for the
        voxel of the object nearest to it.
      points_b: (m, 3) int64, on the other.
      voxel_size_nm: zyx.

    Returns:
      (z, y, x) uint8: 1 and 2 for the sides, 0 outside. Every voxel of the object has a side.

    Raises:
      ProofreadingError: no object, or both sides have points at the same voxel.
    """
    from scipy.ndimage import distance_transform_edt

    if not inside.any():
        raise ProofreadingError("the supervoxel has no voxels in its box; reload what you look at")
    markers = np.zeros(inside.shape, np.uint8)
    voxels = np.argwhere(inside)
    for side, points in ((1, points_a), (2, points_b)):
        for point in points:
            at = tuple(voxels[_nearest(voxels, point, voxel_size_nm)])
            if markers[at] not in (0, side):
                raise ProofreadingError(
                    "points of both sides lie at one voxel of the supervoxel; move them apart"
                )
            markers[at] = side
    sides = _nearest_markers(inside, markers, voxel_size_nm)
    if np.any(inside & (sides == 0)):
        # Pieces of the object that no point can reach go with the nearest part.
        nearest = distance_transform_edt(
            sides == 0, sampling=voxel_size_nm, return_distances=False, return_indices=True
        )
        sides = np.where(inside, sides[tuple(nearest)], 0).astype(np.uint8)
    return sides


def _nearest_markers(inside: np.ndarray, markers: np.ndarray, voxel_size_nm: Sequence[float]) -> np.ndarray:
    """The marker at the end of each voxel's shortest way, 0 where no way inside the object leads to one."""
    import edt
    from skimage.graph import MCP_Geometric

    depth = edt.edt(inside, anisotropy=tuple(voxel_size_nm), black_border=True)
    # Negative: no way leads through.
    costs = np.full(inside.shape, -1.0)
    costs[inside] = depth.max() / depth[inside]
    ways = MCP_Geometric(costs, sampling=tuple(voxel_size_nm))
    _, steps = ways.find_costs(np.argwhere(markers).tolist())
    _, y, x = inside.shape
    # -2 is a beginning, -1 a voxel that was not reached: both lead to themselves.
    lengths = np.append(ways.offsets @ np.array([y * x, x, 1]), [0, 0])
    origin = np.arange(inside.size) - lengths[steps.reshape(-1)]
    while not np.array_equal(further := origin[origin], origin):
        origin = further
    return markers.reshape(-1)[origin].reshape(inside.shape)


def contacts(labels: np.ndarray, sides: np.ndarray) -> dict[int, tuple[int, int]]:
    """How the parts touch other objects.

    Args:
      labels: (z, y, x), unsigned; the object that is split has a side there.
      sides: (z, y, x) uint8, of `split_supervoxel`.

    Returns:
      By object, other than 0, the faces between voxels that it shares with side 1 and side 2.
    """
    found: dict[int, list[int]] = {}
    for axis in range(3):
        for ours, theirs in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            here = tuple(ours if each == axis else slice(None) for each in range(3))
            there = tuple(theirs if each == axis else slice(None) for each in range(3))
            touching = (sides[here] > 0) & (sides[there] == 0) & (labels[there] > 0)
            others, which = np.unique(labels[there][touching], return_inverse=True)
            faces = np.bincount(2 * which + (sides[here][touching] - 1), minlength=2 * others.size)
            for other, pair in zip(others.tolist(), faces.reshape(-1, 2).tolist(), strict=True):
                known = found.setdefault(other, [0, 0])
                known[0], known[1] = known[0] + pair[0], known[1] + pair[1]
    return {other: (first, second) for other, (first, second) in found.items()}


def side_at(sides: np.ndarray, start: Sequence[int], point_nm: Point, voxel_size_nm: Sequence[float]) -> int:
    """The part nearest to a point.

    Args:
      sides: (z, y, x) uint8, of `split_supervoxel`.
      start: where its first voxel lies.
      point_nm: zyx.
      voxel_size_nm: zyx.

    Returns:
      0 or 1: the index of the part.
    """
    voxels = np.argwhere(sides)
    wanted = np.floor(np.asarray(point_nm) / voxel_size_nm).astype(np.int64) - np.asarray(start)
    return int(sides[tuple(voxels[_nearest(voxels, wanted, voxel_size_nm)])]) - 1


def parts_of(
    parts: SupervoxelParts, somas: tuple[tuple[int, ...], tuple[int, ...]], voxel_size_nm: Sequence[float]
) -> tuple[Part, Part]:
    """The two new supervoxels as the log holds them.

    Args:
      parts: their voxels.
      somas: cell bodies in either.
      voxel_size_nm: zyx.
    """
    made = []
    for index, (number, bodies) in enumerate(zip(parts.new_ids, somas, strict=True)):
        mine = parts.sides == index + 1
        voxels = np.argwhere(mine)
        box = Box(tuple(voxels.min(0).tolist()), tuple((voxels.max(0) + 1).tolist())).shift(parts.box.start)
        middle = voxels[_nearest(voxels, np.rint(voxels.mean(0)).astype(np.int64), voxel_size_nm)]
        z, y, x = ((middle + parts.box.start + 0.5) * voxel_size_nm).tolist()
        made.append(Part(number, int(len(voxels)), box, bodies, (z, y, x)))
    return made[0], made[1]


def piece_path(folder: Path, edit: int) -> Path:
    """Where the voxels of a split are kept.

    Args:
      folder: output directory of the project.
      edit: number of the split.
    """
    return folder / "proofreading" / "supervoxel_splits" / f"{edit}.npz"


def save_parts(path: Path, parts: SupervoxelParts) -> None:
    """Keeps the voxels of a split.

    Args:
      path: of `piece_path`.
      parts: what is kept.

    Raises:
      PieceError: the file cannot be written.
    """
    save_npz(path, {"start": np.array(parts.box.start, np.int64), "sides": parts.sides})


@dataclass(frozen=True)
class KeptSplit:
    """A split of a supervoxel, and where its voxels are kept.

    Attributes:
      edit: its number.
      split: what it did.
      path: of the piece.
    """

    edit: int
    split: SupervoxelSplit
    path: Path

    @property
    def box(self) -> Box:
        """Around both parts."""
        first, second = (part.box for part in self.split.parts)
        corners = np.array([first.start, second.start, first.stop, second.stop])
        return Box(tuple(corners[:2].min(0).tolist()), tuple(corners[2:].max(0).tolist()))


def part_at(kept: KeptSplit, point_nm: Point, voxel_size_nm: Sequence[float]) -> int:
    """The part of a split supervoxel that is nearest to a point; its ID.

    Args:
      kept: the split.
      point_nm: zyx.
      voxel_size_nm: zyx.

    Raises:
      PieceError: the kept split is missing or damaged.
    """
    start, sides = _load(kept.path)
    return kept.split.parts[side_at(sides, start, point_nm, voxel_size_nm)].id


def edited_labels(volume: Volume, box: Box, splits: Sequence[KeptSplit]) -> np.ndarray:
    """Supervoxels with the parts of split ones in their place.

    Args:
      volume: the segmentation, whole numbers.
      box: what is read (absolute), in the volume's bounds.
      splits: in the order of their numbers, those that are not undone.

    Returns:
      (z, y, x) uint64.

    Raises:
      VolumeError: voxels that cannot be read.
      PieceError: a kept split is missing or damaged.
    """
    labels = volume.read(box).astype(np.uint64)
    for kept in splits:
        common = box.intersect(kept.box)
        if common.is_empty:
            continue
        start, sides = _load(kept.path)
        here = labels[common.slices(box.start)]
        side = sides[common.slices(start)]
        for index, part in enumerate(kept.split.parts):
            here[(side == index + 1) & (here == np.uint64(kept.split.supervoxel))] = part.id
    return labels


@lru_cache(maxsize=_PIECES_IN_MEMORY)
def _load(path: Path) -> tuple[tuple[int, int, int], np.ndarray]:
    arrays = load_npz(path, ["start", "sides"])
    z, y, x = arrays["start"].tolist()
    return (z, y, x), arrays["sides"]


def _nearest(voxels: np.ndarray, point: np.ndarray, voxel_size_nm: Sequence[float]) -> int:
    """Index of the voxel nearest to a point, all in voxels; of equals the first."""
    apart = (voxels - np.asarray(point)) * np.asarray(voxel_size_nm, np.float64)
    return int(np.argmin(np.einsum("ij,ij->i", apart, apart)))


class EditedVolume(Volume):
    """Supervoxels with the parts of split ones in their place, uint64, for reading only.

    Args:
      labels: the supervoxels of the segmentation.
      splits: in the order of their numbers.
    """

    def __init__(self, labels: Volume, splits: Sequence[KeptSplit]) -> None:
        super().__init__(
            f"{labels.spec}, edited",
            bounds=labels.bounds,
            dtype=np.uint64,
            voxel_size_nm=labels.voxel_size_nm,
            chunk_shape=labels.chunk_shape,
            writable=False,
        )
        self._labels, self._splits = labels, splits

    def _load(self, box: Box) -> np.ndarray:
        return edited_labels(self._labels, box, self._splits)
