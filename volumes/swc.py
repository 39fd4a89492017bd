"""SWC files: one skeleton as text, a line a node (id, type, x, y, z, radius, id of the parent).

SWC speaks x, y, z: it is turned here and nowhere else. SWC names no unit; we write nanometres and say so in
the header (`# unit: nm`), and read files that say nothing as nanometres unless told otherwise (the format's
authors used micrometres, connectomics tools use nanometres).

Writers differ. Read as they lie: parents after their children, several roots, any parent below 0 for a root,
radii of -1 (CATMAID), IDs such as `12.0`, commas or tabs between columns, further columns (Vaa3D), comments
anywhere, a byte order mark, line ends of Windows. Read with a counted warning: nodes that are their own
parent or name a parent 0 that does not exist, which are roots, and radii of NaN (SNT), which are unknown.

Sources: R. C. Cannon et al. 1998, "An on-line archive of reconstructed hippocampal neurons";
https://swc-specification.readthedocs.io
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from volumes.errors import VolumeError, mended
from volumes.skeletons import Skeleton

OnWarning = Callable[[str], None]
# The second µ is the Greek letter, the third one a byte of Latin-1 that is no UTF-8.
_UNITS_NM = {
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", "\ufffdm", "micron", "micrometer", "micrometre"), 1000.0),
}
# `# unit: nm`, and what navis writes: `# Meta: {…, "units": "8 nanometer"}`.
_UNIT_LINE = re.compile(
    r"""\#.*?\bunits?["']?\s*[:=]\s*["']?\s*(?P<count>\d+(?:\.\d*)?\s+)?(?P<unit>[^\s"',}]+)""", re.IGNORECASE
)
_NO_RADIUS = "nodes with a radius of NaN, which counts as unknown"
_OWN_PARENT = "nodes that are their own parent, taken for roots"
_PARENT_ZERO = "nodes with the parent 0, which is no node, taken for roots"


def read_swc(
    path: str | os.PathLike[str], *, unit_nm: float | None = None, on_warning: OnWarning = warnings.warn
) -> Skeleton:
    """Read an SWC file.

    Node order is the order of the lines; the types are dropped. Radii that are unknown (not above 0) become
    0; a file without any positive radius gives `radii_nm` None.

    Args:
        path: the file.
        unit_nm: nanometres per unit of the file, above 0; by default what a `# unit: nm` or `# unit: um`
            line says, nanometres without one.
        on_warning: takes a line about what was read otherwise than it stands there, with counts.

    Returns:
        The skeleton, zyx nanometres.

    Raises:
        VolumeError: missing file, no nodes, a malformed line, an ID used twice, an unknown parent, NaN or a
            cycle; names the file and, where there is one, the line.
    """
    skeleton, oddities = parse_swc(path, unit_nm)
    if skeleton is None:
        raise VolumeError(f"skeleton '{path}' holds no nodes; leave it out or write it again")
    for what, count in oddities.items():
        on_warning(f"skeleton '{path}' has {count} {what}")
    return skeleton


def parse_swc(path: str | os.PathLike[str], unit_nm: float | None) -> tuple[Skeleton | None, Counter[str]]:
    """What `read_swc` reads, for those who gather the warnings of many files.

    Args:
        path: the file.
        unit_nm: nanometres per unit of the file, or None for what it says.

    Returns:
        The skeleton, None where the file holds no nodes; and of each oddity how many nodes have it.

    Raises:
        VolumeError: as of `read_swc`, but for a file without nodes.
    """
    with mended(f"cannot read skeleton '{path}'", "give an SWC text file", OSError):
        lines = Path(path).read_text(encoding="utf-8-sig", errors="replace").splitlines()
    scale = _unit_of(lines, path) if unit_nm is None else _checked_unit(unit_nm)
    rows = [_parse_row(line, f"{path}:{i}") for i, line in enumerate(lines, 1) if line.split("#")[0].strip()]
    oddities: Counter[str] = Counter()
    if not rows:
        return None, oddities
    values = np.array([row[1] for row in rows]) * scale
    radii, unknown = values[:, 3], np.isnan(values[:, 3])
    oddities[_NO_RADIUS] = int(unknown.sum())
    edges = _edges_of_parents([row[0] for row in rows], [row[2] for row in rows], path, oddities)
    radii[unknown | (radii < 0)] = 0
    return _skeleton(values, edges, path), +oddities


def says_unit(path: str | os.PathLike[str]) -> bool:
    """Whether an SWC file names its unit.

    Raises:
        VolumeError: missing file, or an unknown unit.
    """
    with mended(f"cannot read skeleton '{path}'", "give an SWC text file", OSError):
        lines = Path(path).read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return _said_unit(lines, path) is not None


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
    from jobs.pieces import atomic_path

    problem = f"cannot write '{path}'"
    with mended(problem, "choose another place", OSError), atomic_path(path) as temporary:
        temporary.write_text(swc_text(skeleton), encoding="utf-8")


def swc_text(skeleton: Skeleton) -> str:
    """The lines that `write_swc` writes."""
    order, parents = _rooted(skeleton)
    line_of = np.empty(len(order), np.int64)
    line_of[order] = np.arange(1, len(order) + 1)
    radii = np.zeros(len(order)) if skeleton.radii_nm is None else skeleton.radii_nm
    rows = ["# unit: nm", "# id type x y z radius parent"]
    for node in order:
        z, y, x = (repr(float(value)) for value in skeleton.nodes_nm[node])
        parent = -1 if parents[node] < 0 else line_of[parents[node]]
        rows.append(f"{line_of[node]} 0 {x} {y} {z} {float(radii[node])!r} {parent}")
    return "\n".join(rows) + "\n"


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


def _skeleton(values: np.ndarray, edges: np.ndarray, path: object) -> Skeleton:
    """From columns x, y, z and radius; an error names the file."""
    radii = values[:, 3]
    try:
        return Skeleton(values[:, 2::-1], edges, radii if radii.any() else None)
    except VolumeError as error:
        raise VolumeError(f"skeleton '{path}': {error}") from error


def _checked_unit(unit_nm: float, where: str = "") -> float:
    if not (math.isfinite(unit_nm) and unit_nm > 0):
        raise VolumeError(f"{where}a unit of {unit_nm} nm is none; give nanometres per unit, above 0")
    return float(unit_nm)


def _unit_of(lines: Iterable[str], path: object) -> float:
    said = _said_unit(lines, path)
    return 1.0 if said is None else said


def _said_unit(lines: Iterable[str], path: object) -> float | None:
    for match in filter(None, map(_UNIT_LINE.match, map(str.strip, lines))):
        unit = match["unit"].lower().rstrip(".,;")
        if unit == "dimensionless":  # navis, of a neuron whose unit nobody named
            continue
        unit = unit if unit in _UNITS_NM else unit.removesuffix("s")
        if unit not in _UNITS_NM:
            raise VolumeError(
                f"skeleton '{path}' is in unknown unit '{match['unit']}'; use nm or um, or give unit_nm"
            )
        return _checked_unit(float(match["count"] or 1) * _UNITS_NM[unit], f"skeleton '{path}': ")
    return None


def _parse_row(line: str, where: str) -> tuple[int, tuple[float, ...], int]:
    """One line as (id, (x, y, z, radius), parent); columns after the seventh are passed over."""
    try:
        number, _, x, y, z, radius, parent = line.split("#")[0].replace(",", " ").split()[:7]
        row = _whole(number), (float(x), float(y), float(z), float(radius)), _whole(parent)
    except ValueError as error:
        raise VolumeError(
            f"{where}: '{line.strip()[:80]}' is not 'id type x y z radius parent'; repair the line"
        ) from error
    if not all(map(math.isfinite, row[1][:3])) or math.isinf(row[1][3]):
        raise VolumeError(f"{where}: node {row[0]} has a NaN or infinite coordinate; remove or repair it")
    return row


def _whole(text: str) -> int:
    """A whole number, also written as 12.0 or 1.2e1."""
    try:
        return int(text)
    except ValueError:
        value = float(text)
        if not value.is_integer():
            raise
        return int(value)


def _edges_of_parents(ids: list[int], parents: list[int], path: object, oddities: Counter[str]) -> np.ndarray:
    index = {number: i for i, number in enumerate(ids)}
    if len(index) != len(ids):
        twice = next(number for i, number in enumerate(ids) if index[number] != i)
        raise VolumeError(f"skeleton '{path}' uses node id {twice} twice; renumber its nodes")
    pairs = []
    for i, (number, parent) in enumerate(zip(ids, parents, strict=True)):
        if parent == number:
            oddities[_OWN_PARENT] += 1
        elif parent in index:
            pairs.append((i, index[parent]))
        elif parent == 0:
            oddities[_PARENT_ZERO] += 1
        elif parent > 0:
            raise VolumeError(f"skeleton '{path}' names parent {parent}, which is no node; use -1 for a root")
    return np.array(pairs, np.int64).reshape(-1, 2)
