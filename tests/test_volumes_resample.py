"""Coarser images are exact means, coarser labels the most frequent ones, also at odd edges."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumes import VolumeError, downsample_image, downsample_labels

shapes = st.tuples(*[st.integers(1, 7)] * 3)
factors = st.tuples(*[st.integers(1, 4)] * 3)


def _blocks(array: np.ndarray, block: tuple[int, ...]):
    """The place of every block in the coarse array, and its voxels."""
    coarse = [-(-length // factor) for length, factor in zip(array.shape, block, strict=True)]
    for place in product(*map(range, coarse)):
        cut = tuple(slice(p * f, (p + 1) * f) for p, f in zip(place, block, strict=True))
        yield place, array[cut].ravel().tolist()


@given(shapes, factors, st.sampled_from(["uint8", "int16"]), st.integers(0, 99))
def test_means_of_whole_numbers_are_exact_with_halves_up(shape, block, dtype: str, seed: int):
    limits = np.iinfo(dtype)
    image = np.random.default_rng(seed).integers(limits.min, limits.max, shape, dtype, endpoint=True)
    coarse = downsample_image(image, block)
    assert coarse.dtype == dtype
    for place, voxels in _blocks(image, block):
        assert coarse[place] == (Fraction(sum(voxels), len(voxels)) + Fraction(1, 2)).__floor__()


@given(shapes, factors, st.integers(0, 99))
def test_means_of_floats_are_means_of_the_voxels_there_are(shape, block, seed: int):
    image = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    coarse = downsample_image(image, block)
    for place, voxels in _blocks(image, block):
        assert coarse[place] == pytest.approx(np.mean(voxels), abs=1e-6)


@given(shapes, factors, st.integers(0, 99))
def test_labels_are_the_most_frequent_and_ties_go_to_the_smallest_object(shape, block, seed: int):
    small = np.random.default_rng(seed).integers(0, 4, shape)
    labels = np.where(small > 0, small.astype(np.uint64) + np.uint64(2**63), np.uint64(0))
    coarse = downsample_labels(labels, block)
    assert coarse.dtype == np.uint64
    for place, voxels in _blocks(labels, block):
        counts = Counter(voxels)
        first = [label for label, count in counts.items() if count == max(counts.values())]
        assert coarse[place] == min(first, key=lambda label: (label == 0, label))


@given(shapes)
def test_factor_one_changes_nothing(shape):
    voxels = np.random.default_rng(0).integers(0, 9, shape).astype(np.uint16)
    np.testing.assert_array_equal(downsample_image(voxels, (1, 1, 1)), voxels)
    np.testing.assert_array_equal(downsample_labels(voxels, (1, 1, 1)), voxels)


def test_views_and_half_floats_are_taken():
    image = np.arange(64, dtype=np.float16).reshape(4, 4, 4)
    assert downsample_image(image[::-1, :, ::2], (2, 2, 2)).dtype == np.float16
    assert downsample_image(np.full((2, 2, 2), 7, np.uint8)[::-1], (2, 2, 2)).item() == 7


def test_masks_are_labels():
    mask = np.zeros((2, 2, 2), bool)
    mask[0] = True
    assert downsample_labels(mask, (2, 2, 2)).tolist() == [[[True]]]


@pytest.mark.parametrize(
    ("function", "array", "block", "message"),
    [
        (downsample_image, np.zeros((2, 2, 2), np.uint64), (2, 2, 2), "IDs want downsample_labels"),
        (downsample_image, np.zeros((2, 2, 2), bool), (2, 2, 2), "give the mask as float32"),
        (downsample_labels, np.zeros((2, 2, 2), np.float32), (2, 2, 2), "labels are whole numbers"),
        (downsample_labels, np.zeros((2, 2), np.uint8), (2, 2, 2), "is 2-D"),
        (downsample_image, np.zeros((2, 2, 2), np.uint8), (2, 0, 2), "not all at least 1"),
        (downsample_image, np.zeros((2, 2, 2), np.uint8), (2, 2), "not three whole numbers"),
        (downsample_image, np.zeros((2, 2, 2), np.uint8), (2, 2, 1.5), "not three whole numbers"),
    ],
)
def test_what_cannot_be_resampled_says_why(function, array, block, message: str):
    with pytest.raises(VolumeError, match=message):
        function(array, block)
