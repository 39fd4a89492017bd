"""Gaps of skeletons: runs of edges joined at nodes in no segment, and the middle of each.

A gap is a tree whose inner nodes lie in no segment. Its middle is the point halfway along its longest path,
which in a gap without branches is half its length from either end. Between two segments a gap hides a split,
which no edge shows. Time is linear in nodes and edges, but for a sort of the ends of gaps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from evaluation._stretches import Stretches


@dataclass(frozen=True, eq=False)
class Gaps:
    """Gaps of a forest; their order follows from that of nodes and edges.

    Attributes:
        gap_of_edge: (m,) int64, which gap each edge belongs to.
        middles_nm: (g, 3) float64 zyx.
    """

    gap_of_edge: np.ndarray
    middles_nm: np.ndarray


@dataclass(frozen=True, eq=False)
class OmittedGaps:
    """The omitted edges of all skeletons as gaps.

    Attributes:
        middles_nm: (g, 3) float64 zyx.
        lengths_nm: (g,) float64, of all edges of each.
        edges: (g,) int64, how many each has.
        skeleton: (g,) int64 positions in the `ids` of the stretches.
        gap_of_end, stretch_of_end: (p,) int64, which stretches lie at the ends of which gap, each named once;
            in ascending order of gap and stretch.
    """

    middles_nm: np.ndarray
    lengths_nm: np.ndarray
    edges: np.ndarray
    skeleton: np.ndarray
    gap_of_end: np.ndarray
    stretch_of_end: np.ndarray

    @property
    def splits(self) -> np.ndarray:
        """(g,) int64: the segments at the ends of each gap, less one; 0 where there is none."""
        return np.maximum(np.bincount(self.gap_of_end, minlength=len(self.lengths_nm)) - 1, 0)


def omitted_gaps(stretches: Stretches) -> OmittedGaps:
    """Join the edges that have an end in no segment into gaps."""
    omitted = np.flatnonzero(stretches.is_omitted)
    edges, edge_nm = stretches.edges[omitted], stretches.edge_nm[omitted]
    gaps = find_gaps(stretches.nodes_nm, edges, edge_nm, stretches.stretch_of_node < 0)
    count = len(gaps.middles_nm)
    skeleton = np.zeros(count, np.int64)
    skeleton[gaps.gap_of_edge] = stretches.skeleton_of_edge[omitted]
    ends = stretches.stretch_of_node[edges]
    edge, side = np.nonzero(ends >= 0)
    named = max(stretches.segment.size, 1)
    pairs = np.unique(gaps.gap_of_edge[edge] * named + ends[edge, side])
    return OmittedGaps(
        middles_nm=gaps.middles_nm,
        lengths_nm=np.bincount(gaps.gap_of_edge, weights=edge_nm, minlength=count),
        edges=np.bincount(gaps.gap_of_edge, minlength=count),
        skeleton=skeleton,
        gap_of_end=pairs // named,
        stretch_of_end=pairs % named,
    )


def find_gaps(nodes_nm: np.ndarray, edges: np.ndarray, edge_nm: np.ndarray, is_inner: np.ndarray) -> Gaps:
    """Join edges into gaps.

    Args:
        nodes_nm: (n, 3) float64 zyx.
        edges: (m, 2) int64 of a forest, each with an inner node.
        edge_nm: (m,) float64 lengths.
        is_inner: (n,) bool, whether edges are joined at a node.
    """
    used = np.zeros(len(nodes_nm), bool)
    used[edges] = True
    ends = (np.cumsum(used) - 1)[edges]
    # Every edge gets an end of its own where it meets a node at which it is not joined to others.
    place_of = np.concatenate([np.flatnonzero(used), edges[~is_inner[edges]]])
    ends[~is_inner[edges]] = np.arange(np.count_nonzero(used), place_of.size)
    gap_of_edge, middles_nm = _cut(nodes_nm[place_of], ends, edge_nm)
    return Gaps(gap_of_edge, middles_nm)


@njit(cache=True, nogil=True)
def _cut(nodes_nm: np.ndarray, edges: np.ndarray, edge_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Trees of a forest: the tree of each edge, and the middle of each tree with edges."""
    order, parent, up = _rooted(len(nodes_nm), edges)
    down, second, deepest = _depths(order, parent, up, edge_nm)
    tree_of = np.full(len(nodes_nm), -1, np.int64)
    widest = np.empty(len(nodes_nm), np.int64)
    trees = 0
    for node in order[::-1]:
        if up[node] >= 0:
            tree_of[node] = tree_of[parent[node]]
        elif deepest[node] >= 0:
            tree_of[node] = trees
            widest[trees] = node
            trees += 1
        tree = tree_of[node]
        if tree >= 0 and down[node] + second[node] > down[widest[tree]] + second[widest[tree]]:
            widest[tree] = node
    middles_nm = np.empty((trees, 3))
    for tree in range(trees):
        node = widest[tree]
        ahead = (down[node] - second[node]) / 2
        while deepest[node] >= 0 and edge_nm[up[deepest[node]]] < ahead:
            node = deepest[node]
            ahead -= edge_nm[up[node]]
        middles_nm[tree] = nodes_nm[node]
        if ahead > 0 and deepest[node] >= 0:
            step = ahead / edge_nm[up[deepest[node]]]
            middles_nm[tree] += step * (nodes_nm[deepest[node]] - nodes_nm[node])
    tree_of_edge = np.empty(len(edges), np.int64)
    for i in range(len(edges)):
        tree_of_edge[i] = tree_of[edges[i, 0]]
    return tree_of_edge, middles_nm


@njit(cache=True, nogil=True)
def _rooted(count: int, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An order of the nodes with children first, and the parent and the edge to it of each (-1 for a root).

    Leaves are taken off one after another. Of its edges a node needs to know only how many are left and the
    exclusive or of their numbers: when one is left, that is it.
    """
    left = np.zeros(count, np.int64)
    mixed = np.zeros(count, np.int64)
    for i in range(len(edges)):
        for end in edges[i]:
            left[end] += 1
            mixed[end] ^= i
    order = np.empty(count, np.int64)
    parent = np.full(count, -1, np.int64)
    up = np.full(count, -1, np.int64)
    taken = 0
    for start in range(count):
        node = start
        while node <= start and left[node] == 1:
            edge = mixed[node]
            above = edges[edge, 0] if edges[edge, 1] == node else edges[edge, 1]
            parent[node], up[node] = above, edge
            order[taken] = node
            taken += 1
            left[node] = 0
            left[above] -= 1
            mixed[above] ^= edge
            node = above
    for node in range(count):
        if up[node] < 0:
            order[taken] = node
            taken += 1
    return order, parent, up


@njit(cache=True, nogil=True)
def _depths(
    order: np.ndarray, parent: np.ndarray, up: np.ndarray, edge_nm: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each node the longest and second longest path down (nm), and the child on the longest (or -1)."""
    down = np.zeros(order.size)
    second = np.zeros(order.size)
    deepest = np.full(order.size, -1, np.int64)
    for node in order:
        if up[node] < 0:
            continue
        above = parent[node]
        path = down[node] + edge_nm[up[node]]
        if deepest[above] < 0 or path > down[above]:
            second[above], down[above], deepest[above] = down[above], path, node
        elif path > second[above]:
            second[above] = path
    return down, second, deepest
