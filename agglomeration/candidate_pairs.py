"""`CandidatePairs`: the table of supervoxel pairs that come close enough to be asked about.

Coordinates are voxels (zyx, absolute). On disk a table is one `.npz` piece with an array for each column.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from jobs.pieces import load_npz, save_npz


@dataclass(frozen=True, eq=False)
class CandidatePairs:
    """One row for each pair, ascending by (id_a, id_b).

    Attributes:
      id_a, id_b: (n,) uint64, the supervoxels, id_a < id_b.
      points_zyx: (n, 3) int64, the decision point, a voxel at which the two come closest.
      distance_nm: (n,) float64, the gap there; 0 where they touch.
      contact_faces: (n,) int64, faces of voxels at which the two, expanded, meet.
      size_a, size_b: (n,) int64, their voxels.
    """

    id_a: np.ndarray
    id_b: np.ndarray
    points_zyx: np.ndarray
    distance_nm: np.ndarray
    contact_faces: np.ndarray
    size_a: np.ndarray
    size_b: np.ndarray

    def __len__(self) -> int:
        return len(self.id_a)

    def select(self, rows: np.ndarray) -> CandidatePairs:
        """Some of the rows.

        Args:
          rows: (n,) bool, or indices; to keep the table's order they ascend.
        """
        return CandidatePairs(**{name: column[rows] for name, column in vars(self).items()})

    @classmethod
    def concatenate(cls, tables: Iterable[CandidatePairs]) -> CandidatePairs:
        """The rows of several tables that share no pair, in order of the IDs."""
        parts = [_empty(), *tables]
        columns = {
            each.name: np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)
        }
        return cls(**columns).select(np.lexsort((columns["id_b"], columns["id_a"])))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the table as one `.npz` piece.

        Raises:
          PieceError: the file cannot be written.
        """
        save_npz(path, vars(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CandidatePairs:
        """Reads a table that `save` wrote.

        Raises:
          PieceError: there is no such file, or it is damaged.
        """
        return cls(**load_npz(path, [each.name for each in fields(cls)]))


def _empty() -> CandidatePairs:
    ids, counts = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    return CandidatePairs(ids, ids, np.zeros((0, 3), np.int64), np.zeros(0), counts, counts, counts)
