"""The cheapest set of merges that parts two sets of supervoxels.

A merge of certainty c is wrong with probability 1 - c. Of all sets of merges that part the two sides the one
that is most probably wrong as a whole, taking merges as independent, has the least sum of -log(1 - c): that
is a merge's weight, and the set a minimum cut. Of equally cheap ones the cut nearest the first side is taken.

Method: push-relabel (Goldberg and Tarjan, J. ACM 35:921, 1988) with the highest label first and labels made
exact from time to time, in whole numbers that keep a dozen digits of the weights. The flow itself is not
needed: what cannot reach the one side any more is the other. Dinic's method, which SciPy has, takes many
seconds where neurons are long and thin; this one a fraction of one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from proofreading.errors import ProofreadingError

# Certainties beyond these do not make a merge free to cut, or impossible.
_LEAST, _MOST = 1e-3, 1 - 1e-6
# All capacities together stay below the largest number that they are counted in.
_CAPACITY = 2.0**61
_SOURCE, _SINK = 0, 1


class Cut(NamedTuple):
    """A cut of a graph.

    Attributes:
      edges: (m,) bool, those that are taken away.
      side: (n,) bool, True on the side of the sources.
      cost: weights of the edges taken away, added up.
    """

    edges: np.ndarray
    side: np.ndarray
    cost: float


def weight_of(certainty: np.ndarray) -> np.ndarray:
    """What cutting a merge costs.

    Args:
      certainty: (m,) float64 that it is right, 0 to 1; NaN = not known, which counts as 0.

    Returns:
      (m,) float64, above 0.
    """
    return -np.log1p(-np.clip(np.nan_to_num(certainty), _LEAST, _MOST))


def minimum_cut(
    n_nodes: int, edges: np.ndarray, weights: np.ndarray, sources: np.ndarray, sinks: np.ndarray
) -> Cut:
    """The cheapest cut between two sets of nodes.

    Args:
      n_nodes: n; nodes are 0 to n - 1.
      edges: (m, 2) int64, pairs of nodes, undirected; a pair may stand more than once.
      weights: (m,) float64, above 0.
      sources: (s,) int64, nodes of one side.
      sinks: (t,) int64, nodes of the other.

    Raises:
      ProofreadingError: a side without nodes, or a node on both.
    """
    sides = [np.unique(np.asarray(side, np.int64)) for side in (sources, sinks)]
    if not (sides[0].size and sides[1].size):
        raise ProofreadingError("a split needs at least one point on either side; add some")
    both = np.intersect1d(sides[0], sides[1])
    if both.size:
        raise ProofreadingError(f"node {both[0]} is on both sides of the cut; take it from one of them")
    # All nodes of a side are one node of the flow. It runs from the last side to the first, whose part is
    # then the smallest of all cheapest ones.
    node = np.full(n_nodes, -1, np.int64)
    node[sides[0]], node[sides[1]] = _SINK, _SOURCE
    others = node < 0
    node[others] = np.arange(2, 2 + np.count_nonzero(others))
    side = _within_reach(node[edges], weights, int(others.sum()) + 2)[node]
    cut = side[edges[:, 0]] != side[edges[:, 1]]
    return Cut(cut, side, float(weights[cut].sum()))


def _within_reach(ends: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """(count,) bool: the nodes from which more could still flow to the sink."""
    inner = ends[:, 0] != ends[:, 1]
    ends, weights = ends[inner], weights[inner]
    scale = _CAPACITY / max(float(weights.sum()), 1.0)
    capacity = np.maximum(weights * scale, 1).astype(np.int64)
    # Arc i and arc i + m are the two directions of edge i.
    tails = ends.T.reshape(-1)
    heads = ends[:, ::-1].T.reshape(-1)
    order = np.argsort(tails, kind="stable")
    place = np.empty(order.size, np.int64)
    place[order] = np.arange(order.size)
    opposite = place[(order + len(ends)) % max(order.size, 1)]
    starts = np.searchsorted(tails[order], np.arange(count + 1))
    return _push_all(starts, heads[order], opposite, np.tile(capacity, 2)[order])


@njit(cache=True, nogil=True)
def _push_all(starts: np.ndarray, heads: np.ndarray, opposite: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Pushes as much as can reach the sink; `left` is what each arc can still take, and is changed.

    Nodes with an excess wait in stacks, one for each label: `first` is the top of a label's stack, and
    `below` what lies below a node.
    """
    count = starts.size - 1
    label, arc, below = np.empty(count, np.int64), starts[:-1].copy(), np.empty(count, np.int64)
    excess, first = np.zeros(count, np.int64), np.full(count + 1, -1)
    for out in range(starts[_SOURCE], starts[_SOURCE + 1]):
        excess[heads[out]] += left[out]
        left[opposite[out]] += left[out]
        left[out] = 0
    highest, lifts = 0, count
    while True:
        if lifts >= count:
            _measure(starts, heads, opposite, left, label)
            arc[:] = starts[:-1]
            highest, lifts = _stack(label, excess, first, below), 0
        while highest > 0 and first[highest] < 0:
            highest -= 1
        if highest == 0:
            break
        node = first[highest]
        first[highest] = below[node]
        while excess[node] > 0 and label[node] < count:
            out = arc[node]
            if out == starts[node + 1]:
                label[node] = _lifted(node, starts, heads, left, label)
                arc[node] = starts[node]
                lifts += 1
                continue
            head = heads[out]
            if left[out] == 0 or label[node] != label[head] + 1:
                arc[node] += 1
                continue
            amount = min(excess[node], left[out])
            left[out] -= amount
            left[opposite[out]] += amount
            excess[node] -= amount
            if excess[head] == 0 and head > _SINK:
                below[head], first[label[head]] = first[label[head]], head
                highest = max(highest, label[head])
            excess[head] += amount
    _measure(starts, heads, opposite, left, label)
    return label < count


@njit(cache=True, nogil=True)
def _stack(label: np.ndarray, excess: np.ndarray, first: np.ndarray, below: np.ndarray) -> int:
    """Fills the stacks with all nodes that have an excess; gives the highest label among them."""
    highest = 0
    first[:] = -1
    for node in range(_SINK + 1, label.size):
        if excess[node] > 0 and label[node] < label.size:
            below[node], first[label[node]] = first[label[node]], node
            highest = max(highest, label[node])
    return highest


@njit(cache=True, nogil=True)
def _lifted(node: int, starts: np.ndarray, heads: np.ndarray, left: np.ndarray, label: np.ndarray) -> int:
    """The label from which a node can push again."""
    lowest = label.size
    for out in range(starts[node], starts[node + 1]):
        if left[out] > 0:
            lowest = min(lowest, label[heads[out]] + 1)
    return lowest


@njit(cache=True, nogil=True)
def _measure(
    starts: np.ndarray, heads: np.ndarray, opposite: np.ndarray, left: np.ndarray, label: np.ndarray
) -> None:
    """Sets labels to the number of arcs to the sink; that of all nodes where there is no way, and at the
    source."""
    count = label.size
    label[:] = count
    label[_SINK] = 0
    waiting = np.empty(count, np.int64)
    waiting[0] = _SINK
    begin, end = 0, 1
    while begin < end:
        node = waiting[begin]
        begin += 1
        for out in range(starts[node], starts[node + 1]):
            tail = heads[out]
            if label[tail] == count and tail != _SOURCE and left[opposite[out]] > 0:
                label[tail] = label[node] + 1
                waiting[end] = tail
                end += 1
