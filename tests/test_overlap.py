"""Overlap figures equal scikit-image's, hand-computed cases, and the published figures of real tissue."""

from __future__ import annotations

import math
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import metrics

from evaluation import (
    ContingencyTable,
    EvaluationError,
    adapted_rand,
    contingency,
    coverage,
    overlap_metrics,
    table_metrics,
    variation_of_information,
)
from evaluation._pair_counts import START_SLOTS
from evaluation.overlap import merge_tables

FIGURES = ("voi_split", "voi_merge", "arand", "arand_precision", "arand_recall", "cremi_score")


def label_pairs(least: int = 0) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    """Two small label volumes of one shape, with objects that overlap at random."""
    shapes = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6)
    labels = st.integers(least, least + 4)
    return shapes.flatmap(
        lambda shape: st.tuples(*(hnp.arrays(np.uint32, shape, elements=labels) for _ in range(2)))
    )


def tables_equal(one: ContingencyTable, other: ContingencyTable) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("segment_ids", "truth_ids", "counts")
    )


@given(pair=label_pairs())
def test_the_table_counts_every_pair_once(pair: tuple[np.ndarray, np.ndarray]) -> None:
    segmentation, truth = pair
    table = contingency(segmentation, truth)
    expected, counts = np.unique(np.stack([segmentation.ravel(), truth.ravel()]), axis=1, return_counts=True)
    np.testing.assert_array_equal(np.stack([table.segment_ids, table.truth_ids]), expected)
    np.testing.assert_array_equal(table.counts, counts)
    assert table.n_voxels == truth.size


@given(pair=label_pairs(), cut=st.integers(0, 6))
def test_tables_of_two_blocks_merge_into_the_table_of_the_whole(
    pair: tuple[np.ndarray, np.ndarray], cut: int
) -> None:
    segmentation, truth = pair
    upper, lower = (contingency(segmentation[part], truth[part]) for part in (slice(cut), slice(cut, None)))
    assert tables_equal(upper.merge(lower), contingency(segmentation, truth))
    assert tables_equal(lower.merge(upper), contingency(segmentation, truth))


@given(pair=label_pairs(), data=st.data())
def test_tables_of_any_parts_merge_in_any_order(
    pair: tuple[np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    segmentation, truth = pair
    part = data.draw(hnp.arrays(np.int8, truth.shape, elements=st.integers(0, 4)))
    order = data.draw(st.permutations(range(5)))
    parts = [contingency(segmentation[part == n], truth[part == n]) for n in order]
    assert tables_equal(merge_tables(parts), contingency(segmentation, truth))


def test_no_tables_merge_into_an_empty_one() -> None:
    assert merge_tables([]).n_voxels == 0


def test_more_pairs_than_the_table_starts_with_are_kept() -> None:
    rng = np.random.default_rng(3)
    segmentation = rng.integers(0, 2**64, (3 * START_SLOTS,), dtype=np.uint64)
    table = contingency(segmentation, segmentation[::-1].copy())
    assert table.n_voxels == table.counts.size == segmentation.size
    np.testing.assert_array_equal(table.segment_ids, np.sort(segmentation))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "uint64", ">u2"])
def test_labels_of_any_integer_type_and_memory_order_are_compared(dtype: str) -> None:
    truth = np.random.default_rng(0).integers(0, 2, (5, 6, 7)).astype(dtype)
    figures = overlap_metrics(np.asfortranarray(truth), truth)
    assert figures["arand"] == figures["voi_split"] == figures["voi_merge"] == figures["cremi_score"] == 0


def test_labels_above_2_to_the_53_stay_distinct() -> None:
    truth = np.array([[[2**63, 2**63 + 1]]], np.uint64)
    assert variation_of_information(contingency(np.ones_like(truth), truth)) == (0.0, 1.0)


def test_datasets_that_are_read_when_indexed_are_compared_block_by_block(tmp_path: Path) -> None:
    labels = np.random.default_rng(1).integers(0, 9, (6, 5, 4))
    with h5py.File(tmp_path / "labels.h5", "w") as file:
        file["a"], file["b"] = labels, labels[::-1]
        assert tables_equal(contingency(file["a"], file["b"]), contingency(labels, labels[::-1]))


@given(pair=label_pairs(least=1))
def test_figures_equal_those_of_scikit_image(pair: tuple[np.ndarray, np.ndarray]) -> None:
    check_against_scikit_image(*pair)


def test_figures_equal_those_of_scikit_image_on_many_objects() -> None:
    rng = np.random.default_rng(7)
    truth = np.repeat(rng.integers(1, 500, (20, 30, 10)), 4, axis=2)
    noise = rng.random(truth.shape)
    segmentation = np.where(noise < 0.2, truth % 37, np.where(noise < 0.3, truth + 500, truth))
    check_against_scikit_image(segmentation, truth)


@pytest.mark.parametrize("shift", [(0, 0, 0), (1, 0, 0), (2, -3, 5)], ids=str)
def test_figures_equal_those_of_scikit_image_on_real_labels(
    shared_data: Path, shift: tuple[int, int, int]
) -> None:
    with h5py.File(shared_data / "data" / "connectomics_labels_512.h5") as file:
        truth = file["labels"][192:320, 192:320, 192:320].astype(np.int64)
    segmentation = np.roll(truth, shift, axis=(0, 1, 2))
    kept = truth > 0
    check_against_scikit_image(segmentation[kept], truth[kept])
    plain = overlap_metrics(segmentation, truth)
    expected = metrics.variation_of_information(truth[kept], segmentation[kept])
    both = (segmentation > 0) & kept
    assert (plain["voi_split"], plain["voi_merge"]) == pytest.approx(expected, abs=1e-9)
    assert plain["arand"] == pytest.approx(metrics.adapted_rand_error(truth, segmentation)[0], abs=1e-9)
    error = metrics.adapted_rand_error(truth[both], segmentation[both])[0]
    assert plain["segmented_only"]["arand"] == pytest.approx(error, abs=1e-9)


def check_against_scikit_image(segmentation: np.ndarray, truth: np.ndarray) -> None:
    table = contingency(segmentation, truth)
    expected = metrics.variation_of_information(truth.astype(np.int64), segmentation.astype(np.int64))
    np.testing.assert_allclose(variation_of_information(table), expected, rtol=0, atol=1e-9)
    if np.all(table.segment_sizes() == 1) or np.all(table.truth_sizes() == 1):
        return  # a share of no pairs: scikit-image gives nan
    with np.errstate(all="ignore"):
        error, *shares = metrics.adapted_rand_error(
            truth.astype(np.int64), segmentation.astype(np.int64), ignore_labels=()
        )
    rand = adapted_rand(table)
    assert rand.error == pytest.approx(error, abs=1e-9)
    # Which of the two is which differs (scikit-image issue 6485); the case of the halves below decides it.
    assert sorted([rand.precision, rand.recall]) == pytest.approx(sorted(shares), abs=1e-9)


@given(pair=label_pairs())
def test_unlabelled_voxels_change_no_figure(pair: tuple[np.ndarray, np.ndarray]) -> None:
    segmentation, truth = pair
    if not truth.any():
        truth = truth + 1
    kept = truth != 0
    assert overlap_metrics(segmentation, truth) == overlap_metrics(segmentation[kept], truth[kept])


@given(pair=label_pairs(), data=st.data())
def test_renaming_objects_and_flipping_axes_change_no_figure(
    pair: tuple[np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    segmentation, truth = pair[0], pair[1] + 1
    names = np.array([0, *data.draw(st.permutations([1, 2, 3, 2**40]))], np.uint64)
    renamed = overlap_metrics(names[segmentation][::-1, :, ::-1], truth[::-1, :, ::-1])
    original = overlap_metrics(segmentation, truth)
    for name in FIGURES:
        assert renamed[name] == pytest.approx(original[name], abs=1e-12)


@given(pair=label_pairs(least=1), axes=st.permutations([0, 1, 2]))
def test_turning_the_axes_changes_no_figure(pair: tuple[np.ndarray, np.ndarray], axes: list[int]) -> None:
    turned = overlap_metrics(*(labels.transpose(axes) for labels in pair))
    assert turned == overlap_metrics(*pair)


@given(pair=label_pairs(least=1), label=st.integers(1, 5), data=st.data())
def test_splitting_a_segment_never_raises_recall_nor_lowers_voi_split(
    pair: tuple[np.ndarray, np.ndarray], label: int, data: st.DataObject
) -> None:
    segmentation, truth = pair
    cut = data.draw(hnp.arrays(bool, truth.shape))
    before = contingency(segmentation, truth)
    after = contingency(np.where((segmentation == label) & cut, 99, segmentation), truth)
    assert adapted_rand(after).recall <= adapted_rand(before).recall
    assert variation_of_information(after)[0] >= variation_of_information(before)[0] - 1e-12


@given(pair=label_pairs(least=1), one=st.integers(1, 5), other=st.integers(1, 5))
def test_merging_segments_never_lowers_recall_nor_voi_merge(
    pair: tuple[np.ndarray, np.ndarray], one: int, other: int
) -> None:
    segmentation, truth = pair
    before = contingency(segmentation, truth)
    after = contingency(np.where(segmentation == one, other, segmentation), truth)
    assert adapted_rand(after).recall >= adapted_rand(before).recall
    assert variation_of_information(after)[1] >= variation_of_information(before)[1] - 1e-12


@given(pair=label_pairs(least=1), one=st.integers(1, 5), other=st.integers(1, 5))
def test_merging_segments_of_different_objects_never_raises_precision(
    pair: tuple[np.ndarray, np.ndarray], one: int, other: int
) -> None:
    segmentation, truth = pair
    apart = np.where(truth <= 2, segmentation, segmentation + 10)  # no segment on both {1, 2} and {3, 4, 5}
    before = adapted_rand(contingency(apart, truth))
    after = adapted_rand(contingency(np.where(apart == one, other + 10, apart), truth))
    assert after.precision <= before.precision


def test_one_object_cut_in_halves_is_one_bit_of_split() -> None:
    truth = np.ones((2, 4, 4), int)
    segmentation = np.repeat([1, 2], 16).reshape(2, 4, 4)
    figures = overlap_metrics(segmentation, truth)
    assert (figures["voi_split"], figures["voi_merge"]) == (1.0, 0.0)
    assert (figures["arand_precision"], figures["arand_recall"]) == (1.0, pytest.approx(15 / 31))
    assert figures["cremi_score"] == pytest.approx(math.sqrt(figures["arand"]))
    swapped = overlap_metrics(truth, segmentation)
    assert (swapped["voi_split"], swapped["voi_merge"]) == (0.0, 1.0)
    assert (swapped["arand_precision"], swapped["arand_recall"]) == (pytest.approx(15 / 31), 1.0)


def test_unsegmented_voxels_count_as_one_object_or_not_at_all() -> None:
    truth = np.array([1, 1, 1, 1, 2, 2, 2, 2, 0, 0])
    segmentation = np.array([5, 5, 0, 0, 6, 6, 6, 0, 0, 7])
    figures = overlap_metrics(segmentation, truth)
    assert figures["coverage"] == figures["segmented_only"]["coverage"] == 5 / 8
    assert (figures["background"], figures["segmented_only"]["background"]) == ("one_object", "left_out")
    assert all(figures["segmented_only"][name] == 0 for name in ("voi_split", "voi_merge", "arand"))
    one_object = overlap_metrics(np.where(segmentation == 0, 9, segmentation), truth)
    assert {name: figures[name] for name in FIGURES} == {name: one_object[name] for name in FIGURES}
    assert figures["voi_merge"] > 0


def test_nothing_segmented_leaves_the_segmented_only_figures_open() -> None:
    truth = np.array([1, 1, 2, 2])
    figures = overlap_metrics(np.zeros(4, int), truth)
    assert figures["coverage"] == 0 and figures["voi_merge"] == 1
    assert figures["segmented_only"] == {
        **dict.fromkeys(FIGURES),
        "coverage": 0,
        "background": "left_out",
    }


def test_single_voxel_objects_that_agree_have_no_error() -> None:
    truth = np.arange(1, 9)
    assert overlap_metrics(truth, truth)["arand"] == 0


@pytest.mark.parametrize(
    ("segmentation", "truth", "message"),
    [
        (np.ones((2, 3, 4), int), np.ones((4, 3, 2), int), r"\(2, 3, 4\).*\(4, 3, 2\).*one box"),
        (np.ones(3), np.ones(3, int), "segmentation has dtype float64.*integers"),
        (np.ones(3, int), np.ones(3, np.float32), "ground truth has dtype float32"),
        (np.array([1, -1]), np.ones(2, int), "segmentation holds the negative label -1"),
        (np.ones(3, int), np.zeros(3, int), "no labelled voxel"),
        (np.ones((0, 4, 4), int), np.ones((0, 4, 4), int), "no labelled voxel"),
        (np.array(1), np.array(1), "a single value"),
    ],
    ids=["shapes", "float", "float truth", "negative", "unlabelled", "empty", "scalar"],
)
def test_what_cannot_be_compared_is_refused(
    segmentation: np.ndarray, truth: np.ndarray, message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        overlap_metrics(segmentation, truth)


def test_an_empty_table_has_no_entropy_and_no_coverage() -> None:
    empty = contingency(np.zeros(0, int), np.zeros(0, int))
    for figure in (variation_of_information, adapted_rand):
        with pytest.raises(EvaluationError, match="no voxel to compare"):
            figure(empty)
    assert coverage(empty) == 0
    assert tables_equal(empty.merge(empty), empty)


@pytest.mark.slow
def test_the_published_segmentation_of_real_tissue_has_its_published_figures(shared_data: Path) -> None:
    with h5py.File(shared_data / "data" / "fib25_training2_google_ffn_dev.h5") as file:
        segmentation = file["segmentation"][:]
    with h5py.File(shared_data / "data" / "fib25_training2_dev.h5") as file:
        truth = file["labels"][:]
    figures = table_metrics(contingency(segmentation, truth))
    measured = {name: round(figures[name], 3) for name in ("voi_split", "voi_merge", "arand", "coverage")}
    assert measured == {"voi_split": 0.812, "voi_merge": 0.785, "arand": 0.172, "coverage": 0.903}
    only = {name: round(figures["segmented_only"][name], 3) for name in measured}
    assert only == {"voi_split": 0.538, "voi_merge": 0.239, "arand": 0.083, "coverage": 0.903}
    check_against_scikit_image(segmentation[truth > 0], truth[truth > 0])
