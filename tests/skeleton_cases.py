"""Skeletons and node labels for tests of run lengths and errors: lines, forests, and a slow reference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.erl import run_lengths
from evaluation.node_labels import NodeLabels, node_labels_of
from volumes import Skeleton


@dataclass(frozen=True)
class Case:
    """Skeletons by ID and the segments of their nodes."""

    skeletons: dict[int, Skeleton]
    segments: dict[int, Sequence[int] | np.ndarray]

    @property
    def labels(self) -> NodeLabels:
        return node_labels_of(self.segments)


def line(nodes: int, *, y_nm: float = 0.0, step_nm: float = 10.0) -> Skeleton:
    """Nodes in a row along x, `step_nm` apart, at z = 0."""
    positions = [(0, y_nm, step_nm * node) for node in range(nodes)]
    return Skeleton(np.array(positions, float), np.array([(i, i + 1) for i in range(nodes - 1)]))


def lines(*segments: Sequence[int], apart_nm: float = 100.0) -> Case:
    """Skeletons 1, 2, ... as parallel lines of nodes 10 nm apart, that lie in these segments."""
    skeletons = {i + 1: line(len(row), y_nm=apart_nm * i) for i, row in enumerate(segments)}
    return Case(skeletons, {i + 1: row for i, row in enumerate(segments)})


def random_case(rng: np.random.Generator, *, skeletons: int = 5, nodes: int = 30, segments: int = 9) -> Case:
    """Random forests, with isolated nodes and edges of length 0, in random segments and in none."""
    case = Case({}, {})
    for skeleton_id in rng.choice(1000, int(rng.integers(1, skeletons + 1)), replace=False).tolist():
        count = int(rng.integers(1, nodes + 1))
        parents = [int(rng.integers(-1, node)) if rng.random() < 0.9 else -1 for node in range(count)]
        number = rng.permutation(count)
        edges = [(number[node], number[parent]) for node, parent in enumerate(parents) if parent >= 0]
        positions = rng.normal(0, 100, (count, 3))
        if edges and rng.random() < 0.3:
            positions[edges[0][0]] = positions[edges[0][1]]
        case.skeletons[skeleton_id] = Skeleton(positions, np.array(edges, np.int64).reshape(-1, 2))
        row = rng.integers(0, segments, count)
        # Few segments for long runs, IDs up to the largest.
        repeated = row[np.maximum.accumulate(np.where(rng.random(count) < 0.4, np.arange(count), 0))]
        case.segments[skeleton_id] = repeated.astype(np.uint64) * np.uint64(2**60 + 3)
    return case


def slow_figures(case: Case, tolerance_nodes: int = 0, tolerance_nm: float = 0.0) -> dict[str, Any]:
    """The definition, with a dictionary per quantity and one edge at a time."""
    nodes: dict[tuple[int, int], int] = defaultdict(int)
    path: dict[tuple[int, int], float] = defaultdict(float)
    length: dict[int, float] = defaultdict(float)
    splits = omissions = 0
    for skeleton_id, skeleton in case.skeletons.items():
        row = [int(segment) for segment in case.segments[skeleton_id]]
        for segment in row:
            nodes[skeleton_id, segment] += segment != 0
        for first, second in skeleton.edges.tolist():
            edge_nm = float(np.linalg.norm(skeleton.nodes_nm[first] - skeleton.nodes_nm[second]))
            length[skeleton_id] += edge_nm
            if 0 in (row[first], row[second]):
                omissions += 1
            elif row[first] == row[second]:
                path[skeleton_id, row[first]] += edge_nm
            else:
                splits += 1
    counting: dict[int, int] = defaultdict(int)
    for (skeleton_id, segment), count in nodes.items():
        counting[segment] += count > tolerance_nodes and path[skeleton_id, segment] >= tolerance_nm
    merging = {segment for segment, count in counting.items() if count >= 2}
    whole = sum(length.values())
    squares = sum(run**2 for (_, segment), run in path.items() if segment not in merging)
    return {
        "erl_nm": squares / whole if whole else None,
        "max_erl_nm": sum(one**2 for one in length.values()) / whole if whole else None,
        "splits": splits,
        "omissions": omissions,
        "mergers": sum(counting[segment] - 1 for segment in merging),
        "merging_segments": sorted(merging),
    }


def figures_by(case: Case, **tolerance: Any) -> Mapping[str, float]:
    """ERL, its maximum and their quotient under a tolerance."""
    found = run_lengths(case.skeletons, case.labels, **tolerance)
    return {"erl_nm": found.erl_nm, "max_erl_nm": found.max_erl_nm, "nerl": found.nerl}
