"""What neurons are called after an edit: as few of them as possible change their IDs.

- Of neurons that become one, that with most voxels keeps its ID; of equal ones the smaller ID stays.
- Of a neuron that falls into parts, that with most voxels keeps the ID; of equal ones that with the smaller
  supervoxel.
- A part that keeps none is called by its smallest supervoxel whose ID is free, so that a neuron that was
  joined to another and parted again has its old ID back. An ID is free as long as no neuron has it; when the
  neuron of that name is given up while it does not hold the supervoxel, the ID stays taken.
- Where no supervoxel of a part is free it gets a number counted from that of the edit.

So names follow from the neurons that an edit touches, and from no others: edits of other neurons may come in
any order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Names(NamedTuple):
    """Names after an edit.

    Attributes:
      neurons: (k,) uint64, of every supervoxel.
      free: (k,) bool, whether its own ID is free.
    """

    neurons: np.ndarray
    free: np.ndarray


def names_after(
    ids: np.ndarray,
    voxels: np.ndarray,
    before: np.ndarray,
    free: np.ndarray,
    group: np.ndarray,
    first_new: int,
) -> Names:
    """Names the groups into which the supervoxels of some neurons fall.

    Args:
      ids: (k,) uint64, all supervoxels of these neurons, in any order.
      voxels: (k,) int64, of each.
      before: (k,) uint64, the neuron of each before the edit.
      free: (k,) bool, whether its own ID is free.
      group: (k,) int64, from 0, the group of each after the edit; none is empty.
      first_new: the first of the numbers for groups that get no other name.
    """
    count = int(group.max()) + 1
    smallest = np.full(count, np.iinfo(np.uint64).max)
    np.minimum.at(smallest, group, ids)
    names = _kept(before, voxels, group, smallest)
    free = free.copy()
    given_up = np.setdiff1d(before, names)
    free[np.isin(ids, given_up)] = True
    for each in sorted(np.flatnonzero(names == 0).tolist(), key=smallest.__getitem__):
        mine = np.flatnonzero((group == each) & free)
        if mine.size:
            chosen = mine[np.argmin(ids[mine])]
            names[each], free[chosen] = ids[chosen], False
        else:
            names[each] = first_new
            first_new += 1
    return Names(names[group], free)


def _kept(before: np.ndarray, voxels: np.ndarray, group: np.ndarray, smallest: np.ndarray) -> np.ndarray:
    """(groups,) uint64, the name that each group keeps; 0 = none."""
    names = np.zeros(smallest.size, np.uint64)
    old, which = np.unique(before, return_inverse=True)
    shared, pair = np.unique(which * names.size + group, return_inverse=True)
    sizes = np.bincount(pair, weights=voxels).astype(np.int64)
    whose, there = np.divmod(shared, names.size)
    taken = np.zeros(old.size, bool)
    for i in np.lexsort((smallest[there], old[whose], -sizes)).tolist():
        if not taken[whose[i]] and not names[there[i]]:
            taken[whose[i]], names[there[i]] = True, old[whose[i]]
    return names
