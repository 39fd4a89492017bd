"""The supervoxel table: size, bounding box, centroid and a representative point of every object.

Tables of blocks are made one by one and merged in any order and grouping; the result is the same to the
last bit, since all that is added up are whole numbers.

The representative point of an object is one of its own voxels, which a centroid need not be: within a block
the voxel nearest the centroid of the object's part there (of equals the first in z, y, x), and of several
blocks that of the part with most voxels (of equals the first point). It depends on how the volume is cut into
blocks, as does no other column.

Inputs: labels (z, y, x), 0 = no object. Coordinates are whole voxels (zyx, absolute); in nanometres the
centre of voxel i lies at (i + 0.5) · voxel size.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numba import njit

from inference._label_slabs import flat
from inference.reconciliation import object_voxels
from jobs.pieces import atomic_path, load_npz, save_npz
from volumes import Box

CSV_COLUMNS = (
    *("id", "voxels", "z0", "y0", "x0", "z1", "y1", "x1"),
    *("centroid_z_nm", "centroid_y_nm", "centroid_x_nm", "point_z_nm", "point_y_nm", "point_x_nm"),
)


@dataclass(frozen=True)
class SupervoxelTable:
    """One row for each object, ascending by ID; all columns but `ids` are int64.

    Attributes:
        ids: (n,) uint64, above 0.
        voxels: (n,) voxels of the object.
        start_zyx: (n, 3) lowest corner of its bounding box.
        stop_zyx: (n, 3) one past the highest corner.
        sum_zyx: (n, 3) sum of its voxels' coordinates; exact as long as voxels · coordinate < 2^63.
        point_zyx: (n, 3) a voxel of the object.
        point_voxels: (n,) voxels of the part that the point was taken from.
    """

    ids: np.ndarray
    voxels: np.ndarray
    start_zyx: np.ndarray
    stop_zyx: np.ndarray
    sum_zyx: np.ndarray
    point_zyx: np.ndarray
    point_voxels: np.ndarray

    @property
    def centroid_zyx(self) -> np.ndarray:
        """(n, 3) float64 mean of the objects' voxel coordinates."""
        return self.sum_zyx / self.voxels[:, None]


def block_statistics(labels: np.ndarray, start_zyx: Iterable[int]) -> SupervoxelTable:
    """The table of one block, in time linear in its voxels.

    Args:
        labels: (z, y, x), integers of at least 0.
        start_zyx: where its first voxel lies in the volume.

    Raises:
        VolumeError: three axes, whole numbers or labels of at least 0 are missing.
    """
    ids, voxels = object_voxels(labels)
    lowest = np.tile(np.array(labels.shape, np.int64), (ids.size, 1))
    highest = np.full((ids.size, 3), -1, np.int64)
    sums = np.zeros((ids.size, 3), np.int64)
    for z in range(labels.shape[0]):
        _extend(flat(labels[z]), z, labels.shape[2], ids, lowest, highest, sums)
    centroids = sums / voxels[:, None]
    distances = np.full(ids.size, np.inf)
    points = np.zeros((ids.size, 3), np.int64)
    for z in range(labels.shape[0]):
        _approach(flat(labels[z]), z, labels.shape[2], ids, centroids, distances, points)
    start = np.array(Box.from_shape((0, 0, 0), start_zyx).start, np.int64)
    return SupervoxelTable(
        ids,
        voxels,
        lowest + start,
        highest + 1 + start,
        sums + voxels[:, None] * start,
        points + start,
        voxels.copy(),
    )


def merge_tables(tables: Iterable[SupervoxelTable]) -> SupervoxelTable:
    """The table of several blocks that share no voxel; the order of the tables does not matter.

    All tables are held in memory at once; merge the results of merging where they are many.
    """
    tables = [_empty(), *tables]
    columns = {
        field.name: np.concatenate([getattr(t, field.name) for t in tables]) for field in fields(_empty())
    }
    points = columns["point_zyx"]
    # Within an ID the largest part comes first, of equals the one with the first point.
    order = np.lexsort((*points.T[::-1], -columns["point_voxels"], columns["ids"]))
    columns = {name: column[order] for name, column in columns.items()}
    ids = columns["ids"]
    first = np.flatnonzero(np.append(True, ids[1:] != ids[:-1])[: ids.size])
    if first.size == 0:
        return _empty()
    return SupervoxelTable(
        ids[first],
        np.add.reduceat(columns["voxels"], first),
        np.minimum.reduceat(columns["start_zyx"], first),
        np.maximum.reduceat(columns["stop_zyx"], first),
        np.add.reduceat(columns["sum_zyx"], first),
        columns["point_zyx"][first],
        columns["point_voxels"][first],
    )


def save_table(path: str | os.PathLike[str], table: SupervoxelTable) -> None:
    """Write a table as one `.npz` piece, an array for each column.

    Args:
        path: the file to make or to replace; ends in `.npz`.
        table: the table.

    Raises:
        PieceError: the file cannot be written.
    """
    save_npz(path, {field.name: getattr(table, field.name) for field in fields(table)})


def load_table(path: str | os.PathLike[str]) -> SupervoxelTable:
    """Read a table that `save_table` wrote.

    Raises:
        PieceError: there is no such file, or it is damaged.
    """
    return SupervoxelTable(**load_npz(path))


def write_table_csv(
    path: str | os.PathLike[str], table: SupervoxelTable, voxel_size_nm: Sequence[float]
) -> None:
    """Write a table for people and spreadsheets.

    Args:
        path: the file to make or to replace.
        table: what to write.
        voxel_size_nm: zyx.

    The columns are `CSV_COLUMNS`: the bounding box in voxels (half open), centroid and representative point
    in nanometres, to a tenth.

    Raises:
        PieceError: the file cannot be written.
    """
    size_nm = np.asarray(voxel_size_nm, np.float64)
    whole = np.column_stack([table.voxels, table.start_zyx, table.stop_zyx])
    centres = np.stack([table.centroid_zyx, table.point_zyx], axis=1) + 0.5
    lengths_nm = np.round(centres * size_nm, 1).reshape(-1, 6)
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for i, counts, lengths in zip(table.ids, whole, lengths_nm, strict=True):
            writer.writerow([int(i), *counts.tolist(), *lengths.tolist()])


def _empty() -> SupervoxelTable:
    rows, corners = np.zeros(0, np.int64), np.zeros((0, 3), np.int64)
    return SupervoxelTable(np.zeros(0, np.uint64), rows, corners, corners, corners, corners, rows)


@njit(cache=True, nogil=True)
def _run_end(section: np.ndarray, begin: int, width: int) -> int:
    """One past the voxels of the same label that follow each other in one row."""
    row_end = (begin // width + 1) * width
    end = begin + 1
    while end < row_end and section[end] == section[begin]:
        end += 1
    return end


@njit(cache=True, nogil=True)
def _extend(
    section: np.ndarray,
    z: int,
    width: int,
    ids: np.ndarray,
    lowest: np.ndarray,
    highest: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Add the voxels of a section (y, x) to the corners and coordinate sums of their objects."""
    end = 0
    while end < section.size:
        begin, end = end, _run_end(section, end, width)
        if section[begin] == 0:
            continue
        row = np.searchsorted(ids, section[begin])
        y, x, last = begin // width, begin % width, (end - 1) % width
        length = end - begin
        lowest[row, 0], highest[row, 0] = min(lowest[row, 0], z), max(highest[row, 0], z)
        lowest[row, 1], highest[row, 1] = min(lowest[row, 1], y), max(highest[row, 1], y)
        lowest[row, 2], highest[row, 2] = min(lowest[row, 2], x), max(highest[row, 2], last)
        sums[row, 0] += z * length
        sums[row, 1] += y * length
        sums[row, 2] += (x + last) * length // 2


@njit(cache=True, nogil=True)
def _approach(
    section: np.ndarray,
    z: int,
    width: int,
    ids: np.ndarray,
    centroids: np.ndarray,
    distances: np.ndarray,
    points: np.ndarray,
) -> None:
    """Move each object's point to a voxel of the section (y, x) that is nearer its centroid."""
    end = 0
    while end < section.size:
        begin, end = end, _run_end(section, end, width)
        if section[begin] == 0:
            continue
        row = np.searchsorted(ids, section[begin])
        y, first, last = begin // width, begin % width, (end - 1) % width
        # The nearest voxel of the run; halfway between two the first.
        x = min(max(int(np.ceil(centroids[row, 2] - 0.5)), first), last)
        distance = (z - centroids[row, 0]) ** 2 + (y - centroids[row, 1]) ** 2 + (x - centroids[row, 2]) ** 2
        if distance < distances[row]:
            distances[row] = distance
            points[row] = z, y, x
