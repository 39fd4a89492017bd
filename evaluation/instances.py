"""How many objects are found: instances matched one to one at a threshold of their overlap.

Everything comes from a contingency table (`evaluation.overlap`), label 0 included. The overlap of a segment
and a true object is the intersection over the union of their voxels (IoU). A match has IoU >= the threshold;
a segment or an object has one match at most. Above 0.5 an object can have no more than one candidate; at 0.5
and below, as many pairs as possible are matched, and among such matchings the one of the largest sum of IoU
is taken (an assignment problem, as the Hungarian method solves it).

Label 0 is background on either side and never an object: voxels of a segment on background count in its
union. Where 0 means that nobody has labelled a voxel, take `table.labelled()` first.

Precision is the share of segments that are matched, recall the share of true objects; of no segments or no
objects it is None, as 0/0 is everywhere in this package's voxel metrics.

Sources: matching and the figure TP / (TP + FP + FN) averaged over IoU thresholds 0.5, 0.55 … 0.95 as in the
2018 Data Science Bowl (Caicedo et al. 2019, Nat. Methods 16:1247); it is not the ranked average precision
of detectors, since segments have no score.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from evaluation._ratios import mean_defined, ratio
from evaluation.errors import EvaluationError
from evaluation.overlap import ContingencyTable
from evaluation.voxelwise import ConfusionMatrix, class_metrics

if TYPE_CHECKING:
    from jobs.progress import Progress
    from volumes import Box, Volume

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@dataclass(frozen=True)
class InstanceMatches:
    """Segments matched to true objects at one threshold.

    Attributes:
        segment_ids: (n,) uint64, ascending.
        truth_ids: (n,) uint64, the object of each.
        iou: (n,) float64, their overlap.
        n_segments: segments there are, matched or not.
        n_truth: true objects there are.
        threshold: of the IoU.
    """

    segment_ids: np.ndarray
    truth_ids: np.ndarray
    iou: np.ndarray
    n_segments: int
    n_truth: int
    threshold: float

    def figures(self) -> dict[str, float | int | None]:
        """Counts and ratios for metrics.json; see `instance_metrics`."""
        matched = int(self.iou.size)
        return {
            "threshold": self.threshold,
            "precision": ratio(matched, self.n_segments),
            "recall": ratio(matched, self.n_truth),
            "f1": ratio(2 * matched, self.n_segments + self.n_truth),
            "mean_matched_iou": mean_defined(self.iou.tolist()),
            "accuracy": ratio(matched, self.n_segments + self.n_truth - matched),
            "n_matched": matched,
            "n_segments": self.n_segments,
            "n_truth": self.n_truth,
        }


def match_instances(
    table: ContingencyTable, threshold: float = 0.5, *, min_voxels: int = 0
) -> InstanceMatches:
    """Match segments with true objects, one to one.

    Args:
        table: voxels shared by each pair, label 0 (background) included.
        threshold: least IoU of a match, above 0 and up to 1.
        min_voxels: smaller segments and smaller true objects are background, as if their label were 0.

    Raises:
        EvaluationError: the table is empty, or the threshold is out of range.
    """
    _require_threshold(threshold)
    return _matches(_overlaps(table, min_voxels), threshold)


def instance_metrics(
    table: ContingencyTable,
    threshold: float = 0.5,
    *,
    thresholds: Iterable[float] = THRESHOLDS,
    min_voxels: int = 0,
) -> dict[str, Any]:
    """All figures of instances: at one threshold, at several, and averaged over those.

    Args:
        table: voxels shared by each pair, label 0 (background) included.
        threshold: least IoU of a match, above 0 and up to 1.
        thresholds: those to average over.
        min_voxels: smaller segments and smaller true objects are background.

    Returns:
        `threshold`, `precision`, `recall`, `f1`, `mean_matched_iou`, `accuracy` (matched pairs over matched
        pairs, unmatched segments and unmatched objects), `n_matched`, `n_segments`, `n_truth`, `min_voxels`;
        `by_threshold`, a list of the same for each of `thresholds`; and `mean_accuracy`, `mean_f1`, their
        means over `thresholds`. None stands for 0/0.

    Raises:
        EvaluationError: the table is empty, or a threshold is out of range.
    """
    every = list(thresholds)
    for each in (threshold, *every):
        _require_threshold(each)
    overlaps = _overlaps(table, min_voxels)
    by_threshold = [_matches(overlaps, each).figures() for each in every]
    return {
        **_matches(overlaps, threshold).figures(),
        "min_voxels": min_voxels,
        "by_threshold": by_threshold,
        "mean_accuracy": mean_defined(figures["accuracy"] for figures in by_threshold),
        "mean_f1": mean_defined(figures["f1"] for figures in by_threshold),
    }


def compare_instances(
    prediction: Volume,
    truth: Volume,
    box: Box | None = None,
    *,
    threshold: float = 0.5,
    thresholds: Iterable[float] = THRESHOLDS,
    min_voxels: int = 0,
    ignore: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """All figures of the objects of two volumes, and those of their voxels, read block by block.

    Args:
        prediction: found objects, integer labels >= 0; 0 is background.
        truth: true objects, of the same voxel size.
        box: zyx, absolute, inside both; None: all that both hold. Objects are cut off at its faces.
        threshold: least IoU of a match, above 0 and up to 1.
        thresholds: those to average over.
        min_voxels: smaller segments and smaller true objects are background.
        ignore: the true label of voxels to leave out.
        progress: counts voxels.

    Returns:
        The figures of the voxels, of any object against background, as `class_metrics` has them for the
        classes "background" and "object"; `instances`, see `instance_metrics`; and `box`, what was compared,
        as [start, stop] (zyx, voxels).

    Raises:
        EvaluationError: volumes that cannot be compared (see `common_box`), a threshold out of range, or all
            truth ignored.
        VolumeError: a volume cannot be read.
    """
    from evaluation.blockwise import common_box, compare_volumes

    every = list(thresholds)
    for each in (threshold, *every):
        _require_threshold(each)
    box = common_box(prediction, truth, box)
    table = compare_volumes(prediction, truth, box, progress=progress)
    if ignore is not None:
        table = table.without_truth(ignore)
    return {
        **class_metrics(_of_any_object(table), ("background", "object")),
        "instances": instance_metrics(table, threshold, thresholds=every, min_voxels=min_voxels),
        "box": [list(box.start), list(box.stop)],
    }


def _of_any_object(table: ContingencyTable) -> ConfusionMatrix:
    """Voxels of objects and of background, whichever object they belong to."""
    counts = np.zeros((2, 2), np.int64)
    pairs = (table.truth_ids != 0).astype(np.int64), (table.segment_ids != 0).astype(np.int64)
    np.add.at(counts, pairs, table.counts)
    return ConfusionMatrix(counts)


@dataclass(frozen=True)
class _Overlaps:
    """Pairs of a segment and an object with their IoU, and how many there are of each, matched or not."""

    segment_ids: np.ndarray
    truth_ids: np.ndarray
    iou: np.ndarray
    n_segments: int
    n_truth: int


def _overlaps(table: ContingencyTable, min_voxels: int) -> _Overlaps:
    if table.counts.size == 0:
        raise EvaluationError("there is no voxel to compare; check that both volumes overlap and have labels")
    segment_sizes, truth_sizes = table.segment_sizes(), table.truth_sizes()
    is_segment = (table.segment_ids != 0) & (segment_sizes >= min_voxels)
    is_object = (table.truth_ids != 0) & (truth_sizes >= min_voxels)
    both = is_segment & is_object
    shared = table.counts[both]
    return _Overlaps(
        table.segment_ids[both],
        table.truth_ids[both],
        shared / (segment_sizes[both] + truth_sizes[both] - shared),
        np.unique(table.segment_ids[is_segment]).size,
        np.unique(table.truth_ids[is_object]).size,
    )


def _matches(overlaps: _Overlaps, threshold: float) -> InstanceMatches:
    candidates = np.flatnonzero(overlaps.iou >= threshold)
    matched = candidates[
        _assigned(overlaps.segment_ids[candidates], overlaps.truth_ids[candidates], overlaps.iou[candidates])
    ]
    return InstanceMatches(
        overlaps.segment_ids[matched],
        overlaps.truth_ids[matched],
        overlaps.iou[matched],
        overlaps.n_segments,
        overlaps.n_truth,
        threshold,
    )


def _assigned(segments: np.ndarray, objects: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """Which candidate pairs are matched, ascending: those without a rival, and the best set of the others."""
    _, rivals_of_segment = _codes(segments)
    _, rivals_of_object = _codes(objects)
    alone = (rivals_of_segment == 1) & (rivals_of_object == 1)
    if alone.all():
        return np.flatnonzero(alone)
    contested = np.flatnonzero(~alone)
    best = contested[_best_set(segments[contested], objects[contested], iou[contested])]
    return np.sort(np.concatenate([np.flatnonzero(alone), best]))


def _best_set(segments: np.ndarray, objects: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """Of pairs that compete, the largest set without rivals, and of such sets the one of the largest IoU.

    Each segment is assigned one of its objects or, at a higher cost than all IoU together, a stand-in of its
    own: a full assignment of least cost in a sparse matrix.
    """
    row, _ = _codes(segments)
    column, _ = _codes(objects)
    rows, columns = int(row.max()) + 1, int(column.max()) + 1
    own = np.arange(rows)
    cost = np.concatenate([2 - iou, np.full(rows, 2.0 * rows + 2)])
    ends = (np.concatenate([row, own]), np.concatenate([column, columns + own]))
    # Before release 1.15, scipy takes no indices of 64 bits here.
    costs = csr_array((cost, tuple(each.astype(np.int32) for each in ends)), shape=(rows, columns + rows))
    assigned_row, assigned = min_weight_full_bipartite_matching(costs)
    partner = np.empty(rows, np.int64)
    partner[assigned_row] = assigned
    return np.flatnonzero(partner[row] == column)


def _codes(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each entry the rank of its ID, and how often the ID occurs."""
    _, code, count = np.unique(ids, return_inverse=True, return_counts=True)
    return code, count[code]


def _require_threshold(threshold: float) -> None:
    if not 0 < threshold <= 1:
        raise EvaluationError(f"IoU threshold {threshold} is out of range; give one above 0 and up to 1")
