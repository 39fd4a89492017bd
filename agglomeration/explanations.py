"""Why two supervoxels are one neuron, or are not, from the decisions database.

Of all ways of accepted merges from one supervoxel to the other the explanation is the one whose least certain
merge is the most certain: no other way is better founded, and whoever wants to part the two begins there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import sqlalchemy as sql

from agglomeration import tables
from agglomeration.database import Database, DatabaseError
from agglomeration.decisions import ScoredEdges, concatenated, edges_where
from agglomeration.merge_graph import positions_of
from agglomeration.merging import accepted_in
from agglomeration.tables import AcceptedBy, State


class Refusal(NamedTuple):
    """A merge that would have joined two cell bodies.

    Attributes:
      id_a, id_b: the pair.
      soma_a, soma_b: the cell bodies on either side of it.
      cut: the most certain merge of the cheapest cut instead of it; None = the two hold the cell bodies
        themselves.
    """

    id_a: int
    id_b: int
    soma_a: int
    soma_b: int
    cut: tuple[int, int] | None


@dataclass(frozen=True)
class Explanation:
    """What is known about two supervoxels; see `explain`.

    Attributes:
      id_a, id_b: the supervoxels, the smaller one first.
      neuron_a, neuron_b: their neurons.
      pair: the decision about the two themselves; no row where they were never looked at.
      chain: the accepted merges that lead from `id_a` to `id_b`, in this order; no row where none do.
      refusals: of merges between the two neurons.
      undone: why somebody took the merge of the two back; None = nobody did.
    """

    id_a: int
    id_b: int
    neuron_a: int
    neuron_b: int
    pair: ScoredEdges
    chain: ScoredEdges
    refusals: tuple[Refusal, ...]
    undone: str | None

    @property
    def weakest(self) -> tuple[int, int] | None:
        """The least certain merge of the chain; None = there is no chain."""
        if len(self.chain) == 0:
            return None
        at = int(np.argmin(self.chain.certainty))
        return int(self.chain.id_a[at]), int(self.chain.id_b[at])

    def lines(self) -> list[str]:
        """The explanation as text, a line for each decision."""
        same = self.neuron_a == self.neuron_b
        whose = f"one neuron, {self.neuron_a}" if same else f"neurons {self.neuron_a} and {self.neuron_b}"
        lines = [f"supervoxels {self.id_a} and {self.id_b}: {whose}"]
        if self.undone is not None:
            lines.append(f"  merge {self.id_a}-{self.id_b} was taken back: {self.undone}")
        lines += [f"  {line}" for line in edge_lines(self.chain if len(self.chain) else self.pair)]
        for each in self.refusals:
            instead = "no other cut" if each.cut is None else "cheapest other cut {}-{}".format(*each.cut)
            somas = f"would have joined cell bodies {each.soma_a} and {each.soma_b}"
            lines.append(f"  {each.id_a}-{each.id_b} refused: {somas}; {instead}")
        return lines


@dataclass(frozen=True)
class NeuronExplanation:
    """What a neuron is made of; see `explain_neuron`.

    Attributes:
      neuron: its ID.
      supervoxels: (n,) uint64, ascending.
      merges: the accepted ones, ascending by (id_a, id_b).
      somas: IDs of its cell bodies, ascending.
      refusals: of merges with other neurons.
    """

    neuron: int
    supervoxels: np.ndarray
    merges: ScoredEdges
    somas: tuple[int, ...]
    refusals: tuple[Refusal, ...]


def explain(database: Database, run: int, id_a: int, id_b: int) -> Explanation:
    """Why two supervoxels are one neuron, or are not.

    Args:
      database: the decisions.
      run: the number of a run that has neurons.
      id_a: one supervoxel.
      id_b: the other one.

    Raises:
      DatabaseError: a supervoxel that there is not.
    """
    low, high = sorted((int(id_a), int(id_b)))
    edges, undone = tables.edges.c, tables.undone.c
    neuron_a, neuron_b = (_neuron_of(database, run, i) for i in (low, high))
    pair = concatenated(edges_where(database, run, edges.id_a == low, edges.id_b == high))
    chain = concatenated([])
    if neuron_a == neuron_b and low != high:
        chain = _best_chain(concatenated(edges_where(database, run, accepted_in(run, neuron_a))), low, high)
    with database.reading() as connection:
        query = sql.select(undone.reason).where(undone.id_a == low, undone.id_b == high)
        reason = connection.execute(query).scalar()
    between = () if neuron_a == neuron_b else _refusals(database, run, neuron_a, neuron_b)
    return Explanation(low, high, neuron_a, neuron_b, pair, chain, between, reason)


def explain_neuron(database: Database, run: int, neuron: int) -> NeuronExplanation:
    """What a neuron is made of, and what was kept from it.

    Args:
      database: the decisions.
      run: the number of a run that has neurons.
      neuron: its ID, or that of any of its supervoxels.

    Raises:
      DatabaseError: there is no such neuron.
    """
    neuron = _neuron_of(database, run, int(neuron))
    neurons, somas = tables.neurons.c, tables.somas.c
    members = sql.select(neurons.supervoxel).where(neurons.run == run, neurons.neuron == neuron)
    bodies = sql.select(somas.id).where(somas.run == run, somas.supervoxel.in_(members)).distinct()
    with database.reading() as connection:
        supervoxels = connection.execute(members.order_by(neurons.supervoxel)).scalars().all()
        soma_ids = connection.execute(bodies.order_by(somas.id)).scalars().all()
    return NeuronExplanation(
        neuron,
        np.array(supervoxels, np.uint64),
        concatenated(edges_where(database, run, accepted_in(run, neuron))),
        tuple(soma_ids),
        _refusals(database, run, neuron, None),
    )


def edge_lines(edges: ScoredEdges) -> list[str]:
    """Decisions as text: the pair, what was decided, why, and all scores that there are.

    Args:
      edges: one line each.
    """
    lines = []
    for i in range(len(edges)):
        state, reason = State(edges.state[i]).name.lower(), AcceptedBy(edges.accepted_by[i])
        by = f" by {reason.name.lower()}" if reason else ""
        scores = {"certainty": edges.certainty, "probability": edges.probability, **edges.evidence}
        told = [f"{name} {column[i]:.4g}" for name, column in scores.items() if not np.isnan(column[i])]
        where = ", ".join(f"{n:.0f}" for n in edges.points_nm[i])
        lines.append(
            f"{edges.id_a[i]}-{edges.id_b[i]} {state}{by} at ({where}) nm (z, y, x): {', '.join(told)}"
        )
    return lines


def _best_chain(edges: ScoredEdges, start: int, end: int) -> ScoredEdges:
    """The way from one supervoxel to another whose least certain merge is the most certain.

    It lies in the tree that keeps the most certain merges, of equal ones the first.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    ids = np.unique(np.concatenate([edges.id_a, edges.id_b, np.array([start, end], np.uint64)]))
    first, second = positions_of(ids, edges.id_a), positions_of(ids, edges.id_b)
    rank = np.empty(len(edges), np.int64)
    rank[np.lexsort((edges.id_b, edges.id_a, -edges.certainty))] = np.arange(1, len(edges) + 1)
    # Releases of scipy for Python 3.10 find no tree in a graph with indices of 64 bits.
    ends = (first.astype(np.int32), second.astype(np.int32))
    graph = coo_array((rank.astype(np.float64), ends), shape=(ids.size, ids.size))
    tree = minimum_spanning_tree(graph.tocsr())
    here, target = (int(np.searchsorted(ids, np.uint64(i))) for i in (end, start))
    _, before = breadth_first_order(tree, target, directed=False)
    of_rank = np.argsort(rank)
    ways = (tree + tree.T).tocsr()
    chain: list[int] = []
    while here != target:
        chain.append(int(of_rank[round(ways[here, before[here]]) - 1]))
        here = int(before[here])
    return edges.select(np.array(chain[::-1], np.int64))


def _neuron_of(database: Database, run: int, supervoxel: int) -> int:
    neurons = tables.neurons.c
    with database.reading() as connection:
        query = sql.select(neurons.neuron).where(neurons.run == run, neurons.supervoxel == supervoxel)
        neuron = connection.execute(query).scalar() if supervoxel < 2**63 else None
    if neuron is None:
        raise DatabaseError(
            f"supervoxel {supervoxel} is in no neuron of run {run} in {database.name}; give one of this "
            "segmentation"
        )
    return int(neuron)


def _refusals(database: Database, run: int, neuron: int, other: int | None) -> tuple[Refusal, ...]:
    """Merges refused between a neuron and another one; None = any other."""
    refusals = tables.refusals.c
    side_a, side_b = tables.neurons.alias(), tables.neurons.alias()
    query = (
        sql.select(*(column for column in tables.refusals.columns if column.name != "run"))
        .join(side_a, sql.and_(side_a.c.run == refusals.run, side_a.c.supervoxel == refusals.id_a))
        .join(side_b, sql.and_(side_b.c.run == refusals.run, side_b.c.supervoxel == refusals.id_b))
        .where(refusals.run == run)
        .order_by(refusals.id_a, refusals.id_b)
    )
    if other is None:
        query = query.where(sql.or_(side_a.c.neuron == neuron, side_b.c.neuron == neuron))
    else:
        query = query.where(side_a.c.neuron.in_([neuron, other]), side_b.c.neuron.in_([neuron, other]))
    with database.reading() as connection:
        rows = connection.execute(query).all()
    return tuple(
        Refusal(a, b, soma_a, soma_b, None if cut_a is None else (cut_a, cut_b))
        for a, b, soma_a, soma_b, cut_a, cut_b in rows
    )
