"""How well two partitions of one volume agree: variation of information, adapted Rand error, coverage.

Everything comes from one sparse contingency table: how many voxels each pair of a segment and a truth object
shares. Tables of blocks merge into the table of the whole, so a volume need not fit in memory
(`evaluation.blockwise`).

Inputs: segmentation and ground truth, integer arrays of one shape (zyx, or any other axes as long as both
have the same). Ground-truth voxels of value 0 are unlabelled and always left out. Segmentation voxels of
value 0 are unsegmented, and there are two conventions for them: counted as one more object (the plain
figures), or left out ("segmented_only"); `background` beside the figures names theirs. Outputs: figures
without unit, entropies in bits.

Sources: variation of information, Meila (2007), J. Multivariate Anal. 98:873; adapted Rand error,
Arganda-Carreras et al. (2015), Front. Neuroanat. 9:142, over pairs of distinct voxels as scikit-image has it
(whose precision and recall come out in each other's place: its issue 6485); the CREMI score of the
challenge of that name (cremi.org).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation._pair_counts import PairCounts
from evaluation.blocks import slabs
from evaluation.checks import require_integers, require_not_negative, require_one_shape
from evaluation.errors import EvaluationError

# What the figures make of unsegmented voxels, in the words of the setting `evaluation.background`.
ONE_OBJECT = "one_object"
LEFT_OUT = "left_out"


@dataclass(frozen=True)
class ContingencyTable:
    """Voxels shared by each pair of a segment and a truth object; pairs that share none are absent.

    Attributes:
        segment_ids: (n,) uint64, ascending.
        truth_ids: (n,) uint64, ascending within one segment.
        counts: (n,) int64 voxels, all above 0.
    """

    segment_ids: np.ndarray
    truth_ids: np.ndarray
    counts: np.ndarray

    @property
    def n_voxels(self) -> int:
        """Voxels counted in the table."""
        return int(self.counts.sum())

    def merge(self, other: ContingencyTable) -> ContingencyTable:
        """The table of the voxels of both, such as two blocks of one volume."""
        return merge_tables([self, other])

    def labelled(self) -> ContingencyTable:
        """The table without ground truth 0."""
        return self._where(self.truth_ids != 0)

    def segmented(self) -> ContingencyTable:
        """The table without segment 0."""
        return self._where(self.segment_ids != 0)

    def without_truth(self, truth_id: int) -> ContingencyTable:
        """The table without the voxels of one truth object."""
        return self._where(self.truth_ids != truth_id)

    def segment_sizes(self) -> np.ndarray:
        """(n,) float64: for each pair, the voxels of its segment over the whole table."""
        return _totals(self.segment_ids, self.counts)

    def truth_sizes(self) -> np.ndarray:
        """(n,) float64: for each pair, the voxels of its truth object over the whole table."""
        return _totals(self.truth_ids, self.counts)

    def _where(self, kept: np.ndarray) -> ContingencyTable:
        return ContingencyTable(self.segment_ids[kept], self.truth_ids[kept], self.counts[kept])


@dataclass(frozen=True)
class AdaptedRand:
    """Agreement over pairs of distinct voxels: are two voxels of one object in one object there, too?

    Attributes:
        error: 1 - F1 of precision and recall; 0 is agreement.
        precision: share of the pairs within one segment that lie within one truth object.
        recall: share of the pairs within one truth object that lie within one segment.
    """

    error: float
    precision: float
    recall: float


def contingency(segmentation: np.ndarray, truth: np.ndarray) -> ContingencyTable:
    """Count how many voxels each segment shares with each truth object, label 0 included.

    Time is linear in the voxels; beyond the table, memory is that of one block of about 2^20 voxels or of
    one section, whichever is larger. Arrays that are read when indexed (h5py) serve as well.

    Args:
        segmentation: integer or boolean labels >= 0 of any shape of at least one axis, such as zyx.
        truth: labels of the same shape.

    Returns:
        The table over all voxels.

    Raises:
        EvaluationError: the shapes differ, or labels are not integers or below 0.
    """
    require_one_shape("segmentation", segmentation, truth)
    require_integers("segmentation", segmentation.dtype)
    require_integers("ground truth", truth.dtype)
    pairs = PairCounts()
    for slab in slabs(segmentation.shape):
        pairs.add(_flat("segmentation", segmentation[slab]), _flat("ground truth", truth[slab]))
    return ContingencyTable(*pairs.pairs())


def merge_tables(tables: Iterable[ContingencyTable]) -> ContingencyTable:
    """The table of the voxels of all tables, such as the blocks of one volume, in whatever order they come.

    Time is linear in the rows of all tables, and memory in those of the result. No tables make an empty one.
    """
    pairs = PairCounts()
    for table in tables:
        pairs.add_counted(table.segment_ids, table.truth_ids, table.counts)
    return ContingencyTable(*pairs.pairs())


def overlap_metrics(segmentation: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """All figures of a segmentation against ground truth; see `table_metrics`.

    Args:
        segmentation: integer labels of any shape, 0 = unsegmented.
        truth: integer labels of the same shape, 0 = unlabelled, left out.

    Raises:
        EvaluationError: see `contingency` and `table_metrics`.
    """
    return table_metrics(contingency(segmentation, truth))


def table_metrics(table: ContingencyTable) -> dict[str, Any]:
    """All figures of a contingency table, in both background conventions.

    Returns:
        `voi_split`, `voi_merge` (bits), `arand`, `arand_precision`, `arand_recall`, `cremi_score` with
        unsegmented voxels as one object, `coverage` (share of labelled voxels that are segmented), and under
        `segmented_only` the same figures over segmented voxels; those are None when nothing is segmented.
        `background` names the convention: "one_object" in the plain figures, "left_out" under
        `segmented_only`.

    Raises:
        EvaluationError: the ground truth has no labelled voxel.
    """
    labelled = table.labelled()
    if labelled.n_voxels == 0:
        raise EvaluationError("the ground truth has no labelled voxel (all 0); check the dataset and the box")
    covered = coverage(labelled)
    plain = _figures(labelled)
    segmented = _figures(labelled.segmented()) if covered else dict.fromkeys(plain)
    return {
        **plain,
        "coverage": covered,
        "background": ONE_OBJECT,
        "segmented_only": {**segmented, "coverage": covered, "background": LEFT_OUT},
    }


def variation_of_information(table: ContingencyTable) -> tuple[float, float]:
    """Split and merge errors as conditional entropies, over every pair in the table.

    Returns:
        (split, merge) in bits: split = H(segmentation | truth), merge = H(truth | segmentation).

    Raises:
        EvaluationError: the table is empty.
    """
    counts = _counts_of_some(table)
    share = counts / counts.sum()
    split = -np.dot(share, np.log2(counts / table.truth_sizes()))
    merge = -np.dot(share, np.log2(counts / table.segment_sizes()))
    return max(0.0, float(split)), max(0.0, float(merge))


def adapted_rand(table: ContingencyTable) -> AdaptedRand:
    """Adapted Rand error over every pair in the table, without the pairs of a voxel with itself.

    Where no object has two voxels there is no pair to get wrong: precision, recall and F1 are 1 then.

    Raises:
        EvaluationError: the table is empty.
    """
    counts = _counts_of_some(table)
    together = float(np.dot(counts, counts - 1))
    in_segments = float(np.dot(counts, table.segment_sizes() - 1))
    in_truth = float(np.dot(counts, table.truth_sizes() - 1))
    f1 = _share(2 * together, in_segments + in_truth)
    return AdaptedRand(1 - f1, _share(together, in_segments), _share(together, in_truth))


def coverage(table: ContingencyTable) -> float:
    """Share of the labelled voxels that carry a segment; 0 when none is labelled."""
    labelled = table.labelled()
    return labelled.segmented().n_voxels / max(1, labelled.n_voxels)


def _figures(table: ContingencyTable) -> dict[str, Any]:
    split, merge = variation_of_information(table)
    rand = adapted_rand(table)
    return {
        "voi_split": split,
        "voi_merge": merge,
        "arand": rand.error,
        "arand_precision": rand.precision,
        "arand_recall": rand.recall,
        "cremi_score": math.sqrt((split + merge) * max(0.0, rand.error)),
    }


def _counts_of_some(table: ContingencyTable) -> np.ndarray:
    """The counts as float64: their squares leave the range of int64 above 3e9 voxels."""
    if table.counts.size == 0:
        raise EvaluationError("there is no voxel to compare; check that both volumes overlap and have labels")
    return table.counts.astype(np.float64)


def _totals(ids: np.ndarray, counts: np.ndarray) -> np.ndarray:
    _, index = np.unique(ids, return_inverse=True)
    return np.bincount(index, weights=counts)[index]


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 1.0


def _flat(what: str, labels: np.ndarray) -> np.ndarray:
    require_not_negative(what, labels, "unsegmented")
    return np.ravel(labels).astype(np.uint64, copy=False)
