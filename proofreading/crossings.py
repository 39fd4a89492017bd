"""Skeleton evidence of mergers inside one supervoxel: two straight paths that cross.

Where two neurites touch side by side and were taken for one object, its skeleton has four arms that leave one
place, and two pairs of them go on straight through it. A branch of a neurite has three.

Inputs: skeletons in nm (zyx). Outputs: the place, and a point on each arm, in nm.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import NamedTuple

import numpy as np

from volumes import Skeleton

# Branch points this near each other are one place; arms are followed this far and have to be this long.
_PLACE_NM = 150.0
_ARM_NM = 250.0
# An arm goes on straight in another one from this angle (cosine) on.
_STRAIGHT = -0.85


class Crossings(NamedTuple):
    """Places where two paths cross; one row each.

    Attributes:
      crossing_of: (n,) uint64, supervoxels.
      crossings_nm: (n, 3) float64, zyx.
      arms_nm: (n, 4, 3) float64: points on the two arms of the first path, then of the second.
      straightness: (n,) float64, of the less straight path: 0 at 90 degrees, 1 where it is straight.
      shares: (n,) float64, of the skeleton's length that is on the arms of the first path.
    """

    crossing_of: np.ndarray
    crossings_nm: np.ndarray
    arms_nm: np.ndarray
    straightness: np.ndarray
    shares: np.ndarray


def joined_crossings(parts: Iterable[Crossings]) -> Crossings:
    """All rows of several tables."""
    empty = Crossings(np.zeros(0, np.uint64), np.zeros((0, 3)), np.zeros((0, 4, 3)), np.zeros(0), np.zeros(0))
    return Crossings(*(np.concatenate(columns) for columns in zip(empty, *parts, strict=True)))


def find_crossings(supervoxel: int, skeleton: Skeleton) -> Crossings:
    """The crossings of one skeleton.

    Args:
      supervoxel: its ID.
      skeleton: a forest.
    """
    partners: list[list[int]] = [[] for _ in skeleton.nodes_nm]
    for first, second in skeleton.edges.tolist():
        partners[first].append(second)
        partners[second].append(first)
    branches = [node for node, near in enumerate(partners) if len(near) > 2]
    rows = []
    for place in _places(skeleton.nodes_nm, branches, partners):
        found = _crossing(skeleton.nodes_nm, partners, place)
        if found is not None:
            rows.append(found)
    if not rows:
        return joined_crossings([])
    points, arms, straightness, shares = zip(*rows, strict=True)
    return Crossings(
        np.full(len(rows), supervoxel, np.uint64),
        np.array(points),
        np.array(arms),
        np.array(straightness),
        np.array(shares),
    )


def _places(nodes_nm: np.ndarray, branches: list[int], partners: list[list[int]]) -> list[set[int]]:
    """Branch points that lie near each other along the skeleton, with the path between them."""
    places, seen = [], set[int]()
    for start in branches:
        if start in seen:
            continue
        place = {start}
        waiting: list[tuple[int, float, tuple[int, ...]]] = [(start, 0.0, (start,))]
        visited = {start}
        while waiting:
            node, away, path = waiting.pop()
            for other in partners[node]:
                length = away + float(np.linalg.norm(nodes_nm[other] - nodes_nm[node]))
                if other in visited or length > _PLACE_NM:
                    continue
                visited.add(other)
                if len(partners[other]) > 2:
                    place.update((*path, other))
                    waiting.append((other, 0.0, (other,)))
                else:
                    waiting.append((other, length, (*path, other)))
        seen |= {node for node in place if len(partners[node]) > 2}
        places.append(place)
    return places


def _crossing(
    nodes_nm: np.ndarray, partners: list[list[int]], place: set[int]
) -> tuple[np.ndarray, np.ndarray, float, float] | None:
    """The two straightest paths through a place; None where there are none."""
    centre = nodes_nm[sorted(place)].mean(axis=0)
    arms = []
    for node in sorted(place):
        for other in partners[node]:
            if other not in place:
                tip, length = _followed(nodes_nm, partners, node, other)
                if length >= _ARM_NM:
                    outward = nodes_nm[tip] - centre
                    arms.append(
                        (tip, outward / np.linalg.norm(outward), _beyond(nodes_nm, partners, node, other))
                    )
    best: tuple[float, tuple[int, int, int, int]] | None = None
    for first in combinations(range(len(arms)), 2):
        for second in combinations(range(first[0] + 1, len(arms)), 2):
            if set(first) & set(second):
                continue
            bend = max(float(arms[i][1] @ arms[j][1]) for i, j in (first, second))
            if bend <= _STRAIGHT and (best is None or bend < best[0]):
                best = bend, (*first, *second)
    if best is None:
        return None
    bend, chosen = best
    lengths = [arms[i][2] for i in chosen]
    points = nodes_nm[[arms[i][0] for i in chosen]]
    return centre, points, -bend, float(sum(lengths[:2]) / sum(lengths))


def _followed(nodes_nm: np.ndarray, partners: list[list[int]], before: int, node: int) -> tuple[int, float]:
    """The node at the end of an arm's first stretch, and the stretch's length; it ends at a branch."""
    length = float(np.linalg.norm(nodes_nm[node] - nodes_nm[before]))
    while length < _ARM_NM and len(partners[node]) == 2:
        following = partners[node][0] if partners[node][1] == before else partners[node][1]
        length += float(np.linalg.norm(nodes_nm[following] - nodes_nm[node]))
        before, node = node, following
    return node, length


def _beyond(nodes_nm: np.ndarray, partners: list[list[int]], before: int, node: int) -> float:
    """The length of all that hangs on an arm."""
    total, waiting = 0.0, [(before, node)]
    while waiting:
        before, node = waiting.pop()
        total += float(np.linalg.norm(nodes_nm[node] - nodes_nm[before]))
        waiting += [(node, other) for other in partners[node] if other != before]
    return total
