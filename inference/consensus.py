"""Split consensus: objects are kept apart wherever any of several segmentations keeps them apart.

Two segmentations A and B of the same voxels become one. Every pair (a, b) with a ≠ 0 is an object of its
own, (a, 0) included; voxels that A leaves empty stay empty. Of the pairs of one a the largest keeps the ID a
(of equals the one with the smaller b); the others get IDs above the largest of A, ascending by (a, b).
Pairs of fewer than a minimum of voxels become 0, and then no piece may carry the ID a. More segmentations are
folded from the left.

The pieces of a pair need not hang together; `split_components` is a step of its own.

Where the voxels are a subvolume, a piece that reaches one of its faces may go on behind it. At faces given as
`cuts` such pieces are kept whatever their size; who puts the volume together again drops what is small in it.

Inputs and outputs: labels (z, y, x), 0 = no object. Time is linear in the voxels; the pairs are held in
memory, and neighbouring voxels of one pair cost one look-up.

Source: oversegmentation consensus, Januszewski et al. (2018), Nature Methods 15:605.
"""

from __future__ import annotations

from collections.abc import Sequence

import cc3d
import numpy as np
from numba import njit

from evaluation import ContingencyTable, contingency
from inference._label_slabs import flat, ids_after, layers_at, require_label_pair, require_labels, slabs
from jobs.plan import NO_CUTS, Cuts
from volumes import VolumeError

_CONNECTIVITY = 26


def split_consensus(a: np.ndarray, b: np.ndarray, min_size: int, cuts: Cuts = NO_CUTS) -> np.ndarray:
    """The consensus of two segmentations.

    Args:
        a: labels (z, y, x), integers of at least 0; its IDs live on.
        b: labels of the same voxels.
        min_size: pieces of fewer voxels become 0.
        cuts: faces at which a piece is kept whatever its size.

    Returns:
        Labels (z, y, x), uint64.

    Raises:
        VolumeError: other shapes, dtypes or negative labels.
    """
    require_label_pair(a, b)
    table = contingency(a, b)
    objects, starts = np.unique(table.segment_ids, return_index=True)
    starts = np.append(starts, table.counts.size)
    is_kept = table.counts >= min_size
    numbers = np.arange(table.counts.size, dtype=np.uint64)
    for layer in layers_at(a.shape, cuts):
        found = np.empty(a[layer].size, np.uint64)
        _write_pieces(flat(a[layer]), flat(b[layer]), objects, starts, table.truth_ids, numbers, found)
        is_kept[found] = True
    ids = _piece_ids(table, is_kept)
    out = np.empty(a.shape, np.uint64)
    for part in slabs(a.shape):
        piece = out[part].reshape(-1)
        _write_pieces(flat(a[part]), flat(b[part]), objects, starts, table.truth_ids, ids, piece)
    return out


def fold_consensus(segmentations: Sequence[np.ndarray], min_size: int, cuts: Cuts = NO_CUTS) -> np.ndarray:
    """The consensus of several segmentations, folded from the left.

    Args:
        segmentations: at least one, labels (z, y, x) of the same voxels. One alone is its own consensus:
            nothing is cut and nothing dropped.
        min_size: pieces of fewer voxels become 0, after every fold.
        cuts: faces at which a piece is kept whatever its size.

    Returns:
        Labels (z, y, x), uint64; IDs of the first live on.

    Raises:
        VolumeError: none given, other shapes, dtypes or negative labels.
    """
    if not segmentations:
        raise VolumeError("a consensus of no segmentation was asked for; give at least one")
    require_labels("the first segmentation", segmentations[0])
    result = segmentations[0]
    for other in segmentations[1:]:
        result = split_consensus(result, other, min_size, cuts)
    return result.astype(np.uint64, copy=len(segmentations) == 1)


def split_components(labels: np.ndarray, min_size: int, cuts: Cuts = NO_CUTS) -> np.ndarray:
    """Make every connected component (26 neighbours) an object of its own, and drop the small ones.

    The largest component of an object keeps its ID (of equals the one whose first voxel comes first in
    (z, y, x)); the others get IDs above the largest there is, ascending by (ID, first voxel).

    Args:
        labels: (z, y, x), integers of at least 0.
        min_size: components of fewer voxels become 0.
        cuts: faces at which a component is kept whatever its size.

    Returns:
        Labels (z, y, x), uint64.

    Raises:
        VolumeError: three axes, whole numbers or labels of at least 0 are missing.
    """
    require_labels("the segmentation", labels)
    if labels.size == 0:
        return np.zeros(labels.shape, np.uint64)
    native = labels.astype(labels.dtype.newbyteorder("="), copy=False)
    components, count = cc3d.connected_components(native, connectivity=_CONNECTIVITY, return_N=True)
    voxels, first = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    objects = np.zeros(count + 1, np.uint64)
    begin = 0
    for part in slabs(labels.shape):
        members = flat(components[part])
        _measure(members, flat(labels[part]), begin, voxels, first, objects)
        begin += members.size
    is_kept = voxels >= min_size
    for layer in layers_at(labels.shape, cuts):
        is_kept[components[layer]] = True
    # Component 0 is the background, whose object is 0.
    order = np.lexsort((first, -voxels, objects))
    ids = _renumbered(objects, is_kept, order, np.lexsort((first, objects)))
    return ids[components]


def _piece_ids(table: ContingencyTable, is_kept: np.ndarray) -> np.ndarray:
    """The ID (uint64) of each pair of the table, which is ordered by (a, b)."""
    largest_first = np.lexsort((table.truth_ids, -table.counts, table.segment_ids))
    by_pair = np.arange(table.counts.size)
    return _renumbered(table.segment_ids, is_kept, largest_first, by_pair)


def _renumbered(
    objects: np.ndarray, is_kept: np.ndarray, heirs_first: np.ndarray, by_number: np.ndarray
) -> np.ndarray:
    """IDs of the pieces of objects: one heir keeps the object's, the others get new ones, dropped ones 0.

    Args:
        objects: (n,) uint64, the object each piece is of; 0 stays 0.
        is_kept: (n,) bool; the other pieces become 0.
        heirs_first: an order of the pieces by object, in which the heir of each object comes first.
        by_number: the order of the pieces in which new IDs are given out.
    """
    ordered = objects[heirs_first]
    is_heir = np.ones(objects.size, bool)
    is_heir[heirs_first[1:]] = ordered[1:] != ordered[:-1]
    kept = (objects != 0) & is_kept
    ids = np.where(kept & is_heir, objects, np.uint64(0))
    others = by_number[(kept & ~is_heir)[by_number]]
    ids[others] = ids_after(int(objects.max(initial=0)), others.size)
    return ids


@njit(cache=True, nogil=True)
def _write_pieces(
    first: np.ndarray,
    second: np.ndarray,
    objects: np.ndarray,
    starts: np.ndarray,
    partners: np.ndarray,
    ids: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write each voxel's ID, found once per run of equal pairs.

    The partners of object number i are `partners[starts[i] : starts[i + 1]]`, ascending; an object is looked
    for among all of them only where the first segmentation changes.
    """
    row, piece = 0, np.uint64(0)
    for i in range(first.size):
        if i == 0 or first[i] != first[i - 1]:
            row = np.searchsorted(objects, first[i])
        elif second[i] == second[i - 1]:
            out[i] = piece
            continue
        low, high = starts[row], starts[row + 1] - 1
        while low < high:
            middle = (low + high) // 2
            if partners[middle] < second[i]:
                low = middle + 1
            else:
                high = middle
        piece = ids[low]
        out[i] = piece


@njit(cache=True, nogil=True)
def _measure(
    members: np.ndarray,
    labels: np.ndarray,
    begin: int,
    voxels: np.ndarray,
    first: np.ndarray,
    objects: np.ndarray,
) -> None:
    """Add a slab, whose first voxel is number `begin`, to the size, first voxel and object of components."""
    for i in range(members.size):
        component = members[i]
        if voxels[component] == 0:
            first[component] = begin + i
            objects[component] = labels[i]
        voxels[component] += 1
