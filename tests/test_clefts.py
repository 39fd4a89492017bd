"""Cleft distances equal brute force, scipy's distance transform, and hand-computed cases."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from evaluation import EvaluationError
from evaluation.clefts import cleft_distances, cremi_clefts

CREMI_NM = (40.0, 4.0, 4.0)
SPREAD = ("mean", "std", "median", "max")
sizes_nm = st.sampled_from([CREMI_NM, (1.0, 1.0, 1.0), (33.3, 4.6, 7.1)])
masks = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6).flatmap(
    lambda shape: st.tuples(
        *(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 1, 2])) for _ in range(3))
    )
)


def nearest_nm(voxels: np.ndarray, targets: np.ndarray, size_nm: tuple[float, ...]) -> np.ndarray:
    """For each voxel of one mask the least distance to one of the other, every pair measured."""
    here, there = (np.argwhere(mask) * np.array(size_nm) for mask in (voxels, targets))
    return np.sqrt(((here[:, None] - there[None]) ** 2).sum(-1)).min(axis=1)


def at(shape: tuple[int, int, int], *points: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(np.array(points).T)] = True
    return mask


def test_distances_by_hand() -> None:
    # Truth at x 0 and x 10. Found: on x 0, one section below it, and 60 voxels from x 10.
    truth = at((3, 1, 100), (0, 0, 0), (0, 0, 10))
    found = at((3, 1, 100), (0, 0, 0), (1, 0, 0), (0, 0, 70))
    figures = cleft_distances(found, truth, CREMI_NM)
    assert figures["adgt_nm"] == pytest.approx((0 + 40 + 240) / 3)
    assert figures["adf_nm"] == pytest.approx((0 + 40) / 2)
    assert figures["cremi_score_nm"] == pytest.approx((280 / 3 + 20) / 2)
    assert figures["found_nm"] == pytest.approx(
        {"mean": 280 / 3, "std": np.std([0, 40, 240]), "median": 40, "max": 240}
    )
    assert figures["n_found"] == 3 and figures["n_true"] == 2
    assert figures["n_false_positive"] == 1 and figures["n_false_negative"] == 0
    assert figures["precision"] == pytest.approx(2 / 3) and figures["recall"] == 1
    assert figures["f1"] == pytest.approx(0.8)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_sections_count_with_their_thickness() -> None:
    truth = at((2, 4, 5), (0, 0, 0))
    figures = cleft_distances(at((2, 4, 5), (1, 3, 4)), truth, (40.0, 4.0, 8.0))
    assert figures["adgt_nm"] == pytest.approx(np.sqrt(40**2 + 12**2 + 32**2), rel=1e-6)


@pytest.mark.parametrize(("x", "false"), [(49, 0), (50, 0), (51, 1)])
def test_exactly_the_threshold_is_not_yet_false(x: int, false: int) -> None:
    figures = cleft_distances(at((1, 1, 60), (0, 0, x)), at((1, 1, 60), (0, 0, 0)), CREMI_NM)
    assert figures["n_false_positive"] == figures["n_false_negative"] == false
    assert figures["threshold_nm"] == 200


def test_a_distance_of_the_threshold_is_not_false_for_voxels_of_broken_lengths() -> None:
    found, truth = at((1, 1, 60), (0, 0, 50)), at((1, 1, 60), (0, 0, 0))
    for size in np.linspace(3.1, 4.9, 19):
        figures = cleft_distances(found, truth, (1.0, 1.0, size), threshold_nm=50 * size)
        assert figures["n_false_positive"] == 0


@given(case=masks, size_nm=sizes_nm)
def test_distances_equal_those_of_all_pairs(case: tuple[np.ndarray, ...], size_nm: tuple) -> None:
    found, truth, unknown = case[0] > 0, case[1] > 0, case[2] > 1
    if unknown.all():
        return
    figures = cleft_distances(case[0], case[1], size_nm, threshold_nm=5.0, ignored=unknown)
    found, truth = found & ~unknown, truth & ~unknown
    assert figures["n_found"] == found.sum() and figures["n_true"] == truth.sum()
    if not (found.any() and truth.any()):
        return
    for mine, other, name, false in (
        (found, truth, "found_nm", "n_false_positive"),
        (truth, found, "true_nm", "n_false_negative"),
    ):
        expected = nearest_nm(mine, other, size_nm)
        measured = [figures[name][figure] for figure in SPREAD]
        values = (expected.mean(), expected.std(), np.median(expected), expected.max())
        assert measured == pytest.approx(values, rel=1e-6, abs=1e-4)
        assert figures[false] == (expected > 5.0).sum()


def test_distances_equal_those_of_scipy_on_blobs() -> None:
    rng = np.random.default_rng(8)
    smooth = [ndimage.gaussian_filter(rng.random((20, 60, 70)), (1, 4, 4)) for _ in range(2)]
    found, truth = (values > np.quantile(values, 0.99) for values in smooth)
    figures = cleft_distances(found, truth, CREMI_NM, threshold_nm=60.0)
    to_truth = ndimage.distance_transform_edt(~truth, sampling=CREMI_NM)[found]
    to_found = ndimage.distance_transform_edt(~found, sampling=CREMI_NM)[truth]
    assert figures["adgt_nm"] == pytest.approx(to_truth.mean(), rel=1e-6)
    assert figures["adf_nm"] == pytest.approx(to_found.mean(), rel=1e-6)
    assert figures["n_false_positive"] == (to_truth > 60).sum() > 0
    assert figures["n_false_negative"] == (to_found > 60).sum() > 0


@given(case=masks, axes=st.permutations(range(3)), seed=st.integers(1, 99))
def test_turning_and_relabelling_change_nothing(
    case: tuple[np.ndarray, ...], axes: list[int], seed: int
) -> None:
    found, truth, _ = case
    size_nm = (40.0, 4.0, 8.0)
    before = cleft_distances(found, truth, size_nm)
    turned = [(each.astype(np.int64) * seed).transpose(axes)[::-1] for each in (found, truth)]
    after = cleft_distances(*turned, tuple(size_nm[axis] for axis in axes))
    assert same_numbers(after, before)
    padded = [np.pad(each, 2) for each in (found, truth)]
    assert same_numbers(cleft_distances(*padded, size_nm), before)


@given(case=masks)
def test_exchanging_both_exchanges_the_distances(case: tuple[np.ndarray, ...]) -> None:
    found, truth, _ = case
    one, other = cleft_distances(found, truth, CREMI_NM), cleft_distances(truth, found, CREMI_NM)
    assert one["adgt_nm"] == other["adf_nm"] and one["n_false_positive"] == other["n_false_negative"]
    assert one["found_nm"] == other["true_nm"] and one["f1"] == other["f1"]


def test_a_perfect_prediction_has_no_distance() -> None:
    truth = np.random.default_rng(9).random((5, 6, 7)) < 0.1
    figures = cleft_distances(truth, truth, CREMI_NM)
    assert figures["cremi_score_nm"] == 0 and figures["f1"] == 1


@pytest.mark.parametrize(
    ("n_found", "n_true", "precision", "recall", "f1"),
    [(0, 0, None, None, None), (0, 3, None, 0, 0), (3, 0, 0, None, 0)],
    ids=["neither", "nothing found", "nothing there"],
)
def test_without_clefts_there_is_no_distance_but_all_others_are_false(
    n_found: int, n_true: int, precision: float | None, recall: float | None, f1: float | None
) -> None:
    found, truth = np.zeros((2, 3, 4), bool), np.zeros((2, 3, 4), bool)
    found.flat[:n_found], truth.flat[:n_true] = True, True
    figures = cleft_distances(found, truth, CREMI_NM)
    assert [figures[name] for name in ("adgt_nm", "adf_nm", "cremi_score_nm")] == [None] * 3
    assert figures["found_nm"] == figures["true_nm"] == dict.fromkeys(SPREAD)
    assert figures["n_false_positive"] == n_found and figures["n_false_negative"] == n_true
    assert (figures["precision"], figures["recall"], figures["f1"]) == (precision, recall, f1)


def test_where_truth_is_not_known_nothing_counts_and_nothing_is_near() -> None:
    unknown = at((1, 1, 30), (0, 0, 5), (0, 0, 20))
    truth = at((1, 1, 30), (0, 0, 0), (0, 0, 20))
    found = at((1, 1, 30), (0, 0, 5), (0, 0, 10))
    figures = cleft_distances(found, truth, CREMI_NM, ignored=unknown)
    assert figures["n_found"] == figures["n_true"] == 1
    assert figures["adgt_nm"] == figures["adf_nm"] == 40


def test_a_file_of_the_challenge_is_read_by_its_marks() -> None:
    no_cleft, unknown, outside = 2**64 - 1, 2**64 - 2, 2**64 - 3
    clefts, ignored = cremi_clefts(np.array([[[no_cleft, 0, 17, unknown, outside]]], np.uint64))
    assert clefts.ravel().tolist() == [False, True, True, False, False]
    assert ignored.ravel().tolist() == [False, False, False, True, True]
    with pytest.raises(EvaluationError, match="clefts of a CREMI file are uint64, not int32"):
        cremi_clefts(np.zeros((1, 1, 1), np.int32))


def refusal(*arguments: Any, **settings: Any) -> str:
    with pytest.raises(EvaluationError) as error:
        cleft_distances(*arguments, **settings)
    return str(error.value)


def test_what_cannot_be_measured_is_refused() -> None:
    mask = np.ones((2, 3, 4), bool)
    assert refusal(mask.astype(float), mask, CREMI_NM) == (
        "prediction has dtype float64, but labels are integers; convert them first"
    )
    assert refusal(mask, mask[:1], CREMI_NM) == (
        "prediction of shape (2, 3, 4) and ground truth of shape (1, 3, 4) cannot be compared; "
        "cut both to one box"
    )
    assert refusal(mask[0], mask[0], CREMI_NM) == (
        "clefts of shape (3, 4) have not three axes; give them as (z, y, x)"
    )
    assert refusal(mask[:0], mask[:0], CREMI_NM) == (
        "clefts of shape (0, 3, 4) hold no voxel to compare; check the box"
    )
    assert refusal(mask, np.full(mask.shape, 2**64 - 1, np.uint64), CREMI_NM) == (
        "ground truth holds 2^64 - 1, CREMI's mark for no cleft; take the masks of cremi_clefts(labels)"
    )
    assert refusal(mask, mask, CREMI_NM, ignored=mask) == (
        "the ground truth is not known anywhere (all ignored); check the ignored mask"
    )
    assert refusal(mask, mask, CREMI_NM, ignored=mask[:1]) == (
        "the ignored mask of bool and shape (1, 3, 4) does not fit ground truth of shape (2, 3, 4); "
        "give bool voxels of that shape"
    )
    assert refusal(mask, mask, (40.0, 0.0, 4.0)) == (
        "voxel size (40.0, 0.0, 4.0) is not three lengths above 0; give nm (z, y, x)"
    )
    assert refusal(mask, mask, CREMI_NM, threshold_nm=-1.0) == (
        "threshold -1.0 nm is no distance; give nanometres from 0 up"
    )


def same_numbers(one: Any, other: Any) -> bool:
    """Equal figures, nested or not, up to the precision of distances."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_numbers(one[key], other[key]) for key in one)
    return one is other if one is None or other is None else one == pytest.approx(other, rel=1e-6, abs=1e-4)
