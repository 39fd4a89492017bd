"""Average precision equals scikit-learn's and hand-computed cases, and the histogram keeps its bounds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation import EvaluationError
from evaluation.ranking import (
    ScoreHistogram,
    average_precision,
    class_average_precisions,
    compare_scores,
    score_histogram,
)
from volumes.arrays import ArrayVolume

scored = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.float32, n, elements=st.floats(0, 1, width=32)),
        hnp.arrays(np.uint8, n, elements=st.integers(0, 2)),
    )
)


def by_definition(scores: np.ndarray, positive: np.ndarray) -> float:
    """Σ (Rₙ - Rₙ₋₁) Pₙ over every threshold that a score makes."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        taken = scores >= threshold
        recall = positive[taken].sum() / positive.sum()
        total += (recall - before) * positive[taken].mean()
        before = recall
    return total


def test_a_ranking_by_hand() -> None:
    # Ranked: hit (1/1), false, hit (2/3), hit (3/4), false.
    truth = np.array([1, 0, 1, 1, 0])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    assert average_precision(scores, truth) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    # Equal scores share one threshold, where 3 of 5 are hits.
    assert average_precision(np.ones(5), truth) == pytest.approx(3 / 5)
    assert average_precision(scores, truth, positive=0) == pytest.approx((1 / 2 + 2 / 5) / 2)
    assert average_precision(scores, truth, ignore=0) == 1


@given(case=scored)
def test_the_figure_equals_its_definition(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, truth = case
    ours = average_precision(scores, truth)
    if not (truth == 1).any():
        assert ours is None
    else:
        assert ours == pytest.approx(by_definition(scores, truth == 1), abs=1e-12)


@given(case=scored)
def test_the_figure_equals_that_of_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    scores, truth = case
    if (truth == 2).any():
        expected = metrics.average_precision_score(truth == 2, scores)
        assert average_precision(scores, truth, positive=2) == pytest.approx(expected, abs=1e-12)


@given(case=scored, bins=st.integers(1, 9))
def test_the_exact_figure_and_that_of_the_histogram_lie_within_its_bounds(
    case: tuple[np.ndarray, np.ndarray], bins: int
) -> None:
    scores, truth = case
    histogram = score_histogram(scores, truth, bins=bins)
    exact, bounds = average_precision(scores, truth), histogram.bounds()
    if exact is None:
        assert bounds is None and histogram.average_precision() is None
        return
    assert bounds is not None
    binned = histogram.average_precision()
    assert binned is not None
    least, greatest = bounds
    assert least - 1e-12 <= exact <= greatest + 1e-12
    assert least - 1e-12 <= binned <= greatest + 1e-12


def test_the_upper_bound_is_reached_and_no_order_in_a_bin_leaves_the_bounds() -> None:
    histogram = ScoreHistogram(np.array([2, 1]), np.array([1, 1]))
    bounds = histogram.bounds()
    assert bounds is not None
    figures = []
    for low in itertools.product([0.1, 0.2, 0.3], repeat=3):
        for high in itertools.product([0.6, 0.7], repeat=2):
            figures.append(average_precision(np.array([*low, *high]), np.array([1, 1, 0, 1, 0])))
    assert max(figures) == pytest.approx(bounds[1])
    assert bounds[0] <= min(figures) <= bounds[0] + 0.05


def test_fine_bins_come_close_for_scores_like_those_of_a_network() -> None:
    rng = np.random.default_rng(4)
    truth = rng.random(100_000) < 0.05
    scores = (1 / (1 + np.exp(-rng.normal(np.where(truth, 3, -3), 2)))).astype(np.float32)
    histogram = score_histogram(scores, truth)
    exact, bounds = average_precision(scores, truth), histogram.bounds()
    assert histogram.average_precision() == pytest.approx(exact, abs=1e-4)
    assert bounds is not None and bounds[1] - bounds[0] < 2e-3


@given(case=scored, cut=st.integers(0, 60), ignore=st.none() | st.just(2))
def test_histograms_of_two_blocks_merge_into_that_of_the_whole(
    case: tuple[np.ndarray, np.ndarray], cut: int, ignore: int | None
) -> None:
    scores, truth = case
    parts = [
        score_histogram(scores[part], truth[part], ignore=ignore, bins=8)
        for part in (slice(cut), slice(cut, None))
    ]
    whole = score_histogram(scores, truth, ignore=ignore, bins=8)
    merged = parts[0].merge(parts[1])
    np.testing.assert_array_equal(merged.positives, whole.positives)
    np.testing.assert_array_equal(merged.negatives, whole.negatives)
    expected = np.histogram(scores[truth == 1], bins=8, range=(0, 1))[0]
    np.testing.assert_array_equal(whole.positives, expected)


@given(case=scored)
def test_bytes_keep_their_order_in_256_bins(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, truth = np.round(case[0] * 255).astype(np.uint8), case[1]
    histogram = score_histogram(scores, truth, bins=256)
    assert histogram.average_precision() == pytest.approx(average_precision(scores, truth), abs=1e-12)


def test_all_256_bytes_have_a_bin_of_their_own() -> None:
    histogram = score_histogram(np.arange(256, dtype=np.uint8), np.ones(256, bool), bins=256)
    np.testing.assert_array_equal(histogram.positives, 1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_floats_of_any_width_are_binned(dtype: str) -> None:
    scores = np.array([0, 0.25, 0.5, 1]).astype(dtype)
    histogram = score_histogram(scores, np.array([0, 1, 1, 1]), bins=4)
    assert histogram.positives.tolist() == [0, 1, 1, 1] and histogram.negatives.tolist() == [1, 0, 0, 0]


def test_volumes_are_compared_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.blocks.READ_VOXELS", 50)
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 3, (5, 6, 7)).astype(np.uint8)
    scores = rng.random(truth.shape, np.float32)
    volumes = [ArrayVolume(each, voxel_size_nm=(30, 6, 6), start=(1, 2, 3)) for each in (scores, truth)]
    figures = compare_scores(*volumes, ignore=0)
    least, greatest = figures["average_precision_bounds"]
    exact = average_precision(scores, truth, ignore=0)
    assert exact is not None and least <= exact <= greatest
    assert figures["average_precision"] == pytest.approx(exact, abs=1e-3)
    assert figures["n_voxels"] == np.count_nonzero(truth) and figures["box"] == [[1, 2, 3], [6, 8, 10]]
    assert figures["n_positive"] == np.count_nonzero(truth == 1)
    absent = compare_scores(*volumes, positive=9)
    assert absent["average_precision"] is None and absent["average_precision_bounds"] is None
    with pytest.raises(
        EvaluationError, match="no voxel to compare: the scores are empty, or the ground truth"
    ):
        compare_scores(volumes[0], ArrayVolume(np.full_like(truth, 2), voxel_size_nm=(30, 6, 6)), ignore=2)


@pytest.mark.parametrize("bad", [-0.1, 1.5, float("nan")])
def test_scores_that_are_no_probabilities_are_refused(bad: float) -> None:
    with pytest.raises(EvaluationError, match=f"scores hold {bad}, but probabilities are 0 … 1; apply the"):
        score_histogram(np.array([0.5, bad]), np.array([0, 1]))


def test_what_cannot_be_ranked_is_refused() -> None:
    truth = np.array([0, 1])
    with pytest.raises(EvaluationError, match="scores hold NaN; predict those voxels"):
        average_precision(np.array([0.5, np.nan]), truth)
    with pytest.raises(EvaluationError, match="ground truth has dtype float64, but labels are integers"):
        average_precision(np.zeros(2), np.zeros(2))
    with pytest.raises(EvaluationError, match="scores have dtype complex128, but they are real numbers"):
        average_precision(np.zeros(2, complex), truth)
    with pytest.raises(EvaluationError, match=r"scores of shape \(3,\) and ground truth of shape \(2,\)"):
        average_precision(np.zeros(3), truth)
    with pytest.raises(EvaluationError, match="no voxel to compare"):
        average_precision(np.zeros(0), np.zeros(0, int))
    with pytest.raises(EvaluationError, match="no voxel to compare"):
        average_precision(np.zeros(2), np.ones(2, int), ignore=1)
    with pytest.raises(EvaluationError, match="scores have dtype int64, but probabilities are floats"):
        score_histogram(np.zeros(2, int), truth)
    with pytest.raises(EvaluationError, match="a histogram of 0 bins holds nothing; give at least 1"):
        score_histogram(np.zeros(2), truth, bins=0)
    with pytest.raises(EvaluationError, match="histograms of 2 and 3 bins cannot be merged"):
        score_histogram(np.zeros(2), truth, bins=2).merge(score_histogram(np.zeros(2), truth, bins=3))


def test_every_class_is_ranked_against_the_rest() -> None:
    rng = np.random.default_rng(6)
    truth = rng.integers(0, 4, (4, 7, 8)).astype(np.uint8)
    scores = rng.random((3, *truth.shape))
    volumes = [ArrayVolume(each, voxel_size_nm=(30, 6, 6), start=(1, 2, 3)) for each in scores]
    labels = ArrayVolume(truth, voxel_size_nm=(30, 6, 6), start=(1, 2, 3))
    figures = class_average_precisions(volumes, labels, classes=("a", "b", "c"), ignore=3)
    exact = [average_precision(scores[k], truth, positive=k, ignore=3) for k in range(3)]
    found = figures["average_precision_per_class"]
    assert [found[name]["average_precision"] for name in "abc"] == pytest.approx(exact, abs=1e-3)
    assert figures["average_precision"] == pytest.approx(np.mean(exact), abs=1e-3)  # type: ignore[arg-type]
    assert [found[name]["n_positive"] for name in "abc"] == np.bincount(truth.ravel())[:3].tolist()
    assert figures["box"] == [[1, 2, 3], [5, 9, 11]]


def test_a_class_that_is_nowhere_is_left_out_of_the_mean_and_one_volume_is_class_one() -> None:
    truth = np.array([0, 0, 1, 1], np.uint8).reshape(1, 1, 4)
    scores = [ArrayVolume(np.full(truth.shape, share)) for share in (0.1, 0.2, 0.3)]
    figures = class_average_precisions(scores, ArrayVolume(truth))
    found = figures["average_precision_per_class"]
    assert [each["average_precision"] for each in found.values()] == [0.5, 0.5, None]
    assert figures["average_precision"] == 0.5
    for some, ignore, names in ((scores[:1], None, {"1"}), (scores, 0, {"1", "2"})):
        figures = class_average_precisions(some, ArrayVolume(truth), ignore=ignore)
        assert set(figures["average_precision_per_class"]) == names


def test_scores_of_other_classes_than_named_are_refused() -> None:
    volume = ArrayVolume(np.zeros((1, 1, 2), np.uint8))
    with pytest.raises(EvaluationError, match="do not name 3 classes, as many as the scores are of"):
        class_average_precisions([volume] * 3, volume, classes=("a", "b"))
    with pytest.raises(EvaluationError, match="no scores to rank"):
        class_average_precisions([], volume)
