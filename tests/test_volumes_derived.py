"""A box of a derived volume is the crop of the whole, however it is cut; coarse and fine grids fit."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import ConfigView
from configs.parsing import parse_text
from configs.proto import reconstruction_pb2
from volumes import (
    Box,
    Volume,
    VolumeError,
    _grey_statistics,
    create_volume,
    derived,
    preprocess_array,
    preprocessed,
    resampled,
    to_coarse,
    upsample_labels,
)
from volumes.arrays import ArrayVolume

NM = (8.0, 4.0, 4.0)
SETTINGS = {
    "invert": "invert: true",
    "sections": "sections { mean: 120 stddev: 40 }",
    "histogram": 'histogram { reference { spec: "reference" } }',
    "each section": 'histogram { reference { spec: "reference" } each_section: true }',
    "clahe": "clahe { tile { z: 1 y: 4 x: 5 } clip_limit: 0.02 }",
    "clahe 3-D": "clahe { tile { z: 3 y: 4 x: 2 } clip_limit: 0.5 }",
}
SETTINGS["all"] = " ".join(SETTINGS[name] for name in ("invert", "sections", "each section", "clahe"))

shapes = st.tuples(*[st.integers(1, 9)] * 3)
starts = st.tuples(*[st.integers(-7, 7)] * 3)
factors = st.tuples(*[st.integers(1, 4)] * 3)


def _section(text: str) -> ConfigView:
    return ConfigView(parse_text(text, reconstruction_pb2.Preprocessing, "preprocessing"))


def _image(shape, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """Sections that differ, of a range that does not fill the dtype's."""
    random = np.random.default_rng(seed)
    top = 200 if np.dtype(dtype).itemsize == 1 else 40_000
    image = random.beta(2, 5, shape) * top + random.integers(0, 50, (shape[0], 1, 1))
    return image.astype(dtype)


def _reference(spec: str = "reference", voxel_size_nm=NM, dtype: str = "uint8") -> Volume:
    return ArrayVolume(_image((4, 6, 5), dtype, 77)[::-1], voxel_size_nm=voxel_size_nm)


class Counting(ArrayVolume):
    """Remembers the boxes that are read, and states a chunk shape."""

    def __init__(self, array: np.ndarray, start=(0, 0, 0), chunk=(1, 1, 1)) -> None:
        super().__init__(array, voxel_size_nm=NM, start=start)
        self.chunk_shape = chunk
        self.boxes: list[Box] = []

    def _load(self, box: Box) -> np.ndarray:
        self.boxes.append(box)
        return super()._load(box)


@st.composite
def boxes_in(draw, bounds: Box) -> Box:
    ends = [
        sorted(draw(st.lists(st.integers(low, high), min_size=2, max_size=2, unique=True)))
        for low, high in zip(bounds.start, bounds.stop, strict=True)
    ]
    return Box(*zip(*ends, strict=True))


@given(st.data(), shapes, starts, factors)
def test_a_box_of_a_coarse_volume_is_the_mean_of_the_voxels_there(data, shape, start, by):
    image = _image(shape)
    fine = ArrayVolume(image, voxel_size_nm=NM, start=start)
    coarse = resampled(fine, tuple(n * f for n, f in zip(NM, by, strict=True)))
    assert coarse.bounds == to_coarse(fine.bounds, by)
    box = data.draw(boxes_in(coarse.bounds))
    got = coarse.read(box)
    for place in np.ndindex(got.shape):
        first = [(i + s) * f for i, s, f in zip(place, box.start, by, strict=True)]
        there = Box.from_shape(by, first).intersect(fine.bounds)
        voxels = image[there.slices(start)].astype(int)
        assert got[place] == (2 * voxels.sum() + voxels.size) // (2 * voxels.size)


def test_a_coarse_volume_reads_no_more_at_once_than_it_may(monkeypatch: pytest.MonkeyPatch):
    fine = Counting(_image((9, 20, 20)), start=(1, 3, 0))
    expected = resampled(fine, (16.0, 16.0, 8.0)).read()
    monkeypatch.setattr(derived, "MOST_VOXELS", 100)
    fine.boxes.clear()
    np.testing.assert_array_equal(resampled(fine, (16.0, 16.0, 8.0)).read(), expected)
    assert max(box.size for box in fine.boxes) <= 100


def test_a_coarse_volume_says_what_it_is():
    fine = ArrayVolume(np.zeros((4, 4, 4), np.float32), voxel_size_nm=NM, start=(0, 2, 0))
    coarse = resampled(fine, (16.0, 8.0, 8.0))
    assert (coarse.voxel_size_nm, coarse.dtype, coarse.writable) == ((16.0, 8.0, 8.0), np.float32, False)
    assert coarse.bounds == Box((0, 1, 0), (2, 3, 2))
    assert resampled(fine, NM) is fine
    assert pickle.loads(pickle.dumps(coarse)).read().shape == (2, 2, 2)
    with pytest.raises(VolumeError, match="open for reading only"):
        coarse.write(coarse.bounds, np.zeros((2, 2, 2), np.float32))


@pytest.mark.parametrize(
    ("dtype", "size_nm", "message"),
    [
        ("uint8", (8.0, 6.0, 8.0), "volume 'array of uint8': voxels of .* are not made of whole voxels"),
        ("uint64", (16.0, 8.0, 8.0), "IDs want downsample_labels"),
        ("bool", (16.0, 8.0, 8.0), "a mean of bool"),
    ],
)
def test_what_cannot_be_resampled_is_refused_at_once(dtype: str, size_nm, message: str):
    with pytest.raises(VolumeError, match=message):
        resampled(ArrayVolume(np.zeros((2, 2, 2), dtype), voxel_size_nm=NM), size_nm)


@given(st.data(), shapes, starts, factors)
def test_fine_labels_are_those_of_the_coarse_voxel_they_lie_in(data, shape, start, by):
    coarse = np.arange(np.prod(shape), dtype=np.uint64).reshape(shape) + np.uint64(2**63)
    whole = Box.from_shape(shape, start)
    fine = Box.from_shape(
        [n * f for n, f in zip(shape, by, strict=True)], [s * f for s, f in zip(start, by, strict=True)]
    )
    box = data.draw(boxes_in(fine))
    got = upsample_labels(coarse, start, by, box)
    everything = coarse.repeat(by[0], 0).repeat(by[1], 1).repeat(by[2], 2)
    np.testing.assert_array_equal(got, everything[box.slices(fine.start)])
    assert got.dtype == np.uint64
    assert whole.contains_box(to_coarse(box, by))


@given(st.data(), starts, factors)
def test_the_coarse_box_is_the_smallest_that_covers(data, start, by):
    box = Box.from_shape(data.draw(shapes), start)
    for axis, (low, high, f) in enumerate(zip(box.start, box.stop, by, strict=True)):
        covering = {voxel // f for voxel in range(low, high)}
        coarse = to_coarse(box, by)
        assert set(range(coarse.start[axis], coarse.stop[axis])) == covering


def test_labels_that_do_not_cover_the_box_are_refused():
    with pytest.raises(VolumeError, match="do not cover box .* give a box inside z 0:4, y 0:4, x 2:6"):
        upsample_labels(np.zeros((2, 2, 2)), (0, 0, 1), (2, 2, 2), Box((0, 0, 0), (4, 4, 4)))


@pytest.mark.parametrize("text", SETTINGS.values(), ids=SETTINGS)
@settings(deadline=None, max_examples=20)
@given(st.data(), shapes, starts, st.sampled_from(["uint8", "uint16", "int16"]))
def test_a_box_of_a_preprocessed_volume_is_the_crop_of_the_whole(text, data, shape, start, dtype):
    def reference(spec, voxel_size_nm):
        return _reference(dtype=dtype)

    image = _image(shape, dtype)
    whole = preprocess_array(image, NM, _section(text), start, reference)
    assert (whole.shape, whole.dtype) == (image.shape, image.dtype)
    chunk = data.draw(st.sampled_from([(1, 1, 1), (2, 3, 4), (200, 200, 200)]))
    volume = preprocessed(Counting(image, start, chunk), _section(text), reference)
    for _ in range(3):
        box = data.draw(boxes_in(volume.bounds))
        np.testing.assert_array_equal(volume.read(box), whole[box.slices(start)])


@pytest.mark.parametrize("text", ["invert: true", "sections {}", "invert: true sections { stddev: 2 }"])
def test_floats_become_float32_and_boxes_are_crops(text: str):
    image = np.random.default_rng(1).normal(1e4, 3, (5, 12, 9))
    volume = preprocessed(Counting(image, chunk=(2, 5, 4)), _section(text))
    whole = volume.read()
    assert whole.dtype == volume.dtype == np.float32
    np.testing.assert_allclose(preprocess_array(image, NM, _section(text)), whole, rtol=1e-5)
    box = Box((1, 2, 3), (4, 9, 8))
    np.testing.assert_array_equal(volume.read(box), whole[box.slices()])


@pytest.mark.parametrize("text", SETTINGS.values(), ids=SETTINGS)
def test_reads_are_bounded(text: str, monkeypatch: pytest.MonkeyPatch):
    expected = preprocess_array(_image((7, 60, 50)), NM, _section(text), (0, 0, 0), _reference)
    monkeypatch.setattr(_grey_statistics, "MOST_VOXELS", 500)
    source = Counting(_image((7, 60, 50)), chunk=(2, 16, 16))
    box = Box((3, 20, 20), (5, 24, 24))
    got = preprocessed(source, _section(text), _reference).read(box)
    np.testing.assert_array_equal(got, expected[box.slices()])
    # A tile of context on either side of the box is at most 8 x 20 x 24 voxels here.
    assert max(each.size for each in source.boxes) <= 8 * 20 * 24


def test_statistics_of_sections_are_read_for_the_sections_asked_for_and_once():
    source = Counting(_image((9, 8, 8)), start=(3, 0, 0), chunk=(4, 8, 8))
    volume = preprocessed(source, _section("sections {}"))
    volume.read(Box((8, 0, 0), (9, 1, 1)))
    assert source.boxes == [Box((7, 0, 0), (11, 8, 8)), Box((8, 0, 0), (9, 1, 1))]
    volume.read(Box((10, 0, 0), (11, 1, 1)))
    assert len(source.boxes) == 3


@pytest.mark.parametrize("text", SETTINGS.values(), ids=SETTINGS)
def test_a_pickled_volume_reads_the_same(text: str):
    volume = preprocessed(ArrayVolume(_image((4, 9, 8)), voxel_size_nm=NM), _section(text), _reference)
    fresh, box = pickle.loads(pickle.dumps(volume)), Box((1, 2, 3), (3, 8, 8))
    np.testing.assert_array_equal(fresh.read(box), volume.read(box))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read(box), volume.read(box))


def test_threads_share_statistics():
    class Slow(Counting):
        def _load(self, box: Box) -> np.ndarray:
            ready.wait(0.01)
            return super()._load(box)

    ready = threading.Event()
    source = Slow(_image((1, 8, 8)))
    volume = preprocessed(source, _section("sections {}"))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: volume.read(Box((0, 0, 0), (1, 4, 4))), range(4)))
    assert source.boxes.count(source.bounds) == 1
    assert all(np.array_equal(results[0], each) for each in results)


def test_nothing_asked_is_the_volume_itself():
    image = _image((2, 3, 4))
    volume = ArrayVolume(image)
    assert preprocessed(volume, _section("")) is volume
    assert preprocessed(volume, _section("invert: false")) is volume
    assert preprocessed(volume, None) is volume
    assert preprocess_array(image, NM, None) is image


def test_changes_come_in_the_order_of_the_fields():
    image = _image((3, 20, 20))
    got = preprocess_array(image, NM, _section("sections { mean: 90 stddev: 10 } invert: true"))
    np.testing.assert_allclose(got.mean(axis=(1, 2)), 90, atol=0.5)


def test_a_reference_is_opened_from_its_spec_and_needs_no_voxel_size(tmp_path: Path):
    part = Box((0, 1, 1), (2, 3, 4))
    reference = _image((2, 4, 5), seed=5)
    with create_volume(
        f"zarr://{tmp_path}/r.zarr", bounds=Box.from_shape((2, 4, 5)), dtype="uint8", voxel_size_nm=NM
    ) as volume:
        volume.write(volume.bounds, reference)
    box = "box { start { z: 0 y: 1 x: 1 } shape { z: 2 y: 2 x: 3 } }"
    section = _section(f'histogram {{ reference {{ spec: "zarr://{tmp_path}/r.zarr" }} {box} }}')
    cropped = reference[part.slices()]
    np.testing.assert_array_equal(preprocess_array(cropped, NM, section), cropped)


def test_closing_closes_what_is_read_from():
    closed = []

    class Closing(ArrayVolume):
        def close(self) -> None:
            closed.append(self.dtype)

    def reference(spec, voxel_size_nm):
        return Closing(_image((2, 3, 4)))

    with preprocessed(Closing(_image((4, 4, 4))), _section(SETTINGS["all"]), reference) as volume:
        resampled(volume, tuple(2 * n for n in volume.voxel_size_nm)).close()
    assert len(closed) == 4


@pytest.mark.parametrize(
    ("text", "dtype", "message"),
    [
        ("histogram", "float32", "histogram matching of 'array of float32' wants whole numbers .* convert"),
        ("clahe", "float32", "CLAHE of 'array of float32' wants whole numbers .* convert the image to uint8"),
        ("clahe", "int32", "CLAHE of 'array of int32' wants whole numbers of 8 or 16 bits"),
        ("histogram", "uint16", "histogram reference 'array of uint8' is uint8, but .* is uint16"),
        ("invert", "bool", "preprocessing of 'array of bool' wants grey values, not bool"),
        ("sections", "uint64", "wants grey values, not uint64; give the image"),
    ],
)
def test_what_cannot_be_changed_is_refused_at_once(text: str, dtype: str, message: str):
    with pytest.raises(VolumeError, match=message):
        preprocessed(ArrayVolume(np.zeros((2, 2, 2), dtype)), _section(SETTINGS[text]), _reference)


def test_a_reference_box_outside_the_reference_is_refused():
    box = "box { start { z: 0 y: 0 x: 3 } shape { z: 4 y: 6 x: 3 } }"
    with pytest.raises(VolumeError, match="histogram.box z 0:4, y 0:6, x 3:6 leaves 'array of uint8'"):
        preprocessed(
            ArrayVolume(_image((2, 2, 2))),
            _section(f'histogram {{ reference {{ spec: "reference" }} {box} }}'),
            _reference,
        )


def test_a_section_with_nan_is_named():
    image = np.zeros((3, 4, 4), np.float32)
    image[1, 2, 2] = np.nan
    with pytest.raises(VolumeError, match="section z 6 of 'array of float32' has voxels that are NaN"):
        preprocess_array(image, NM, _section("sections {}"), (5, 0, 0))
