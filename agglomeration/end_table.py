"""`EndTable`: where objects go on beyond their ends, as a flood without obstacles found.

Two tables in one: a row for each end point, and a row for each object that its flood shares voxels with.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np

from agglomeration.resegmentation import EndpointFlood
from jobs.pieces import load_npz, save_npz
from volumes.box import Zyx


@dataclass(frozen=True)
class EndTable:
    """Flooded end points.

    Attributes:
      ids: (n,) uint64, the objects.
      points_zyx: (n, 3) int64, their end points, absolute voxels.
      voxels: (n,) int64, of the floods (p >= 0.5) in the boxes around them; 0 = there is no flood.
      shares: (n,) float64, of the objects' voxels in the analysis box that the floods recovered.
      fovs: (n,) int64, fields of view.
      ends: (m,) int64, the row of an end point for each object its flood shares voxels with.
      others: (m,) uint64, these objects, the flooded one included.
      overlapping: (m,) int64, voxels shared.
      original: (m,) int64, voxels the other object has in the box.
    """

    ids: np.ndarray
    points_zyx: np.ndarray
    voxels: np.ndarray
    shares: np.ndarray
    fovs: np.ndarray
    ends: np.ndarray
    others: np.ndarray
    overlapping: np.ndarray
    original: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The columns by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it as a checksummed `.npz` file."""
        save_npz(path, self.to_arrays())

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> EndTable:
        """The table in arrays made by `to_arrays`; others among them are passed over."""
        return cls(**{each.name: arrays[each.name] for each in fields(cls)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EndTable:
        """Reads what `save` wrote.

        Raises:
          PieceError: there is no such file, or it is damaged.
        """
        return cls.from_arrays(load_npz(path))

    @classmethod
    def of(cls, object_id: int, point_zyx: Zyx, found: EndpointFlood, ids: np.ndarray) -> EndTable:
        """The table of one end point.

        Args:
          object_id: the object.
          point_zyx: absolute voxel.
          found: its flood.
          ids: (n,) uint64, the IDs of the local ones 1, 2, …
        """
        flood = found.flood
        return cls(
            np.array([object_id], np.uint64),
            np.array([point_zyx], np.int64),
            np.array([found.voxels], np.int64),
            np.array([0.0 if flood is None else flood.share]),
            np.array([0 if flood is None else flood.fovs], np.int64),
            np.zeros(len(found.ids), np.int64),
            ids[found.ids - 1].astype(np.uint64),
            found.overlapping.astype(np.int64),
            found.original.astype(np.int64),
        )

    @classmethod
    def concatenate(cls, tables: Iterable[EndTable]) -> EndTable:
        """All rows of several tables, one after the other."""
        parts = [_empty(), *tables]
        firsts = np.cumsum([0, *(len(part) for part in parts)])
        columns = {
            each.name: np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)
        }
        columns["ends"] = np.concatenate(
            [part.ends + first for part, first in zip(parts, firsts[:-1], strict=True)]
        )
        return cls(**columns)


def _empty() -> EndTable:
    ids, counts = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    points = np.zeros((0, 3), np.int64)
    return EndTable(ids, points, counts, np.zeros(0), counts, counts, ids, counts, counts)
