"""Merges that hold a neuron together by twos and more, and all of which may be wrong.

A cut of a neuron is wrong to be held together if all its merges are wrong; taking these as independent, with
the product of their doubts. So a merge whose doubt is below what is looked for is in no such cut, and its two
supervoxels are taken as one. What is left falls into small pieces that no single merge holds together, and a
tree of minimum cuts of each (Gomory and Hu 1961; made as Gusfield, SIAM J. Comput. 19:143, 1990) names for
any two places the most doubtful cut between them.

Of a piece with more than `MOST_PLACES` places only the most doubtful merges are looked at: a cut costs its
places squared, so that all of them cost what is linear in merges.

Inputs: merges and their doubts. Outputs: cuts, and the lengths on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from proofreading.bridges import bridge_sides
from proofreading.min_cut import minimum_cut

MOST_PLACES = 256
_CERTAIN = 1e-9


class WeakCut(NamedTuple):
    """A cut of several merges.

    Attributes:
      merges: (k,) int64, indices of the merges, the most doubtful one first.
      is_first: (k,) bool: the first supervoxel of a merge is on the first side; that of the first merge is.
      doubt: the probability that all of them are wrong.
      first_nm, second_nm: lengths on the sides.
    """

    merges: np.ndarray
    is_first: np.ndarray
    doubt: float
    first_nm: float
    second_nm: float


def weak_cuts(
    count: int,
    first: np.ndarray,
    second: np.ndarray,
    doubt: np.ndarray,
    lengths_nm: np.ndarray,
    least: float,
) -> Iterator[WeakCut]:
    """Doubtful cuts of neurons by two merges or more; each merge is the first one of one cut at most.

    Args:
      count: of supervoxels.
      first, second: (m,) int64 positions of supervoxels, a merge each; none twice.
      doubt: (m,) float64, probability that a merge is wrong, 0 to 1.
      lengths_nm: (count,) float64, of the supervoxels.
      least: only cuts of this doubt and more, above 0.
    """
    is_open = doubt >= least
    place = _joined(count, first[~is_open], second[~is_open])
    rows = np.flatnonzero(is_open & (place[first] != place[second]))
    a, b = place[first[rows]], place[second[rows]]
    own_nm = np.bincount(place, weights=lengths_nm)
    is_bridge, first_nm, second_nm = bridge_sides(own_nm.size, a, b, own_nm)
    # What hangs on a place by merges that alone hold the neuron together belongs to it.
    nm = own_nm + np.bincount(a, np.where(is_bridge, second_nm, 0.0), own_nm.size)
    nm += np.bincount(b, np.where(is_bridge, first_nm, 0.0), own_nm.size)
    rows, a, b = rows[~is_bridge], a[~is_bridge], b[~is_bridge]
    piece = _joined(own_nm.size, a, b)[a]
    order = np.argsort(piece, kind="stable")
    starts = np.flatnonzero(np.diff(piece[order], prepend=-1, append=-1)) if order.size else np.zeros(1, int)
    best: dict[int, WeakCut] = {}
    for i, j in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        some = order[i:j]
        for cut in _cuts_of_piece(rows[some], a[some], b[some], doubt[rows[some]], nm, least):
            other = best.get(int(cut.merges[0]))
            if other is None or cut.doubt > other.doubt:
                best[int(cut.merges[0])] = cut
    yield from (best[row] for row in sorted(best))


def _cuts_of_piece(
    rows: np.ndarray, a: np.ndarray, b: np.ndarray, doubt: np.ndarray, nm: np.ndarray, least: float
) -> Iterator[WeakCut]:
    """The minimum cuts between the places of a piece, those of enough doubt."""
    places, ends = np.unique(np.stack([a, b], axis=1), return_inverse=True)
    ends = ends.reshape(-1, 2)
    group = _fewer_places(places.size, ends, doubt)
    own_nm = np.bincount(group, weights=nm[places])
    ends = group[ends]
    inner = ends[:, 0] != ends[:, 1]
    rows, ends, doubt = rows[inner], ends[inner], doubt[inner]
    weights = np.maximum(-np.log(np.clip(doubt, _CERTAIN, 1)), _CERTAIN)
    parent = np.zeros(own_nm.size, np.int64)
    for i in range(1, own_nm.size):
        cut = minimum_cut(own_nm.size, ends, weights, np.array([i]), parent[[i]])
        later = np.arange(own_nm.size) > i
        parent[later & cut.side & (parent == parent[i])] = i
        all_wrong = float(np.exp(-weights[cut.edges].sum()))
        if all_wrong < least:
            continue
        chosen = np.flatnonzero(cut.edges)
        chosen = chosen[np.lexsort((rows[chosen], -doubt[chosen]))]
        on_side = cut.side[ends[chosen, 0]]
        is_first = on_side == on_side[0]
        first_nm = float(own_nm[cut.side == on_side[0]].sum())
        yield WeakCut(rows[chosen], is_first, all_wrong, first_nm, float(own_nm.sum()) - first_nm)


def _fewer_places(count: int, ends: np.ndarray, doubt: np.ndarray) -> np.ndarray:
    """(count,) int64: places taken as one by the least doubtful merges, until there are few enough."""
    group = np.arange(count)
    if count <= MOST_PLACES:
        return group
    low, high = 0, doubt.size
    order = np.argsort(doubt, kind="stable")
    while low < high:
        middle = (low + high) // 2
        group = _joined(count, *ends[order[:middle]].T)
        if group.max() < MOST_PLACES:
            high = middle
        else:
            low = middle + 1
    return _joined(count, *ends[order[:low]].T)


def _joined(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(count,) int64: the component of each node, counted from 0."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = (first.astype(np.int32), second.astype(np.int32))
    graph = coo_array((np.ones(first.size, np.int8), pairs), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)
