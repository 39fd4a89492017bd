"""What edits start from: supervoxels, the merges that the agglomeration accepted, and cell bodies.

Supervoxels are counted: position i is the i-th one in ascending order of ID. A merge is kept with both of
its supervoxels, so that those of some supervoxels are found without looking at others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sql

from agglomeration import tables
from agglomeration.database import Database, DatabaseError
from agglomeration.merge_graph import components, positions_of
from agglomeration.rows import joined, read_arrays

# IDs from here on are those of neurons and supervoxels that edits make.
FIRST_NEW_ID = 2**62


@dataclass(frozen=True, eq=False)
class BaseGraph:
    """The agglomeration; made by `base_graph`.

    Attributes:
      ids: (n,) uint64, all supervoxels, ascending.
      voxels: (n,) int64, of each.
      neurons: (n,) uint64, of each: the smallest supervoxel of its neuron.
      starts: (n + 1,) int64; merges of position i stand at `starts[i]` to `starts[i + 1]` of the next two.
      partners: (2m,) int64, position of the other supervoxel.
      certainty: (2m,) float64.
      somas: cell bodies by the position of the supervoxel that holds them, ascending.
    """

    ids: np.ndarray
    voxels: np.ndarray
    neurons: np.ndarray
    starts: np.ndarray
    partners: np.ndarray
    certainty: np.ndarray
    somas: Mapping[int, tuple[int, ...]]

    def edges_of(self, position: int) -> dict[int, float]:
        """The merges of one supervoxel: certainties by the position of the other one."""
        part = slice(self.starts[position], self.starts[position + 1])
        return dict(zip(self.partners[part].tolist(), self.certainty[part].tolist(), strict=True))

    def edges_among(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The merges between some supervoxels, each once.

        Args:
          members: (k,) int64, positions, ascending.

        Returns:
          (e, 2) int64, indices into `members`, the smaller one first, and (e,) float64, certainties.
        """
        starts = self.starts[members]
        counts = self.starts[members + 1] - starts
        first = np.repeat(np.arange(members.size), counts)
        begins = np.repeat(starts - (np.cumsum(counts) - counts), counts)
        entries = begins + np.arange(first.size)
        partners = self.partners[entries]
        upwards = partners > members[first]
        first, entries, partners = first[upwards], entries[upwards], partners[upwards]
        second = np.minimum(np.searchsorted(members, partners), max(members.size - 1, 0))
        inside = members[second] == partners
        ends = np.stack([first[inside], second[inside]], axis=1)
        return ends, self.certainty[entries[inside]]


def base_graph(
    ids: np.ndarray,
    voxels: np.ndarray,
    id_a: np.ndarray,
    id_b: np.ndarray,
    certainty: np.ndarray,
    somas: Mapping[int, tuple[int, ...]],
) -> BaseGraph:
    """The graph of supervoxels and merges.

    Args:
      ids: (n,) uint64, all supervoxels, ascending, below 2^62.
      voxels: (n,) int64.
      id_a: (m,) uint64, one supervoxel of each merge; no pair stands twice.
      id_b: (m,) uint64, the other.
      certainty: (m,) float64.
      somas: cell bodies by the ID of the supervoxel that holds them.

    Raises:
      DatabaseError: an ID from 2^62 on.
      AgglomerationError: a merge or a cell body of a supervoxel that there is not.
    """
    if ids.size and int(ids[-1]) >= FIRST_NEW_ID:
        raise DatabaseError(
            f"supervoxel {ids[-1]} has an ID from 2^62 on, which proofreading keeps for new ones; number the "
            "supervoxels below it"
        )
    first, second = positions_of(ids, id_a), positions_of(ids, id_b)
    tails, heads = np.concatenate([first, second]), np.concatenate([second, first])
    order = np.argsort(tails, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(tails, minlength=ids.size))]).astype(np.int64)
    holders = positions_of(ids, np.array(list(somas), np.uint64)).tolist()
    return BaseGraph(
        ids,
        voxels,
        components(ids, id_a, id_b),
        starts,
        heads[order],
        np.tile(certainty, 2)[order],
        dict(zip(holders, (tuple(sorted(bodies)) for bodies in somas.values()), strict=True)),
    )


@dataclass(frozen=True, eq=False)
class AcceptedMerges:
    """What a run of the agglomeration says; the attributes are the arguments of `base_graph`."""

    ids: np.ndarray
    voxels: np.ndarray
    id_a: np.ndarray
    id_b: np.ndarray
    certainty: np.ndarray
    somas: Mapping[int, tuple[int, ...]]


def read_merges(database: Database, run: int) -> AcceptedMerges:
    """The merges of a finished run that are accepted, neither refused nor taken back.

    Args:
      database: the decisions.
      run: its number.

    Raises:
      DatabaseError: the database cannot be read.
    """
    supervoxels, edges = tables.supervoxels.c, tables.edges.c
    of_objects: dict[str, Any] = {"id": np.uint64, "voxels": np.int64}
    objects = sql.select(supervoxels.id, supervoxels.voxels).order_by(supervoxels.id)
    known = joined(read_arrays(database, objects, of_objects), of_objects)
    of_merges: dict[str, Any] = {"id_a": np.uint64, "id_b": np.uint64, "certainty": np.float64}
    accepted = sql.select(edges.id_a, edges.id_b, edges.certainty).where(
        edges.run == run, edges.state == "accepted"
    )
    merges = joined(read_arrays(database, accepted.order_by(edges.id_a, edges.id_b), of_merges), of_merges)
    return AcceptedMerges(
        known["id"],
        known["voxels"],
        merges["id_a"],
        merges["id_b"],
        merges["certainty"],
        _read_somas(database, run),
    )


def _read_somas(database: Database, run: int) -> dict[int, tuple[int, ...]]:
    somas, found = tables.somas.c, dict[int, tuple[int, ...]]()
    query = sql.select(somas.supervoxel, somas.id).where(somas.run == run, somas.supervoxel > 0)
    with database.reading() as connection:
        for supervoxel, body in connection.execute(query):
            found[supervoxel] = (*found.get(supervoxel, ()), body)
    return found
