"""Coarser scales lie where they belong, hold what the finer one says, and open in other readers."""

from __future__ import annotations

import json
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from cloudvolume import CloudVolume
from hypothesis import given, settings
from hypothesis import strategies as st

from volumes import Box, Volume, VolumeError, create_volume, open_volume
from volumes.pyramid import (
    coarser_bounds,
    create_pyramid,
    downsample_block,
    fill_scale,
    next_factors,
    scale_blocks,
)

BOUNDS = Box((3, -5, 7), (13, 12, 30))


def _random_labels(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint64) << np.uint64(50)


def _fill(pyramid: list[Volume], edge_chunks: int = 1) -> None:
    for fine, coarse in zip(pyramid, pyramid[1:], strict=False):
        for box in reversed(scale_blocks(coarse, edge_chunks)):
            fill_scale(fine, coarse, next_factors(fine.voxel_size_nm), box)


def _coarse_by_hand(voxels: np.ndarray, box: Box, factors: tuple[int, ...]) -> dict[tuple, list]:
    """The fine voxels under every coarse voxel, by its absolute place."""
    under: dict[tuple, list] = {}
    for place in product(*map(range, voxels.shape)):
        coarse = tuple((p + s) // f for p, s, f in zip(place, box.start, factors, strict=True))
        under.setdefault(coarse, []).append(voxels[place].item())
    return under


def _mode(values: list[int]) -> int:
    counts = Counter(values)
    ties = [value for value, count in counts.items() if count == max(counts.values())]
    return min(ties, key=lambda value: (value == 0, value))


@given(
    st.tuples(*[st.integers(1, 7)] * 3),
    st.tuples(*[st.integers(-5, 5)] * 3),
    st.tuples(*[st.integers(1, 3)] * 3),
)
def test_a_coarse_voxel_stands_for_the_voxels_under_it_at_any_offset(shape, start, factors):
    box = Box.from_shape(shape, start)
    labels, image = _random_labels(shape), np.random.default_rng(1).normal(size=shape).astype(np.float32)
    modes = downsample_block(labels, box, factors, labels=True)
    means = downsample_block(image, box, factors, labels=False)
    bounds = coarser_bounds(box, factors)
    assert modes.shape == means.shape == bounds.shape
    expected = _coarse_by_hand(labels, box, factors)
    assert len(expected) == bounds.size
    for place, values in _coarse_by_hand(image, box, factors).items():
        local = tuple(p - s for p, s in zip(place, bounds.start, strict=True))
        assert means[local] == pytest.approx(np.mean(values), abs=1e-6)
        assert modes[local] == _mode(expected[place])


@pytest.mark.parametrize(
    ("size_nm", "factors"),
    [
        ((10, 10, 10), (2, 2, 2)),
        ((40, 4, 4), (1, 2, 2)),
        ((40, 32, 32), (2, 2, 2)),
        ((40, 20, 20), (1, 2, 2)),
        ((20, 9, 9), (1, 2, 2)),
        ((20, 18, 18), (2, 2, 2)),
        ((4, 40, 20), (2, 1, 1)),
    ],
)
def test_axes_that_are_not_coarser_than_the_others_are_halved(size_nm, factors):
    assert next_factors(size_nm) == factors


def test_scales_go_on_until_one_chunk_holds_everything(tmp_path: Path):
    pyramid = create_pyramid(
        f"precomputed://{tmp_path}/v",
        bounds=Box((16, 0, -100), (48, 1000, 900)),
        dtype="uint64",
        voxel_size_nm=(40, 10, 10),
    )
    assert [volume.voxel_size_nm for volume in pyramid] == [
        (40, 10, 10),
        (40, 20, 20),
        (40, 40, 40),
        (80, 80, 80),
        (160, 160, 160),
    ]
    assert [volume.bounds for volume in pyramid[:4]] == [
        Box((16, 0, -100), (48, 1000, 900)),
        Box((16, 0, -50), (48, 500, 450)),
        Box((16, 0, -25), (48, 250, 225)),
        Box((8, 0, -13), (24, 125, 113)),
    ]
    assert pyramid[-1].shape == (8, 63, 64)


@pytest.mark.parametrize(("scales", "made"), [(1, 1), (3, 3), (0, 1)])
def test_the_number_of_scales_is_the_one_asked_for(tmp_path: Path, scales: int, made: int):
    spec = f"precomputed://{tmp_path}/v"
    bounds = Box.from_shape((9, 9, 9))
    pyramid = create_pyramid(spec, bounds=bounds, dtype="uint8", voxel_size_nm=(1, 1, 1), scales=scales)
    assert len(pyramid) == made
    assert len(json.loads((tmp_path / "v" / "info").read_text())["scales"]) == made


@settings(max_examples=10)
@given(
    st.tuples(*[st.integers(-9, 9)] * 3),
    st.tuples(*[st.integers(1, 20)] * 3),
    st.tuples(*[st.integers(1, 6)] * 3),
    st.integers(1, 3),
)
def test_blocks_fill_a_scale_as_one_would(tmp_path_factory, start, shape, chunk, edge_chunks):
    bounds = Box.from_shape(shape, start)
    pyramid = create_pyramid(
        f"precomputed://{tmp_path_factory.mktemp('p')}/v",
        bounds=bounds,
        dtype="uint64",
        voxel_size_nm=(20, 10, 10),
        chunk_shape=chunk,
        scales=3,
    )
    labels = _random_labels(shape)
    pyramid[0].write(bounds, labels)
    _fill(pyramid, edge_chunks)
    for volume, factors in zip(pyramid, [(1, 1, 1), (1, 2, 2), (2, 2, 2)], strict=True):
        labels = downsample_block(labels, bounds, factors, labels=True)
        bounds = coarser_bounds(bounds, factors)
        assert volume.bounds == bounds
        np.testing.assert_array_equal(volume.read(), labels)


def test_blocks_tile_a_volume_in_whole_chunks(tmp_path: Path):
    volume = create_volume(
        f"precomputed://{tmp_path}/v",
        bounds=BOUNDS,
        dtype="uint8",
        voxel_size_nm=(1, 1, 1),
        chunk_shape=(4, 5, 6),
    )
    boxes = scale_blocks(volume, 2)
    covered = np.zeros(BOUNDS.shape, int)
    for box in boxes:
        covered[box.slices(BOUNDS.start)] += 1
        for low, first, edge in zip(box.start, BOUNDS.start, (4, 5, 6), strict=True):
            assert (low - first) % (2 * edge) == 0
    assert (covered == 1).all()
    assert boxes == sorted(boxes, key=lambda box: box.start)


@pytest.mark.parametrize("dtype", ["uint64", "uint8"])
def test_cloudvolume_reads_every_scale(tmp_path: Path, dtype: str):
    """Another implementation of the format, which takes offset and extent from `info`."""
    pyramid = create_pyramid(
        f"precomputed://{tmp_path}/v",
        bounds=Box((3, 5, 7), (13, 22, 30)),
        dtype=dtype,
        voxel_size_nm=(40, 5, 4),
        chunk_shape=(4, 8, 8),
        scales=3,
    )
    voxels = np.random.default_rng(0).integers(0, 255, pyramid[0].shape).astype(dtype)
    pyramid[0].write(pyramid[0].bounds, voxels)
    _fill(pyramid)
    layer = CloudVolume(f"file://{tmp_path}/v", progress=False, fill_missing=True)
    assert list(layer.available_mips) == [0, 1, 2]
    for mip, volume in enumerate(pyramid):
        layer.mip = mip
        assert tuple(layer.resolution[::-1]) == volume.voxel_size_nm
        assert tuple(layer.voxel_offset[::-1]) == volume.bounds.start
        np.testing.assert_array_equal(np.asarray(layer[:])[..., 0].T, volume.read())
    assert pyramid[2].read().any()


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzipped"])
def test_a_scale_opens_by_index_and_by_key(tmp_path: Path, compressed: bool):
    """Two scales as cloud-volume writes them; gzipped ones are read by it, plain ones by tensorstore."""
    info = CloudVolume.create_new_info(
        1, "segmentation", "uint64", "raw", (4, 5, 40), (4, 2, 1), (8, 6, 4), chunk_size=(4, 4, 4)
    )
    layer = CloudVolume(f"file://{tmp_path}/v", info=info, progress=False, compress=compressed)
    layer.add_scale((2, 2, 1))
    layer.commit_info()
    labels = [_random_labels((4, 6, 8)), _random_labels((4, 3, 4), seed=1)]
    for mip, voxels in enumerate(labels):
        layer.mip = mip
        layer[:] = voxels.T
    spec = f"precomputed://{tmp_path}/v"
    for suffix, mip in {"": 0, "#0": 0, "#1": 1, "#4_5_40": 0, "#8_10_40": 1}.items():
        volume = open_volume(spec + suffix)
        assert volume.bounds == Box.from_shape(labels[mip].shape, (1, 2 >> mip, 4 >> mip))
        assert volume.voxel_size_nm == (40, 5 << mip, 4 << mip)
        np.testing.assert_array_equal(volume.read(), labels[mip])
    changed = Box((2, 2, 3), (3, 4, 5))
    open_volume(f"{spec}#1", mode="r+").write(changed, np.full(changed.shape, 7, np.uint64))
    assert (open_volume(f"{spec}#1").read(changed) == 7).all()
    np.testing.assert_array_equal(open_volume(spec).read(), labels[0])


@pytest.mark.parametrize("name", ["2", "-1", "9_9_9", "+1"])
def test_an_unknown_scale_lists_those_there_are(tmp_path: Path, name: str):
    spec = f"precomputed://{tmp_path}/v"
    create_pyramid(spec, bounds=BOUNDS, dtype="uint8", voxel_size_nm=(20, 9, 9), scales=2)
    with pytest.raises(
        VolumeError, match=r"no scale '.*; end the SPEC in one of: #0 \(#9_9_20\), #1 \(#18_18_20\)$"
    ):
        open_volume(f"{spec}#{name}")


def test_a_folder_may_still_have_a_number_sign_in_its_name(tmp_path: Path):
    spec = f"precomputed://{tmp_path}/v#1"
    pyramid = create_pyramid(spec, bounds=BOUNDS, dtype="uint8", voxel_size_nm=(1, 1, 1), scales=2)
    assert open_volume(spec).bounds == BOUNDS
    assert open_volume(f"{spec}#1").bounds == pyramid[1].bounds


def test_a_replaced_pyramid_leaves_nothing_of_the_old_one(tmp_path: Path):
    spec = f"precomputed://{tmp_path}/v"
    make = {"bounds": BOUNDS, "dtype": "uint64", "voxel_size_nm": (1, 1, 1), "scales": 2}
    pyramid = create_pyramid(spec, **make)
    pyramid[0].write(BOUNDS, np.ones(BOUNDS.shape, np.uint64))
    _fill(pyramid)
    with pytest.raises(VolumeError, match="already exists"):
        create_pyramid(spec, **make)
    create_pyramid(spec, **make, overwrite=True)
    assert not open_volume(spec).read().any()
    assert not open_volume(f"{spec}#1").read().any()


@pytest.mark.parametrize(
    ("spec", "scales", "message"),
    [
        ("zarr://{folder}/v", 1, "no Precomputed volume, which alone has scales"),
        ("precomputed://{folder}/v", 17, "17 scales of .* are out of range; give 0 to 16"),
    ],
)
def test_what_cannot_be_a_pyramid_says_why(tmp_path: Path, spec: str, scales: int, message: str):
    with pytest.raises(VolumeError, match=message):
        create_pyramid(
            spec.format(folder=tmp_path),
            bounds=BOUNDS,
            dtype="uint8",
            voxel_size_nm=(1, 1, 1),
            scales=scales,
        )


def test_a_block_outside_the_scale_is_refused(tmp_path: Path):
    fine, coarse = create_pyramid(
        f"precomputed://{tmp_path}/v", bounds=BOUNDS, dtype="uint8", voxel_size_nm=(1, 1, 1), scales=2
    )
    for box in (Box((0, 0, 0), (9, 1, 1)), Box((50, 0, 0), (51, 1, 1))):
        with pytest.raises(VolumeError, match="leaves|holds no voxels"):
            fill_scale(fine, coarse, (2, 2, 2), box)
