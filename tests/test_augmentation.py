"""Augmentation: image and labels stay aligned; every change is one that was asked for, as strong as asked."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from training_cases import TINY, blobs

from ffn.training.augmentation import Augmentation
from ffn.training.centre_draw import CentreDraw
from ffn.training.deformation import deform, draw_displacement, reach_of
from ffn.training.example_settings import ExampleSettings
from ffn.training.examples import make_example
from ffn.training.geometry import apply_geometry, random_geometry
from ffn.training.greys import change_greys
from ffn.training.sections import change_sections
from ffn.training.training_volume import TrainingVolume
from volumes.arrays import ArrayVolume

NONE = Augmentation(permute_axes=(), reflect=False, contrast=0, brightness=0)
GEOMETRY = {
    "permute_axes": ((0, 1, 2),),
    "reflect": True,
    "slip": 0.5,
    "slip_voxels": 3,
    "elastic": 0.5,
    "elastic_nm": 12.0,
    "elastic_grid_nm": 80.0,
}
GREYS = {
    "contrast": 0.3,
    "brightness": 0.3,
    "noise": 0.3,
    "section_contrast": 0.3,
    "section_brightness": 0.3,
    "missing_section": 0.3,
    "dark_section": 0.3,
    "out_of_focus_section": 0.3,
    "salt_and_pepper": 0.2,
    "blur_voxels": 1.5,
}


def _volume(augmentation, size_nm=(10.0, 10.0, 10.0), shape=(26, 27, 28)):
    """A volume whose image is the labels, and a mask that is where the labels divide by three."""
    labels = blobs(shape, 0, 9, unlabelled=0)
    made = ExampleSettings(min_object_voxels=50, clearance=0, augmentation=augmentation)
    image, labels, mask = (
        ArrayVolume(array, voxel_size_nm=size_nm)
        for array in (labels.astype(np.float32), labels, labels % 3 == 0)
    )
    return TrainingVolume("labels", image, labels, TINY, made, mask)


def _examples(volume, count, seed=0):
    made = (make_example(n, seed, CentreDraw([volume], [1.0]), TINY, volume.settings) for n in range(count))
    return list(made)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 9999),
    on=st.sets(st.sampled_from(sorted(GEOMETRY))),
    size_nm=st.sampled_from([(10.0, 10.0, 10.0), (30.0, 10.0, 10.0), (5.0, 6.0, 7.0)]),
)
def test_image_target_and_weight_stay_aligned_under_all_geometry(seed, on, size_nm):
    augmentation = replace(NONE, **{name: GEOMETRY[name] for name in on})
    compared = []
    for example in _examples(_volume(augmentation, size_nm), 4, seed):
        image, inside, masked = example.image, example.target > 0.5, example.weight == 0
        middle = tuple(n // 2 for n in image.shape)
        assert inside[middle] and image[middle] == round(image[middle]), "the centre stays where it is"
        # Elastic deformation blends labels at borders; what is the same all around is one label.
        pure = np.ones(image.shape, bool)
        if augmentation.elastic:
            pure = ndimage.minimum_filter(image, 3) == ndimage.maximum_filter(image, 3)
        np.testing.assert_array_equal(inside[pure], image[pure] == image[middle])
        np.testing.assert_array_equal(masked[pure], image[pure] % 3 == 0)
        compared.append(pure.mean())
    assert np.mean(compared) > 0.05


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)], ids=str)
def test_image_and_target_stay_aligned_under_an_exchange_of_axes(order):
    image, labels = np.random.default_rng(1).random((4, 5, 6)), np.zeros((4, 5, 6), int)
    labels[image > 0.5] = 1
    changed = apply_geometry(image, order, (0, 2)), apply_geometry(labels, order, (0, 2))
    np.testing.assert_array_equal(changed[0] > 0.5, changed[1] == 1)


def test_axes_are_exchanged_only_within_their_groups_and_every_axis_is_mirrored():
    rng = np.random.default_rng(2)
    drawn = [random_geometry(Augmentation(permute_axes=((1, 2),)), rng) for _ in range(200)]
    assert {order for order, _ in drawn} == {(0, 1, 2), (0, 2, 1)}
    assert len({mirrored for _, mirrored in drawn}) == 8
    assert {random_geometry(NONE, rng) for _ in range(9)} == {((0, 1, 2), ())}


@pytest.mark.parametrize(
    "size_nm, orders",
    [((10, 10, 10), 6), ((30, 10, 10), 2), ((10, 20, 10), 2), ((1, 2, 3), 1)],
    ids=str,
)
def test_axes_of_other_voxel_sizes_are_not_exchanged(size_nm, orders):
    volume = _volume(replace(NONE, permute_axes=((0, 1, 2),)), tuple(map(float, size_nm)))
    rng = np.random.default_rng(0)
    assert len({random_geometry(volume.settings.augmentation, rng) for _ in range(99)}) == orders


@pytest.mark.parametrize("name", sorted(GREYS))
def test_each_change_of_greys_is_switched_by_its_own_setting(name):
    volume = _volume(NONE)
    plain = _examples(volume, 8)
    changed = _examples(_volume(replace(NONE, **{name: GREYS[name]})), 8)
    for a, b in zip(plain, changed, strict=True):
        np.testing.assert_array_equal(a.target, b.target)
        np.testing.assert_array_equal(a.weight, b.weight)
        assert b.image.dtype == np.float32
    assert any((a.image != b.image).any() for a, b in zip(plain, changed, strict=True))


def test_every_setting_of_augmentation_is_tried_here():
    details = {"dark_contrast", "out_of_focus_voxels"}
    assert {f.name for f in fields(Augmentation)} == set(GEOMETRY) | set(GREYS) | details


def test_nothing_changes_where_nothing_is_asked_for():
    image = np.random.default_rng(0).normal(size=(7, 8, 9)).astype(np.float32)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(change_greys(change_sections(image, NONE, rng), NONE, rng), image)
    assert draw_displacement((7, 7, 9), (1, 1, 1), NONE, rng) is None


def test_contrast_and_brightness_are_within_their_bounds_and_one_for_the_example():
    image = np.random.default_rng(0).normal(size=(6, 6, 6)).astype(np.float32)
    augmentation, fits = replace(NONE, contrast=0.2, brightness=0.5), []
    for seed in range(50):
        changed = change_greys(image, augmentation, np.random.default_rng(seed))
        fits.append(np.polyfit(image.ravel(), changed.ravel(), 1))
        np.testing.assert_allclose(np.polyval(fits[-1], image), changed, atol=1e-5)
    scale, shift = np.array(fits).T
    assert 0.8 <= scale.min() < 0.85 and 1.15 < scale.max() <= 1.2
    assert -0.5 <= shift.min() < -0.4 and 0.4 < shift.max() <= 0.5


def test_noise_is_white_and_up_to_its_level():
    image = np.zeros((20, 20, 20), np.float32)
    levels = [
        change_greys(image, replace(NONE, noise=0.4), np.random.default_rng(s)).std() for s in range(40)
    ]
    assert max(levels) < 0.41 and max(levels) > 0.3 and min(levels) < 0.1


def test_salt_and_pepper_are_black_and_white_and_few():
    image = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    shares = []
    for seed in range(40):
        changed = change_greys(image, replace(NONE, salt_and_pepper=0.1), np.random.default_rng(seed))
        spots = changed != image
        assert set(np.unique(changed[spots])) <= {image.min(), image.max()}
        shares.append(spots.mean())
    assert 0.07 < max(shares) < 0.11 and min(shares) < 0.03


def test_blur_keeps_the_mean_and_takes_the_contrast():
    image = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    changed = change_greys(image, replace(NONE, blur_voxels=2), np.random.default_rng(1))
    assert changed.std() < 0.5 * image.std() and abs(changed.mean() - image.mean()) < 0.02


def _sections(name, value, **more):
    image = np.random.default_rng(0).normal(0.5, 1, (400, 9, 9)).astype(np.float32)
    augmentation = replace(NONE, **{name: value}, **more)
    return image, change_sections(image, augmentation, np.random.default_rng(3))


def test_missing_sections_hold_the_mean_grey_value():
    image, changed = _sections("missing_section", 0.25)
    missing = (changed == 0).all(axis=(1, 2))
    assert 0.2 < missing.mean() < 0.3
    np.testing.assert_array_equal(changed[~missing], image[~missing])


def test_dark_sections_are_darker_and_of_less_contrast():
    image, changed = _sections("dark_section", 0.25, dark_contrast=0.5)
    dark = (changed != image).any(axis=(1, 2))
    assert 0.2 < dark.mean() < 0.3
    for before, after in zip(image[dark], changed[dark], strict=True):
        scale, shift = np.polyfit(before.ravel(), after.ravel(), 1)
        assert 0 <= scale <= 0.5 and shift == pytest.approx(-1, abs=1e-4)


def test_sections_out_of_focus_are_blurred_in_their_plane_alone():
    image, changed = _sections("out_of_focus_section", 0.25, out_of_focus_voxels=3)
    blurred = (changed != image).any(axis=(1, 2))
    assert 0.15 < blurred.mean() < 0.3
    assert (changed[blurred].std(axis=(1, 2)) <= image[blurred].std(axis=(1, 2))).all()


def test_sections_differ_in_contrast_and_brightness_from_each_other():
    image, changed = _sections("section_contrast", 0.2, section_brightness=0.3)
    fits = np.array([np.polyfit(a.ravel(), b.ravel(), 1) for a, b in zip(image, changed, strict=True)])
    assert 0.8 <= fits[:, 0].min() < 0.82 and 1.18 < fits[:, 0].max() <= 1.2001
    assert -0.3001 <= fits[:, 1].min() < -0.28 and 0.28 < fits[:, 1].max() <= 0.3001


def test_a_section_is_a_section_of_the_volume_however_axes_are_exchanged():
    volume = _volume(replace(NONE, permute_axes=((0, 1, 2),), missing_section=0.3))
    kinds = set()
    for example in _examples(volume, 60):
        zero = example.image == 0
        flat = [np.flatnonzero(zero.all(axis=others)) for others in [(1, 2), (0, 2), (0, 1)]]
        assert sum(len(found) > 0 for found in flat) <= 1
        kinds |= {axis for axis, found in enumerate(flat) if len(found)}
        assert np.count_nonzero(zero) == 9 * 9 * sum(map(len, flat))
    assert kinds == {0, 1, 2}


def test_a_slip_moves_one_section_or_all_from_one_on_and_not_the_centre():
    shape, augmentation = (9, 7, 7), replace(NONE, slip=1.0, slip_voxels=4)
    single = following = 0
    for seed in range(200):
        displacement = draw_displacement(shape, (1, 1, 1), augmentation, np.random.default_rng(seed))
        assert (displacement[0] == 0).all() and (displacement[:, 4, 3, 3] == 0).all()
        assert np.ptp(displacement, axis=(2, 3)).max() == 0, "a section moves as a whole"
        shifts = displacement[1:, :, 0, 0].T
        assert (shifts == np.round(shifts)).all() and np.abs(shifts).max() <= 4
        jumps = np.flatnonzero((np.diff(shifts, axis=0) != 0).any(axis=1))
        assert len(jumps) <= 2
        single += len(jumps) == 2
        following += len(jumps) == 1
    assert single > 50 and following > 50


def test_elastic_displacements_have_the_size_asked_for_in_nanometres_and_are_smooth():
    size_nm, augmentation = (40.0, 10.0, 5.0), replace(NONE, elastic=1.0, elastic_nm=20, elastic_grid_nm=100)
    displacement = draw_displacement((25, 81, 161), size_nm, augmentation, np.random.default_rng(1))
    moved_nm = displacement * np.array(size_nm)[:, None, None, None]
    # 20 nm at the nodes, less between them: 0.76 of it in all.
    spread = moved_nm.std(axis=(1, 2, 3))
    assert (spread > 12).all() and (spread < 19).all()
    assert np.abs(np.diff(moved_nm, axis=-1)).max() < 10, "5 nm on, of a grid of 100 nm"


def test_a_deformed_ramp_is_where_it_came_from():
    """On coordinates as an image, interpolation is exact and shows the displacement itself."""
    augmentation = replace(NONE, elastic=1.0, elastic_nm=2, elastic_grid_nm=6)
    displacement = draw_displacement((7, 9, 11), (1.0, 1.0, 1.0), augmentation, np.random.default_rng(5))
    reach = reach_of(displacement)
    shape = [n + 2 * r for n, r in zip((7, 9, 11), reach, strict=True)]
    ramps = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).astype(np.float32)
    own = np.stack(np.meshgrid(*map(np.arange, (7, 9, 11)), indexing="ij"))
    for ramp, start, along, mine in zip(ramps, reach, displacement, own, strict=True):
        image, inside, weight = deform(ramp, ramp > 5, ramp, displacement, reach)
        np.testing.assert_allclose(image, mine + start + along, atol=1e-4)
        np.testing.assert_array_equal(weight, np.floor(mine + start + along + np.float32(0.5)))
        np.testing.assert_array_equal(inside, weight > 5)


def test_an_example_at_the_border_of_its_volume_is_deformed_with_what_is_there():
    volume = _volume(replace(NONE, slip=1.0, slip_voxels=20, elastic=1.0, elastic_nm=60), shape=(11, 11, 12))
    for example in _examples(volume, 20):
        assert example.image.shape == (9, 9, 9) and np.isfinite(example.image).all()
        assert example.image.min() >= 1 and example.image.max() <= 30
