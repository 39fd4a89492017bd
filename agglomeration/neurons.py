"""Neurons as tables: which supervoxels each one has, how large it is and where it lies.

A neuron is named by its smallest supervoxel (`agglomeration.merge_graph`), so that it keeps its ID from run
to run. A map holds the neuron of every supervoxel, a table a row for each neuron, whose figures are sums,
least and greatest values over its supervoxels' rows (`inference.supervoxel_table`): exact whole numbers, for
which no voxel is read.

IDs are uint64, coordinates voxels (zyx, absolute); in nanometres the centre of voxel i lies at
(i + 0.5) · voxel size.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from agglomeration.errors import AgglomerationError
from inference.identity import array_digest
from inference.reconciliation import relabel
from inference.supervoxel_table import SupervoxelTable
from jobs.pieces import atomic_path, load_npz, save_npz

CSV_COLUMNS = (
    *("id", "supervoxels", "voxels", "z0", "y0", "x0", "z1", "y1", "x1"),
    *("centroid_z_nm", "centroid_y_nm", "centroid_x_nm", "point_z_nm", "point_y_nm", "point_x_nm"),
)


@dataclass(frozen=True, eq=False)
class NeuronMap:
    """The neuron of every supervoxel.

    Attributes:
      supervoxels: (n,) uint64, ascending, above 0.
      neurons: (n,) uint64, above 0.

    Raises:
      AgglomerationError: the two do not fit together, or supervoxels do not ascend from above 0.
    """

    supervoxels: np.ndarray
    neurons: np.ndarray

    def __post_init__(self) -> None:
        if self.supervoxels.shape != self.neurons.shape or self.supervoxels.ndim != 1:
            raise AgglomerationError(
                f"{self.supervoxels.size} supervoxels and {self.neurons.size} neurons do not make a map; "
                "give the neuron of each supervoxel"
            )
        ascends = np.all(self.supervoxels[1:] > self.supervoxels[:-1])
        if not ascends or np.any(self.supervoxels[:1] == 0) or np.any(self.neurons == 0):
            raise AgglomerationError(
                "the supervoxels of a map do not ascend from 1, or a neuron is 0; sort them"
            )

    def __len__(self) -> int:
        return len(self.supervoxels)

    @cached_property
    def digest(self) -> str:
        """Equal maps, equal name."""
        return array_digest(np.stack([self.supervoxels, self.neurons]).astype(np.uint64))

    def relabelled(self, labels: np.ndarray) -> np.ndarray:
        """Neurons in the place of supervoxels; 0 stays 0.

        Args:
          labels: (z, y, x), integers of at least 0.

        Returns:
          (z, y, x) uint64.

        Raises:
          AgglomerationError: a supervoxel that is not in the map.
          VolumeError: no array of labels.
        """
        import fastremap

        there = fastremap.unique(labels).astype(np.uint64)
        there = there[there > 0]
        at = np.searchsorted(self.supervoxels, there)
        missing = at == len(self)
        missing[~missing] = self.supervoxels[at[~missing]] != there[~missing]
        if missing.any():
            raise AgglomerationError(
                f"supervoxel {there[missing][0]} has no neuron; agglomerate again, the two are of different "
                "segmentations"
            )
        return relabel(labels, there, self.neurons[at])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it as one `.npz` piece.

        Raises:
          PieceError: the file cannot be written.
        """
        save_npz(path, {"supervoxels": self.supervoxels, "neurons": self.neurons})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NeuronMap:
        """Reads what `save` wrote.

        Raises:
          PieceError: there is no such file, or it is damaged.
        """
        return cls(**load_npz(path, ["supervoxels", "neurons"]))


@dataclass(frozen=True, eq=False)
class NeuronTable:
    """One row for each neuron, ascending by ID; all columns but `ids` are int64.

    Attributes:
      ids: (n,) uint64, above 0.
      supervoxels: (n,) how many it has.
      voxels: (n,) of all of them.
      start_zyx: (n, 3) lowest corner of its bounding box.
      stop_zyx: (n, 3) one past the highest corner.
      sum_zyx: (n, 3) sum of its voxels' coordinates; exact as long as voxels · coordinate < 2^63.
      point_zyx: (n, 3) a voxel of its largest supervoxel, near that one's centroid.
    """

    ids: np.ndarray
    supervoxels: np.ndarray
    voxels: np.ndarray
    start_zyx: np.ndarray
    stop_zyx: np.ndarray
    sum_zyx: np.ndarray
    point_zyx: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def centroid_zyx(self) -> np.ndarray:
        """(n, 3) float64 mean of the neurons' voxel coordinates."""
        return self.sum_zyx / self.voxels[:, None]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it as one `.npz` piece, an array for each column.

        Raises:
          PieceError: the file cannot be written.
        """
        save_npz(path, {field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NeuronTable:
        """Reads what `save` wrote.

        Raises:
          PieceError: there is no such file, or it is damaged.
        """
        return cls(**load_npz(path, [field.name for field in fields(cls)]))

    def write_csv(self, path: str | os.PathLike[str], voxel_size_nm: Sequence[float]) -> None:
        """Writes it for people and spreadsheets.

        Args:
          path: the file to make or to replace.
          voxel_size_nm: zyx.

        The columns are `CSV_COLUMNS`: the bounding box in voxels (half open), centroid and point in
        nanometres, to a tenth.

        Raises:
          PieceError: the file cannot be written.
        """
        whole = np.column_stack([self.supervoxels, self.voxels, self.start_zyx, self.stop_zyx])
        centres = np.stack([self.centroid_zyx, self.point_zyx], axis=1) + 0.5
        lengths_nm = np.round(centres * np.asarray(voxel_size_nm, np.float64), 1).reshape(-1, 6)
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(CSV_COLUMNS)
            for i, counts, lengths in zip(self.ids, whole, lengths_nm, strict=True):
                writer.writerow([int(i), *counts.tolist(), *lengths.tolist()])


def neuron_table(supervoxels: SupervoxelTable, neuron_map: NeuronMap) -> NeuronTable:
    """The table of all neurons.

    Args:
      supervoxels: the rows of all supervoxels of the map, and no others.
      neuron_map: their neurons.

    Raises:
      AgglomerationError: rows and map are of different supervoxels.
    """
    if not np.array_equal(supervoxels.ids, neuron_map.supervoxels):
        raise AgglomerationError(
            f"a table of {supervoxels.ids.size} supervoxels and a map of {len(neuron_map)} are not of the "
            "same ones; agglomerate again"
        )
    # Within a neuron the largest supervoxel comes first, of equals the smallest ID.
    order = np.lexsort((supervoxels.ids, -supervoxels.voxels, neuron_map.neurons))
    neurons = neuron_map.neurons[order]
    first = np.flatnonzero(np.append(True, neurons[1:] != neurons[:-1])[: neurons.size])
    if first.size == 0:
        rows, corners = np.zeros(0, np.int64), np.zeros((0, 3), np.int64)
        return NeuronTable(np.zeros(0, np.uint64), rows, rows, corners, corners, corners, corners)
    return NeuronTable(
        neurons[first],
        np.diff(np.append(first, neurons.size)).astype(np.int64),
        np.add.reduceat(supervoxels.voxels[order], first),
        np.minimum.reduceat(supervoxels.start_zyx[order], first),
        np.maximum.reduceat(supervoxels.stop_zyx[order], first),
        np.add.reduceat(supervoxels.sum_zyx[order], first),
        supervoxels.point_zyx[order][first],
    )
