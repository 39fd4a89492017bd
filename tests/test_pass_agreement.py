"""What passes say about a pair, on labels made by hand and in a tiny project."""

import numpy as np
import pytest

from agglomeration.pass_agreement import NO_PASSES, agreement

OWN = np.array([[[1, 1, 1, 1, 0, 0, 0, 0]]], bool)
OTHER = np.array([[[0, 0, 0, 0, 1, 1, 1, 1]]], bool)


def of(*passes):
    return agreement(OWN, OTHER, [np.array([[each]], np.int32) for each in passes])


def test_a_pass_joins_what_it_has_in_one_object():
    assert of([7] * 8) == (1, 0)
    assert of([7] * 4 + [8] * 4) == (0, 1)


def test_what_a_pass_left_empty_speaks_for_nothing():
    assert of([7] * 4 + [0] * 4) == (0, 0)
    assert of([0] * 8) == (0, 0)


def test_the_share_is_that_of_the_supervoxel_the_object_has_less_of():
    assert of([7, 7, 7, 7, 7, 8, 8, 8]) == (0.25, 0.75)
    assert of([7, 7, 0, 0, 7, 7, 7, 7]) == (0.5, 0)


def test_the_object_that_joins_most_counts():
    joined, parted = of([7, 8, 8, 8, 7, 8, 8, 0])
    assert joined == 0.5 and parted == 0.25


def test_passes_are_averaged():
    assert of([7] * 8, [7] * 4 + [8] * 4, [0] * 8) == pytest.approx((1 / 3, 1 / 3))


def test_without_passes_or_voxels_nothing_is_known():
    assert np.isnan(of()).all()
    assert np.isnan(agreement(OWN, np.zeros_like(OWN), [OWN.astype(int)])).all()
    assert np.isnan(NO_PASSES).all()


def test_order_of_the_two_does_not_matter():
    labels = np.random.default_rng(1).integers(0, 4, OWN.shape)
    assert agreement(OWN, OTHER, [labels]) == agreement(OTHER, OWN, [labels])
