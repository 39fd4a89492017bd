"""Figures of classified voxels equal scikit-learn's and hand-computed cases; matrices of blocks add up."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation import EvaluationError
from evaluation.voxelwise import ConfusionMatrix, class_metrics, compare_classes, confusion_matrix
from volumes import Box, create_volume
from volumes.arrays import ArrayVolume

FIGURES = ("precision", "recall", "specificity", "npv", "accuracy", "f1", "iou", "kappa")


def class_pairs() -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    """Predicted and true classes 0 … 4 of one small shape."""
    shapes = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6)
    classes = st.integers(0, 4)
    return shapes.flatmap(
        lambda shape: st.tuples(*(hnp.arrays(np.uint8, shape, elements=classes) for _ in range(2)))
    )


def test_figures_of_two_classes_by_hand() -> None:
    # 100 voxels: 30 hits, 10 false alarms, 20 misses, 40 right rejections.
    truth = np.repeat([1, 0, 1, 0], [30, 10, 20, 40])
    prediction = np.repeat([1, 1, 0, 0], [30, 10, 20, 40])
    figures = class_metrics(confusion_matrix(prediction, truth))
    # By chance (50 * 40 + 50 * 60) / 100² = 0.5 agree, and 0.7 do: kappa is 0.2 / 0.5.
    assert figures["accuracy"] == 0.7
    assert figures["kappa"] == pytest.approx(0.4)
    expected = {
        "precision": 30 / 40,
        "recall": 30 / 50,
        "specificity": 40 / 50,
        "npv": 40 / 60,
        "accuracy": 0.7,
        "f1": 60 / 90,
        "iou": 30 / 60,
        "kappa": 0.4,
        "n_truth": 50,
        "n_predicted": 40,
    }
    assert figures["per_class"]["1"] == pytest.approx(expected)
    assert figures["per_class"]["0"]["precision"] == 40 / 60
    assert figures["macro"]["precision"] == pytest.approx((30 / 40 + 40 / 60) / 2)
    assert figures["confusion"] == {"classes": ["0", "1"], "counts": [[40, 10], [20, 30]]}
    assert figures["n_voxels"] == 100


def test_figures_of_three_classes_by_hand() -> None:
    counts = np.array([[5, 1, 0], [2, 6, 2], [0, 0, 4]])
    figures = class_metrics(ConfusionMatrix(counts), ["out", "myelin", "vessel"])
    assert figures["accuracy"] == 15 / 20
    # By chance: (6 * 7 + 10 * 7 + 4 * 6) / 400 = 0.34.
    assert figures["kappa"] == pytest.approx((0.75 - 0.34) / (1 - 0.34))
    myelin = figures["per_class"]["myelin"]
    assert myelin["precision"] == 6 / 7 and myelin["recall"] == 6 / 10
    assert myelin["specificity"] == 9 / 10 and myelin["npv"] == 9 / 13
    assert myelin["f1"] == pytest.approx(12 / 17) and myelin["iou"] == pytest.approx(6 / 11)
    # One against the rest: 0.75 agree, (10 * 7 + 10 * 13) / 400 = 0.5 by chance.
    assert myelin["kappa"] == pytest.approx(0.5)


def test_what_is_undefined_is_none_and_left_out_of_the_mean() -> None:
    prediction = np.array([0, 0, 2, 2], np.uint8)
    truth = np.array([0, 1, 0, 1], np.uint8)
    figures = class_metrics(confusion_matrix(prediction, truth, classes=4), ["a", "b", "c", "d"])
    per_class = figures["per_class"]
    assert per_class["b"]["precision"] is None and per_class["b"]["recall"] == 0  # never predicted
    assert per_class["c"]["recall"] is None and per_class["c"]["precision"] == 0  # not in the truth
    assert {name: per_class["d"][name] for name in FIGURES} == {
        **dict.fromkeys(("precision", "recall", "f1", "iou", "kappa")),
        **dict.fromkeys(("specificity", "npv", "accuracy"), 1.0),
    }
    assert figures["macro"]["recall"] == (0.5 + 0) / 2
    assert figures["macro"]["precision"] == (0.5 + 0) / 2
    assert figures["macro"]["f1"] == pytest.approx((0.5 + 0 + 0) / 3)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_one_class_everywhere_leaves_kappa_undefined() -> None:
    figures = class_metrics(confusion_matrix(np.ones(9, bool), np.ones(9, bool)))
    assert figures["accuracy"] == 1 and figures["kappa"] is None
    assert list(figures["per_class"]) == ["1"]


@settings(max_examples=10)
@given(pair=class_pairs())
def test_figures_equal_those_of_scikit_learn(pair: tuple[np.ndarray, np.ndarray]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    prediction, truth = (each.ravel() for each in pair)
    figures = class_metrics(confusion_matrix(prediction, truth))
    labels = sorted({*prediction.tolist(), *truth.tolist()})
    assert list(figures["per_class"]) == [str(label) for label in labels]
    nan = float("nan")
    shares = metrics.precision_recall_fscore_support(truth, prediction, labels=labels, zero_division=nan)
    ious = metrics.jaccard_score(truth, prediction, labels=labels, average=None, zero_division=0)
    for row, label in enumerate(labels):
        ours = figures["per_class"][str(label)]
        for name, theirs in zip(("precision", "recall", "f1", "n_truth"), shares, strict=True):
            assert none_as_nan(ours[name]) == pytest.approx(theirs[row], abs=1e-12, nan_ok=True)
        assert ours["iou"] == pytest.approx(ious[row], abs=1e-12)
        one, other = truth == label, prediction == label
        assert ours["accuracy"] == pytest.approx(metrics.accuracy_score(one, other), abs=1e-12)
        specificity = metrics.recall_score(~one, ~other, zero_division=nan)
        npv = metrics.precision_score(~one, ~other, zero_division=nan)
        assert none_as_nan(ours["specificity"]) == pytest.approx(specificity, abs=1e-12, nan_ok=True)
        assert none_as_nan(ours["npv"]) == pytest.approx(npv, abs=1e-12, nan_ok=True)
    macro = metrics.precision_recall_fscore_support(
        truth, prediction, labels=labels, average="macro", zero_division=nan
    )
    for name, theirs in zip(("precision", "recall", "f1"), macro, strict=False):
        assert none_as_nan(figures["macro"][name]) == pytest.approx(theirs, abs=1e-12, nan_ok=True)
    if len(labels) > 1:
        kappa = metrics.cohen_kappa_score(truth, prediction)
        assert figures["kappa"] == pytest.approx(kappa, abs=1e-12)
    assert figures["accuracy"] == pytest.approx(metrics.accuracy_score(truth, prediction), abs=1e-12)


@given(pair=class_pairs(), ignore=st.integers(0, 4))
def test_counts_equal_counting_one_voxel_after_the_other(
    pair: tuple[np.ndarray, np.ndarray], ignore: int
) -> None:
    prediction, truth = pair
    expected = np.zeros((5, 5), int)
    for predicted, true in zip(prediction.flat, truth.flat, strict=True):
        expected[true, predicted] += true != ignore
    counted = confusion_matrix(prediction, truth, classes=5, ignore=ignore)
    np.testing.assert_array_equal(counted.counts, expected)
    assert counted.n_voxels == np.count_nonzero(truth != ignore)


@given(pair=class_pairs(), cut=st.integers(0, 6), ignore=st.none() | st.integers(0, 4))
def test_matrices_of_two_blocks_merge_into_the_matrix_of_the_whole(
    pair: tuple[np.ndarray, np.ndarray], cut: int, ignore: int | None
) -> None:
    prediction, truth = pair
    whole = confusion_matrix(prediction, truth, ignore=ignore)
    upper, lower = (
        confusion_matrix(prediction[part], truth[part], ignore=ignore)
        for part in (slice(cut), slice(cut, None))
    )
    for merged in (upper.merge(lower), lower.merge(upper)):
        np.testing.assert_array_equal(merged.counts, whole.counts)
        assert merged.ignore == ignore


@given(pair=class_pairs(), order=st.permutations(range(5)))
def test_another_numbering_of_the_classes_gives_each_its_figures_back(
    pair: tuple[np.ndarray, np.ndarray], order: list[int]
) -> None:
    prediction, truth = pair
    before = class_metrics(confusion_matrix(prediction, truth))
    after = class_metrics(confusion_matrix(*(np.array(order, np.uint8)[each] for each in pair)))
    for label, figures in before["per_class"].items():
        assert after["per_class"][str(order[int(label)])] == figures
    for name in ("accuracy", "kappa"):
        assert after[name] == before[name]
    assert none_as_nan_each(after["macro"]) == pytest.approx(none_as_nan_each(before["macro"]), nan_ok=True)


@given(pair=class_pairs())
def test_exchanging_prediction_and_truth_exchanges_precision_and_recall(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    prediction, truth = pair
    one = class_metrics(confusion_matrix(prediction, truth))
    other = class_metrics(confusion_matrix(truth, prediction))
    for label, figures in one["per_class"].items():
        exchanged = other["per_class"][label]
        assert figures["precision"] == exchanged["recall"] and figures["npv"] == exchanged["specificity"]
        assert all(figures[name] == exchanged[name] for name in ("f1", "iou", "kappa", "accuracy"))
    assert one["kappa"] == other["kappa"]


@given(pair=class_pairs(), axes=st.permutations(range(3)))
def test_turning_both_volumes_changes_nothing(pair: tuple[np.ndarray, np.ndarray], axes: list[int]) -> None:
    turned = (each.transpose(axes) for each in pair)
    np.testing.assert_array_equal(confusion_matrix(*turned).counts, confusion_matrix(*pair).counts)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", ">i4", "uint64"])
def test_classes_of_any_integer_type_are_counted(dtype: str) -> None:
    truth = np.random.default_rng(0).integers(0, 2, (4, 5, 6))
    counts = confusion_matrix(truth.astype(dtype), truth.astype(np.uint8)).counts
    np.testing.assert_array_equal(counts, np.diag(np.bincount(truth.ravel())))


@pytest.mark.parametrize(("dtype", "ignore"), [("int16", -1), ("uint64", 2**64 - 1), ("uint8", 255)])
def test_the_ignored_label_may_be_any_number(dtype: str, ignore: int) -> None:
    truth = np.array([0, 1, ignore, ignore], dtype)
    figures = class_metrics(confusion_matrix(np.array([0, 0, 0, 1]), truth, ignore=ignore))
    assert figures["n_voxels"] == 2 and figures["confusion"]["counts"] == [[1, 0], [1, 0]]


def test_the_ignored_label_is_no_class_but_predicting_it_is_a_miss() -> None:
    truth = np.array([0, 1, 1, 2, 2], np.uint8)
    prediction = np.array([1, 0, 1, 2, 2], np.uint8)
    figures = class_metrics(confusion_matrix(prediction, truth, ignore=0))
    assert list(figures["per_class"]) == ["1", "2"]
    assert figures["per_class"]["1"]["recall"] == 0.5 and figures["per_class"]["1"]["precision"] == 1
    assert figures["accuracy"] == 0.75 and figures["macro"]["recall"] == 0.75


def test_figures_of_more_voxels_than_int64_can_square_are_right() -> None:
    big = 3 * 10**12
    figures = class_metrics(ConfusionMatrix(np.array([[2 * big, big], [big, 2 * big]])))
    assert figures["kappa"] == pytest.approx(1 / 3) and figures["per_class"]["0"]["kappa"] == figures["kappa"]


def test_datasets_that_are_read_when_indexed_are_counted_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluation.blocks.SLAB_VOXELS", 40)
    classes = np.random.default_rng(1).integers(0, 3, (7, 5, 4))
    with h5py.File(tmp_path / "classes.h5", "w") as file:
        file["a"], file["b"] = classes, classes[::-1]
        counted = confusion_matrix(file["a"], file["b"]).counts
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (classes[::-1], classes), 1)
    np.testing.assert_array_equal(counted, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (np.zeros((2, 3)), np.zeros((2, 3), int)),
            "prediction has dtype float64, but labels are integers; convert them first",
        ),
        (
            (np.zeros(3, int), np.zeros(3, np.float32)),
            "ground truth has dtype float32, but labels are integers; convert them first",
        ),
        (
            (np.zeros((2, 3), int), np.zeros((3, 2), int)),
            "prediction of shape (2, 3) and ground truth of shape (3, 2) cannot be compared; "
            "cut both to one box",
        ),
        (
            (np.array(1), np.array(1)),
            "prediction is a single value, but an array of voxels is needed",
        ),
        (
            (np.array([0, -2]), np.zeros(2, int)),
            "prediction holds -2, which is no class of 0 … 255; map it to one, name it as the ignored "
            "label, or match objects by their IDs as instances",
        ),
        (
            (np.zeros(2, int), np.array([0, 70000])),
            "ground truth holds 70000, which is no class of 0 … 255; map it to one, name it as the ignored "
            "label, or match objects by their IDs as instances",
        ),
    ],
    ids=["float prediction", "float truth", "shapes", "single value", "negative", "object IDs"],
)
def test_what_cannot_be_counted_is_refused(arguments: tuple[np.ndarray, ...], message: str) -> None:
    with pytest.raises(EvaluationError) as error:
        confusion_matrix(*arguments)
    assert str(error.value) == message


def test_a_class_beyond_the_number_of_classes_is_refused() -> None:
    with pytest.raises(EvaluationError, match="ground truth holds 3, which is no class of 0 … 2;"):
        confusion_matrix(np.zeros(2, np.uint8), np.array([0, 3], np.uint8), classes=3)
    with pytest.raises(EvaluationError, match="prediction holds 1, which is no class of 0 … 0;"):
        confusion_matrix(np.ones(2, bool), np.zeros(2, bool), classes=1)
    with pytest.raises(EvaluationError, match=r"^257 classes are out of range; give 1 to 256$"):
        confusion_matrix(np.zeros(2, np.uint8), np.zeros(2, np.uint8), classes=257)


@pytest.mark.parametrize(
    "matrix",
    [
        confusion_matrix(np.zeros((0, 3), int), np.zeros((0, 3), int)),
        confusion_matrix(np.zeros(4, int), np.full(4, 7), ignore=7),
    ],
    ids=["empty", "all ignored"],
)
def test_figures_of_no_voxel_are_refused(matrix: ConfusionMatrix) -> None:
    with pytest.raises(EvaluationError) as error:
        class_metrics(matrix)
    assert str(error.value) == (
        "there is no voxel to compare: the volumes are empty, or the ground truth is ignored everywhere; "
        "check the box and the ignore label"
    )


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", "b", "c"]])
def test_names_that_do_not_fit_the_classes_are_refused(names: list[str]) -> None:
    with pytest.raises(
        EvaluationError, match="do not name 2 classes; give each class from 0 on its own name"
    ):
        class_metrics(ConfusionMatrix(np.eye(2, dtype=int)), names)


def test_matrices_that_ignore_different_labels_do_not_merge() -> None:
    one, other = (ConfusionMatrix(np.eye(2, dtype=int), ignore) for ignore in (None, 0))
    with pytest.raises(EvaluationError, match="that ignore None and 0 cannot be merged"):
        one.merge(other)


def volume(
    classes: np.ndarray,
    start: tuple[int, int, int] = (0, 0, 0),
    voxel_size_nm: tuple[float, float, float] = (40.0, 8.0, 8.0),
) -> ArrayVolume:
    return ArrayVolume(classes, start=start, voxel_size_nm=voxel_size_nm)


@given(seed=st.integers(0, 99), most=st.integers(1, 300))
def test_volumes_are_compared_block_by_block_where_both_have_voxels(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    truth, prediction = (rng.integers(0, 3, shape).astype(np.uint8) for shape in ((7, 8, 9), (6, 9, 9)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evaluation.blocks.READ_VOXELS", most)
        figures = compare_classes(
            volume(prediction, (-1, 3, 4)), volume(truth, (-2, 2, 6)), classes=("x", "y", "z"), ignore=1
        )
    # They share z -1:5, y 3:10, x 6:13.
    expected = class_metrics(
        confusion_matrix(prediction[:6, :7, 2:9], truth[1:7, 1:8, 0:7], classes=3, ignore=1), ["x", "y", "z"]
    )
    assert figures == {**expected, "box": [[-1, 3, 6], [5, 10, 13]]}


def test_files_are_compared_in_a_box(tmp_path: Path) -> None:
    classes = np.random.default_rng(2).integers(0, 4, (9, 10, 11)).astype(np.uint8)
    bounds = Box.from_shape(classes.shape, (5, 6, 7))
    with create_volume(
        f"{tmp_path}/classes.h5:labels",
        bounds=bounds,
        dtype="uint8",
        voxel_size_nm=(40, 8, 8),
        chunk_shape=(3, 4, 5),
    ) as stored:
        stored.write(bounds, classes)
        figures = compare_classes(stored, volume(classes, (5, 6, 7)), Box((6, 7, 8), (10, 11, 12)), classes=4)
    assert figures["accuracy"] == 1 and figures["n_voxels"] == 64
    assert figures["box"] == [[6, 7, 8], [10, 11, 12]]


def test_volumes_that_do_not_fit_are_refused() -> None:
    zeros = np.zeros((2, 3, 4), np.uint8)
    truth = volume(zeros)
    with pytest.raises(EvaluationError, match=r"voxels of \(40.0, 4.0, 4.0\) nm .* bring both to one grid"):
        compare_classes(volume(zeros, voxel_size_nm=(40.0, 4.0, 4.0)), truth)
    with pytest.raises(EvaluationError, match="share no voxel; check their offsets"):
        compare_classes(volume(zeros, (2, 0, 0)), truth)
    with pytest.raises(EvaluationError, match=r"box z 0:3, y 0:1, x 0:1 is empty or leaves what prediction"):
        compare_classes(truth, truth, Box((0, 0, 0), (3, 1, 1)))
    with pytest.raises(EvaluationError, match="prediction has dtype float32"):
        compare_classes(volume(zeros.astype(np.float32)), truth)
    with pytest.raises(EvaluationError, match="is empty"):
        compare_classes(truth, truth, Box((0, 0, 0), (0, 1, 1)))


def none_as_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def none_as_nan_each(figures: dict[str, float | None]) -> dict[str, float]:
    return {name: none_as_nan(value) for name, value in figures.items()}
