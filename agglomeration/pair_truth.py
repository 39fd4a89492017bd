"""Which pairs of supervoxels are one object in truth.

A supervoxel stands for the true object that most of its labelled voxels belong to. One that is itself a
merger, or lies where little is labelled, stands for none: whether a pair with it should be merged has no
answer, and such pairs are left out of training and of figures.

Inputs: the contingency table of supervoxels and ground truth (`evaluation.contingency`), 0 = none in both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from evaluation import ContingencyTable


class TrueObjects(NamedTuple):
    """The true object of every supervoxel.

    Attributes:
      ids: (n,) uint64, supervoxels, ascending.
      objects: (n,) uint64; 0 = it stands for none.
    """

    ids: np.ndarray
    objects: np.ndarray


class PairTruth(NamedTuple):
    """What is known of pairs.

    Attributes:
      same: (m,) bool, both are parts of one true object.
      known: (m,) bool, both stand for a true object; `same` is False elsewhere.
    """

    same: np.ndarray
    known: np.ndarray

    @property
    def left_out(self) -> int:
        """Pairs of which nothing is known."""
        return int(np.count_nonzero(~self.known))


def true_objects(
    table: ContingencyTable, *, min_share: float = 0.9, min_labelled: float = 0.5
) -> TrueObjects:
    """The true object that each supervoxel stands for.

    Args:
      table: of supervoxels and ground truth, voxels of ground truth 0 included.
      min_share: of its labelled voxels that the object must have.
      min_labelled: share of its voxels that must be labelled.
    """
    table = table.segmented()
    ids, rows = np.unique(table.segment_ids, return_inverse=True)
    is_labelled = table.truth_ids != 0
    total = np.bincount(rows, table.counts, ids.size)
    labelled = np.bincount(rows[is_labelled], table.counts[is_labelled], ids.size)
    # Within a supervoxel the largest part comes first, of equals the one of the smaller object.
    order = np.lexsort((table.truth_ids, -table.counts, rows))
    order = order[is_labelled[order]]
    first = order[np.flatnonzero(np.diff(rows[order], prepend=-1))]
    objects = np.zeros(ids.size, np.uint64)
    clear = table.counts[first] >= min_share * labelled[rows[first]]
    clear &= labelled[rows[first]] >= min_labelled * total[rows[first]]
    objects[rows[first[clear]]] = table.truth_ids[first[clear]]
    return TrueObjects(ids, objects)


def truth_of_pairs(id_a: np.ndarray, id_b: np.ndarray, found: TrueObjects) -> PairTruth:
    """Which pairs are one object.

    Args:
      id_a, id_b: (m,) uint64, supervoxels.
      found: of `true_objects`; a supervoxel that is not listed stands for none.
    """
    first, second = (_objects_of(ids, found) for ids in (id_a, id_b))
    known = (first != 0) & (second != 0)
    return PairTruth((first == second) & known, known)


def _objects_of(wanted: np.ndarray, found: TrueObjects) -> np.ndarray:
    if found.ids.size == 0:
        return np.zeros(wanted.size, np.uint64)
    at = np.minimum(np.searchsorted(found.ids, wanted.astype(np.uint64)), found.ids.size - 1)
    return np.where(found.ids[at] == wanted, found.objects[at], np.uint64(0))
