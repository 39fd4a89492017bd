"""Seeds: deep inside objects, in a fixed order, never where they cannot be used."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import ndimage
from skimage.feature import peak_local_max

from ffn.seeds import peak_seeds

FOV = (5, 5, 5)


@pytest.fixture(scope="module")
def cells() -> np.ndarray:
    """Bright cells of 16³ voxels with dark membranes of two voxels between them, and noise."""
    lines = np.arange(48) % 16
    wall = (lines == 0) | (lines == 15)
    walls = wall[:, None, None] | wall[None, :, None] | wall[None, None, :]
    noise = np.random.default_rng(1).normal(0, 0.05, walls.shape)
    return (np.where(walls, -2.0, 1.0) + noise).astype(np.float32)


def test_every_cell_gets_a_seed_and_no_membrane_does(cells: np.ndarray) -> None:
    seeds = peak_seeds(cells, FOV)
    assert len({tuple(seed) for seed in (seeds // 16).tolist()}) == 27
    assert cells[tuple(seeds.T)].min() > 0


def test_seeds_ascend_in_z_y_x(cells: np.ndarray) -> None:
    seeds = peak_seeds(cells, FOV).tolist()
    assert seeds == sorted(seeds)


def test_a_field_of_view_fits_around_every_seed(cells: np.ndarray) -> None:
    everywhere, inner = peak_seeds(cells, (1, 1, 1)), peak_seeds(cells, (1, 21, 21))
    fits = ((everywhere[:, 1:] >= 10) & (everywhere[:, 1:] < 38)).all(axis=1)
    np.testing.assert_array_equal(inner, everywhere[fits])
    assert 0 < len(inner) < len(everywhere)


def test_no_seed_lies_on_a_mask_or_a_segment(cells: np.ndarray) -> None:
    mask, segmentation = np.zeros(cells.shape, bool), np.zeros(cells.shape, np.int32)
    mask[:16] = True
    segmentation[:, 32:] = 7
    seeds = peak_seeds(cells, FOV, mask=mask, segmentation=segmentation)
    assert seeds[:, 0].min() >= 16 and seeds[:, 1].max() < 32


def test_marks_of_refused_seeds_are_no_segments(cells: np.ndarray) -> None:
    marks = np.full(cells.shape, -1, np.int32)
    np.testing.assert_array_equal(peak_seeds(cells, FOV, segmentation=marks), peak_seeds(cells, FOV))


def test_distances_are_measured_to_masks_too() -> None:
    """The only edges lie beside a lit plane at x = 8; seeds lie halfway from there to a mask at x = 36."""
    image, mask = np.zeros((16, 16, 48), np.float32), np.zeros((16, 16, 48), bool)
    image[:, :, 8] = 1
    mask[:, :, 36:] = True
    seeds = peak_seeds(image, (1, 1, 1), mask=mask)
    assert len(seeds) > 0 and set(seeds[:, 2].tolist()) <= {22, 23}


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_an_image_without_edges_has_no_seeds(value: float) -> None:
    assert peak_seeds(np.full((20, 20, 20), value, np.float32), FOV).shape == (0, 3)


def test_an_image_that_is_all_mask_has_no_seeds(cells: np.ndarray) -> None:
    assert peak_seeds(cells, FOV, mask=np.ones(cells.shape, bool)).shape == (0, 3)


def test_only_the_ratios_of_the_voxel_size_matter(cells: np.ndarray) -> None:
    isotropic = peak_seeds(cells, FOV, voxel_size_nm=(9.0, 9.0, 9.0))
    np.testing.assert_array_equal(isotropic, peak_seeds(cells, FOV))
    thick = peak_seeds(cells, FOV, voxel_size_nm=(40.0, 10.0, 10.0))
    np.testing.assert_array_equal(thick, peak_seeds(cells, FOV, voxel_size_nm=(4.0, 1.0, 1.0)))
    assert thick.tolist() != isotropic.tolist()


def test_random_numbers_drawn_before_change_nothing(cells: np.ndarray) -> None:
    before = peak_seeds(cells, FOV)
    np.random.seed(7)
    np.testing.assert_array_equal(peak_seeds(cells, FOV), before)
    assert np.random.rand() == np.random.RandomState(7).rand()


def test_peaks_are_those_of_the_method_written_plainly() -> None:
    image = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=(30, 36, 33)), 1.5).astype(
        np.float32
    )
    mask, segmentation = image > 0.4, (image < -0.4).astype(np.int32)
    gradient = np.sqrt(sum(ndimage.sobel(image, axis).astype(np.float64) ** 2 for axis in range(3)))
    edges = gradient > ndimage.gaussian_filter(gradient, 49 / 6, mode="reflect")
    distance = ndimage.distance_transform_edt(~(edges | mask), sampling=(2, 1, 1))
    distance[mask | (segmentation > 0)] = -1
    noisy = distance.astype(np.float32) + np.random.RandomState(42).rand(*image.shape) * 1e-4
    expected = sorted(map(tuple, peak_local_max(noisy, min_distance=3, threshold_abs=0).tolist()))
    seeds = peak_seeds(
        image, (1, 1, 1), voxel_size_nm=(20.0, 10.0, 10.0), segmentation=segmentation, mask=mask
    )
    assert list(map(tuple, seeds.tolist())) == expected and len(expected) > 10


def test_finding_peaks_takes_less_than_20_bytes_a_voxel() -> None:
    image = np.random.default_rng(4).normal(size=(64, 64, 64)).astype(np.float32)
    nothing = np.zeros(image.shape, np.int32)
    tracemalloc.start()
    peak_seeds(image, FOV, segmentation=nothing, mask=nothing > 0)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20 * image.size
