"""Every writable format gives back what was written: any box, offset, chunk edge, and labels above 2**53."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volumes import Box, create_volume, open_volume

SPECS = {
    "hdf5": "{folder}/v.h5:volumes/labels",
    "precomputed": "precomputed://file://{folder}/pre",
    "zarr2": "zarr://{folder}/v.zarr",
    "zarr3": "zarr3://{folder}/v3.zarr",
    "n5": "n5://{folder}/v.n5",
    "tiff": "{folder}/v.tif",
    "tiff_stack": "stack:{folder}/tiffs/s*.tif",
    "png_stack": "stack:{folder}/pngs/s*.png",
}
EXAMPLES = settings(max_examples=10)
formats = pytest.mark.parametrize("form", SPECS)


def _spec(form: str, folder: Path) -> str:
    return SPECS[form].format(folder=folder)


def _label_dtype(form: str) -> str:
    return "uint16" if form == "png_stack" else "uint64"


@st.composite
def written_boxes(draw: st.DrawFn) -> tuple[Box, tuple[int, int, int], list[Box]]:
    """Bounds at any offset, an odd chunk shape, and boxes in the bounds to write one after the other."""
    shape = draw(st.tuples(*[st.integers(1, 13)] * 3))
    bounds = Box.from_shape(shape, draw(st.tuples(*[st.integers(-9, 99)] * 3)))
    chunk = draw(st.tuples(*[st.integers(1, 7)] * 3))
    boxes = []
    for _ in range(draw(st.integers(1, 3))):
        start = [draw(st.integers(0, length - 1)) for length in shape]
        size = [draw(st.integers(1, length - first)) for first, length in zip(start, shape, strict=True)]
        boxes.append(Box.from_shape(size, start).shift(bounds.start))
    return bounds, chunk, boxes


@formats
@EXAMPLES
@given(case=written_boxes(), seed=st.integers(0, 99))
def test_reading_gives_what_was_written_and_zero_elsewhere(tmp_path_factory, form: str, case, seed: int):
    bounds, chunk, boxes = case
    spec = _spec(form, tmp_path_factory.mktemp(form))
    dtype = np.dtype(_label_dtype(form))
    rng = np.random.default_rng(seed)
    expected = np.zeros(bounds.shape, dtype)
    with create_volume(
        spec, bounds=bounds, dtype=dtype, voxel_size_nm=(40, 4.6, 4.7), chunk_shape=chunk, labels=True
    ) as volume:
        for box in boxes:
            voxels = rng.integers(0, np.iinfo(dtype).max, box.shape, dtype, endpoint=True)
            volume.write(box, voxels)
            expected[box.slices(bounds.start)] = voxels
    with open_volume(spec) as volume:
        assert (volume.bounds, volume.shape, volume.dtype) == (bounds, bounds.shape, dtype)
        assert volume.voxel_size_nm == pytest.approx((40, 4.6, 4.7), rel=1e-12)
        np.testing.assert_array_equal(volume.read(), expected)
        for box in boxes:
            np.testing.assert_array_equal(volume.read(box), expected[box.slices(bounds.start)])


@pytest.mark.parametrize("form", [form for form in SPECS if _label_dtype(form) == "uint64"])
def test_labels_above_two_to_the_53_survive(tmp_path: Path, form: str):
    labels = np.array([2**53 + 1, 2**63 + 3, 2**64 - 1, 0], np.uint64).reshape(1, 2, 2)
    bounds = Box.from_shape(labels.shape)
    spec = _spec(form, tmp_path)
    create_volume(spec, bounds=bounds, dtype="uint64", voxel_size_nm=(1, 1, 1)).close()
    with open_volume(spec, mode="r+") as volume:
        volume.write(bounds, labels)
    np.testing.assert_array_equal(open_volume(spec).read(), labels)


@pytest.mark.parametrize("form", ["hdf5", "precomputed", "zarr2", "zarr3", "n5"])
def test_a_volume_of_terabytes_costs_what_is_read_and_written(tmp_path: Path, form: str):
    bounds = Box.from_shape((30_000, 20_000, 10_001), (-5, 7, 9))
    box = Box.from_shape((3, 4, 5), (29_000, 19_000, 9_000))
    labels = np.arange(60, dtype=np.uint64).reshape(box.shape)
    with create_volume(
        _spec(form, tmp_path), bounds=bounds, dtype="uint64", voxel_size_nm=(8, 8, 8), chunk_shape=(16, 8, 4)
    ) as volume:
        assert (volume.shape, volume.chunk_shape) == (bounds.shape, (16, 8, 4))
        volume.write(box, labels)
        np.testing.assert_array_equal(volume.read(box.grow(2))[2:-2, 2:-2, 2:-2], labels)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*")) < 1_000_000


@formats
def test_a_read_belongs_to_the_caller(tmp_path: Path, form: str):
    bounds = Box.from_shape((3, 5, 4))
    with create_volume(
        _spec(form, tmp_path), bounds=bounds, dtype="uint8", voxel_size_nm=(8, 8, 8)
    ) as volume:
        volume.write(bounds, np.full(bounds.shape, 3, np.uint8))
        voxels = volume.read(Box((0, 1, 1), (2, 4, 3)))
        assert type(voxels) is np.ndarray and voxels.flags.c_contiguous
        voxels += 1
        assert (volume.read() == 3).all()


@formats
def test_overwriting_leaves_nothing_of_the_old_volume(tmp_path: Path, form: str):
    spec = _spec(form, tmp_path)
    old, new = Box.from_shape((5, 6, 7), (1, 2, 3)), Box.from_shape((4, 9, 5))
    with create_volume(spec, bounds=old, dtype="uint16", voxel_size_nm=(8, 8, 8)) as volume:
        volume.write(old, np.ones(old.shape, np.uint16))
    with create_volume(
        spec, bounds=new, dtype="uint8", voxel_size_nm=(4, 4, 4), chunk_shape=(2, 3, 4), overwrite=True
    ) as volume:
        assert (volume.bounds, volume.dtype, volume.voxel_size_nm) == (new, np.uint8, (4, 4, 4))
        assert not volume.read().any()


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "uint32", "int16", "int64", "float32", "float64", "bool"]
)
@formats
def test_a_dtype_survives_or_is_refused_with_those_that_do(tmp_path: Path, form: str, dtype: str):
    bounds = Box.from_shape((2, 3, 4))
    values = np.random.default_rng(0).normal(0, 50, bounds.shape).astype(dtype)
    try:
        volume = create_volume(_spec(form, tmp_path), bounds=bounds, dtype=dtype, voxel_size_nm=(1, 1, 1))
    except Exception as error:
        assert "its format holds uint8" in str(error) or "its format holds bool" in str(error)
        assert not list(tmp_path.iterdir())
        return
    with volume:
        volume.write(bounds, values)
        np.testing.assert_array_equal(volume.read(), values)
        assert volume.read().dtype == dtype


@pytest.mark.parametrize("form", [form for form in SPECS if form != "hdf5"])
def test_chunks_of_one_process_each_make_a_whole(tmp_path: Path, form: str):
    """Two writers that keep to whole chunks do not see each other: open side by side, written in turn."""
    bounds = Box.from_shape((5, 6, 7), (2, 3, 4))
    spec = _spec(form, tmp_path)
    create_volume(spec, bounds=bounds, dtype="uint16", voxel_size_nm=(8, 8, 8), chunk_shape=(2, 6, 7)).close()
    first, second = open_volume(spec, mode="r+"), open_volume(spec, mode="r+")
    expected = np.arange(bounds.size, dtype=np.uint16).reshape(bounds.shape)
    for volume, low, high in ((first, 2, 4), (second, 4, 6), (first, 6, 7)):
        box = Box((low, 3, 4), (high, 9, 11))
        volume.write(box, expected[box.slices(bounds.start)])
    first.close()
    second.close()
    np.testing.assert_array_equal(open_volume(spec).read(), expected)


def test_an_array_is_used_in_place():
    array = np.zeros((3, 4, 5), np.float32)
    volume = open_volume(array, mode="r+")
    assert (volume.shape, volume.voxel_size_nm, volume.dtype) == ((3, 4, 5), (1, 1, 1), np.float32)
    volume.write(Box((1, 1, 1), (2, 2, 2)), np.full((1, 1, 1), 7, np.uint8))
    assert array[1, 1, 1] == 7
    volume.read()[:] = 9
    assert array.sum() == 7
