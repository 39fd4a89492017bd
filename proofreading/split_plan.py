"""What a split between two sets of points takes away, planned without changing anything.

As a rule a minimum cut of the neuron's merges. Where points of both sides lie in one supervoxel, that one is
parted first, its merges go to its parts, and the cut is one of the graph with the parts in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from proofreading.edits import Pair, Placed, Point, Route, Split, SupervoxelSplit
from proofreading.errors import ConflictError, ProofreadingError
from proofreading.graph import MergeGraph, new_supervoxel
from proofreading.min_cut import Cut, minimum_cut, weight_of
from proofreading.supervoxel_split import (
    MOST_VOXELS,
    KeptSplit,
    SupervoxelParts,
    contacts,
    edited_labels,
    parts_of,
    side_at,
    split_supervoxel,
)
from volumes import Box, Volume

_MOST_CERTAIN = 1 - 1e-6


@dataclass(frozen=True, eq=False)
class SupervoxelFacts:
    """What is known of a supervoxel that is to be split.

    Attributes:
      volume: the segmentation.
      splits: of supervoxels until now.
      box: around it (absolute).
      edge_points: where its edges were seen, by the other supervoxel.
      soma_centres: of the cell bodies in it, by their ID.
    """

    volume: Volume
    splits: Sequence[KeptSplit]
    box: Box
    edge_points: Mapping[int, Point]
    soma_centres: Mapping[int, Point]


@dataclass(frozen=True, eq=False)
class PlannedSplit:
    """A split that was not done yet.

    Attributes:
      change: what the log would hold.
      parts: two (n,) uint64, ascending, supervoxels on either side.
      cost: weights of the merges taken away, added up.
      voxels: of a supervoxel that is split; None = none is.
    """

    change: Split | SupervoxelSplit
    parts: tuple[np.ndarray, np.ndarray]
    cost: float
    voxels: SupervoxelParts | None


def shared_supervoxel(
    graph: MergeGraph, neuron: int, points_a: Sequence[Placed], points_b: Sequence[Placed]
) -> int | None:
    """The supervoxel with points of both sides; None where there is none.

    Args:
      graph: the neurons.
      neuron: that is to be split.
      points_a: on one side.
      points_b: on the other.

    Raises:
      ConflictError: a supervoxel that is in another neuron.
      ProofreadingError: a side without points, or several such supervoxels.
      UnknownError: there is no such supervoxel.
    """
    if not (points_a and points_b):
        raise ProofreadingError("a split needs at least one point on either side; add some")
    for supervoxel, point in (*points_a, *points_b):
        require_point(point)
        found = graph.neuron_of(supervoxel)
        if found != neuron:
            raise ConflictError(
                f"supervoxel {supervoxel} is in neuron {found}, not in {neuron}; reload what you look at"
            )
    both = sorted(_supervoxels(points_a) & _supervoxels(points_b))
    if len(both) > 1:
        raise ProofreadingError(
            f"supervoxels {both[0]} and {both[1]} both have points of both sides; split one after the other"
        )
    return both[0] if both else None


def require_point(point: Point) -> None:
    """Raises ProofreadingError where a point (nm, zyx) is not three finite numbers."""
    if np.shape(point) != (3,) or not np.isfinite(point).all():
        raise ProofreadingError(f"{point} is no point; give z, y and x in nm")


def plan_cut(
    graph: MergeGraph, neuron: int, points_a: Sequence[Placed], points_b: Sequence[Placed]
) -> PlannedSplit:
    """A split between supervoxels.

    Args:
      graph: the neurons.
      neuron: that is to be split.
      points_a: on one side.
      points_b: on the other; no supervoxel is on both.
    """
    members = graph.members(neuron)
    ids = graph.ids_of(members)
    ends, certainty = graph.edges_among(members)
    place = {supervoxel: i for i, supervoxel in enumerate(ids.tolist())}
    sides = [np.array([place[each] for each in _supervoxels(points)]) for points in (points_a, points_b)]
    cut = minimum_cut(ids.size, ends, weight_of(certainty), sides[0], sides[1])
    change = Split(_pairs(ids, ends[cut.edges]), tuple(points_a), tuple(points_b))
    return PlannedSplit(change, _sides(ids, cut), cut.cost, None)


def plan_supervoxel_split(
    graph: MergeGraph,
    supervoxel: int,
    points_a: Sequence[Placed],
    points_b: Sequence[Placed],
    facts: SupervoxelFacts,
    number: int,
) -> PlannedSplit:
    """A split of a supervoxel, and of its neuron as far as the parts hang together by others.

    Args:
      graph: the neurons.
      supervoxel: that has points of both sides.
      points_a: on one side; those in other supervoxels of the neuron bind the cut.
      points_b: on the other.
      facts: about the supervoxel.
      number: of the edit, from which the new IDs are counted.

    Raises:
      ProofreadingError: the supervoxel is too large, or points of both sides lie at one voxel.
    """
    labels, voxels = _part_voxels(supervoxel, points_a, points_b, facts, number)
    routes = _routes(graph, supervoxel, labels, voxels, facts)
    members = graph.members(graph.neuron_of(supervoxel))
    ids = graph.ids_of(members)
    ends, certainty = graph.edges_among(members)
    gone = int(np.flatnonzero(ids == np.uint64(supervoxel))[0])
    nodes = np.append(ids, np.array(voxels.new_ids, np.uint64))
    place = {each: i for i, each in enumerate(nodes.tolist())}
    at_gone = (ends == gone).any(axis=1)
    joined = {int(ids[other]) for other in ends[at_gone].sum(axis=1) - gone}
    new = [route for route in routes if route.other in joined]
    rerouted = [(place[route.other], ids.size + route.part) for route in new]
    ends = np.concatenate([ends[~at_gone], np.array(rerouted, np.int64).reshape(-1, 2)])
    certainty = np.append(certainty[~at_gone], [route.certainty for route in new])
    sides = [
        np.array([ids.size + part, *(place[each] for each in _supervoxels(points) - {supervoxel})])
        for part, points in enumerate((points_a, points_b))
    ]
    cut = minimum_cut(nodes.size, ends, weight_of(certainty), sides[0], sides[1])
    change = SupervoxelSplit(
        supervoxel,
        parts_of(voxels, _somas(facts, voxels), facts.volume.voxel_size_nm),
        tuple(routes),
        _pairs(nodes, ends[cut.edges]),
        tuple(points_a),
        tuple(points_b),
    )
    is_there = nodes != np.uint64(supervoxel)
    sides_now = (np.sort(nodes[is_there & cut.side]), np.sort(nodes[is_there & ~cut.side]))
    return PlannedSplit(change, sides_now, cut.cost, voxels)


def _part_voxels(
    supervoxel: int,
    points_a: Sequence[Placed],
    points_b: Sequence[Placed],
    facts: SupervoxelFacts,
    number: int,
) -> tuple[np.ndarray, SupervoxelParts]:
    """Labels around a supervoxel, and its two parts."""
    box = facts.box.grow(1).intersect(facts.volume.bounds)
    if box.size > MOST_VOXELS:
        raise ProofreadingError(
            f"supervoxel {supervoxel} spans {box.size} voxels, more than the {MOST_VOXELS} that can be split "
            "at once; segment it anew"
        )
    labels = edited_labels(facts.volume, box, facts.splits)
    size_nm = np.asarray(facts.volume.voxel_size_nm)
    inside = labels == np.uint64(supervoxel)
    at = [
        np.array([np.floor(np.asarray(point) / size_nm) for each, point in points if each == supervoxel])
        - np.array(box.start)
        for points in (points_a, points_b)
    ]
    sides = split_supervoxel(inside, at[0], at[1], facts.volume.voxel_size_nm)
    new_ids = (new_supervoxel(number, 0), new_supervoxel(number, 1))
    return labels, SupervoxelParts(supervoxel, new_ids, box, sides)


def _routes(
    graph: MergeGraph, supervoxel: int, labels: np.ndarray, voxels: SupervoxelParts, facts: SupervoxelFacts
) -> list[Route]:
    """What becomes of every edge that the supervoxel has or ever had."""
    edges = graph.edges_at(graph.position(supervoxel), known=True)
    touching = contacts(labels, voxels.sides)
    size_nm, routes = facts.volume.voxel_size_nm, list[Route]()
    larger = (1, 0) if np.count_nonzero(voxels.sides == 1) >= np.count_nonzero(voxels.sides == 2) else (0, 1)
    for position, certainty in edges.items():
        other = int(graph.ids_of(np.array([position]))[0])
        faces = touching.get(other, (0, 0))
        point = facts.edge_points.get(other)
        if sum(faces) == 0 and point is not None:
            part = side_at(voxels.sides, voxels.box.start, point, size_nm)
            faces = (1 - part, part)
        if sum(faces) == 0:
            # Without any hint the larger part has it.
            faces = larger
        routes += [
            Route(other, part, _share(certainty, count / sum(faces)))
            for part, count in enumerate(faces)
            if count
        ]
    return routes


def _share(certainty: float, share: float) -> float:
    """The certainty of an edge that has a share of another one's weight."""
    return certainty if share == 1 else float(1 - (1 - min(certainty, _MOST_CERTAIN)) ** share)


def _somas(facts: SupervoxelFacts, voxels: SupervoxelParts) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The cell bodies in either part: where their centres are nearest."""
    size_nm = facts.volume.voxel_size_nm
    found: tuple[list[int], list[int]] = ([], [])
    for body, centre in sorted(facts.soma_centres.items()):
        found[side_at(voxels.sides, voxels.box.start, centre, size_nm)].append(body)
    return tuple(found[0]), tuple(found[1])


def _supervoxels(points: Sequence[Placed]) -> set[int]:
    return {supervoxel for supervoxel, _ in points}


def _pairs(ids: np.ndarray, ends: np.ndarray) -> tuple[Pair, ...]:
    pairs = np.sort(ids[ends].reshape(-1, 2), axis=1)
    return tuple((a, b) for a, b in sorted(map(tuple, pairs.tolist())))


def _sides(ids: np.ndarray, cut: Cut) -> tuple[np.ndarray, np.ndarray]:
    return np.sort(ids[cut.side]), np.sort(ids[~cut.side])
