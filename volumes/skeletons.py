"""`Skeleton`: the centre line of one neuron as a forest of nodes, and its SWC files.

Nodes are in nanometres, zyx, like everything in this repository. SWC speaks x, y, z: it is turned
here, in `read_swc` and `write_swc`, and nowhere else. SWC names no unit; we write nanometres and say
so in the header (`# unit: nm`), and read files without such a line as nanometres unless told otherwise
(the format's authors used micrometres, connectomics tools use nanometres).

Source of the format: R. C. Cannon et al. 1998, "An on-line archive of reconstructed hippocampal neurons".
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volumes.errors import VolumeError, mended

_UNITS_NM = {"nm": 1.0, "um": 1000.0, "µm": 1000.0, "micrometer": 1000.0, "nanometer": 1.0}
_UNIT_LINE = re.compile(r"#\s*units?\s*[:=]\s*(\S+)", re.IGNORECASE)


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


def read_swc(path: str | os.PathLike[str], *, unit_nm: float | None = None) -> Skeleton:
    """Read an SWC file (columns: id, type, x, y, z, radius, parent id; -1 for a root).

    Node order is the order of the lines; the types are dropped. A file without any positive radius
    gives `radii_nm` None.

    Args:
        path: the file.
        unit_nm: nanometres per unit of the file; by default what a `# unit: nm` or `# unit: um` line
            says, nanometres without one.

    Returns:
        The skeleton, zyx nanometres.

    Raises:
        VolumeError: missing file, no nodes, a malformed line, an unknown parent, NaN or a cycle; names
            the file and the line.
    """
    with mended(f"cannot read skeleton '{path}'", "give an SWC text file", OSError, ValueError):
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    scale = _unit_of(lines, path) if unit_nm is None else float(unit_nm)
    rows = [_parse_row(line, f"{path}:{i}") for i, line in enumerate(lines, 1) if line.split("#")[0].strip()]
    if not rows:
        raise VolumeError(f"skeleton '{path}' holds no nodes; leave it out or write it again")
    values = np.array([row[1] for row in rows]) * scale
    edges = _edges_of_parents([row[0] for row in rows], [row[2] for row in rows], path)
    radii = values[:, 3]
    try:
        return Skeleton(values[:, 2::-1], edges, radii.clip(0) if (radii > 0).any() else None)
    except VolumeError as error:
        raise VolumeError(f"skeleton '{path}': {error}") from error


def write_swc(path: str | os.PathLike[str], skeleton: Skeleton) -> None:
    """Write a skeleton as SWC in nanometres; the file appears whole or not at all.

    Lines are renumbered so that a parent comes before its children, as strict readers want: the graph
    is kept, the order of nodes need not be. Unknown radii are written as 0.

    Args:
        path: the file to make or replace.
        skeleton: what to write; its values survive a round trip exactly (radii as float32).

    Raises:
        VolumeError: the file cannot be written.
    """
    order, parents = _rooted(skeleton)
    line_of = np.empty(len(order), np.int64)
    line_of[order] = np.arange(1, len(order) + 1)
    radii = np.zeros(len(order)) if skeleton.radii_nm is None else skeleton.radii_nm
    rows = ["# unit: nm", "# id type x y z radius parent"]
    for node in order:
        z, y, x = (repr(float(value)) for value in skeleton.nodes_nm[node])
        parent = -1 if parents[node] < 0 else line_of[parents[node]]
        rows.append(f"{line_of[node]} 0 {x} {y} {z} {float(radii[node])!r} {parent}")
    _write_text(path, "\n".join(rows) + "\n")


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


def _rooted(skeleton: Skeleton) -> tuple[list[int], list[int]]:
    """The nodes in an order with parents first, and the parent of each node (-1 for a root)."""
    neighbours: list[list[int]] = [[] for _ in skeleton.nodes_nm]
    for first, second in skeleton.edges.tolist():
        neighbours[first].append(second)
        neighbours[second].append(first)
    parents = [-2] * len(neighbours)
    order: list[int] = []
    for start in range(len(neighbours)):
        stack = [(start, -1)] if parents[start] == -2 else []
        while stack:
            node, parents_node = stack.pop()
            parents[node] = parents_node
            order.append(node)
            stack += [(other, node) for other in reversed(neighbours[node]) if other != parents_node]
    return order, parents


def _unit_of(lines: Iterable[str], path: object) -> float:
    for line in lines:
        match = _UNIT_LINE.match(line.strip())
        if match and match[1].lower().rstrip("s.,;") in _UNITS_NM:
            return _UNITS_NM[match[1].lower().rstrip("s.,;")]
        if match:
            raise VolumeError(
                f"skeleton '{path}' is in unknown unit '{match[1]}'; use nm or um, or give unit_nm"
            )
    return 1.0


def _parse_row(line: str, where: str) -> tuple[int, tuple[float, ...], int]:
    """One line as (id, (x, y, z, radius), parent)."""
    columns = line.split("#")[0].split()
    try:
        number, _, *values, parent = columns
        row = int(number), tuple(map(float, values)), int(parent)
        if len(values) != 4:
            raise ValueError("wrong number of columns")
    except ValueError as error:
        raise VolumeError(
            f"{where}: '{line.strip()}' is not 'id type x y z radius parent'; repair the line"
        ) from error
    if not all(map(math.isfinite, row[1])):
        raise VolumeError(f"{where}: node {row[0]} has a NaN or infinite coordinate; remove or repair it")
    return row


def _edges_of_parents(ids: list[int], parents: list[int], path: object) -> np.ndarray:
    index = {number: i for i, number in enumerate(ids)}
    if len(index) != len(ids):
        twice = next(number for i, number in enumerate(ids) if index[number] != i)
        raise VolumeError(f"skeleton '{path}' uses node id {twice} twice; renumber its nodes")
    lost = [parent for parent in parents if parent >= 0 and parent not in index]
    if lost:
        raise VolumeError(f"skeleton '{path}' names parent {lost[0]}, which is no node; use -1 for a root")
    pairs = [(i, index[parent]) for i, parent in enumerate(parents) if parent >= 0]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _write_text(path: str | os.PathLike[str], text: str) -> None:
    from jobs.pieces import atomic_path

    problem = f"cannot write '{path}'"
    with mended(problem, "choose another place", OSError), atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
