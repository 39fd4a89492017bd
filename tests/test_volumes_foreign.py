"""Volumes other programs wrote are read, and other programs read ours."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorstore as ts
import tifffile
from cloudvolume import CloudVolume
from PIL import Image

from volumes import Box, VolumeError, create_volume, open_volume

VOXELS = np.arange(4 * 6 * 7, dtype=np.uint16).reshape(4, 6, 7)


def _zarr(folder: Path, array: np.ndarray, driver: str = "zarr") -> None:
    metadata = {"shape": array.shape, "dtype": "<u2", "chunks": [2] * array.ndim, "compressor": None}
    spec = {"driver": driver, "kvstore": folder.as_uri() + "/", "metadata": metadata}
    ts.open(spec, create=True).result().write(array).result()


def _json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def test_cremi_hdf5_offset_in_nm_becomes_the_start_in_voxels(tmp_path: Path):
    with h5py.File(tmp_path / "sample.hdf", "w") as file:
        dataset = file.create_dataset("volumes/labels/neuron_ids", data=VOXELS)
        dataset.attrs["resolution"] = (40.0, 4.0, 4.0)
        dataset.attrs["offset"] = (1480.0, 3644.0, 3644.0)
    with open_volume(f"{tmp_path}/sample.hdf:volumes/labels/neuron_ids") as volume:
        assert volume.bounds == Box.from_shape(VOXELS.shape, (37, 911, 911))
        assert volume.voxel_size_nm == (40, 4, 4)
        np.testing.assert_array_equal(volume.read(Box((38, 912, 913), (40, 914, 916))), VOXELS[1:3, 1:3, 2:5])


def test_hdf5_voxel_size_of_the_root_holds_for_every_dataset(shared_data: Path):
    with open_volume(shared_data / "data" / "mito_sbem.h5:training/raw") as volume:
        assert (volume.shape, volume.voxel_size_nm) == ((20, 1024, 1024), (40, 5.9, 5.9))
        assert volume.read(Box((3, 5, 7), (4, 9, 12))).shape == (1, 4, 5)


def test_big_endian_voxels_come_in_the_machines_order(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = VOXELS.astype(">u2")
    with open_volume(f"{tmp_path}/a.h5:raw", voxel_size_nm=(8, 8, 8)) as volume:
        assert volume.read().dtype.isnative
        np.testing.assert_array_equal(volume.read(), VOXELS)


def test_a_given_voxel_size_takes_the_place_of_the_stored_one_and_moves_nothing(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, stored in {"sized": {"resolution": (20, 2, 2)}, "bare": {}}.items():
            file[name] = VOXELS
            file[name].attrs.update(offset=(80, 8, 12), **stored)
    for name, start in {"sized": (4, 4, 6), "bare": (2, 2, 3)}.items():
        with open_volume(f"{tmp_path}/a.h5:{name}", voxel_size_nm=(40, 4, 4)) as volume:
            assert (volume.voxel_size_nm, volume.bounds.start) == ((40, 4, 4), start)


def test_precomputed_of_several_scales_opens_at_the_finest(tmp_path: Path):
    info = CloudVolume.create_new_info(
        1, "image", "uint16", "raw", (4, 5, 40), (3, 2, 1), VOXELS.shape[::-1], max_mip=1
    )
    layer = CloudVolume(f"file://{tmp_path}/pre", info=info, progress=False)
    layer.commit_info()
    layer[3:10, 2:8, 1:5] = VOXELS.T
    with open_volume(f"precomputed://{tmp_path}/pre") as volume:
        assert volume.bounds == Box.from_shape(VOXELS.shape, (1, 2, 3))
        assert volume.voxel_size_nm == (40, 5, 4)
        np.testing.assert_array_equal(volume.read(Box((2, 2, 4), (5, 6, 9))), VOXELS[1:4, 0:4, 1:6])


@pytest.mark.parametrize(
    ("dtype", "kind", "encoding"),
    [("uint64", "segmentation", "compressed_segmentation"), ("uint8", "image", "raw")],
)
def test_our_precomputed_is_what_neuroglancer_wants(tmp_path: Path, dtype: str, kind: str, encoding: str):
    labels = (VOXELS.astype(np.uint64) << np.uint64(53)).astype(dtype)
    bounds = Box.from_shape(labels.shape, (1, 2, 3))
    with create_volume(
        f"precomputed://file://{tmp_path}/pre", bounds=bounds, dtype=dtype, voxel_size_nm=(40, 4, 5)
    ) as volume:
        volume.write(bounds, labels)
    info = json.loads((tmp_path / "pre" / "info").read_text())
    scale = info["scales"][0]
    assert (info["type"], info["data_type"], scale["encoding"]) == (kind, dtype, encoding)
    assert (scale["resolution"], scale["voxel_offset"], scale["size"]) == ([5, 4, 40], [3, 2, 1], [7, 6, 4])
    # tensorstore's reader is independent of cloud-volume's and, like a web server, knows no `.gz` files.
    kvstore = (tmp_path / "pre").as_uri() + "/"
    other = ts.open({"driver": "neuroglancer_precomputed", "kvstore": kvstore}).result()
    np.testing.assert_array_equal(other[..., 0].read().result().T, labels)


def test_small_labels_can_be_a_segmentation_layer(tmp_path: Path):
    create_volume(
        f"precomputed://{tmp_path}/pre",
        bounds=Box.from_shape((2, 2, 2)),
        dtype="uint8",
        voxel_size_nm=(1, 1, 1),
        labels=True,
    ).close()
    assert json.loads((tmp_path / "pre" / "info").read_text())["type"] == "segmentation"


@pytest.mark.parametrize(("dtype", "whole"), [("uint64", False), ("uint8", True)])
def test_a_missing_chunk_is_background_in_a_segmentation_and_an_error_in_an_image(
    tmp_path: Path, dtype: str, whole: bool
):
    spec = f"precomputed://{tmp_path}/pre"
    bounds = Box.from_shape((4, 4, 4))
    with create_volume(
        spec, bounds=bounds, dtype=dtype, voxel_size_nm=(1, 1, 1), chunk_shape=(2, 4, 4)
    ) as volume:
        volume.write(Box((0, 0, 0), (2, 4, 4)), np.ones((2, 4, 4), dtype))
        assert volume.read().sum() == 32
    with open_volume(spec) as volume:
        assert volume.read(Box((0, 0, 0), (2, 4, 4))).all()
        if whole:
            with pytest.raises(VolumeError, match="1_1_1/0-4_0-4_2-4.* is missing"):
                volume.read()
        else:
            assert volume.read().sum() == 32


def test_black_parts_of_an_image_are_no_holes(tmp_path: Path):
    spec = f"precomputed://{tmp_path}/pre"
    bounds = Box.from_shape((4, 4, 4))
    with create_volume(
        spec, bounds=bounds, dtype="uint8", voxel_size_nm=(1, 1, 1), chunk_shape=(2, 4, 4)
    ) as volume:
        volume.write(bounds, np.zeros((4, 4, 4), np.uint8))
    assert not open_volume(spec).read().any()


def _gzipped_layer(folder: Path, kind: str, dtype: str, encoding: str) -> str:
    """A layer as cloud-volume writes it to a disk: chunk files end in .gz, 4 voxels an edge."""
    info = CloudVolume.create_new_info(
        1, kind, dtype, encoding, (4, 5, 40), (3, 2, 1), VOXELS.shape[::-1], chunk_size=(4, 4, 4)
    )
    layer = CloudVolume(f"file://{folder}", info=info, progress=False, compress="gzip")
    layer.commit_info()
    layer[3:10, 2:8, 1:5] = VOXELS.astype(dtype).T
    assert list(folder.rglob("*.gz"))
    return f"precomputed://{folder}"


def test_gzipped_precomputed_is_read_and_changed_in_place(tmp_path: Path):
    spec = _gzipped_layer(tmp_path / "pre", "segmentation", "uint64", "compressed_segmentation")
    expected = VOXELS.astype(np.uint64)
    with open_volume(spec, mode="r+") as volume:
        box = Box((2, 3, 4), (4, 5, 8))
        volume.write(box, np.full(box.shape, 2**60 + 1, np.uint64))
        expected[box.slices(volume.bounds.start)] = 2**60 + 1
    with open_volume(spec) as volume:
        assert (volume.bounds.start, volume.voxel_size_nm, volume.chunk_shape) == (
            (1, 2, 3),
            (40, 5, 4),
            (4, 4, 4),
        )
        np.testing.assert_array_equal(volume.read(), expected)
    assert not [path for path in (tmp_path / "pre").glob("4*/*") if path.suffix != ".gz"]


def test_gzipped_precomputed_reports_damaged_and_missing_chunks(tmp_path: Path):
    spec = _gzipped_layer(tmp_path / "pre", "image", "uint16", "raw")
    first, second = sorted((tmp_path / "pre").rglob("*.gz"))[:2]
    first.write_bytes(first.read_bytes()[:20])
    with pytest.raises(VolumeError, match="its chunk is damaged"):
        open_volume(spec).read()
    first.unlink()
    second.unlink()
    with pytest.raises(VolumeError, match="chunk 4_5_40/.* of this image is missing"):
        open_volume(spec).read()


def test_folders_may_have_any_name(tmp_path: Path):
    folder = tmp_path / "mé 1%20 #2"
    bounds = Box.from_shape(VOXELS.shape)
    for scheme in ("precomputed", "zarr", "zarr3", "n5"):
        with create_volume(
            f"{scheme}://{folder}/{scheme}", bounds=bounds, dtype="uint16", voxel_size_nm=(1, 2, 3)
        ) as volume:
            volume.write(bounds, VOXELS)
        np.testing.assert_array_equal(open_volume(f"{scheme}://file://{folder}/{scheme}").read(), VOXELS)
    assert {path.name for path in folder.iterdir()} == {"precomputed", "zarr", "zarr3", "n5"}


def test_ome_zarr_axes_units_and_pyramid_levels(tmp_path: Path):
    _zarr(tmp_path / "s0", VOXELS[None, None])
    _zarr(tmp_path / "s1", VOXELS[None, None, ::2, ::2, ::2])
    units = [None, None, "micrometer", "nanometer", "nanometer"]
    axes = [{"name": n} if u is None else {"name": n, "unit": u} for n, u in zip("tczyx", units, strict=True)]
    levels = [
        {
            "path": f"s{level}",
            "coordinateTransformations": [
                {"type": "scale", "scale": [1, 1, 0.04 * 2**level, 4 * 2**level, 4 * 2**level]},
                # The centres of the first voxels: level 1 lies half a fine voxel further.
                {
                    "type": "translation",
                    "translation": [0, 0, 0.08 + 0.02 * level, 16 + 2 * level, 2 * level],
                },
            ],
        }
        for level in (0, 1)
    ]
    _json(tmp_path / ".zgroup", {"zarr_format": 2})
    _json(tmp_path / ".zattrs", {"multiscales": [{"version": "0.4", "axes": axes, "datasets": levels}]})
    with open_volume(f"zarr://{tmp_path}") as volume:
        assert volume.bounds == Box.from_shape(VOXELS.shape, (2, 4, 0))
        assert volume.voxel_size_nm == pytest.approx((40, 4, 4))
        np.testing.assert_array_equal(volume.read(), VOXELS)
    with open_volume(f"zarr://{tmp_path}/s1") as volume:
        assert volume.bounds == Box((1, 2, 0), (3, 5, 4))
        assert volume.voxel_size_nm == pytest.approx((80, 8, 8))


def test_ome_zarr_axes_in_another_order_are_turned(tmp_path: Path):
    _zarr(tmp_path / "0", VOXELS.T)
    axes = [{"name": name, "unit": "nanometer"} for name in "xyz"]
    steps = [{"type": "scale", "scale": [4, 5, 40]}]
    datasets = [{"path": "0", "coordinateTransformations": steps}]
    _json(tmp_path / ".zattrs", {"multiscales": [{"axes": axes, "datasets": datasets}]})
    with open_volume(f"zarr://{tmp_path}") as volume:
        assert volume.voxel_size_nm == (40, 5, 4)
        np.testing.assert_array_equal(volume.read(), VOXELS)


def test_several_channels_are_refused(tmp_path: Path):
    _zarr(tmp_path / "0", np.stack([VOXELS, VOXELS]))
    axes = [{"name": name} for name in "czyx"]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1, 1]}]}]
    _json(tmp_path / ".zattrs", {"multiscales": [{"axes": axes, "datasets": datasets}]})
    with pytest.raises(VolumeError, match="2 entries along axis 'c'"):
        open_volume(f"zarr://{tmp_path}", voxel_size_nm=(1, 1, 1))


@pytest.mark.parametrize("key", ["resolution", "voxel_size"])
def test_bare_zarr_with_attributes_in_nm(tmp_path: Path, key: str):
    _zarr(tmp_path / "raw", VOXELS)
    with pytest.raises(VolumeError, match="does not say its voxel size"):
        open_volume(f"zarr://{tmp_path}/raw")
    _json(tmp_path / "raw" / ".zattrs", {key: [40, 4, 4], "offset": [80, 8, 12]})
    with open_volume(f"zarr://{tmp_path}/raw") as volume:
        assert (volume.voxel_size_nm, volume.bounds.start) == ((40, 4, 4), (2, 2, 3))
        np.testing.assert_array_equal(volume.read(), VOXELS)


@pytest.mark.parametrize(
    "attributes",
    [
        {"resolution": [4, 5, 40], "offset": [12, 10, 80]},
        {"pixelResolution": {"dimensions": [0.004, 0.005, 0.04], "unit": "um"}, "offset": [12, 10, 80]},
        {"pixelResolution": [4, 5, 40], "offset": [12, 10, 80]},
        {
            "transform": {
                "axes": ["z", "y", "x"],
                "scale": [40, 5, 4],
                "translate": [80, 10, 12],
                "units": ["nm"] * 3,
            }
        },
    ],
    ids=["resolution", "pixelResolution", "plain pixelResolution", "transform"],
)
@pytest.mark.parametrize("level", ["", "s0"])
def test_n5_axes_and_attributes_are_x_y_z(tmp_path: Path, attributes: dict, level: str):
    metadata = {
        "dimensions": [7, 6, 4],
        "blockSize": [3, 3, 3],
        "dataType": "uint16",
        "compression": {"type": "raw"},
    }
    kvstore = (tmp_path / "c" / level).as_uri() + "/"
    store = ts.open(
        {"driver": "n5", "kvstore": kvstore, "metadata": {**metadata, **attributes}}, create=True
    ).result()
    store.write(VOXELS.T).result()
    with open_volume(f"n5://{tmp_path}/c") as volume:
        assert volume.voxel_size_nm == pytest.approx((40, 5, 4))
        assert volume.bounds.start == (2, 2, 3)
        np.testing.assert_array_equal(volume.read(), VOXELS)


def _write_imagej(path: Path) -> None:
    metadata = {"spacing": 0.04, "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(path, VOXELS, imagej=True, resolution=(250, 200), metadata=metadata)


def _write_ome(path: Path) -> None:
    sizes = {"PhysicalSizeX": 4, "PhysicalSizeY": 5, "PhysicalSizeZ": 0.04}
    units = {"PhysicalSizeXUnit": "nm", "PhysicalSizeYUnit": "nm", "PhysicalSizeZUnit": "µm"}
    tifffile.imwrite(
        path,
        VOXELS,
        ome=True,
        compression="zlib",
        photometric="minisblack",
        metadata={"axes": "ZYX", **sizes, **units},
    )


@pytest.mark.parametrize("write", [_write_imagej, _write_ome])
def test_tiff_of_imagej_and_ome_state_their_voxel_size(tmp_path: Path, write):
    write(tmp_path / "a.tif")
    with open_volume(tmp_path / "a.tif") as volume:
        assert volume.voxel_size_nm == pytest.approx((40, 5, 4))
        np.testing.assert_array_equal(volume.read(Box((1, 2, 3), (3, 5, 6))), VOXELS[1:3, 2:5, 3:6])


@pytest.mark.parametrize("metadata", [None, {}], ids=["pages", "series of pages"])
def test_tiff_whose_sections_were_appended(tmp_path: Path, metadata: dict | None):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for section in VOXELS:
            writer.write(section, compression="zlib", metadata=metadata)
    with open_volume(tmp_path / "a.tif", voxel_size_nm=(40, 4, 4)) as volume:
        np.testing.assert_array_equal(volume.read(), VOXELS)
    with pytest.raises(VolumeError, match="write a new volume"):
        open_volume(tmp_path / "a.tif", voxel_size_nm=(40, 4, 4), mode="r+")


def test_our_tiff_is_plain_to_others(tmp_path: Path):
    bounds = Box.from_shape(VOXELS.shape, (5, 6, 7))
    with create_volume(tmp_path / "a.tif", bounds=bounds, dtype="uint16", voxel_size_nm=(40, 5, 4)) as volume:
        volume.write(bounds, VOXELS)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), VOXELS)
    with Image.open(tmp_path / "a.tif") as image:
        image.seek(2)
        assert image.n_frames == 4
        np.testing.assert_array_equal(np.asarray(image), VOXELS[2])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_stack_is_ordered_by_the_numbers_in_its_names(tmp_path: Path, suffix: str):
    for number, section in zip((8, 9, 10, 100), VOXELS, strict=True):
        Image.fromarray(section).save(tmp_path / f"slice2_z{number}{suffix}")
    _json(tmp_path / "volume.json", {"voxel_size_nm": [40, 4, 4], "start": [8, 0, 0]})
    with open_volume(f"stack:{tmp_path}/*{suffix}") as volume:
        assert (volume.bounds.start, volume.voxel_size_nm, volume.dtype) == ((8, 0, 0), (40, 4, 4), np.uint16)
        np.testing.assert_array_equal(volume.read(), VOXELS)


def test_our_stack_is_one_grey_image_a_section(tmp_path: Path):
    bounds = Box.from_shape(VOXELS.shape, (5, 0, 0))
    spec = f"stack:{tmp_path}/s/z*.png"
    with create_volume(spec, bounds=bounds, dtype="uint16", voxel_size_nm=(40, 4, 4)) as volume:
        volume.write(bounds, VOXELS)
    names = sorted(path.name for path in (tmp_path / "s").iterdir())
    assert names == ["volume.json", "z00000.png", "z00001.png", "z00002.png", "z00003.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "s" / "z00002.png")), VOXELS[2])


def test_zarr_written_as_version_2_and_3_is_the_same_to_either_spec(tmp_path: Path):
    bounds = Box.from_shape(VOXELS.shape)
    for written, opened in (("zarr", "zarr3"), ("zarr3", "zarr")):
        with create_volume(
            f"{written}://{tmp_path}/{written}", bounds=bounds, dtype="uint16", voxel_size_nm=(40, 4, 4)
        ) as volume:
            volume.write(bounds, VOXELS)
        np.testing.assert_array_equal(open_volume(f"{opened}://{tmp_path}/{written}").read(), VOXELS)
        driver = written
        array = ts.open({"driver": driver, "kvstore": (tmp_path / written / "0").as_uri() + "/"}).result()
        np.testing.assert_array_equal(array.read().result(), VOXELS)
