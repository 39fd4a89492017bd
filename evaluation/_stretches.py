"""What segments cut skeletons into: stretches, each all of one skeleton that lies in one segment.

A stretch has the nodes of its skeleton in its segment, and as its path the edges with both ends among them;
it need not be in one piece. An edge lies within a stretch, or between two stretches of one skeleton (a
split), or has an end in no segment (an omission).

Nodes and edges of all skeletons are concatenated in the order of the node labels; lengths are nm, positions
nm (zyx). Time is linear in nodes and edges but for a search among the segments of a skeleton.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from evaluation._pair_counts import PairCounts
from evaluation.errors import EvaluationError
from evaluation.node_labels import NodeLabels
from volumes import Skeleton

# Sums of the same lengths differ in their last digits with the order of the edges.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Stretches:
    """Stretches in ascending order of the skeleton's position in `ids` and then of the segment.

    Attributes:
        ids: of the s skeletons.
        nodes_nm: (n, 3) float64.
        stretch_of_node: (n,) int64, -1 = in no segment.
        edges: (m, 2) int64 indices of nodes.
        edge_nm: (m,) float64.
        skeleton_of_edge: (m,) int64 positions in `ids`.
        skeleton_nm: (s,) float64 lengths of the skeletons.
        skeleton: (k,) int64 positions in `ids`.
        segment: (k,) uint64, none 0.
        nodes: (k,) int64 counts, all above 0.
        path_nm: (k,) float64.
    """

    ids: tuple[int, ...]
    nodes_nm: np.ndarray
    stretch_of_node: np.ndarray
    edges: np.ndarray
    edge_nm: np.ndarray
    skeleton_of_edge: np.ndarray
    skeleton_nm: np.ndarray
    skeleton: np.ndarray
    segment: np.ndarray
    nodes: np.ndarray
    path_nm: np.ndarray

    @property
    def ends(self) -> np.ndarray:
        """(m, 2) int64: the stretches of the ends of each edge, -1 = in no segment."""
        return self.stretch_of_node[self.edges]

    @property
    def is_split(self) -> np.ndarray:
        """(m,) bool: edges between two segments."""
        first, second = self.ends.T
        return (first != second) & (first >= 0) & (second >= 0)

    @property
    def is_omitted(self) -> np.ndarray:
        """(m,) bool: edges with an end in no segment."""
        first, second = self.ends.T
        return (first < 0) | (second < 0)

    @property
    def piece_nm(self) -> np.ndarray:
        """(n,) float64: the path of the piece of its stretch that each node lies in, 0 in no segment."""
        first, second = self.ends.T
        within = (first == second) & (first >= 0)
        (rows, columns), count = self.edges[within].T, len(self.nodes_nm)
        graph = coo_array((np.ones(rows.size, bool), (rows, columns)), shape=(count, count))
        _, piece = connected_components(graph, directed=False)
        return np.bincount(piece[rows], weights=self.edge_nm[within], minlength=count)[piece]

    def on_skeletons(self, values: np.ndarray) -> np.ndarray:
        """(s,) float64: sums over the stretches of each skeleton of (k,) values."""
        return np.bincount(self.skeleton, weights=values, minlength=len(self.ids))

    def merging(self, tolerance_nodes: int = 0, tolerance_nm: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Which segments merge skeletons.

        Args:
            tolerance_nodes: a stretch counts only with more nodes than this.
            tolerance_nm: and only with this length of path.

        Returns:
            (k,) bool, stretches of segments with two or more stretches that count, and (k,) bool, those among
            them that count themselves.

        Raises:
            EvaluationError: a tolerance below 0.
        """
        if not (tolerance_nodes >= 0 and tolerance_nm >= 0):
            raise EvaluationError(
                f"mergers of {tolerance_nodes} nodes and {tolerance_nm} nm cannot be forgiven; give "
                "tolerances of at least 0"
            )
        counts = (self.nodes > tolerance_nodes) & (self.path_nm >= tolerance_nm * (1 - _ROUNDING))
        segments, index = np.unique(self.segment, return_inverse=True)
        merging = (np.bincount(index[counts], minlength=segments.size) >= 2)[index]
        return merging, merging & counts


def stretches_of(skeletons: Mapping[int, Skeleton], node_labels: NodeLabels) -> Stretches:
    """Cut skeletons by the segments of their nodes.

    Args:
        skeletons: by ID.
        node_labels: of the nodes of the same skeletons.

    Raises:
        EvaluationError: no skeletons, or labels that are not those of these skeletons.
    """
    _require_same(skeletons, node_labels)
    ids, starts = node_labels.ids, node_labels.starts
    nodes_nm = np.concatenate([skeletons[skeleton_id].nodes_nm for skeleton_id in ids])
    counts = [len(skeletons[skeleton_id].edges) for skeleton_id in ids]
    skeleton_of_edge = np.repeat(np.arange(len(ids)), counts)
    edges = np.concatenate([skeletons[skeleton_id].edges for skeleton_id in ids])
    edges += starts[skeleton_of_edge, None]
    edge_nm = _lengths(nodes_nm, edges)
    skeleton, segment, nodes = _pairs(node_labels)
    first = np.searchsorted(skeleton, np.arange(len(ids) + 1))
    stretch_of_node = _number(node_labels.segments, starts, first, segment)
    ends = stretch_of_node[edges]
    within = (ends[:, 0] == ends[:, 1]) & (ends[:, 0] >= 0)
    return Stretches(
        ids=ids,
        nodes_nm=nodes_nm,
        stretch_of_node=stretch_of_node,
        edges=edges,
        edge_nm=edge_nm,
        skeleton_of_edge=skeleton_of_edge,
        skeleton_nm=np.bincount(skeleton_of_edge, weights=edge_nm, minlength=len(ids)),
        skeleton=skeleton,
        segment=segment,
        nodes=nodes,
        path_nm=np.bincount(ends[within, 0], weights=edge_nm[within], minlength=segment.size),
    )


def _require_same(skeletons: Mapping[int, Skeleton], node_labels: NodeLabels) -> None:
    if not skeletons:
        raise EvaluationError(
            "there are no skeletons to measure; check their path, or the labels they are of"
        )
    counts = dict(zip(node_labels.ids, np.diff(node_labels.starts).tolist(), strict=True))
    for skeleton_id in sorted({*skeletons, *counts}):
        nodes = len(skeletons[skeleton_id].nodes_nm) if skeleton_id in skeletons else 0
        labels = counts.get(skeleton_id, 0)
        if nodes != labels:
            raise EvaluationError(
                f"skeleton {skeleton_id} has {nodes} nodes, but {labels} node labels; look its nodes up again"
            )


def _pairs(node_labels: NodeLabels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Skeleton (position), segment and number of nodes of each stretch, in order."""
    skeletons = np.repeat(np.arange(len(node_labels.ids), dtype=np.uint64), np.diff(node_labels.starts))
    segmented = node_labels.segments != 0
    pairs = PairCounts()
    pairs.add(skeletons[segmented], node_labels.segments[segmented])
    skeleton, segment, nodes = pairs.pairs()
    return skeleton.astype(np.int64), segment, nodes


@njit(cache=True, nogil=True)
def _lengths(nodes_nm: np.ndarray, edges: np.ndarray) -> np.ndarray:
    lengths = np.empty(len(edges))
    for i, (a, b) in enumerate(edges):
        z, y, x = nodes_nm[a] - nodes_nm[b]
        lengths[i] = np.sqrt(z * z + y * y + x * x)
    return lengths


@njit(cache=True, nogil=True)
def _number(segments: np.ndarray, starts: np.ndarray, first: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """The stretch of each node; those of skeleton s are first[s] to first[s + 1], ascending by segment."""
    stretch_of_node = np.full(segments.size, -1, np.int64)
    for s in range(starts.size - 1):
        found = -1
        for node in range(starts[s], starts[s + 1]):
            label = segments[node]
            if label == 0:
                continue
            # Neighbouring nodes mostly lie in one segment.
            if found < 0 or segment[found] != label:
                found = first[s] + np.searchsorted(segment[first[s] : first[s + 1]], label)
            stretch_of_node[node] = found
    return stretch_of_node
