"""Which supervoxels are one neuron: the connected components of the accepted merges.

A neuron's ID is that of its smallest supervoxel. It follows from the members alone, so a neuron keeps it from
run to run as long as that supervoxel stays with it, in whatever order merges come.

Inputs and outputs: supervoxel IDs, uint64; merges as two arrays of IDs, one entry each. Time is linear in
supervoxels and merges as long as the IDs are spread about evenly, as those of a volume are.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from agglomeration.errors import AgglomerationError


def components(ids: np.ndarray, id_a: np.ndarray, id_b: np.ndarray) -> np.ndarray:
    """The neuron of every supervoxel.

    Args:
      ids: (n,) uint64, all supervoxels, ascending, none twice.
      id_a: (m,) uint64, one supervoxel of each merge.
      id_b: (m,) uint64, the other.

    Returns:
      (n,) uint64: the smallest supervoxel that each one is joined with, itself where there is none smaller.

    Raises:
      AgglomerationError: IDs that do not ascend, or a merge of a supervoxel that is not among them.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second = positions_of(ids, id_a), positions_of(ids, id_b)
    merges = coo_array((np.ones(first.size, np.int8), (first, second)), shape=(ids.size, ids.size))
    count, component = connected_components(merges, directed=False)
    smallest = np.empty(count, np.uint64)
    # Of several values for one place the last one stays: here that of the smallest member.
    smallest[component[::-1]] = ids[::-1]
    return smallest[component]


def positions_of(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where IDs stand among all supervoxels.

    Args:
      ids: (n,) uint64, ascending, none twice.
      wanted: (m,) uint64, in any order.

    Returns:
      (m,) int64, indices into `ids`.

    Raises:
      AgglomerationError: `ids` do not ascend, or hold not all that are wanted; names the first.
    """
    if np.any(ids[1:] <= ids[:-1]):
        raise AgglomerationError("supervoxel IDs do not ascend; sort them and leave repeated ones out")
    if wanted.size == 0:
        return np.zeros(0, np.int64)
    found, missing = _look_up(ids, *_buckets(ids), np.ascontiguousarray(wanted, np.uint64))
    if missing >= 0:
        raise AgglomerationError(
            f"supervoxel {wanted[missing]} stands in a merge but not in the table of supervoxels; "
            "find the pairs again, the two are of different segmentations"
        )
    return found


def _buckets(ids: np.ndarray) -> tuple[np.ndarray, np.uint64]:
    """Where the IDs of each bucket begin, and the bits of an ID, counted from the first one, that choose
    within a bucket: about one ID in each, so that a search looks at two places instead of all halvings."""
    if ids.size == 0:
        return np.zeros(2, np.int64), np.uint64(0)
    span = int(ids[-1] - ids[0])
    shift = max(0, span.bit_length() - ids.size.bit_length())
    begins = np.arange((span >> shift) + 1, dtype=np.uint64) << np.uint64(shift)
    return np.append(np.searchsorted(ids - ids[0], begins), ids.size), np.uint64(shift)


@njit(cache=True, nogil=True)
def _look_up(
    ids: np.ndarray, starts: np.ndarray, shift: np.uint64, wanted: np.ndarray
) -> tuple[np.ndarray, int]:
    """Positions of IDs, and the place of the first unknown one among the wanted; -1 = all are known."""
    found = np.empty(wanted.size, np.int64)
    for i in range(wanted.size):
        if ids.size == 0 or wanted[i] < ids[0] or wanted[i] > ids[-1]:
            return found, i
        bucket = (wanted[i] - ids[0]) >> shift
        low, high = starts[bucket], starts[bucket + np.uint64(1)]
        while low < high:
            middle = (low + high) // 2
            if ids[middle] < wanted[i]:
                low = middle + 1
            else:
                high = middle
        if low == ids.size or ids[low] != wanted[i]:
            return found, i
        found[i] = low
    return found, -1
