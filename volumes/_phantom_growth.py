"""Grows the neurites of a phantom: branched centre lines with radii that fill a block of tissue.

Everything here is in nanometres (zyx) and independent of voxels, so that one seed gives a block the same
neurites at every voxel size. The thick things come first (cell bodies, a vessel, dendrites with
spines, medium axons), then thin axons start in the emptiest place again and again, steer through
what is left and take the width they find there, until no gap wider than `fill_gap_nm` remains.

The free space is kept as a field on a coarse grid: the distance of each grid point to the nearest
surface (negative inside). Nodes are spheres; a neurite is a tree of overlapping spheres.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numba
import numpy as np

STEP_NM = 20.0
_REACH_NM = 160.0


@dataclass
class Tree:
    """One cell (or vessel) as spheres: `nodes_nm` (n, 3) zyx, `radii_nm` (n,), `parents` (n,), -1 for roots.

    `kind` is one of soma, vessel, dendrite, axon, thin; `roles` holds one letter a node:
    s soma, d shaft, n spine (neck and head).
    """

    kind: str
    nodes_nm: list[np.ndarray] = field(default_factory=list)
    radii_nm: list[float] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)

    def add(self, node_nm: np.ndarray, radius_nm: float, parent: int, role: str = "d") -> int:
        """Appends a sphere and returns its index."""
        self.nodes_nm.append(np.asarray(node_nm, np.float64))
        self.radii_nm.append(float(radius_nm))
        self.parents.append(parent)
        self.roles.append(role)
        return len(self.parents) - 1


@dataclass(frozen=True)
class Course:
    """How one unbranched piece grows: its width, how straight it runs and how far."""

    radius_nm: float
    min_radius_nm: float
    wobble: float
    drift: float
    max_steps: int
    stop_nm: float  # ends where less room than this is left (negative: squeezes into others)


@numba.njit(nogil=True, cache=True)
def _stamp(field_nm, origin_nm, grid_nm, node_nm, radius_nm, reach_nm):  # type: ignore[no-untyped-def]
    extent = radius_nm + reach_nm
    low = np.empty(3, np.int64)
    high = np.empty(3, np.int64)
    for a in range(3):
        low[a] = max(0, int(np.ceil((node_nm[a] - extent - origin_nm[a]) / grid_nm)))
        high[a] = min(field_nm.shape[a], int((node_nm[a] + extent - origin_nm[a]) / grid_nm) + 1)
    for z in range(low[0], high[0]):
        dz = origin_nm[0] + z * grid_nm - node_nm[0]
        for y in range(low[1], high[1]):
            dy = origin_nm[1] + y * grid_nm - node_nm[1]
            for x in range(low[2], high[2]):
                dx = origin_nm[2] + x * grid_nm - node_nm[2]
                room = np.sqrt(dz * dz + dy * dy + dx * dx) - radius_nm
                if room < field_nm[z, y, x]:
                    field_nm[z, y, x] = room


class FreeSpace:
    """The room left around each point of the block, on a coarse grid."""

    def __init__(self, start_nm: np.ndarray, stop_nm: np.ndarray, grid_nm: float) -> None:
        self.start_nm, self.stop_nm, self.grid_nm = start_nm, stop_nm, grid_nm
        shape = np.ceil((stop_nm - start_nm) / grid_nm).astype(int) + 1
        self.room_nm = np.full(shape, _REACH_NM, np.float32)

    def at(self, points_nm: np.ndarray) -> np.ndarray:
        """Room (nm) at points (n, 3); -inf outside the block."""
        index = np.rint((points_nm - self.start_nm) / self.grid_nm).astype(int)
        inside = np.all((index >= 0) & (index < self.room_nm.shape), axis=1)
        index = np.clip(index, 0, np.array(self.room_nm.shape) - 1)
        return np.where(inside, self.room_nm[tuple(index.T)], -np.inf)

    def occupy(self, tree: Tree) -> None:
        """Takes the room of all spheres of a tree."""
        for node_nm, radius_nm in zip(tree.nodes_nm, tree.radii_nm, strict=True):
            _stamp(self.room_nm, self.start_nm, self.grid_nm, node_nm, radius_nm, _REACH_NM)

    def emptiest(self, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """A point (nm) with the most room, ties broken at random, and that room (nm)."""
        best = float(self.room_nm.max())
        candidates = np.flatnonzero(self.room_nm >= 0.85 * best)
        index = np.unravel_index(candidates[rng.integers(len(candidates))], self.room_nm.shape)
        return self.start_nm + np.array(index) * self.grid_nm, float(self.room_nm[index])


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector(s) scaled to length 1 along the last axis."""
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-9)


def _walk(
    space: FreeSpace, course: Course, start_nm: np.ndarray, heading: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, float]]:
    """Spheres (node, radius) along one piece, steering to where there is room."""
    position, direction, radius = start_nm, heading, course.radius_nm
    for _ in range(course.max_steps):
        trial = unit(direction + course.wobble * rng.standard_normal((14, 3)))
        near = space.at(position + STEP_NM * trial)
        far = space.at(position + 2.5 * STEP_NM * trial)
        cap = 1.5 * course.radius_nm
        leaving = np.isinf(far)
        score = np.minimum(near, cap) + np.where(leaving, cap, np.minimum(far, cap))
        score = score + course.drift * (trial @ heading) + 0.5 * course.drift * (trial @ direction)
        best = int(np.argmax(score))
        if near[best] < course.stop_nm:
            return
        direction = trial[best]
        position = position + STEP_NM * direction
        wanted = np.clip(0.8 * near[best], course.min_radius_nm, course.radius_nm)
        radius = 0.7 * radius + 0.3 * wanted
        yield position, radius


def _extend(
    tree: Tree,
    root: int,
    space: FreeSpace,
    course: Course,
    heading: np.ndarray,
    rng: np.random.Generator,
    role: str = "d",
) -> list[int]:
    """Grows one piece from the node `root`; returns the indices of the new nodes."""
    grown, parent = [], root
    for node_nm, radius_nm in _walk(space, course, tree.nodes_nm[root], heading, rng):
        parent = tree.add(node_nm, radius_nm, parent, role)
        grown.append(parent)
    return grown


def _sideways(heading: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    across = rng.standard_normal(3)
    return unit(across - (across @ heading) * heading)


def _branch(
    tree: Tree,
    trunk: list[int],
    space: FreeSpace,
    course: Course,
    probability: float,
    rng: np.random.Generator,
) -> None:
    """Side branches, thinner than the trunk, at random nodes of it."""
    for index in trunk[5:-5]:
        if rng.random() < probability:
            along = unit(tree.nodes_nm[index] - tree.nodes_nm[tree.parents[index]])
            heading = unit(_sideways(along, rng) + 0.4 * along)
            thinner = Course(max(30.0, 0.6 * tree.radii_nm[index]), 20.0, 0.45, 12.0, 60, -5.0)
            _extend(tree, index, space, thinner, heading, rng)


def _spines(tree: Tree, trunk: list[int], probability: float, rng: np.random.Generator) -> None:
    """Spines of a dendrite: a thin neck and a head, straight out of the shaft."""
    for index in trunk:
        if rng.random() >= probability:
            continue
        along = unit(tree.nodes_nm[index] - tree.nodes_nm[tree.parents[index]])
        out = _sideways(along, rng)
        parent, reach = index, tree.radii_nm[index]
        for _ in range(int(rng.integers(5, 10))):
            reach += 15.0
            parent = tree.add(tree.nodes_nm[index] + reach * out, 24.0, parent, "n")
        head_nm = rng.uniform(45.0, 75.0)
        tree.add(tree.nodes_nm[index] + (reach + 0.6 * head_nm) * out, head_nm, parent, "n")


def _grow_through(
    kind: str, start_nm: np.ndarray, space: FreeSpace, course: Course, rng: np.random.Generator
) -> tuple[Tree, list[int]]:
    """A tree that grows both ways from a point; returns it with its trunk."""
    heading = unit(rng.standard_normal(3))
    room = float(space.at(start_nm[None])[0])
    tree = Tree(kind)
    root = tree.add(start_nm, float(np.clip(0.8 * room, course.min_radius_nm, course.radius_nm)), -1)
    trunk = _extend(tree, root, space, course, heading, rng)
    trunk += _extend(tree, root, space, course, -heading, rng)
    return tree, trunk


def grow_cell_body(
    centre_nm: np.ndarray, radius_nm: float, space: FreeSpace, rng: np.random.Generator
) -> Tree:
    """A cell body (one large sphere and a few bumps) with a handful of dendrites leaving it."""
    tree = Tree("soma")
    root = tree.add(centre_nm, radius_nm, -1, "s")
    for _ in range(6):
        bump = unit(rng.standard_normal(3)) * 0.35 * radius_nm
        tree.add(centre_nm + bump, 0.75 * radius_nm, root, "s")
    for _ in range(int(rng.integers(3, 6))):
        heading = unit(rng.standard_normal(3))
        foot = tree.add(centre_nm + 0.8 * radius_nm * heading, 0.4 * radius_nm, root, "s")
        trunk = _extend(tree, foot, space, Course(95.0, 60.0, 0.2, 60.0, 200, 0.0), heading, rng)
        _spines(tree, trunk, 0.10, rng)
    space.occupy(tree)
    return tree


def grow_vessel(radius_nm: float, space: FreeSpace, rng: np.random.Generator) -> Tree:
    """A blood vessel that crosses the block."""
    centre = 0.5 * (space.start_nm + space.stop_nm)
    span = space.stop_nm - space.start_nm
    heading = unit(rng.standard_normal(3))
    off_centre = _sideways(heading, rng) * 0.3 * float(span.min())
    tree = Tree("vessel")
    root = tree.add(centre + off_centre, radius_nm, -1)
    for sign in (1.0, -1.0):
        _extend(tree, root, space, Course(radius_nm, radius_nm, 0.06, 200.0, 500, -60.0), sign * heading, rng)
    space.occupy(tree)
    return tree


def grow_dendrite(start_nm: np.ndarray, radius_nm: float, space: FreeSpace, rng: np.random.Generator) -> Tree:
    """A thick dendrite with branches and spines."""
    tree, trunk = _grow_through(
        "dendrite", start_nm, space, Course(radius_nm, 50.0, 0.22, 60.0, 400, 25.0), rng
    )
    _branch(tree, trunk, space, Course(60.0, 25.0, 0.4, 20.0, 60, 0.0), 0.03, rng)
    _spines(tree, trunk, 0.12, rng)
    space.occupy(tree)
    return tree


def grow_axon(start_nm: np.ndarray, radius_nm: float, space: FreeSpace, rng: np.random.Generator) -> Tree:
    """An axon of medium width, branching now and then."""
    tree, trunk = _grow_through("axon", start_nm, space, Course(radius_nm, 28.0, 0.3, 40.0, 400, 12.0), rng)
    _branch(tree, trunk, space, Course(40.0, 20.0, 0.4, 20.0, 60, 0.0), 0.02, rng)
    space.occupy(tree)
    return tree


def grow_thin(start_nm: np.ndarray, radius_nm: float, space: FreeSpace, rng: np.random.Generator) -> Tree:
    """A thin axon that winds through the gaps and swells where it finds room."""
    tree, trunk = _grow_through("thin", start_nm, space, Course(radius_nm, 20.0, 0.4, 20.0, 400, 4.0), rng)
    _branch(tree, trunk, space, Course(30.0, 16.0, 0.5, 14.0, 40, 4.0), 0.015, rng)
    space.occupy(tree)
    return tree
