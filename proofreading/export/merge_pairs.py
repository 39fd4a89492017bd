"""Pairs of supervoxels as an export of the graph needs them: how likely they are one, and which are merged.

Inputs: the scored pairs of the database and the log of edits. Pairs are kept as whole numbers, made of the
places of both supervoxels in the map, so that millions take little memory and are found by bisection.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from agglomeration.database import Database
from agglomeration.decisions import edges_where
from agglomeration.neurons import NeuronMap
from agglomeration.runs import finished_run
from agglomeration.tables import State
from proofreading.edits import LogRow, Merge, SupervoxelSplit
from proofreading.errors import ProofreadingError
from proofreading.export.snapshot import Snapshot, active_rows

_UNKNOWN_NM = (np.nan, np.nan, np.nan)


@dataclass(frozen=True, eq=False)
class MergePairs:
    """Pairs of supervoxels, ascending; made by `merge_pairs`.

    Attributes:
      neurons: of every supervoxel.
      keys: (n,) int64, each made of two supervoxels (`key_of`).
      affinity: (n,) float32, 0 to 1: how likely both are one.
      points_nm: (n, 3) float64, where they come closest (zyx); NaN = not known.
      merged: (n,) bool, a merge holds them together.
    """

    neurons: NeuronMap
    keys: np.ndarray
    affinity: np.ndarray
    points_nm: np.ndarray
    merged: np.ndarray

    def affinity_of(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(m,) float32 of pairs (m,) uint64, in either order; 0 where nobody looked."""
        at, found = self.find(key_of(self.neurons, first, second))
        return np.where(found, self.affinity[at] if self.keys.size else 0, np.float32(0)).astype(np.float32)

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where keys (m,) stand, and whether they do."""
        at = np.minimum(np.searchsorted(self.keys, keys), max(self.keys.size - 1, 0))
        return at, (self.keys[at] == keys) if self.keys.size else np.zeros(len(keys), bool)

    def ends(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The supervoxels (k,) uint64 of some rows (k,), the smaller ones and the others."""
        n = max(len(self.neurons), 1)
        return (
            self.neurons.supervoxels[self.keys[chosen] // n],
            self.neurons.supervoxels[self.keys[chosen] % n],
        )


def places_of(neurons: NeuronMap, supervoxels: np.ndarray) -> np.ndarray:
    """Where supervoxels stand in a map.

    Args:
      neurons: of every supervoxel.
      supervoxels: (n,) uint64.

    Returns:
      (n,) int64.

    Raises:
      ProofreadingError: one that is not in the map.
    """
    at = np.searchsorted(neurons.supervoxels, supervoxels)
    missing = at == len(neurons)
    missing[~missing] = neurons.supervoxels[at[~missing]] != supervoxels[~missing]
    if missing.any():
        raise ProofreadingError(
            f"supervoxel {supervoxels[missing][0]} has no neuron; the decisions are about another "
            "segmentation"
        )
    return at.astype(np.int64)


def key_of(neurons: NeuronMap, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Numbers of pairs, the same in either order.

    Args:
      neurons: of every supervoxel.
      first, second: (n,) uint64.

    Returns:
      (n,) int64.

    Raises:
      ProofreadingError: a supervoxel that is not in the map.
    """
    a, b = places_of(neurons, first), places_of(neurons, second)
    return np.minimum(a, b) * np.int64(len(neurons)) + np.maximum(a, b)


def merge_pairs(database: Database, snapshot: Snapshot) -> MergePairs:
    """All pairs that were scored or joined by people.

    Args:
      database: the decisions.
      snapshot: of the same project.

    Raises:
      DatabaseError: the database cannot be read.
    """
    neurons = snapshot.neurons
    keys, affinity = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    points, merged = [np.zeros((0, 3))], [np.zeros(0, bool)]
    for part in edges_where(database, finished_run(database), evidence=()):
        there = np.isin(part.id_a, neurons.supervoxels) & np.isin(part.id_b, neurons.supervoxels)
        part = part.select(there)
        keys.append(key_of(neurons, part.id_a, part.id_b))
        affinity.append(part.certainty.astype(np.float32))
        points.append(part.points_nm)
        merged.append(part.state == State.ACCEPTED)
    confirmed = [(a, b, 1.0, _UNKNOWN_NM) for a, b in snapshot.confirmed]
    said = [*confirmed, *pairs_of_edits(active_rows(snapshot.log))]
    by_people = [each for each in said if _are_there(neurons, each[0], each[1])]
    ends = np.array([each[:2] for each in by_people], np.uint64).reshape(-1, 2)
    keys.append(key_of(neurons, ends[:, 0], ends[:, 1]))
    affinity.append(np.array([each[2] for each in by_people], np.float32))
    points.append(np.array([each[3] for each in by_people], np.float64).reshape(-1, 3))
    merged.append(np.ones(len(by_people), bool))
    columns = (np.concatenate(keys), np.concatenate(affinity), np.concatenate(points), np.concatenate(merged))
    return _latest(neurons, *columns)


def pairs_of_edits(rows: Iterable[LogRow]) -> Iterable[tuple[int, int, float, tuple[float, ...]]]:
    """Pairs that edits joined: both supervoxels, certainty, and where (nm, zyx; NaN = not known).

    Args:
      rows: edits that are not undone, in their order.
    """
    for row in rows:
        if isinstance(row.change, Merge):
            yield row.change.a, row.change.b, 1.0, row.change.point_a_nm or _UNKNOWN_NM
        elif isinstance(row.change, SupervoxelSplit):
            for route in row.change.routes:
                yield row.change.parts[route.part].id, route.other, route.certainty, _UNKNOWN_NM


def _are_there(neurons: NeuronMap, *supervoxels: int) -> bool:
    wanted = np.array(supervoxels, np.uint64)
    return bool(np.isin(wanted, neurons.supervoxels).all())


def _latest(
    neurons: NeuronMap, keys: np.ndarray, affinity: np.ndarray, points: np.ndarray, merged: np.ndarray
) -> MergePairs:
    """Each pair once, as it was said last; merges between neurons that were split since are none."""
    last = keys.size - 1 - np.unique(keys[::-1], return_index=True)[1]
    n = max(len(neurons), 1)
    are_one = neurons.neurons[keys[last] // n] == neurons.neurons[keys[last] % n]
    return MergePairs(neurons, keys[last], affinity[last], points[last], merged[last] & are_one)
