"""From the objects of overlapping subvolumes to those of the volume.

Each subvolume numbers its objects by itself. Where two subvolumes overlap, two objects are one when each
holds at least a given share of the other's voxels in the overlap. Linked objects are joined by union-find,
also over several subvolumes, and numbered 1, 2, … by their smallest member, ordered by (position of the
subvolume, local ID). So the result depends neither on the order in which subvolumes are worked on nor on
that in which overlaps are compared.

Voxels are seen twice, in `overlap_pairs` and in `relabel`, one overlap or one subvolume at a time; in
between there are only objects and pairs in memory.

Inputs and outputs: labels (z, y, x), 0 = no object; IDs are uint64, counts int64 voxels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numba import njit

from evaluation import contingency
from inference._label_slabs import flat, ids_after, require_label_pair, require_labels, slabs
from volumes import VolumeError

# A table of all IDs up to the largest is used while it is not much larger than the objects or a slab.
_TABLE_ENTRIES = 1 << 20
_SHARE_DENOMINATOR = 10**6


@dataclass(frozen=True)
class OverlapPairs:
    """Pairs of objects that share voxels in the overlap of two subvolumes; ordered by first, then second.

    Attributes:
        first_ids: (n,) uint64, objects of the first subvolume.
        second_ids: (n,) uint64, objects of the second.
        shared: (n,) int64, voxels that both objects hold.
        first_voxels: (n,) int64, voxels of the first object in the overlap.
        second_voxels: (n,) int64, voxels of the second object in the overlap.
    """

    first_ids: np.ndarray
    second_ids: np.ndarray
    shared: np.ndarray
    first_voxels: np.ndarray
    second_voxels: np.ndarray


@dataclass(frozen=True)
class GlobalIds:
    """For every object of every subvolume its ID in the volume.

    Attributes:
        offsets: (subvolumes + 1,) int64; those of subvolume i are `offsets[i]` to `offsets[i + 1]` below.
        local_ids: (n,) uint64, ascending within a subvolume.
        global_ids: (n,) uint64; 0 for an object that was dropped.
    """

    offsets: np.ndarray
    local_ids: np.ndarray
    global_ids: np.ndarray

    def lookup(self, subvolume: int) -> tuple[np.ndarray, np.ndarray]:
        """Local and global IDs of one subvolume's objects, as `relabel` takes them."""
        part = slice(self.offsets[subvolume], self.offsets[subvolume + 1])
        return self.local_ids[part], self.global_ids[part]


def object_voxels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The objects in an array and their sizes, in time linear in the voxels.

    Args:
        labels: (z, y, x), integers of at least 0.

    Returns:
        (n,) uint64 IDs above 0, ascending, and (n,) int64 voxels.

    Raises:
        VolumeError: three axes, whole numbers or labels of at least 0 are missing.
    """
    require_labels("the segmentation", labels)
    objects = contingency(labels, np.broadcast_to(np.uint8(0), labels.shape)).segmented()
    return objects.segment_ids, objects.counts


def overlap_pairs(first: np.ndarray, second: np.ndarray) -> OverlapPairs:
    """Count what objects of two subvolumes share where the subvolumes overlap.

    Args:
        first: labels (z, y, x) of the first subvolume in the overlap, integers of at least 0.
        second: those of the second for the same voxels.

    Returns:
        Every pair of objects that shares a voxel.

    Raises:
        VolumeError: other shapes, dtypes or negative labels.
    """
    require_label_pair(first, second)
    table = contingency(first, second)
    both = (table.segment_ids != 0) & (table.truth_ids != 0)
    return OverlapPairs(
        table.segment_ids[both],
        table.truth_ids[both],
        table.counts[both],
        table.segment_sizes()[both].astype(np.int64),
        table.truth_sizes()[both].astype(np.int64),
    )


def agreeing(pairs: OverlapPairs, min_share: float, min_overlap_voxels: int) -> np.ndarray:
    """The pairs that are one object.

    Above a share of 0.5 an object agrees with at most one of the neighbour's. At 0.5 and below it may agree
    with several; all of them are then joined. Both limits are inclusive, and the share counts as the decimal
    it is written as (0.55 of 100 voxels is 55).

    Args:
        pairs: of one overlap.
        min_share: share of either object's voxels in the overlap that the two must have in common.
        min_overlap_voxels: voxels they must have in common.

    Returns:
        (n, 2) uint64: IDs in the first and the second subvolume.
    """
    share = Fraction(str(min_share)).limit_denominator(_SHARE_DENOMINATOR)
    larger = np.maximum(pairs.first_voxels, pairs.second_voxels)
    agree = pairs.shared * share.denominator >= larger * share.numerator
    agree &= pairs.shared >= min_overlap_voxels
    return np.stack([pairs.first_ids[agree], pairs.second_ids[agree]], axis=1)


def global_ids(objects: Sequence[np.ndarray], edges: Iterable[tuple[int, int, np.ndarray]]) -> GlobalIds:
    """Join linked objects and number them for the whole volume.

    Args:
        objects: for each subvolume the IDs (n,) of its objects, ascending, without 0.
        edges: for overlapping subvolumes i and j, in any order, (i, j, (m, 2) linked IDs in i and in j).

    Returns:
        IDs from 1 without gaps, ascending by each object's smallest (subvolume, local ID).

    Raises:
        VolumeError: IDs that do not ascend from above 0, or a link to an object that is not listed.
    """
    for i, ids in enumerate(objects):
        _require_ascending(i, ids)
    offsets = np.cumsum([0, *(ids.size for ids in objects)], dtype=np.int64)
    parents = np.arange(offsets[-1])
    for i, j, links in edges:
        of_first = offsets[i] + _positions(objects[i], links[:, 0], i)
        of_second = offsets[j] + _positions(objects[j], links[:, 1], j)
        _join(parents, of_first, of_second)
    _settle(parents)
    roots = parents == np.arange(parents.size)
    numbers = np.cumsum(roots).astype(np.uint64)
    local = np.concatenate([np.zeros(0, np.uint64), *(ids.astype(np.uint64) for ids in objects)])
    return GlobalIds(offsets, local, numbers[parents])


def drop_small(ids: GlobalIds, voxels: np.ndarray, min_size: int) -> GlobalIds:
    """Give up the objects that have too few voxels in the whole volume; the others keep their IDs.

    Args:
        ids: of all objects.
        voxels: (n,) int64 beside `ids.local_ids`: voxels of each within its subvolume's core.
        min_size: objects with fewer voxels over all cores get the global ID 0.
    """
    rows = ids.global_ids.astype(np.int64)
    totals = np.zeros(int(rows.max(initial=0)) + 1, np.int64)
    np.add.at(totals, rows, voxels)
    return replace(ids, global_ids=np.where(totals[rows] >= min_size, ids.global_ids, np.uint64(0)))


def shifted(ids: GlobalIds, above: int) -> GlobalIds:
    """The same objects with IDs that begin after another one; dropped ones stay 0.

    Args:
        ids: of all objects.
        above: the highest ID that is taken.

    Raises:
        VolumeError: they leave the range of 64 bits.
    """
    ids_after(above, int(ids.global_ids.max(initial=0)))
    moved = ids.global_ids + np.uint64(above)
    return replace(ids, global_ids=np.where(ids.global_ids > 0, moved, np.uint64(0)))


def relabel(labels: np.ndarray, local_ids: np.ndarray, global_ids: np.ndarray) -> np.ndarray:
    """Write global IDs in the place of a subvolume's own.

    Args:
        labels: (z, y, x), integers of at least 0; 0 stays 0. A view, such as the core of a subvolume, serves.
        local_ids: (n,) ascending, without 0; every label must be among them.
        global_ids: (n,) what takes their place.

    Returns:
        Labels (z, y, x), uint64.

    Raises:
        VolumeError: a label has no global ID, or it is no array of labels.
    """
    require_labels("the segmentation", labels)
    keys = np.concatenate([np.zeros(1, np.uint64), local_ids.astype(np.uint64)])
    values = np.concatenate([np.zeros(1, np.uint64), global_ids.astype(np.uint64)])
    table = _table(keys)
    out = np.empty(labels.shape, np.uint64)
    for part in slabs(labels.shape):
        voxels = flat(labels[part])
        done = _replace_runs(voxels, keys, values, table, out[part].reshape(-1))
        if done < voxels.size:
            raise VolumeError(
                f"object {voxels[done]} has no global ID; reconcile again, with every object listed"
            )
    return out


def _table(keys: np.ndarray) -> np.ndarray:
    """The position of each ID among ascending keys, -1 for none; empty where that would be too large."""
    largest = int(keys[-1])
    if largest >= 4 * keys.size + _TABLE_ENTRIES:
        return np.zeros(0, np.int64)
    table = np.full(largest + 1, -1, np.int64)
    table[keys] = np.arange(keys.size)
    return table


def _require_ascending(subvolume: int, ids: np.ndarray) -> None:
    if ids.size and (ids[0] <= 0 or (ids[1:] <= ids[:-1]).any()):
        raise VolumeError(f"object IDs of subvolume {subvolume} do not ascend from above 0; sort them")


def _positions(ids: np.ndarray, wanted: np.ndarray, subvolume: int) -> np.ndarray:
    ids = ids.astype(np.uint64, copy=False)
    wanted = wanted.astype(np.uint64, copy=False)
    positions = np.searchsorted(ids, wanted)
    missing = positions == ids.size
    missing[~missing] = ids[positions[~missing]] != wanted[~missing]
    if missing.any():
        raise VolumeError(
            f"object {wanted[missing][0]} of subvolume {subvolume} is linked but not among its objects; "
            "compare the overlaps of the same segmentations again"
        )
    return positions


@njit(cache=True, nogil=True)
def _root(parents: np.ndarray, node: int) -> int:
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@njit(cache=True, nogil=True)
def _join(parents: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    """Union-find in which the smallest member is the root, so that the outcome knows no order."""
    for i in range(first.size):
        a, b = _root(parents, first[i]), _root(parents, second[i])
        parents[max(a, b)] = min(a, b)


@njit(cache=True, nogil=True)
def _settle(parents: np.ndarray) -> None:
    """Point every node at its root; parents come before their children."""
    for node in range(parents.size):
        parents[node] = parents[parents[node]]


@njit(cache=True, nogil=True)
def _replace_runs(
    labels: np.ndarray, keys: np.ndarray, values: np.ndarray, table: np.ndarray, out: np.ndarray
) -> int:
    """Replace keys by values, looked up once per run; returns where an unknown key was met, or the end."""
    value = np.uint64(0)
    for i in range(labels.size):
        if i == 0 or labels[i] != labels[i - 1]:
            label = labels[i]
            if table.size:
                position = table[label] if label < np.uint64(table.size) else -1
            else:
                position = np.searchsorted(keys, label)
                if position == keys.size or keys[position] != label:
                    position = -1
            if position < 0:
                return i
            value = values[position]
        out[i] = value
    return labels.size
