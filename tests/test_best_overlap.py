"""The best segment of each true object, by hand and against all pairs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation import contingency
from evaluation.best_overlap import best_ious


def test_the_best_segment_of_each_object_by_hand() -> None:
    truth = np.array([1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 0, 0])
    segmentation = np.array([7, 7, 7, 8, 8, 8, 0, 0, 0, 0, 7, 7])
    best = best_ious(contingency(segmentation, truth))
    assert best.truth_ids.tolist() == [1, 2, 3]
    assert best.segment_ids.tolist() == [7, 8, 0]
    assert best.iou.tolist() == [3 / 4, 2 / 5, 0]
    assert best.truth_voxels.tolist() == [4, 4, 2]


def test_of_equally_good_segments_the_smallest_id_is_taken() -> None:
    best = best_ious(contingency(np.array([9, 9, 4, 4]), np.array([2**63 + 1] * 4)))
    assert (best.truth_ids.tolist(), best.segment_ids.tolist(), best.iou.tolist()) == (
        [2**63 + 1],
        [4],
        [0.5],
    )


def test_without_labelled_voxels_there_is_no_object() -> None:
    best = best_ious(contingency(np.array([1, 2]), np.zeros(2, int)))
    assert best.truth_ids.size == best.segment_ids.size == best.iou.size == best.truth_voxels.size == 0


small = hnp.arrays(np.uint8, (3, 4, 4), elements=st.integers(0, 4))


@given(segmentation=small, truth=small)
def test_the_best_is_the_best_of_all_segments(segmentation: np.ndarray, truth: np.ndarray) -> None:
    best = best_ious(contingency(segmentation, truth))
    assert best.truth_ids.tolist() == [t for t in range(1, 5) if (truth == t).any()]
    labelled = truth > 0
    for label, segment, iou in zip(best.truth_ids, best.segment_ids, best.iou, strict=True):
        object_ = truth == label
        ious = {
            s: (object_ & (segmentation == s)).sum() / (object_ | (labelled & (segmentation == s))).sum()
            for s in range(1, 5)
        }
        assert iou == max(ious.values())
        assert ious.get(int(segment), 0.0) == iou
