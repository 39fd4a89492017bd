"""Voxels near a true boundary are those that a search over all pairs of voxels finds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation import EvaluationError, overlap_metrics
from evaluation.boundaries import boundary_context, without_boundaries

SIZES_NM = [(10.0, 10.0, 10.0), (40.0, 8.0, 8.0), (45.0, 4.6, 4.6)]


def halves(length: int = 8) -> np.ndarray:
    """Two objects that touch in the middle of x."""
    labels = np.ones((2, 3, length), np.uint64)
    labels[..., length // 2 :] = 2**40
    return labels


@pytest.mark.parametrize(
    ("tolerance_nm", "left_out"), [(0, 0), (9.9, 0), (10, 2), (19, 2), (20, 4), (1000, 8)], ids=str
)
def test_the_outermost_voxels_of_touching_objects_are_one_voxel_away(
    tolerance_nm: float, left_out: int
) -> None:
    kept = without_boundaries(halves(), (40, 5, 10), tolerance_nm)
    assert np.all((kept == 0).sum(axis=2) == left_out)
    assert np.array_equal(kept[kept > 0], halves()[kept > 0]) and kept.dtype == np.uint64


def test_distances_are_those_of_each_axis() -> None:
    labels = np.ones((5, 5, 5), np.uint8)
    labels[2, 2, 2] = 2
    kept = without_boundaries(labels, (40, 8, 4.6), 9.2)
    assert np.argwhere(kept == 0).tolist() == [
        [2, y, x]
        for y in range(5)
        for x in range(5)
        if math.hypot(8 * (y - 2), 4.6 * (x - 2)) <= 9.21 or (y, x) == (2, 2)
    ]


def test_unlabelled_voxels_bound_an_object_and_the_faces_of_the_volume_do_not() -> None:
    labels = np.array([[[3, 3, 3, 0, 3, 3]]])
    assert without_boundaries(labels, (1, 1, 1), 1).tolist() == [[[3, 3, 0, 0, 0, 3]]]
    assert np.all(without_boundaries(np.ones((3, 3, 3), int), (1, 1, 1), 50) == 1)


@given(
    labels=hnp.arrays(
        np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5), elements=st.integers(0, 3)
    ),
    size_nm=st.sampled_from(SIZES_NM),
    tolerance_nm=st.sampled_from([0, 4.6, 8, 10, 11.4, 20, 45, 60]),
)
def test_what_is_left_out_lies_near_a_voxel_of_another_label(
    labels: np.ndarray, size_nm: tuple[float, float, float], tolerance_nm: float
) -> None:
    at = np.argwhere(np.ones(labels.shape, bool)) * size_nm
    distance = np.linalg.norm(at[:, None] - at[None], axis=2)
    flat = labels.ravel()
    near = (distance <= tolerance_nm + 1e-6) & (flat[:, None] != flat[None])
    expected = np.where(near.any(axis=1), 0, flat).reshape(labels.shape)
    np.testing.assert_array_equal(without_boundaries(labels, size_nm, tolerance_nm), expected)


def test_errors_within_the_tolerance_are_forgiven() -> None:
    truth = halves(20)
    moved = np.roll(truth, 1, axis=2)
    moved[..., 0] = 1
    assert overlap_metrics(moved, truth)["arand"] > 0
    assert overlap_metrics(moved, without_boundaries(truth, (40, 8, 8), 8))["arand"] == 0


def test_the_context_reaches_as_far_as_the_tolerance() -> None:
    assert boundary_context((40, 8, 4), 39.9) == (0, 4, 9)
    assert boundary_context((40, 8, 4), 40) == (1, 5, 10)
    assert boundary_context((0.1, 0.1, 0.1), 0.3) == (3, 3, 3)


@pytest.mark.parametrize("tolerance_nm", [-1, math.nan, math.inf], ids=str)
def test_a_tolerance_that_is_no_distance_is_refused(tolerance_nm: float) -> None:
    with pytest.raises(EvaluationError, match="boundary tolerance .* nm is no distance"):
        without_boundaries(halves(), (1, 1, 1), tolerance_nm)
    with pytest.raises(EvaluationError, match="is no distance"):
        boundary_context((1, 1, 1), tolerance_nm)


@pytest.mark.parametrize("labels", [np.ones((2, 2, 2)), np.ones((2, 2), int)], ids=["float", "2-D"])
def test_what_is_no_label_volume_is_refused(labels: np.ndarray) -> None:
    with pytest.raises(EvaluationError, match="no boundaries to leave out; give integer labels"):
        without_boundaries(labels, (1, 1, 1), 5)
