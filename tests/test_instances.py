"""Matched objects equal hand-computed cases, an independent matching, and matching after relabelling."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from evaluation import ContingencyTable, EvaluationError, contingency
from evaluation.instances import THRESHOLDS, compare_instances, instance_metrics, match_instances
from volumes import Box
from volumes.arrays import ArrayVolume

pairs_of_labels = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=5).flatmap(
    lambda shape: st.tuples(*(hnp.arrays(np.uint32, shape, elements=st.integers(0, 5)) for _ in range(2)))
)
some_threshold = st.sampled_from([0.05, 0.1, 0.25, 1 / 3, 0.5, 0.6, 1.0])


def iou_of(segmentation: np.ndarray, truth: np.ndarray) -> tuple[list[int], list[int], np.ndarray]:
    """IDs of segments and objects, and the IoU of each pair, mask by mask."""
    segments = [int(each) for each in np.unique(segmentation) if each]
    objects = [int(each) for each in np.unique(truth) if each]
    iou = np.zeros((len(segments), len(objects)))
    for (i, a), (j, b) in itertools.product(enumerate(segments), enumerate(objects)):
        one, other = segmentation == a, truth == b
        iou[i, j] = np.count_nonzero(one & other) / np.count_nonzero(one | other)
    return segments, objects, iou


def line(*runs: tuple[int, int]) -> np.ndarray:
    """Labels along a line, from (label, length)."""
    labels, lengths = zip(*runs, strict=True)
    return np.repeat(labels, lengths)


def test_figures_by_hand() -> None:
    # Object 1: 10 voxels, 8 of them found by segment 7, which has 2 voxels on background: IoU 8/12.
    # Object 2: 10 voxels in two halves, 8 and 9, each IoU 5/10. Object 3 is missed. Segment 6 is false.
    truth = line((0, 2), (1, 10), (2, 10), (3, 4), (0, 6))
    found = line((7, 10), (0, 2), (8, 5), (9, 5), (0, 4), (6, 6))
    figures = instance_metrics(contingency(found, truth), thresholds=(0.5, 0.6, 0.7))
    assert figures["n_matched"] == 2 and figures["n_segments"] == 4 and figures["n_truth"] == 3
    assert figures["precision"] == 2 / 4 and figures["recall"] == pytest.approx(2 / 3)
    assert figures["f1"] == pytest.approx(4 / 7) and figures["accuracy"] == pytest.approx(2 / 5)
    assert figures["mean_matched_iou"] == pytest.approx((8 / 12 + 0.5) / 2)
    assert [each["n_matched"] for each in figures["by_threshold"]] == [2, 1, 0]
    assert figures["mean_accuracy"] == pytest.approx((2 / 5 + 1 / 6 + 0) / 3)
    assert figures["mean_f1"] == pytest.approx((4 / 7 + 2 / 7 + 0) / 3)
    assert figures["by_threshold"][2]["mean_matched_iou"] is None
    assert figures["threshold"] == 0.5 and figures["min_voxels"] == 0
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_a_match_names_both_objects_and_their_overlap() -> None:
    matches = match_instances(contingency(line((0, 1), (5, 9), (4, 10)), line((2, 10), (9, 10))), 0.9)
    assert matches.segment_ids.tolist() == [4, 5] and matches.truth_ids.tolist() == [9, 2]
    assert matches.iou.tolist() == [1.0, 0.9] and matches.threshold == 0.9


def test_a_low_threshold_matches_as_many_as_possible_before_the_best_overlap() -> None:
    # Segment 1 overlaps objects 1 (6 of 12) and 2 (2 of 10), segment 2 only object 1 (4 of 10): one match of
    # IoU 0.5, or two of 0.2 and 0.4.
    truth = line((1, 10), (2, 4))
    found = line((2, 4), (1, 6), (1, 2), (0, 2))
    matches = match_instances(contingency(found, truth), 0.1)
    assert list(zip(matches.segment_ids, matches.truth_ids, strict=True)) == [(1, 2), (2, 1)]
    assert matches.iou == pytest.approx([2 / 10, 4 / 10])


def test_among_as_many_matches_the_largest_sum_of_overlaps_is_taken() -> None:
    # Two segments on two objects: 6/12 + 6/12 straight, 4/16 + 4/16 crossed.
    truth = line((1, 10), (2, 10))
    found = line((1, 7), (2, 3), (1, 3), (2, 7))
    matches = match_instances(contingency(found, truth), 0.1)
    assert matches.segment_ids.tolist() == matches.truth_ids.tolist() == [1, 2]
    assert matches.iou == pytest.approx([7 / 13, 7 / 13])


@given(pair=pairs_of_labels, threshold=some_threshold)
def test_matches_equal_the_assignment_of_a_dense_matrix(
    pair: tuple[np.ndarray, np.ndarray], threshold: float
) -> None:
    segments, objects, iou = iou_of(*pair)
    matches = match_instances(contingency(*pair), threshold)
    reward = np.where(iou >= threshold, 1 + iou / (2 * max(1, *iou.shape)), 0)
    chosen = [(i, j) for i, j in zip(*linear_sum_assignment(-reward), strict=True) if reward[i, j]]
    assert matches.iou.size == len(chosen)
    assert matches.iou.sum() == pytest.approx(sum(iou[i, j] for i, j in chosen))
    assert np.unique(matches.truth_ids).size == np.unique(matches.segment_ids).size == len(chosen)
    for segment, truth, overlap in zip(matches.segment_ids, matches.truth_ids, matches.iou, strict=True):
        assert overlap == iou[segments.index(segment), objects.index(truth)] >= threshold
    assert matches.n_segments == len(segments) and matches.n_truth == len(objects)


@given(pair=pairs_of_labels, threshold=st.sampled_from([0.51, 0.6, 0.75, 1.0]))
def test_above_one_half_every_candidate_is_a_match(
    pair: tuple[np.ndarray, np.ndarray], threshold: float
) -> None:
    _, _, iou = iou_of(*pair)
    assert match_instances(contingency(*pair), threshold).iou.size == np.count_nonzero(iou >= threshold)


def test_many_objects_that_compete_equal_the_dense_assignment() -> None:
    rng = np.random.default_rng(6)
    truth = np.repeat(np.arange(1, 201), 10)
    found = np.where(rng.random(truth.size) < 0.5, np.roll(truth, 5), truth)
    _, _, iou = iou_of(found, truth)
    reward = np.where(iou >= 0.05, 1 + iou / 400, 0)
    best = reward[linear_sum_assignment(-reward)]
    matches = match_instances(contingency(found, truth), 0.05)
    assert matches.iou.size == np.count_nonzero(best)
    assert matches.iou.sum() == pytest.approx((best[best > 0] - 1).sum() * 400)


@given(pair=pairs_of_labels, seed=st.integers(0, 99), threshold=some_threshold)
def test_other_ids_give_the_same_figures(
    pair: tuple[np.ndarray, np.ndarray], seed: int, threshold: float
) -> None:
    rng = np.random.default_rng(seed)
    ids = [np.append(0, rng.choice(2**62, 5, replace=False).astype(np.uint64) + np.uint64(1)) for _ in pair]
    renamed = contingency(*(names.astype(np.uint64)[each] for names, each in zip(ids, pair, strict=True)))
    same(instance_metrics(renamed, threshold), instance_metrics(contingency(*pair), threshold))


@given(pair=pairs_of_labels, axes=st.permutations(range(3)), cut=st.integers(0, 5))
def test_turned_and_cut_volumes_give_the_same_figures(
    pair: tuple[np.ndarray, np.ndarray], axes: list[int], cut: int
) -> None:
    found, truth = pair
    expected = instance_metrics(contingency(found, truth))
    same(instance_metrics(contingency(found.transpose(axes), truth.transpose(axes))), expected)
    blocks = contingency(found[:cut], truth[:cut]).merge(contingency(found[cut:], truth[cut:]))
    same(instance_metrics(blocks), expected)


@given(pair=pairs_of_labels, threshold=some_threshold)
def test_exchanging_segments_and_objects_exchanges_precision_and_recall(
    pair: tuple[np.ndarray, np.ndarray], threshold: float
) -> None:
    found, truth = pair
    one = instance_metrics(contingency(found, truth), threshold)
    other = instance_metrics(contingency(truth, found), threshold)
    assert one["precision"] == other["recall"] and one["recall"] == other["precision"]
    assert one["f1"] == other["f1"]


@given(pair=pairs_of_labels, least=st.integers(0, 12))
def test_small_objects_are_background(pair: tuple[np.ndarray, np.ndarray], least: int) -> None:
    def without_small(labels: np.ndarray) -> np.ndarray:
        sizes = np.bincount(labels.ravel())
        return np.where(sizes[labels] >= least, labels, 0)

    cleaned = contingency(*(without_small(each) for each in pair))
    expected = {**instance_metrics(cleaned), "min_voxels": least}
    same(instance_metrics(contingency(*pair), min_voxels=least), expected)


@pytest.mark.parametrize(
    ("found", "truth", "expected"),
    [
        ([0, 0], [0, 0], (None, None, None)),
        ([0, 0], [1, 1], (None, 0.0, 0.0)),
        ([1, 1], [0, 0], (0.0, None, 0.0)),
        ([1, 2], [1, 2], (1.0, 1.0, 1.0)),
    ],
    ids=["neither", "nothing found", "nothing there", "all"],
)
def test_no_segments_or_no_objects(found: list[int], truth: list[int], expected: tuple) -> None:
    figures = instance_metrics(contingency(np.array(found), np.array(truth)))
    assert (figures["precision"], figures["recall"], figures["f1"]) == expected


def test_unlabelled_ground_truth_is_left_out_by_the_table() -> None:
    table = contingency(line((1, 20), (2, 10)), line((0, 10), (1, 10), (0, 10)))
    assert instance_metrics(table)["precision"] == 0.5 and instance_metrics(table)["mean_matched_iou"] == 0.5
    labelled = instance_metrics(table.labelled())
    assert labelled["precision"] == labelled["mean_matched_iou"] == 1


def test_thresholds_are_those_of_the_challenge() -> None:
    np.testing.assert_allclose(THRESHOLDS, np.arange(10) * 0.05 + 0.5)


@pytest.mark.parametrize("threshold", [0, -0.5, 1.01, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    table = contingency(np.ones(3, int), np.ones(3, int))
    with pytest.raises(EvaluationError, match=r"is out of range; give one above 0 and up to 1"):
        match_instances(table, threshold)
    with pytest.raises(EvaluationError, match=r"is out of range; give one above 0 and up to 1"):
        instance_metrics(table, thresholds=[0.5, threshold])


def test_an_empty_table_is_refused() -> None:
    empty = ContingencyTable(*(np.zeros(0, dtype) for dtype in (np.uint64, np.uint64, np.int64)))
    with pytest.raises(EvaluationError, match="there is no voxel to compare"):
        match_instances(empty)


def same(ours: dict, expected: dict) -> None:
    """Equal figures; sums of floats may differ in their order."""
    assert len(ours["by_threshold"]) == len(expected["by_threshold"])
    for each, other in zip((ours, *ours["by_threshold"]), (expected, *expected["by_threshold"]), strict=True):
        assert without_list(each) == pytest.approx(without_list(other))


def without_list(figures: dict) -> dict:
    return {name: value for name, value in figures.items() if name != "by_threshold"}


def test_objects_of_volumes_are_matched_in_a_box_with_the_figures_of_their_voxels() -> None:
    rng = np.random.default_rng(4)
    segmentation, truth = (rng.integers(0, 5, (6, 8, 9)).astype(np.uint32) for _ in range(2))
    volumes = [ArrayVolume(each, start=(3, -2, 1)) for each in (segmentation, truth)]
    box = Box((4, 0, 2), (8, 5, 9))
    figures = compare_instances(*volumes, box, threshold=0.2, min_voxels=2, ignore=3)
    found, true = (each[box.slices((3, -2, 1))] for each in (segmentation, truth))
    known = true != 3
    expected = instance_metrics(contingency(found[known], true[known]), 0.2, min_voxels=2)
    same(figures["instances"], expected)
    both = int(((found > 0) & (true > 0) & known).sum())
    assert figures["per_class"]["object"]["recall"] == both / int(((true > 0) & known).sum())
    assert figures["per_class"]["object"]["precision"] == both / int(((found > 0) & known).sum())
    assert figures["n_voxels"] == int(known.sum()) and figures["box"] == [[4, 0, 2], [8, 5, 9]]


def test_volumes_of_objects_that_cannot_be_compared_are_refused() -> None:
    ones = ArrayVolume(np.ones((2, 2, 2), np.uint8))
    with pytest.raises(EvaluationError, match="segmentation .* has dtype float64, but labels are integers"):
        compare_instances(ArrayVolume(np.ones((2, 2, 2))), ones)
    with pytest.raises(EvaluationError, match="IoU threshold 0 is out of range"):
        compare_instances(ones, ones, threshold=0)
    with pytest.raises(EvaluationError, match="no voxel to compare"):
        compare_instances(ones, ones, ignore=1)
