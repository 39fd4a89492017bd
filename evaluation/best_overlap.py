"""Which segment fits each true object best, and how well: intersection over union.

Input: the contingency table of `evaluation.overlap`. Unlabelled voxels (ground truth 0) count nowhere, so the
part of a segment that lies on them does not make its union larger. Unsegmented voxels (segment 0) belong to
the true object, but are no segment that could fit it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.overlap import ContingencyTable


@dataclass(frozen=True)
class BestOverlaps:
    """The best segment of each true object; one segment may be the best of several.

    Attributes:
        truth_ids: (n,) uint64, ascending; every true object of the table.
        segment_ids: (n,) uint64; 0 where no segment shares a voxel with the object.
        iou: (n,) float64, voxels shared by both over voxels in either; 0 for segment 0.
        truth_voxels: (n,) int64, voxels of the true object.
    """

    truth_ids: np.ndarray
    segment_ids: np.ndarray
    iou: np.ndarray
    truth_voxels: np.ndarray


def best_ious(table: ContingencyTable) -> BestOverlaps:
    """For every true object the segment with which its intersection over union is the largest.

    Among equally good segments the smallest ID is taken. Sorting takes most of the time: n log n for n pairs.
    """
    labelled = table.labelled()
    truth_voxels = labelled.truth_sizes()
    # Sizes are whole numbers, which float64 holds exactly below 2^53.
    union = labelled.segment_sizes() + truth_voxels - labelled.counts
    iou = np.where(labelled.segment_ids == 0, 0.0, labelled.counts / union)
    # Of a tie between segment 0 and a segment there is none: a pair in the table shares a voxel.
    order = np.lexsort((labelled.segment_ids, -iou, labelled.truth_ids))
    truth_ids, first = np.unique(labelled.truth_ids[order], return_index=True)
    best = order[first]
    return BestOverlaps(truth_ids, labelled.segment_ids[best], iou[best], truth_voxels[best].astype(np.int64))
