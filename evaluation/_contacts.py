"""Where point sets come closest: as many pairs of sets as join them all, each with its closest two points.

The pairs are a minimum spanning tree: of all trees that join the sets one whose closest points are least far
apart, so that in a row of sets neighbours are paired. It is found by Boruvka's rounds, in which every group
of sets takes the pair that leads out of it at the least distance. That distance comes from KD-trees: groups
are numbered, two groups differ in a bit of their numbers, and for each bit the points with it are sought
among those without it, and the other way round.

The tree is chosen among at most `MOST_POINTS` points, evenly thinned from each set when there are more. The
two points of a chosen pair are the closest of all. Two sets of n points take a time of n log n; k sets of n
points in all take that, and at most log^2 k times as long for the chosen points. Points at one position go
into a KD-tree once: it cannot tell them apart, and would look through all of them at every query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import DisjointSet
from scipy.spatial import KDTree

MOST_POINTS = 1 << 15


@dataclass(frozen=True, eq=False)
class Contact:
    """The closest two points of two sets.

    Attributes:
        first, second: the sets, first < second.
        first_nm, second_nm: (3,) float64, a point of each.
    """

    first: int
    second: int
    first_nm: np.ndarray
    second_nm: np.ndarray


def contacts(sets_nm: Sequence[np.ndarray], joined: Sequence[tuple[int, int]] = ()) -> list[Contact]:
    """The closest points of pairs of sets that join all sets.

    Args:
        sets_nm: (n_i, 3) float64 points each, none empty.
        joined: pairs of sets that are joined already.

    Returns:
        One contact less than there are sets, or groups of joined sets; in ascending order of the sets.
    """
    if len(sets_nm) < 2:
        return []
    distinct = [points[_distinct(points)] for points in sets_nm]
    if len(sets_nm) == 2 and not joined:
        pairs = [(0, 1)]
    else:
        pairs = sorted(_spanning_pairs(_thinned(distinct), joined))
    trees: dict[int, KDTree] = {}
    return [_contact(distinct, first, second, trees) for first, second in pairs]


def _distinct(points: np.ndarray) -> np.ndarray:
    """(m,) int64 indices of points, one at each position."""
    order = np.lexsort(points.T)
    in_order = points[order]
    is_new = np.ones(len(points), bool)
    is_new[1:] = (in_order[1:] != in_order[:-1]).any(axis=1)
    return order[is_new]


def _contact(sets_nm: Sequence[np.ndarray], first: int, second: int, trees: dict[int, KDTree]) -> Contact:
    """Seek the smaller set in the larger: over a tree of sets, each point is then sought few times."""
    small, large = sorted((first, second), key=lambda index: len(sets_nm[index]))
    if large not in trees:
        trees[large] = KDTree(sets_nm[large])
    apart_nm, nearest = trees[large].query(sets_nm[small])
    best = int(np.argmin(apart_nm))
    ends = {small: sets_nm[small][best], large: sets_nm[large][nearest[best]]}
    return Contact(first, second, ends[first], ends[second])


def _thinned(sets_nm: Sequence[np.ndarray]) -> list[np.ndarray]:
    step = -(-sum(map(len, sets_nm)) // MOST_POINTS)
    return [points[::step] for points in sets_nm]


def _spanning_pairs(sets_nm: Sequence[np.ndarray], known: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    points = np.concatenate(sets_nm)
    set_of = np.repeat(np.arange(len(sets_nm)), [len(points) for points in sets_nm])
    joined = DisjointSet(range(len(sets_nm)))
    for pair in known:
        joined.merge(*pair)
    pairs: set[tuple[int, int]] = set()
    while joined.n_subsets > 1:
        _, group_of_set = np.unique([joined[index] for index in range(len(sets_nm))], return_inverse=True)
        group = group_of_set[set_of]
        apart_nm, nearest = _nearest_of_others(points, group)
        low, high = np.minimum(set_of, set_of[nearest]), np.maximum(set_of, set_of[nearest])
        order = np.lexsort((high, low, apart_nm, group))
        for best in order[np.unique(group[order], return_index=True)[1]]:
            # Two groups mostly name the same pair, and at equal distances several may name a ring.
            if joined.merge(int(low[best]), int(high[best])):
                pairs.add((int(low[best]), int(high[best])))
    return pairs


def _nearest_of_others(points: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each point the distance to the nearest point of another group, and which that is."""
    apart_nm = np.full(len(points), np.inf)
    nearest = np.zeros(len(points), np.int64)
    for bit in range(int(group.max()).bit_length()):
        has = (group >> bit & 1).astype(bool)
        for side in (has, ~has):
            asking, asked = np.flatnonzero(side), np.flatnonzero(~side)
            asked = asked[_distinct(points[asked])]
            found_nm, index = KDTree(points[asked]).query(points[asking])
            closer = found_nm < apart_nm[asking]
            apart_nm[asking[closer]] = found_nm[closer]
            nearest[asking[closer]] = asked[index[closer]]
    return apart_nm, nearest
