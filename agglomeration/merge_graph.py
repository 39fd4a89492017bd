"""Which supervoxels are one neuron: the connected components of the accepted merges.

A neuron's ID is that of its smallest supervoxel. It follows from the members alone, so a neuron keeps it from
run to run as long as that supervoxel stays with it, in whatever order merges come.

Inputs and outputs: supervoxel IDs, uint64; merges as two arrays of IDs, one entry each. Time is linear in
supervoxels and merges but for one sort.
"""

from __future__ import annotations

import numpy as np

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
    smallest = np.full(count, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, component, ids)
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
    found = np.searchsorted(ids, wanted)
    known = found < ids.size
    known[known] = ids[found[known]] == wanted[known]
    if not known.all():
        raise AgglomerationError(
            f"supervoxel {wanted[np.argmin(known)]} stands in a merge but not in the table of supervoxels; "
            "find the pairs again, the two are of different segmentations"
        )
    return found
