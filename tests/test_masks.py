"""Voxels kept out of the flood: by volumes, images, positions and shifts, against hand and brute force."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorstore as ts
from config_texts import REQUEST
from hypothesis import given
from hypothesis import strategies as st

from configs import ConfigError, ConfigView, parse_inference_request
from configs.parsing import parse_text
from configs.proto import google_ffn_pb2, reconstruction_pb2
from inference.masks import (
    box_excluded,
    build_mask,
    check_masks,
    downsample_mask,
    needs_image,
)
from inference.shift_masks import (
    check_request_shift_mask,
    check_shift_mask,
    default_fov,
    refused_positions,
    request_shift_mask,
    shift_mask,
)
from volumes import Box, VolumeError, create_volume, open_volume
from volumes.opening import open_channel

NM = (8.0, 8.0, 8.0)
CLASSES = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
WHOLE = Box.from_shape((3, 4, 5))


def _masks(*texts: str) -> list[ConfigView]:
    return [ConfigView(parse_text(text, google_ffn_pb2.MaskConfig, "mask")) for text in texts]


def _shifts_section(text: str) -> ConfigView:
    return ConfigView(parse_text(text, reconstruction_pb2.ShiftMask, "shifts"))


def _hdf5(path: Path, array: np.ndarray, **attributes: object) -> str:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=array).attrs.update(attributes)
    return f"{path}:data"


def _volume(spec: str, channels: str, more: str = "") -> str:
    return f'volume {{ mask {{ hdf5: "{spec}" }} {channels} }} {more}'


@pytest.fixture
def classes(tmp_path: Path) -> str:
    return _hdf5(tmp_path / "classes.h5", CLASSES)


def test_without_masks_nothing_is_kept_out():
    assert build_mask([], WHOLE, None, NM) is None
    assert not box_excluded([], WHOLE, open_volume(CLASSES[0]))


@pytest.mark.parametrize(
    ("channels", "kept_out"),
    [
        ("channels { min_value: 3 max_value: 5 }", [3, 4, 5]),
        ("channels { }", [0]),
        ("channels { values: [7, 9, 300] }", [7, 9]),
        ("channels { values: [7] min_value: 3 max_value: 5 }", [7]),
        ("channels { min_value: 2.5 max_value: 4.5 }", [3, 4]),
        ("channels { min_value: -9 max_value: 1 }", [0, 1]),
        ("channels { channel: 1 min_value: 63 max_value: 64 }", [3, 4]),
        ("channels { min_value: 5 max_value: 1000 invert: true }", [0, 1, 2, 3, 4]),
        ("channels { values: [2] } channels { channel: 1 values: [64] }", [2, 4]),
        ("channels { values: [2] } channels { min_value: 1 max_value: 999 invert: true }", [0, 2]),
    ],
)
def test_channels_select_by_value_or_range_and_are_united(classes: str, channels: str, kept_out: list[int]):
    mask = build_mask(_masks(_volume(classes, channels)), WHOLE, None, NM)
    assert mask.dtype == bool and mask.shape == WHOLE.shape
    assert np.flatnonzero(mask).tolist() == kept_out
    opposite = build_mask(_masks(_volume(classes, channels, "invert: true")), WHOLE, None, NM)
    np.testing.assert_array_equal(opposite, ~mask)


def test_several_masks_are_united_after_each_is_inverted(classes: str):
    masks = _masks(
        _volume(classes, "channels { min_value: 1 max_value: 59 }", "invert: true"),
        "image { channels { min_value: 100 max_value: 200 } }",
        'coordinate_expression { expression: "(z == 1) & (x == 4)" }',
    )
    image = np.full(WHOLE.shape, 50, np.uint8)
    image[2, 3, 1] = 150
    mask = build_mask(masks, WHOLE, image, NM)
    expected = {(0, 0, 0), (2, 3, 1), *((1, y, 4) for y in range(4))}
    assert set(map(tuple, np.argwhere(mask).tolist())) == expected


def test_a_part_of_a_volume_with_an_offset_is_read_at_absolute_positions(tmp_path: Path):
    spec = _hdf5(tmp_path / "a.h5", CLASSES[0], resolution=NM, offset=(80, 160, 240))
    box = Box((11, 21, 32), (13, 23, 34))
    masks = _masks(_volume(spec, "channels { values: [27, 53] }"))
    expected = np.isin(CLASSES[0, 1:3, 1:3, 2:4], [27, 53])
    np.testing.assert_array_equal(build_mask(masks, box, None, NM), expected)
    local = box.shift((-10, -20, -30))
    np.testing.assert_array_equal(build_mask(masks, local, None, NM, from_corner=True), expected)


def test_beyond_its_volume_a_mask_reads_zero(tmp_path: Path):
    spec = _hdf5(tmp_path / "a.h5", np.ones((2, 2, 2), np.uint8))
    box = Box((-1, 0, 0), (3, 2, 3))
    inside = np.zeros(box.shape, bool)
    inside[1:3, :, :2] = True
    ones, zeros = (_masks(_volume(spec, f"channels {{ values: [{value}] }}")) for value in (1, 0))
    np.testing.assert_array_equal(build_mask(ones, box, None, NM), inside)
    np.testing.assert_array_equal(build_mask(zeros, box, None, NM), ~inside)
    assert not build_mask(ones, Box((5, 5, 5), (6, 6, 6)), None, NM).any()


def test_object_ids_are_compared_exactly(tmp_path: Path):
    ids = np.array([2**60, 2**60 + 1, 2**64 - 1, 7], np.uint64).reshape(1, 2, 2)
    spec = _hdf5(tmp_path / "ids.h5", ids)
    masks = _masks(_volume(spec, f"channels {{ values: [{2**60 + 1}] }}"))
    assert build_mask(masks, Box.from_shape((1, 2, 2)), None, NM).ravel().tolist() == [
        False,
        True,
        False,
        False,
    ]
    masks = _masks(_volume(spec, "channels { min_value: 7 max_value: 7 }"))
    assert build_mask(masks, Box.from_shape((1, 2, 2)), None, NM).ravel().tolist() == [
        False,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "float32", "bool"])
def test_any_number_can_be_a_mask(tmp_path: Path, dtype: str):
    array = np.array([0, 1, 1, 0], dtype).reshape(1, 2, 2)
    spec = _hdf5(tmp_path / "a.h5", array)
    for channels in ("channels { values: [1, 200] }", "channels { min_value: 0.5 max_value: 9 }"):
        mask = build_mask(_masks(_volume(spec, channels)), Box.from_shape((1, 2, 2)), None, NM)
        assert mask.ravel().tolist() == [False, True, True, False]


def test_nan_fulfils_no_condition():
    image = np.array([np.nan, 1.0], np.float32).reshape(1, 1, 2)
    for channels, expected in (("max_value: 2", [False, True]), ("max_value: 2 invert: true", [True, False])):
        mask = build_mask(
            _masks(f"image {{ channels {{ {channels} }} }}"), Box.from_shape((1, 1, 2)), image, NM
        )
        assert mask.ravel().tolist() == expected


@given(data=st.data())
def test_masks_equal_a_voxel_by_voxel_reading_of_the_rules(tmp_path_factory: pytest.TempPathFactory, data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    stored = rng.integers(0, 6, (2, 3, 4, 3)).astype(np.uint8)
    spec = _hdf5(tmp_path_factory.mktemp("masks") / "a.h5", stored)
    entries = [
        {"channel": int(rng.integers(2)), "low": int(rng.integers(6)), "high": int(rng.integers(6)),
         "values": rng.integers(0, 6, rng.integers(3)).tolist(), "invert": bool(rng.integers(2))}
        for _ in range(rng.integers(1, 4))
    ]  # fmt: skip
    invert = bool(rng.integers(2))
    box = Box.from_shape((2, 3, 3), tuple(rng.integers(-1, 3, 3).tolist()))
    channels = " ".join(
        f"channels {{ channel: {e['channel']} min_value: {e['low']} max_value: {e['high']} "
        f"values: {e['values']} invert: {str(e['invert']).lower()} }}"
        for e in entries
    )
    masks = _masks(_volume(spec, channels, f"invert: {str(invert).lower()}"))
    expected = np.empty(box.shape, bool)
    for index in np.ndindex(box.shape):
        z, y, x = (low + i for low, i in zip(box.start, index, strict=True))
        selected = False
        for e in entries:
            inside = 0 <= z < 3 and 0 <= y < 4 and 0 <= x < 3
            value = int(stored[e["channel"], z, y, x]) if inside else 0
            holds = value in e["values"] if e["values"] else e["low"] <= value <= e["high"]
            selected = selected or holds != e["invert"]
        expected[index] = selected != invert
    np.testing.assert_array_equal(build_mask(masks, box, None, NM), expected)


def test_a_box_is_excluded_when_no_voxel_of_it_is_free(classes: str):
    volume = open_volume(np.zeros((150, 4, 5), np.uint8))
    by_position = _masks('coordinate_expression { expression: "(z >= 10) & ((z < 149) | (x < 4))" }')
    assert box_excluded(by_position, Box((10, 0, 0), (149, 4, 5)), volume)
    assert not box_excluded(by_position, Box((10, 0, 0), (150, 4, 5)), volume)
    assert not box_excluded(by_position, Box((9, 0, 0), (149, 4, 5)), volume)
    assert box_excluded(_masks("image { channels { } }"), volume.bounds, volume)
    assert box_excluded(_masks(_volume(classes, "channels { max_value: 59 }")), WHOLE, volume)
    assert not box_excluded(_masks(_volume(classes, "channels { max_value: 58 }")), WHOLE, volume)


def test_an_excluded_box_of_a_request_counts_from_the_corner(tmp_path: Path):
    voxels = np.zeros((2, 2, 4), np.uint8)
    voxels[:, :, 2:] = 9
    spec = _hdf5(tmp_path / "a.h5", voxels, resolution=NM, offset=(80, 80, 80))
    masks = _masks("image { channels { values: [9] } }")
    with open_volume(spec) as image:
        assert box_excluded(masks, Box((0, 0, 2), (2, 2, 4)), image, from_corner=True)
        assert box_excluded(masks, Box((10, 10, 12), (12, 12, 14)), image)
        assert not box_excluded(masks, Box((0, 0, 1), (2, 2, 4)), image, from_corner=True)


def test_a_coarse_voxel_is_kept_out_when_any_of_its_voxels_is():
    mask = np.zeros((3, 4, 5), bool)
    mask[2, 1, 4] = mask[0, 2, 1] = True
    coarse = downsample_mask(mask, (2, 2, 3))
    assert coarse.shape == (2, 2, 2)
    assert np.argwhere(coarse).tolist() == [[0, 1, 0], [1, 0, 1]]
    np.testing.assert_array_equal(downsample_mask(mask, (1, 1, 1)), mask)


def test_only_masks_from_the_image_need_it(classes: str):
    assert needs_image(_masks("image { channels { } }"))
    assert not needs_image(
        _masks(_volume(classes, "channels { }"), 'coordinate_expression { expression: "x<1" }')
    )


def _message(masks: list[ConfigView], image=None) -> str:
    with pytest.raises((ConfigError, VolumeError)) as caught:
        check_masks(masks, image)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_wrong_with_masks_is_said_before_any_work(tmp_path: Path, classes: str):
    missing = _volume(f"{tmp_path}/none.h5:data", "channels { }")
    assert "none.h5' does not exist; check the path" in _message(_masks(missing))
    assert "has no channel 2; it has 2 channels, 0 to 1" in _message(
        _masks(_volume(classes, "channels { channel: 2 }"))
    )
    assert "names channel 1; the image has channel 0 alone" in _message(
        _masks("image { channels { channel: 1 } }")
    )
    assert "'w' at character 1 is unknown" in _message(
        _masks('coordinate_expression { expression: "w < 1" }')
    )
    secret = 'volume { mask { volinfo: "a" } channels { } }'
    assert "belongs to a store that is not public" in _message(_masks(secret))
    flat = _hdf5(tmp_path / "flat.h5", np.zeros((4, 4), np.uint8))
    assert "2-D" in _message(_masks(_volume(flat, "channels { }")))


def test_masks_lie_on_the_grid_of_the_image(tmp_path: Path, classes: str):
    image = open_volume(CLASSES[0], voxel_size_nm=NM)
    coarse = _hdf5(tmp_path / "coarse.h5", CLASSES[0], resolution=(8, 16, 16))
    away = _hdf5(tmp_path / "away.h5", CLASSES[0], resolution=NM, offset=(800, 0, 0))
    unstated, masks = _masks(_volume(classes, "channels { }")), {}
    for name, spec in {"coarse": coarse, "away": away}.items():
        masks[name] = _masks(_volume(spec, "channels { }"))
    check_masks(unstated, image)
    check_masks([*masks["coarse"], *masks["away"]], image, from_corner=True)
    assert "has voxels of (8.0, 16.0, 16.0) nm but image" in _message(masks["coarse"], image)
    assert "(z 100:103, y 0:4, x 0:5) shares no voxel with image" in _message(masks["away"], image)


# Volumes with channels


def _zarr(folder: Path, array: np.ndarray, driver: str) -> None:
    create = {"driver": driver, "kvstore": folder.as_uri() + "/", "dtype": "uint8"}
    ts.open(create, create=True, shape=array.shape).result().write(array).result()


def _precomputed(folder: Path) -> str:
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": folder.as_uri() + "/",
        "multiscale_metadata": {"data_type": "uint8", "num_channels": 2, "type": "image"},
        "scale_metadata": {
            "size": [5, 4, 3], "resolution": [4, 5, 40], "voxel_offset": [3, 2, 1], "encoding": "raw",
            "chunk_size": [2, 2, 2],
        },
    }  # fmt: skip
    ts.open(spec, create=True).result()[...].write(CLASSES.T).result()
    return f"precomputed://{folder}"


@pytest.mark.parametrize("driver", ["zarr", "zarr3"])
def test_bare_zarr_of_four_axes_has_channels_first(tmp_path: Path, driver: str):
    _zarr(tmp_path / "a", CLASSES, driver)
    for channel in (0, 1):
        with open_channel(f"{driver}://{tmp_path}/a", channel, voxel_size_nm=NM) as volume:
            assert volume.bounds == WHOLE
            part = Box((1, 1, 2), (3, 4, 5))
            np.testing.assert_array_equal(volume.read(part), CLASSES[channel][part.slices()])


def test_ome_zarr_names_its_channel_axis(tmp_path: Path):
    _zarr(tmp_path / "0", CLASSES.transpose(1, 0, 3, 2)[None], "zarr")
    attributes = {
        "multiscales": [{
            "axes": [{"name": name, "unit": "nanometer"} for name in "tzcxy"],
            "datasets": [{"path": "0", "coordinateTransformations": [
                {"type": "scale", "scale": [1, 40, 1, 4, 5]},
                {"type": "translation", "translation": [0, 80, 0, 4, 0]},
            ]}],
        }]
    }  # fmt: skip
    (tmp_path / ".zattrs").write_text(json.dumps(attributes))
    (tmp_path / ".zgroup").write_text('{"zarr_format": 2}')
    with open_channel(f"zarr://{tmp_path}", 1) as volume:
        assert (volume.bounds.start, volume.voxel_size_nm) == ((2, 0, 1), (40, 5, 4))
        np.testing.assert_array_equal(volume.read(), CLASSES[1])


def test_precomputed_of_several_channels(tmp_path: Path):
    spec = _precomputed(tmp_path)
    for channel in (0, 1):
        with open_channel(spec, channel) as volume:
            assert (volume.bounds.start, volume.voxel_size_nm) == ((1, 2, 3), (40, 5, 4))
            np.testing.assert_array_equal(volume.read(), CLASSES[channel])
    next(path for path in tmp_path.rglob("*") if path.is_file() and path.name != "info").unlink()
    with pytest.raises(VolumeError, match="damaged or missing"):
        open_channel(spec, 1).read()


def test_hdf5_channel_keeps_offset_and_voxel_size(tmp_path: Path):
    spec = _hdf5(tmp_path / "a.h5", CLASSES, resolution=(40, 4, 4), offset=(80, 4, 8))
    with open_channel(spec, 1) as volume:
        assert (volume.bounds, volume.voxel_size_nm) == (WHOLE.shift((2, 1, 2)), (40, 4, 4))
        box = Box((3, 2, 3), (5, 5, 6))
        np.testing.assert_array_equal(volume.read(box), CLASSES[1, 1:3, 1:4, 1:4])
    with pytest.raises(VolumeError, match=r"has 4 axes, shape \(2, 3, 4, 5\)"):
        open_volume(spec)


def test_a_volume_without_channels_has_channel_0(tmp_path: Path):
    made = open_volume(CLASSES[0])
    for spec in (
        f"{tmp_path}/a.h5:a",
        f"zarr://{tmp_path}/a",
        f"precomputed://{tmp_path}/b",
        f"{tmp_path}/a.tif",
    ):
        with create_volume(spec, bounds=made.bounds, dtype="uint8", voxel_size_nm=NM) as volume:
            volume.write(made.bounds, made.read())
        with open_channel(spec, 0) as volume:
            np.testing.assert_array_equal(volume.read(), CLASSES[0])
        with pytest.raises(VolumeError, match="has no channel 1; it has one channel, 0"):
            open_channel(spec, 1)


def test_precomputed_channel_that_is_not_there(tmp_path: Path):
    with pytest.raises(VolumeError, match="no file 'info'"):
        open_channel(f"precomputed://{tmp_path}/none", 0)
    with pytest.raises(VolumeError, match="has no channel 2; it has 2 channels"):
        open_channel(_precomputed(tmp_path), 2)


# Shifts


def _refused_by_hand(
    shifts: np.ndarray, origin, box: Box, scale: int, threshold: float, fov: Box
) -> np.ndarray:
    """Every position, every voxel of the image in its box, every component."""
    refused = np.zeros(box.shape, bool)
    for index in np.ndindex(box.shape):
        position = [low + i for low, i in zip(box.start, index, strict=True)]
        for offset in np.ndindex(fov.shape):
            z, y, x = (p + low + o for p, low, o in zip(position, fov.start, offset, strict=True))
            place = (z - origin[0], y // scale - origin[1], x // scale - origin[2])
            if all(0 <= at < n for at, n in zip(place, shifts.shape[1:], strict=True)):
                refused[index] |= any(abs(float(part[place])) >= threshold for part in shifts)
    return refused


def test_one_large_shift_refuses_the_positions_whose_box_it_touches():
    shifts = np.zeros((2, 5, 4, 4), np.float32)
    shifts[1, 2, 1, 3] = -4
    box = Box.from_shape((5, 8, 8))
    fov = Box((-1, -1, 0), (1, 2, 1))
    refused = refused_positions(shifts, (0, 0, 0), box, scale=2, threshold=4, fov=fov)
    expected = np.zeros(box.shape, bool)
    # Section 2 is seen from 2 and 3; rows 2 and 3 from 1 to 4; columns 6 and 7 from themselves.
    expected[2:4, 1:5, 6:8] = True
    np.testing.assert_array_equal(refused, expected)
    assert not refused_positions(shifts, (0, 0, 0), box, scale=2, threshold=5, fov=fov).any()


def test_the_lowest_whole_number_is_a_large_shift_and_nan_is_none():
    shifts = np.zeros((2, 1, 1, 2), np.int8)
    shifts[0, 0, 0, 1] = -128
    one, box = Box.from_shape((1, 1, 1)), Box.from_shape((1, 1, 2))
    assert refused_positions(shifts, (0, 0, 0), box, scale=1, threshold=3, fov=one).ravel().tolist() == [
        False,
        True,
    ]
    unknown = np.full((2, 1, 1, 2), np.nan, np.float32)
    assert not refused_positions(unknown, (0, 0, 0), box, scale=1, threshold=1, fov=one).any()


@given(data=st.data())
def test_refused_positions_equal_brute_force(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    scale = data.draw(st.integers(1, 3))
    shifts = rng.integers(-5, 6, (2, *rng.integers(1, 5, 3))).astype(data.draw(st.sampled_from(["i1", "f4"])))
    shifts[rng.random(shifts.shape) < 0.8] = 0
    origin = tuple(rng.integers(-2, 3, 3).tolist())
    box = Box.from_shape(rng.integers(1, 7, 3).tolist(), rng.integers(-4, 8, 3).tolist())
    fov = Box.from_shape(rng.integers(1, 5, 3).tolist(), rng.integers(-3, 2, 3).tolist())
    refused = refused_positions(shifts, origin, box, scale=scale, threshold=4, fov=fov)
    np.testing.assert_array_equal(refused, _refused_by_hand(shifts, origin, box, scale, 4, fov))


def _google(
    shifts: np.ndarray, position: tuple[int, int, int], fov: Box, scale: int, threshold: float
) -> bool:
    """MovementRestrictor.is_valid_pos of google/ffn, negated, for a subvolume that starts at 0."""
    magnitude = np.abs(shifts).max(axis=0) >= threshold
    low = np.maximum(np.add(position, fov.start), 0)
    high = np.add(position, fov.stop) - 1
    (_, y0, x0), (_, y1, x1) = low // scale, high // scale
    return bool(magnitude[low[0] : high[0] + 1, y0 : y1 + 1, x0 : x1 + 1].any())


def test_shifts_of_a_config_and_of_a_request_are_those_of_google_ffn(tmp_path: Path):
    shifts = np.zeros((2, 12, 10, 10), np.float32)
    places = np.random.default_rng(3).integers(0, (2, 12, 10, 10), (6, 4))
    shifts[tuple(places.T)] = [4, -4, 9, -9, 3, -3]
    spec = _hdf5(tmp_path / "shifts.h5", shifts)
    whole = Box.from_shape((12, 20, 20))
    fov = Box((-2, -3, -4), (1, 4, 5))
    expected = np.array([_google(shifts, at, fov, 2, 4) for at in np.ndindex(whole.shape)]).reshape(
        whole.shape
    )
    section = _shifts_section(
        f'volume {{ spec: "{spec}" }} scale: 2 threshold: 4 '
        "fov { start { z: -2 y: -3 x: -4 } shape { z: 3 y: 7 x: 9 } }"
    )
    request = parse_inference_request(
        REQUEST + f'shift_mask {{ hdf5: "{spec}" }} shift_mask_scale: 2 shift_mask_threshold: 4 '
        "shift_mask_fov { start { x: -4 y: -3 z: -2 } size { x: 9 y: 7 z: 3 } }"
    )
    assert 0 < expected.mean() < 1
    for box in (whole, Box((3, 5, 1), (9, 14, 20))):
        part = expected[box.slices()]
        np.testing.assert_array_equal(shift_mask(section, box, (33, 33, 33)), part)
        np.testing.assert_array_equal(request_shift_mask(request, box, (33, 33, 33)), part)


def test_without_a_box_the_field_of_view_counts(tmp_path: Path):
    shifts = np.zeros((2, 9, 9, 9), np.int16)
    shifts[0, 4, 4, 4] = 7
    spec = _hdf5(tmp_path / "shifts.h5", shifts)
    section = _shifts_section(f'volume {{ spec: "{spec}" }} threshold: 7')
    refused = shift_mask(section, Box.from_shape((9, 9, 9)), (1, 3, 5))
    expected = np.zeros((9, 9, 9), bool)
    expected[4, 3:6, 2:7] = True
    np.testing.assert_array_equal(refused, expected)
    assert default_fov((1, 3, 4)) == Box((0, -1, -2), (1, 2, 2))
    assert request_shift_mask(parse_inference_request(REQUEST), WHOLE, (1, 3, 5)) is None


def test_shifts_lie_where_their_offset_says(tmp_path: Path):
    shifts = np.zeros((2, 2, 2, 2), np.int16)
    shifts[0, 0, 0, 0] = 7
    spec = _hdf5(tmp_path / "shifts.h5", shifts, resolution=(40, 16, 16), offset=(80, 48, 64))
    section = _shifts_section(f'volume {{ spec: "{spec}" }} threshold: 7 scale: 4')
    refused = shift_mask(section, Box((0, 0, 0), (4, 20, 24)), (1, 1, 1))
    expected = np.zeros((4, 20, 24), bool)
    expected[2, 12:16, 16:20] = True
    np.testing.assert_array_equal(refused, expected)
    assert not shift_mask(section, Box((20, 0, 0), (24, 8, 8)), (1, 1, 1)).any()


def test_what_is_wrong_with_shifts_is_said_before_any_work(tmp_path: Path):
    image = open_volume(np.zeros((4, 8, 8), np.uint8))
    good = _hdf5(tmp_path / "good.h5", np.zeros((2, 4, 4, 4), np.int16))
    flat = _hdf5(tmp_path / "flat.h5", np.zeros((4, 4, 4), np.int16))
    away = _hdf5(tmp_path / "away.h5", np.zeros((2, 4, 4, 4), np.int16), offset=(9, 0, 0))
    check_shift_mask(_shifts_section(f'volume {{ spec: "{good}" }} threshold: 1 scale: 2'), image)
    with pytest.raises(VolumeError, match="has no channel 1; it has one channel, 0"):
        check_shift_mask(_shifts_section(f'volume {{ spec: "{flat}" }} threshold: 1'), image)
    with pytest.raises(VolumeError, match="share no voxel with image .* at scale 2.; correct the scale"):
        check_shift_mask(_shifts_section(f'volume {{ spec: "{away}" }} threshold: 1 scale: 2'), image)


def test_a_requests_threshold_of_0_is_refused(tmp_path: Path):
    good = _hdf5(tmp_path / "good.h5", np.zeros((2, 4, 4, 4), np.int16))
    with_shifts = REQUEST + f'shift_mask {{ hdf5: "{good}" }} '
    check_request_shift_mask(parse_inference_request(REQUEST))
    check_request_shift_mask(parse_inference_request(with_shifts + "shift_mask_threshold: 2"))
    with pytest.raises(ConfigError, match="shift_mask_threshold is 0, which every shift reaches"):
        check_request_shift_mask(parse_inference_request(with_shifts))
