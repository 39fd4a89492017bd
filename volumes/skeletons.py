"""`Skeleton`: the centre line of one neuron as a forest of nodes; the same with shorter edges or cut.

Nodes are in nanometres, zyx, like everything in this repository; a node at p lies in the voxel
floor(p / voxel size). Files: `swc` for one skeleton, `skeleton_sets` for many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from volumes.box import Box
from volumes.errors import VolumeError

# In voxels: how far inside a face of a box a cut edge ends, so that rounding leaves the end in the box.
_INSIDE = 1e-6


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A forest of nodes in nanometres; immutable (the arrays are read-only copies).

    Args:
        nodes_nm: (n, 3) zyx positions, n ≥ 1, finite; kept as float64.
        edges: (m, 2) pairs of node indices without cycles; kept as int64. Isolated nodes are allowed.
        radii_nm: (n,) radii, finite and ≥ 0, kept as float32; None when unknown.

    Raises:
        VolumeError: no nodes, a wrong shape, NaN or infinite values, an index outside, or a cycle.
    """

    nodes_nm: np.ndarray
    edges: np.ndarray
    radii_nm: np.ndarray | None = None

    def __post_init__(self) -> None:
        nodes = _checked_nodes(self.nodes_nm)
        edges = _checked_edges(self.edges, len(nodes))
        radii = None if self.radii_nm is None else _checked_radii(self.radii_nm, len(nodes))
        for name, array in (("nodes_nm", nodes), ("edges", edges), ("radii_nm", radii)):
            if array is not None:
                array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def edge_lengths_nm(self) -> np.ndarray:
        """(m,) float64 lengths of the edges in nm."""
        ends = self.nodes_nm[self.edges]
        return np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)

    @property
    def length_nm(self) -> float:
        """Total length of all edges in nm."""
        return float(self.edge_lengths_nm.sum())


def resample_skeleton(skeleton: Skeleton, edge_nm: float) -> Skeleton:
    """Cut every edge into equal pieces no longer than `edge_nm`.

    Args:
        skeleton: any; edges that are short enough stay as they are.
        edge_nm: the longest edge wanted, in nm, above 0.

    Returns:
        A skeleton of the same length whose first nodes are the old ones under their old numbers, and whose
        further nodes lie on the old edges, in the order of those; radii change linearly along an edge.

    Raises:
        VolumeError: `edge_nm` is no number above 0.
    """
    if not (math.isfinite(edge_nm) and edge_nm > 0):
        raise VolumeError(f"skeletons cannot have edges of {edge_nm} nm; give a length above 0")
    # A length that is a whole multiple but for rounding gets no piece more.
    pieces = np.maximum(np.ceil(skeleton.edge_lengths_nm / edge_nm - 1e-9), 1).astype(np.int64)
    nodes, radii = skeleton.nodes_nm, skeleton.radii_nm
    edge, along = _cuts(pieces)
    new_nodes = _between(nodes[skeleton.edges], edge, along[:, None])
    new_radii = None if radii is None else np.append(radii, _between(radii[skeleton.edges], edge, along))
    return Skeleton(
        np.concatenate([nodes, new_nodes]), _chained(skeleton.edges, pieces, len(nodes)), new_radii
    )


def cut_skeleton(skeleton: Skeleton, box: Box, voxel_size_nm: Sequence[float]) -> Skeleton | None:
    """What of a skeleton lies in a box: its nodes, and all path inside, also of edges that only pass through.

    Args:
        skeleton: any.
        box: absolute voxels, zyx, half open.
        voxel_size_nm: zyx.

    Returns:
        The nodes inside in their order, then the ends of edges that were cut, which lie a millionth of
        a voxel inside the face; radii change linearly along an edge. None where neither nodes nor path are in
        the box.
    """
    size = np.asarray(voxel_size_nm, np.float64)
    voxels = np.floor(skeleton.nodes_nm / size)
    kept = np.all((voxels >= box.start) & (voxels < box.stop), axis=1)
    ends, whole = skeleton.nodes_nm[skeleton.edges], kept[skeleton.edges].all(axis=1)
    along = _between_faces(ends, np.array(box.start) * size, np.array(box.stop) * size)
    # Ends that are inside stay where they are.
    along = np.where(kept[skeleton.edges], [0.0, 1.0], along)
    used = whole | (along[:, 0] < along[:, 1])
    fresh = used[:, None] & ~kept[skeleton.edges]
    count, (edge, side) = int(kept.sum()), np.nonzero(fresh)
    if count + len(edge) == 0:
        return None
    at = along[edge, side]
    low_nm, high_nm = (np.array(box.start) + _INSIDE) * size, (np.array(box.stop) - _INSIDE) * size
    new_nodes = np.clip(_between(ends, edge, at[:, None]), low_nm, high_nm)
    edges = (np.cumsum(kept) - 1)[skeleton.edges]
    edges[edge, side] = np.arange(count, count + len(edge))
    radii = skeleton.radii_nm
    if radii is not None:
        radii = np.append(radii[kept], _between(radii[skeleton.edges], edge, at))
    return Skeleton(np.concatenate([skeleton.nodes_nm[kept], new_nodes]), edges[used], radii)


def _between_faces(ends_nm: np.ndarray, low_nm: np.ndarray, high_nm: np.ndarray) -> np.ndarray:
    """(m, 2): from where to where along each edge (0 to 1) it is in a box; an empty stretch if it is not."""
    first, step = ends_nm[:, 0], ends_nm[:, 1] - ends_nm[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        faces = np.stack([(low_nm - first) / step, (high_nm - first) / step])
    within = (first >= low_nm) & (first < high_nm)
    still = step == 0
    enter = np.where(still, np.where(within, 0.0, np.inf), faces.min(axis=0)).max(axis=1, initial=0)
    leave = np.where(still, np.inf, faces.max(axis=0)).min(axis=1, initial=1)
    return np.stack([enter, leave], axis=1)


def _cuts(pieces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The edge that each new node lies on, and how far along it (0 to 1), both in the order of the edges."""
    edge = np.repeat(np.arange(len(pieces)), pieces - 1)
    first = np.cumsum(pieces - 1) - (pieces - 1)
    return edge, (np.arange(len(edge)) - first[edge] + 1) / pieces[edge]


def _between(ends: np.ndarray, edge: np.ndarray, along: np.ndarray) -> np.ndarray:
    return ends[edge, 0] * (1 - along) + ends[edge, 1] * along


def _chained(edges: np.ndarray, pieces: np.ndarray, count: int) -> np.ndarray:
    """(m, 2) edges where each old one leads through its own new nodes, which are numbered from `count` on."""
    total, last = int(pieces.sum()), np.cumsum(pieces) - 1
    inner = np.ones(total, bool)
    inner[last] = False
    chained = np.empty((total, 2), np.int64)
    chained[inner, 1] = np.arange(count, count + inner.sum())
    chained[last, 1] = edges[:, 1]
    chained[1:, 0] = chained[:-1, 1]
    chained[last - pieces + 1, 0] = edges[:, 0]
    return chained


def _checked_nodes(nodes_nm: np.ndarray) -> np.ndarray:
    nodes = np.array(nodes_nm, dtype=np.float64)
    if nodes.size == 0:
        raise VolumeError("a skeleton without nodes; leave it out")
    if nodes.ndim != 2 or nodes.shape[1] != 3:
        raise VolumeError(f"skeleton nodes have shape {nodes.shape}; give (n, 3), zyx in nm")
    bad = ~np.isfinite(nodes).all(axis=1)
    if bad.any():
        raise VolumeError(
            f"skeleton node {int(bad.argmax())} has a NaN or infinite coordinate; remove or repair it"
        )
    return nodes


def _checked_radii(radii_nm: np.ndarray, count: int) -> np.ndarray:
    radii = np.array(radii_nm, dtype=np.float32)
    if radii.shape != (count,) or not (np.isfinite(radii).all() and (radii >= 0).all()):
        raise VolumeError(
            f"skeleton radii must be {count} finite numbers ≥ 0 (nm), one a node; give None if unknown"
        )
    return radii


def _checked_edges(edges: np.ndarray, count: int) -> np.ndarray:
    pairs = np.array(edges).reshape(-1, 2) if np.size(edges) == 0 else np.array(edges)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or (pairs.size and pairs.dtype.kind not in "iu"):
        raise VolumeError(
            f"skeleton edges have shape {pairs.shape} of {pairs.dtype}; give (m, 2) node indices"
        )
    pairs = pairs.astype(np.int64)
    if pairs.size and (pairs.min() < 0 or pairs.max() >= count):
        raise VolumeError(f"skeleton edges name a node outside 0..{count - 1}; check the indices")
    _refuse_cycle(pairs, count)
    return pairs


def _refuse_cycle(edges: np.ndarray, count: int) -> None:
    """A forest has exactly as many components as nodes less edges; anything else closes a loop."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    if connected_components(graph, directed=False, return_labels=False) == count - len(edges):
        return
    first, second = _closing_edge(edges, count)
    raise VolumeError(f"skeleton edge ({first}, {second}) closes a cycle; remove it, a skeleton is a forest")


def _closing_edge(edges: np.ndarray, count: int) -> tuple[int, int]:
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for first, second in edges.tolist():
        if root(first) == root(second):
            return first, second
        parent[root(first)] = root(second)
    raise AssertionError("called on a forest")
