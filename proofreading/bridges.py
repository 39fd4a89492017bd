"""Merges that hold a neuron together alone: those without which it falls into two parts, and their lengths.

Inputs: a neuron's supervoxels and merges. Outputs: which merges are bridges, and the length on one side. Time
is linear in merges. Source of the search: R. Tarjan 1974, "A note on finding the bridges of a graph".
"""

from __future__ import annotations

import numpy as np
from numba import njit


def bridge_sides(
    count: int, first: np.ndarray, second: np.ndarray, lengths_nm: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bridges of a graph of one or several neurons.

    Args:
      count: of supervoxels.
      first, second: (m,) int64 positions of supervoxels, a merge each; none twice.
      lengths_nm: (count,) float64, of the supervoxels.

    Returns:
      is_bridge: (m,) bool.
      first_nm, second_nm: (m,) float64, the length on the sides of `first` and `second` of a bridge; 0 for
        other merges.
    """
    first, second = first.astype(np.int64), second.astype(np.int64)
    starts, partners, edges = _adjacency(count, first, second)
    return _bridges(starts, partners, edges, first, lengths_nm.astype(np.float64))


@njit(cache=True, nogil=True)
def _adjacency(
    count: int, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The partners of node i, and the edges to them: entries starts[i] to starts[i + 1]."""
    starts = np.zeros(count + 1, np.int64)
    for i in range(first.size):
        starts[first[i] + 1] += 1
        starts[second[i] + 1] += 1
    starts = np.cumsum(starts)
    place = starts[:-1].copy()
    partners, edges = np.empty(2 * first.size, np.int64), np.empty(2 * first.size, np.int64)
    for i in range(first.size):
        for here, there in ((first[i], second[i]), (second[i], first[i])):
            partners[place[here]], edges[place[here]] = there, i
            place[here] += 1
    return starts, partners, edges


@njit(cache=True, nogil=True)
def _bridges(
    starts: np.ndarray, partners: np.ndarray, edges: np.ndarray, first: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth-first search without recursion; `low` is the earliest node that a subtree reaches."""
    count, m = starts.size - 1, first.size
    is_bridge = np.zeros(m, np.bool_)
    first_nm, second_nm = np.zeros(m), np.zeros(m)
    when = np.full(count, -1, np.int64)
    low = np.zeros(count, np.int64)
    below = lengths.copy()
    entry = starts[:-1].copy()
    by = np.full(count, -1, np.int64)
    path = np.empty(count, np.int64)
    found = np.empty(m, np.int64)
    child = np.empty(m, np.int64)
    clock = 0
    for root in range(count):
        if when[root] >= 0:
            continue
        bridges, depth = 0, 1
        path[0] = root
        when[root] = low[root] = clock
        clock += 1
        while depth:
            node = path[depth - 1]
            if entry[node] < starts[node + 1]:
                at = entry[node]
                entry[node] += 1
                if edges[at] == by[node]:
                    continue
                other = partners[at]
                if when[other] >= 0:
                    low[node] = min(low[node], when[other])
                    continue
                by[other] = edges[at]
                when[other] = low[other] = clock
                clock += 1
                path[depth] = other
                depth += 1
                continue
            depth -= 1
            if depth == 0:
                break
            parent = path[depth - 1]
            below[parent] += below[node]
            low[parent] = min(low[parent], low[node])
            if low[node] > when[parent]:
                found[bridges], child[bridges] = by[node], node
                bridges += 1
        for i in range(bridges):
            edge, node = found[i], child[i]
            is_bridge[edge] = True
            inside, outside = below[node], below[root] - below[node]
            first_nm[edge] = inside if first[edge] == node else outside
            second_nm[edge] = outside if first[edge] == node else inside
    return is_bridge, first_nm, second_nm
