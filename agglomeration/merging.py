"""From decisions to neurons: the merges of a run are tried in order, and what becomes of them is written.

Tried is every pair that the rule or its probability accepted and that nobody has taken back. One that would
join two cell bodies becomes "refused" and has a row in `refusals`; one that was taken back is "rejected". All
states, refusals and neurons of a run change in one transaction, and follow from the other tables alone:
doing it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import sqlalchemy as sql
from sqlalchemy import Connection

from agglomeration import tables
from agglomeration.database import Database, DatabaseError, now
from agglomeration.decisions import load_merges
from agglomeration.merge_graph import components
from agglomeration.rows import CHUNK_ROWS, joined, read_arrays, replace_rows
from agglomeration.runs import read_supervoxel_ids
from agglomeration.soma_constraint import ConstrainedMerges, constrained_merges
from agglomeration.tables import State

_MERGE = {"id_a": np.uint64, "id_b": np.uint64, "certainty": np.float64}


class MergeCounts(NamedTuple):
    """What became of the merges of a run.

    Attributes:
      tried, accepted, refused: merges.
      neurons: that there are in the end.
      cell_bodies: that at least one supervoxel holds.
    """

    tried: int
    accepted: int
    refused: int
    neurons: int
    cell_bodies: int


def apply_constraint(database: Database, run: int) -> MergeCounts:
    """Joins the supervoxels of a run, but never two cell bodies; without cell bodies all merges hold.

    Args:
      database: the decisions, with supervoxels, edges and cell bodies of the run.
      run: its number.

    Raises:
      DatabaseError: the database cannot be read or written.
      AgglomerationError: a cell body in a supervoxel that there is not.
    """
    ids, edges = read_supervoxel_ids(database), load_merges(database, run, _MERGE)
    soma_of = read_soma_of(database, run, ids)
    done = constrained_merges(ids, edges["id_a"], edges["id_b"], edges["certainty"], soma_of)
    with database.writing() as connection:
        _write_states(connection, run, edges["id_a"][~done.accepted], edges["id_b"][~done.accepted])
        _write_refusals(connection, run, edges["id_a"], edges["id_b"], done)
        connection.execute(sql.delete(tables.neurons).where(tables.neurons.c.run == run))
        write_neurons(connection, run, ids, done.neurons)
    return MergeCounts(
        tried=done.accepted.size,
        accepted=int(done.accepted.sum()),
        refused=int((~done.accepted).sum()),
        neurons=int(np.count_nonzero(done.neurons == ids)),
        cell_bodies=np.unique(soma_of[soma_of > 0]).size,
    )


def read_soma_of(database: Database, run: int, ids: np.ndarray) -> np.ndarray:
    """The cell body in each supervoxel; of several the one with the smallest ID.

    Args:
      database: the decisions.
      run: its number.
      ids: (n,) uint64, all supervoxels, ascending.

    Returns:
      (n,) int64; 0 = none.

    Raises:
      DatabaseError: a cell body in a supervoxel that there is not.
    """
    somas, dtypes = tables.somas.c, {"supervoxel": np.uint64, "id": np.int64}
    query = sql.select(somas.supervoxel, somas.id).where(somas.run == run, somas.supervoxel > 0)
    found = joined(read_arrays(database, query.order_by(somas.supervoxel, somas.id), dtypes), dtypes)
    holders, first = np.unique(found["supervoxel"], return_index=True)
    unknown = np.setdiff1d(holders, ids)
    if unknown.size:
        raise DatabaseError(
            f"{database.name}: a cell body lies in supervoxel {unknown[0]}, which there is not; find the "
            "cell bodies again"
        )
    soma_of = np.zeros(ids.size, np.int64)
    soma_of[np.searchsorted(ids, holders)] = found["id"][first]
    return soma_of


def undo_merges(database: Database, run: int, pairs: Iterable[tuple[int, int]], reason: str) -> np.ndarray:
    """Takes accepted merges back, for this run and all later ones, and parts their neurons accordingly.

    Two supervoxels stay in one neuron where other merges join them (`agglomeration.explanations.explain` has
    those). What had been refused because of a merge stays refused until `apply_constraint` is called again.

    Args:
      database: the decisions.
      run: the one whose neurons are changed.
      pairs: (id_a, id_b) of each merge.
      reason: why, in a few words.

    Returns:
      (n, 2) uint64: each supervoxel of the neurons concerned, and its neuron now.

    Raises:
      DatabaseError: a pair that is not accepted in this run; nothing is changed then.
    """
    edges = tables.edges
    with database.writing() as connection:
        concerned = {_take_back(connection, run, min(pair), max(pair), reason) for pair in pairs}
        changed = [np.zeros((0, 2), np.uint64)]
        for neuron in sorted(concerned):
            members = _members(connection, run, neuron)
            query = sql.select(edges.c.id_a, edges.c.id_b).where(edges.c.run == run, accepted_in(run, neuron))
            merges = np.array([tuple(row) for row in connection.execute(query)], np.uint64).reshape(-1, 2)
            neurons = components(members, merges[:, 0], merges[:, 1])
            write_neurons(connection, run, members, neurons)
            changed.append(np.stack([members, neurons], axis=1))
    return np.concatenate(changed)


def accepted_in(run: int, neuron: int) -> sql.ColumnElement[bool]:
    """The condition that an edge is one of the accepted merges of a neuron.

    Args:
      run: its number.
      neuron: its ID.
    """
    neurons, edges = tables.neurons.c, tables.edges.c
    members = sql.select(neurons.supervoxel).where(neurons.run == run, neurons.neuron == neuron)
    return sql.and_(edges.state == "accepted", edges.id_a.in_(members))


def write_neurons(connection: Connection, run: int, supervoxels: np.ndarray, neurons: np.ndarray) -> None:
    """Writes the neurons of supervoxels, in place of those they had.

    Args:
      connection: in a transaction that writes.
      run: its number.
      supervoxels: (n,) uint64.
      neurons: (n,) uint64.
    """
    for start in range(0, supervoxels.size, CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        columns = {"supervoxel": supervoxels[part], "neuron": neurons[part]}
        replace_rows(connection, tables.neurons, {"run": [run] * len(supervoxels[part]), **columns})


def _write_states(connection: Connection, run: int, refused_a: np.ndarray, refused_b: np.ndarray) -> None:
    """States of all pairs that once were accepted: accepted, but those taken back or refused."""
    edges, undone = tables.edges, tables.undone.c
    tried = sql.update(edges).where(edges.c.run == run, edges.c.accepted_by.is_not(None))
    taken_back = sql.exists().where(undone.id_a == edges.c.id_a, undone.id_b == edges.c.id_b)
    connection.execute(tried.where(edges.c.state != "accepted").values(state="accepted"))
    connection.execute(tried.where(taken_back).values(state="rejected"))
    if refused_a.size:
        one = sql.update(edges).where(
            edges.c.run == run, edges.c.id_a == sql.bindparam("a"), edges.c.id_b == sql.bindparam("b")
        )
        pairs = zip(refused_a.tolist(), refused_b.tolist(), strict=True)
        connection.execute(one.values(state="refused"), [{"a": a, "b": b} for a, b in pairs])


def _write_refusals(
    connection: Connection, run: int, id_a: np.ndarray, id_b: np.ndarray, done: ConstrainedMerges
) -> None:
    refusals, there = done.refusals, done.refusals.cuts >= 0
    connection.execute(sql.delete(tables.refusals).where(tables.refusals.c.run == run))

    def cut(ids: np.ndarray) -> list[int | None]:
        cuts = zip(ids[refusals.cuts].tolist(), there.tolist(), strict=True)
        return [value if known else None for value, known in cuts]

    columns = {
        "run": [run] * len(refusals.merges),
        "id_a": id_a[refusals.merges],
        "id_b": id_b[refusals.merges],
        "soma_a": refusals.soma_a,
        "soma_b": refusals.soma_b,
        "cut_id_a": cut(id_a),
        "cut_id_b": cut(id_b),
    }
    replace_rows(connection, tables.refusals, columns)


def _take_back(connection: Connection, run: int, id_a: int, id_b: int, reason: str) -> int:
    """Marks one merge as taken back; gives the neuron it is a part of."""
    edges, neurons = tables.edges, tables.neurons.c
    here = (edges.c.run == run, edges.c.id_a == id_a, edges.c.id_b == id_b)
    state = connection.execute(sql.select(edges.c.state).where(*here)).scalar()
    if state != State.ACCEPTED.name.lower():
        found = "was never looked at" if state is None else f"is {state}"
        raise DatabaseError(f"pair {id_a}-{id_b} {found} in run {run}; only an accepted merge can be undone")
    replace_rows(
        connection, tables.undone, {"id_a": [id_a], "id_b": [id_b], "reason": [reason], "at": [now()]}
    )
    connection.execute(sql.update(edges).where(*here).values(state="rejected"))
    query = sql.select(neurons.neuron).where(neurons.run == run, neurons.supervoxel == id_a)
    return int(connection.execute(query).scalar_one())


def _members(connection: Connection, run: int, neuron: int) -> np.ndarray:
    neurons = tables.neurons.c
    query = sql.select(neurons.supervoxel).where(neurons.run == run, neurons.neuron == neuron)
    return np.array(connection.execute(query.order_by(neurons.supervoxel)).scalars().all(), np.uint64)
