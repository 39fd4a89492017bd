"""Merges from the most certain down, none of which gives a neuron two cell bodies.

Every merge is tried in order of falling certainty, equal ones by (id_a, id_b). One that would join two
components with different cell bodies is refused. So the outcome follows from the merges alone, whatever the
order they come in.

A refused merge is not always the wrong one. Accepted merges that first joined two components make a forest;
on the way through it from one cell body to the other, over the refused merge, the one of least certainty
names the cheapest alternative. Every other merge between the two sides that it joined came after it and is
less certain, so of all cuts between the cell bodies this is the one whose most certain merge is the least
certain: without it and the weaker ones beside it the other could have been accepted. Somebody has to look at
both. Where several supervoxels are parts of one cell body the way leads to the one fewest merges away.

Inputs and outputs: supervoxel IDs, uint64; certainties float64, higher = more certain; cell bodies int64 from
1, 0 = none. Merges are held in memory as arrays; time is that of sorting them.

Source of the constraint: Januszewski et al. (2018), Nature Methods 15:605.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from agglomeration.errors import AgglomerationError
from agglomeration.merge_graph import positions_of

_NONE = -1


class Refusals(NamedTuple):
    """Merges that would have joined two cell bodies; one row each, by falling certainty.

    Attributes:
      merges: (r,) int64, their positions in the input.
      soma_a, soma_b: (r,) int64, the cell bodies on the sides of `id_a` and `id_b`.
      cuts: (r,) int64, position of the most certain merge of the cheapest cut instead of this refusal; -1
        where the two supervoxels hold the cell bodies themselves.
    """

    merges: np.ndarray
    soma_a: np.ndarray
    soma_b: np.ndarray
    cuts: np.ndarray


@dataclass(frozen=True)
class ConstrainedMerges:
    """What became of the merges.

    Attributes:
      accepted: (m,) bool, in the order of the input.
      refusals: the others.
      neurons: (n,) uint64, for each supervoxel the smallest one it is joined with.
      somas: (n,) int64, for each supervoxel the cell body of its neuron; 0 = none.
    """

    accepted: np.ndarray
    refusals: Refusals
    neurons: np.ndarray
    somas: np.ndarray


def constrained_merges(
    ids: np.ndarray, id_a: np.ndarray, id_b: np.ndarray, certainty: np.ndarray, soma_of: np.ndarray
) -> ConstrainedMerges:
    """Joins supervoxels, but never two cell bodies.

    Args:
      ids: (n,) uint64, all supervoxels, ascending, none twice.
      id_a: (m,) uint64, one supervoxel of each merge to be tried.
      id_b: (m,) uint64, the other; no pair stands twice.
      certainty: (m,) float64, finite.
      soma_of: (n,) int64, the cell body in each supervoxel, from 1; 0 = none. Several supervoxels may be
        parts of one cell body.

    Raises:
      AgglomerationError: arrays of other lengths, unknown supervoxels, or a certainty that is no number.
    """
    _check(ids, id_a, id_b, certainty, soma_of)
    first, second = positions_of(ids, id_a), positions_of(ids, id_b)
    order = _by_certainty(first, second, certainty)
    first, second = first[order], second[order]
    roots, somas = np.arange(ids.size), soma_of.astype(np.int64)
    outcome = np.empty(order.size, np.uint8)
    refused_somas = _merge_all(first, second, roots, somas, outcome)
    _settle(roots)
    refused = np.flatnonzero(outcome == _REFUSED)
    cuts = _cheapest_cuts(first, second, outcome, roots, soma_of)
    accepted = np.empty(order.size, bool)
    accepted[order] = outcome != _REFUSED
    positions = np.append(order, _NONE)
    return ConstrainedMerges(
        accepted,
        Refusals(order[refused], refused_somas[:, 0], refused_somas[:, 1], positions[cuts]),
        ids[roots],
        somas[roots],
    )


_REDUNDANT, _JOINS, _REFUSED = np.uint8(0), np.uint8(1), np.uint8(2)


def _check(
    ids: np.ndarray, id_a: np.ndarray, id_b: np.ndarray, certainty: np.ndarray, soma_of: np.ndarray
) -> None:
    if not id_a.size == id_b.size == certainty.size:
        raise AgglomerationError(
            f"{id_a.size} and {id_b.size} supervoxels and {certainty.size} certainties do not make merges; "
            "give one of each for every merge"
        )
    if soma_of.size != ids.size:
        raise AgglomerationError(
            f"cell bodies are given for {soma_of.size} supervoxels, of which there are {ids.size}; give 0 "
            "where there is none"
        )
    if not np.isfinite(certainty).all():
        at = int(np.argmin(np.isfinite(certainty)))
        raise AgglomerationError(
            f"merge {id_a[at]}-{id_b[at]} has certainty {certainty[at]}; leave out merges without a score"
        )


def _by_certainty(first: np.ndarray, second: np.ndarray, certainty: np.ndarray) -> np.ndarray:
    """The order of merges: falling certainty, then ascending pairs of positions, which ascend as IDs do."""
    if np.all((first[1:] > first[:-1]) | ((first[1:] == first[:-1]) & (second[1:] >= second[:-1]))):
        return np.argsort(-certainty, kind="stable")
    pairs = np.lexsort((second, first))
    return pairs[np.argsort(-certainty[pairs], kind="stable")]


def _cheapest_cuts(
    first: np.ndarray, second: np.ndarray, outcome: np.ndarray, roots: np.ndarray, soma_of: np.ndarray
) -> np.ndarray:
    """For each refused merge the position (in order of certainty) of the weakest join on the way between the
    two cell bodies; -1 = none.

    Joins come in order of certainty, so the weakest of several is the one that comes last.
    """
    refused = np.flatnonzero(outcome == _REFUSED)
    concerned = np.zeros(roots.size, bool)
    concerned[roots[first[refused]]] = concerned[roots[second[refused]]] = True
    joins = np.flatnonzero((outcome == _JOINS) & concerned[roots[first]])
    starts, partners, edges = _adjacency(first[joins], second[joins], joins, soma_of.size)
    weakest = _weakest_towards_somas(starts, partners, edges, soma_of)
    return np.maximum(weakest[first[refused]], weakest[second[refused]])


@njit(cache=True, nogil=True)
def _root(roots: np.ndarray, node: int) -> int:
    while roots[node] != node:
        roots[node] = roots[roots[node]]
        node = roots[node]
    return node


@njit(cache=True, nogil=True)
def _merge_all(
    first: np.ndarray, second: np.ndarray, roots: np.ndarray, somas: np.ndarray, outcome: np.ndarray
) -> np.ndarray:
    """Tries merges in their order; the smaller node is the root. Gives the cell bodies of those refused."""
    refused = np.empty((64, 2), np.int64)
    count = 0
    for i in range(first.size):
        a, b = _root(roots, first[i]), _root(roots, second[i])
        if a == b:
            outcome[i] = _REDUNDANT
        elif somas[a] and somas[b] and somas[a] != somas[b]:
            outcome[i] = _REFUSED
            if count == len(refused):
                longer = np.empty((2 * count, 2), np.int64)
                longer[:count] = refused
                refused = longer
            refused[count] = somas[a], somas[b]
            count += 1
        else:
            outcome[i] = _JOINS
            low, high = min(a, b), max(a, b)
            roots[high] = low
            somas[low] = max(somas[a], somas[b])
    return refused[:count]


@njit(cache=True, nogil=True)
def _settle(roots: np.ndarray) -> None:
    """Points every node at its root; parents come before their children."""
    for node in range(roots.size):
        roots[node] = roots[roots[node]]


@njit(cache=True, nogil=True)
def _adjacency(
    first: np.ndarray, second: np.ndarray, edges: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The partners of node i and the edges to them: entries `starts[i]` to `starts[i + 1]`."""
    starts = np.zeros(count + 1, np.int64)
    for i in range(first.size):
        starts[first[i]] += 1
        starts[second[i]] += 1
    # Each start is set to the end of its entries and goes down as they are filled in from behind.
    for node in range(1, count + 1):
        starts[node] += starts[node - 1]
    partners, by = np.empty(2 * first.size, np.int64), np.empty(2 * first.size, np.int64)
    for i in range(first.size - 1, -1, -1):
        for here, there in ((first[i], second[i]), (second[i], first[i])):
            starts[here] -= 1
            partners[starts[here]], by[starts[here]] = there, edges[i]
    return starts, partners, by


@njit(cache=True, nogil=True)
def _weakest_towards_somas(
    starts: np.ndarray, partners: np.ndarray, edges: np.ndarray, soma_of: np.ndarray
) -> np.ndarray:
    """For every node the latest edge on its way to the nearest node with a cell body; -1 at that node, and
    where none is reached."""
    weakest = np.full(soma_of.size, _NONE, np.int64)
    reached = soma_of > 0
    waiting = np.empty(soma_of.size, np.int64)
    begin, end = 0, 0
    for node in range(soma_of.size):
        if reached[node]:
            waiting[end] = node
            end += 1
    while begin < end:
        node = waiting[begin]
        begin += 1
        for entry in range(starts[node], starts[node + 1]):
            other = partners[entry]
            if not reached[other]:
                reached[other] = True
                weakest[other] = max(weakest[node], edges[entry])
                waiting[end] = other
                end += 1
    return weakest
