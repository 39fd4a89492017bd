"""Grey values change as computed by hand, as scikit-image does, and as the definition of CLAHE says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import camera
from skimage.exposure import equalize_adapthist, match_histograms

from volumes import Box
from volumes._clahe import clahe_context, equalised
from volumes.preprocessing import (
    Contrast,
    Sums,
    count_levels,
    inverted,
    matching_table,
    normalised_section,
    replace_levels,
    section_sums,
)


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("uint8", [0, 1, 255], [255, 254, 0]),
        ("uint16", [0, 1, 65535], [65535, 65534, 0]),
        ("int16", [-32768, 0, 32767], [32767, -1, -32768]),
        ("float32", [-1.5, 0, 2], [1.5, 0, -2]),
    ],
)
def test_white_becomes_black(dtype: str, values, expected):
    got = inverted(np.array(values, dtype))
    assert (got.dtype, got.tolist()) == (dtype, expected)


def test_sums_by_hand():
    (sums,) = section_sums(np.array([[[2, 4], [4, 6]]], np.uint8))
    assert sums == Sums(4, 16, 72)
    assert sums.contrast == (4, 2**0.5)
    assert Sums(1, 2, 3) + Sums(10, 20, 30) == Sums(11, 22, 33)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_sums_are_those_of_numpy_in_any_parts(dtype: str):
    image = np.random.default_rng(0).integers(0, 30000, (2, 40, 50)).astype(dtype)
    left, right = section_sums(image[:, :, :17]), section_sums(image[:, :, 17:])
    for section, (a, b) in zip(image, zip(left, right, strict=True), strict=True):
        assert (a + b).contrast.mean == pytest.approx(section.mean(dtype=float), rel=1e-12)
        assert (a + b).contrast.stddev == pytest.approx(section.std(dtype=float), rel=1e-9)


def test_a_section_gets_the_mean_and_deviation_by_hand():
    section = np.array([[2, 4], [4, 6]], np.uint8)
    (sums,) = section_sums(section[None])
    wanted = Contrast(100, 2**0.5 * 10)
    assert normalised_section(section, sums.contrast, wanted).tolist() == [[80, 100], [100, 120]]
    # Half of the dtype's range is not enough for these: they end at its ends.
    assert normalised_section(section, sums.contrast, Contrast(128, 400)).tolist() == [[0, 128], [128, 255]]


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_a_section_of_one_value_becomes_the_mean(dtype: str):
    section = np.full((1, 70, 70), 0.1 if dtype.startswith("f") else 7, dtype)
    (sums,) = section_sums(section)
    assert set(normalised_section(section[0], sums.contrast, Contrast(128, 33)).ravel()) == {128}


levels = st.integers(0, 255)


@settings(deadline=None)
@given(st.lists(levels, min_size=1, max_size=60), st.lists(levels, min_size=1, max_size=60))
def test_matching_is_that_of_scikit_image(values, reference_values):
    image, reference = np.array(values, np.uint8), np.array(reference_values, np.uint8)
    table = matching_table(count_levels(image), count_levels(reference), image.dtype)
    expected = match_histograms(image, reference)
    np.testing.assert_array_equal(replace_levels(image, table), np.rint(expected).astype(np.uint8))


def test_negative_levels_are_matched():
    image = np.array([-128, -1, 0, 127], np.int8)
    reference = np.array([-100, -50, 50, 100], np.int8)
    table = matching_table(count_levels(image), count_levels(reference), image.dtype)
    assert replace_levels(image[::-1], table).tolist() == [100, 50, -50, -100]


def _mirror(i: int, start: int, stop: int) -> int:
    while not start <= i < stop:
        i = 2 * start - i if i < start else 2 * (stop - 1) - i
        if stop - start == 1:
            return start
    return i


def _clahe_by_definition(image: np.ndarray, start, tile, place) -> float:
    """The equalised value, 0 to 1, of one voxel where no peak is cut (clip limit 1)."""
    value, result = image[place], 0.0
    ends = [(s, s + n) for s, n in zip(start, image.shape, strict=True)]
    corners = []
    for i, (low, high), size in zip(place, ends, tile, strict=True):
        at = (i + low - (size - 1) / 2) / size
        near = int(np.floor(at))
        last = (high - 1) // size
        corners.append(
            [(min(max(t, low // size), last), w) for t, w in ((near, near + 1 - at), (near + 1, at - near))]
        )
    for z, wz in corners[0]:
        for y, wy in corners[1]:
            for x, wx in corners[2]:
                inside = [
                    [_mirror(v, *end) - end[0] for v in range(t * n, (t + 1) * n)]
                    for t, n, end in zip((z, y, x), tile, ends, strict=True)
                ]
                result += wz * wy * wx * np.mean(image[np.ix_(*inside)] <= value)
    return result


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(*[st.integers(1, 6)] * 3),
    st.tuples(*[st.integers(-5, 5)] * 3),
    st.tuples(*[st.integers(1, 5)] * 3),
    st.integers(0, 99),
)
def test_without_a_limit_every_voxel_is_as_the_definition_says(shape, start, tile, seed):
    image = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    bounds = Box.from_shape(shape, start)
    got = equalised(image, start, bounds, bounds, tile, 1.0)
    for place in np.ndindex(shape):
        assert got[place] == pytest.approx(255 * _clahe_by_definition(image, start, tile, place), abs=0.501)


def test_the_context_of_a_box_is_bounded_and_aligned():
    bounds = Box.from_shape((10, 1000, 1000))
    context = clahe_context(Box((4, 300, 0), (5, 310, 32)), bounds, (1, 64, 64))
    # 300 lies behind the centre of tile 4 (256:320, 287.5), 0 to 31 before that of tile 0.
    assert context == Box((4, 256, 0), (5, 384, 64))


def test_clahe_is_that_of_scikit_image_but_for_rounding_and_the_stretch():
    section = np.ascontiguousarray(camera()[:256, :256])
    section[:2, :2], section[-2:, -2:] = 0, 255
    bounds = Box.from_shape((1, 256, 256))
    got = equalised(section[None], (0, 0, 0), bounds, bounds, (1, 64, 64), 0.01)[0]
    expected = 255 * equalize_adapthist(section, kernel_size=64, clip_limit=0.01)
    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.999
    assert np.abs(got - expected).mean() < 3


def test_sixteen_bits_are_equalised_within_a_256th_of_the_range_too():
    image = np.linspace(1000, 1100, 64 * 64).astype(np.uint16).reshape(1, 64, 64)
    bounds = Box.from_shape(image.shape)
    got = equalised(image, (0, 0, 0), bounds, bounds, (1, 64, 64), 1.0)
    assert (np.diff(got.ravel().astype(int)) >= 0).all()
    assert len(np.unique(got)) == len(np.unique(image))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16"])
def test_the_lowest_limit_changes_nothing(dtype: str):
    limits = np.iinfo(dtype)
    image = np.random.default_rng(0).integers(limits.min, limits.max, (2, 20, 20), dtype, endpoint=True)
    bounds = Box.from_shape(image.shape)
    got = equalised(image, (0, 0, 0), bounds, bounds, (1, 8, 8), 1 / 256)
    assert np.abs(got.astype(int) - image).max() <= 1


def test_a_tile_of_one_section_equalises_each_by_itself():
    image = np.random.default_rng(0).integers(0, 256, (3, 16, 16), np.uint8)
    whole = Box.from_shape(image.shape)
    got = equalised(image, (0, 0, 0), whole, whole, (1, 8, 8), 0.05)
    for z, section in enumerate(image):
        alone = Box.from_shape((1, 16, 16))
        np.testing.assert_array_equal(
            got[z], equalised(section[None], (0,) * 3, alone, alone, (1, 8, 8), 0.05)[0]
        )
