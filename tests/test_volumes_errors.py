"""Bad volumes and bad requests: one line that says what, where and the mend; nothing half made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from volumes import Box, VolumeError, create_volume, open_volume

SPECS = {
    "hdf5": "{folder}/v.h5:labels",
    "precomputed": "precomputed://file://{folder}/pre",
    "zarr2": "zarr://{folder}/v.zarr",
    "zarr3": "zarr3://{folder}/v3.zarr",
    "n5": "n5://{folder}/v.n5",
    "tiff": "{folder}/v.tif",
    "stack": "stack:{folder}/pngs/*.png",
}
METADATA = ("info", ".zarray", ".zattrs", ".zgroup", "zarr.json", "attributes.json", "volume.json")
formats = pytest.mark.parametrize("form", SPECS)
BOUNDS = Box.from_shape((5, 6, 7), (1, 2, 3))


def _create(form: str, folder: Path, **changes: object):
    kind = {"bounds": BOUNDS, "dtype": "uint16", "voxel_size_nm": (40, 4, 4), "chunk_shape": (3, 3, 3)}
    return create_volume(SPECS[form].format(folder=folder), **{**kind, **changes})


def _filled(form: str, folder: Path) -> str:
    """A volume of noise, closed."""
    with _create(form, folder) as volume:
        volume.write(BOUNDS, np.random.default_rng(0).integers(1, 2**16, BOUNDS.shape, np.uint16))
    return SPECS[form].format(folder=folder)


def _message(action: Callable[[], object]) -> str:
    with pytest.raises(VolumeError) as caught:
        action()
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    return str(caught.value)


@formats
def test_what_is_not_there_is_named(tmp_path: Path, form: str):
    message = _message(lambda: open_volume(SPECS[form].format(folder=tmp_path / "none")))
    assert str(tmp_path / "none") in message and "check the path" in message


@formats
def test_box_outside_names_itself_and_the_bounds(tmp_path: Path, form: str):
    with open_volume(_filled(form, tmp_path), mode="r+") as volume:
        outside = Box((1, 2, 3), (7, 8, 10))
        expected = f"box {outside} leaves volume '{volume.spec}' ({BOUNDS}); shrink it to those bounds"
        assert _message(lambda: volume.read(outside)) == expected
        assert _message(lambda: volume.write(outside, np.zeros(outside.shape, np.uint16))) == expected
        assert "holds no voxels" in _message(lambda: volume.read(Box((1, 2, 3), (1, 8, 10))))


@formats
def test_writing_checks_mode_shape_and_dtype(tmp_path: Path, form: str):
    spec = _filled(form, tmp_path)
    zeros = np.zeros(BOUNDS.shape, np.uint16)
    with open_volume(spec) as volume:
        assert "open it with mode='r+'" in _message(lambda: volume.write(BOUNDS, zeros))
    with open_volume(spec, mode="r+") as volume:
        assert "give shape (5, 6, 7)" in _message(lambda: volume.write(BOUNDS, zeros[1:]))
        assert "convert them with .astype('uint16')" in _message(
            lambda: volume.write(BOUNDS, zeros.astype("u4"))
        )
        assert volume.read().all()


@formats
def test_existing_output_is_kept_unless_it_may_be_replaced(tmp_path: Path, form: str):
    spec = _filled(form, tmp_path)
    assert "already exists" in _message(lambda: _create(form, tmp_path, dtype="uint8"))
    assert open_volume(spec).read().all()


@formats
def test_output_that_cannot_be_written_is_named(tmp_path: Path, form: str):
    (tmp_path / "file").write_text("in the way")
    message = _message(lambda: _create(form, tmp_path / "file" / "sub"))
    assert "Not a directory" in message and str(tmp_path / "file" / "sub") in message
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@formats
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bounds": Box((0, 0, 0), (4, 0, 4))}, "it holds no voxels"),
        ({"dtype": "complex64"}, "cannot hold complex64; its format holds"),
        ({"dtype": "spam"}, "dtype 'spam'"),
        ({"voxel_size_nm": (40, 4)}, "not three numbers"),
        ({"voxel_size_nm": (40, -4, 4)}, "not positive"),
        ({"chunk_shape": (64, 0, 64)}, "not positive"),
    ],
)
def test_a_volume_that_cannot_be_leaves_nothing(tmp_path: Path, form: str, changes: dict, message: str):
    assert message in _message(lambda: _create(form, tmp_path, **changes))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", [form for form in SPECS if form not in ("hdf5", "tiff")])
@pytest.mark.parametrize("bytes_left", [0, 9])
def test_damaged_chunks_are_found(tmp_path: Path, form: str, bytes_left: int):
    spec = _filled(form, tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name not in METADATA:
            path.write_bytes(path.read_bytes()[:bytes_left])
    message = _message(lambda: open_volume(spec).read())
    assert "damaged" in message or "missing" in message


@pytest.mark.parametrize("form", [form for form in SPECS if form not in ("hdf5", "tiff")])
@pytest.mark.parametrize(
    "text", ['{"trunc', "[]", "{}", '{"scales": [{}], "dimensions": [3], "zarr_format": 2}']
)
def test_damaged_metadata_is_found(tmp_path: Path, form: str, text: str):
    spec = _filled(form, tmp_path)
    for path in tmp_path.rglob("*"):
        if path.name in METADATA:
            path.write_text(text)
    assert str(tmp_path) in _message(lambda: open_volume(spec))


@pytest.mark.parametrize("form", ["hdf5", "tiff"])
@pytest.mark.parametrize("share", [0, 0.01, 0.5])
def test_truncated_files_are_found(tmp_path: Path, form: str, share: float):
    spec = _filled(form, tmp_path)
    path = tmp_path / ("v.h5" if form == "hdf5" else "v.tif")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert "it must be an intact" in _message(lambda: open_volume(spec))


@pytest.mark.parametrize("spec", ["raw", "ftp://x", "zarr://", "stack:", "", "folder/", "http://x/y.h5"])
def test_unknown_specs_list_the_known_forms(spec: str):
    message = _message(lambda: open_volume(spec))
    assert "write one of: file.h5:dataset, precomputed://" in message or "does not exist" in message
    with pytest.raises(VolumeError):
        create_volume(spec, bounds=BOUNDS, dtype="uint8", voxel_size_nm=(1, 1, 1))


def test_what_is_neither_spec_nor_array_is_refused():
    assert "not list" in _message(lambda: open_volume([[1]]))
    assert "unknown mode 'w'" in _message(lambda: open_volume(np.zeros((2, 2, 2)), mode="w"))


@pytest.fixture
def hdf5_file(tmp_path: Path) -> Path:
    """An HDF5 file with every kind of dataset that is no volume."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        voxels = np.zeros((2, 3, 4), np.uint8)
        for name in ("plain", "between", "sizes", "words", "group/nested"):
            file[name] = voxels
        file["flat"], file["channels"], file["none"] = voxels[0], voxels[None], voxels[:0]
        file["text"], file["bytes"], file["complex"] = "x", voxels.astype("S2"), voxels.astype("c8")
        file["between"].attrs.update(resolution=(40, 4, 4), offset=(50, 0, 0))
        file["sizes"].attrs["resolution"] = (4, 4)
        file["words"].attrs["resolution"] = "4 nm"
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flat", "is 2-D, shape (3, 4); a volume has three axes (z, y, x)"),
        ("channels", "has 4 axes"),
        ("none", "holds no voxels"),
        ("text", "has 0 axes"),
        ("bytes", "holds |S2"),
        ("complex", "holds complex64"),
        ("plain", "does not say its voxel size; give it in nm: voxel_size_nm=(z, y, x)"),
        ("between", "offset [50, 0, 0] nm of"),
        ("sizes", "voxel size [4, 4] of"),
        ("words", "voxel size 4 nm of"),
        ("raw", "has no dataset 'raw'; it holds between, bytes, channels, complex, flat, group/nested, none"),
        ("group", "has no dataset 'group'; it holds"),
    ],
)
def test_hdf5_dataset_that_is_no_volume(hdf5_file: Path, name: str, message: str):
    assert message in _message(lambda: open_volume(f"{hdf5_file}:{name}"))


def test_hdf5_without_a_dataset_name_lists_them(hdf5_file: Path):
    assert "needs the name of a dataset; it holds" in _message(lambda: open_volume(hdf5_file))
    assert "names no dataset" in _message(lambda: _create_at(f"{hdf5_file.parent}/new.h5"))
    assert not (hdf5_file.parent / "new.h5").exists()


def test_hdf5_groups_are_never_replaced(hdf5_file: Path):
    assert "is a group" in _message(lambda: _create_at(f"{hdf5_file}:group", overwrite=True))
    assert "cannot write" in _message(lambda: _create_at(f"{hdf5_file}:plain/below"))
    with h5py.File(hdf5_file) as file:
        assert "group/nested" in file and "plain" in file


def _create_at(spec: str, **changes: object):
    return create_volume(spec, bounds=BOUNDS, dtype="uint8", voxel_size_nm=(1, 1, 1), **changes)


@pytest.mark.parametrize("form", ["zarr", "zarr3", "n5"])
def test_a_folder_of_something_else_is_never_cleared(tmp_path: Path, form: str):
    keep = tmp_path / "g" / "other" / "data"
    keep.parent.mkdir(parents=True)
    keep.write_text("precious")
    name = "attributes.json" if form == "n5" else "zarr.json"
    (tmp_path / "g" / name).write_text('{"zarr_format": 3, "node_type": "group"}')
    assert "holds something else" in _message(lambda: _create_at(f"{form}://{tmp_path}/g", overwrite=True))
    assert keep.read_text() == "precious"


@pytest.mark.parametrize(
    ("voxels", "options", "message"),
    [
        (np.zeros((6, 7), np.uint8), {}, "is 2-D"),
        (np.zeros((5, 6, 7, 3), np.uint8), {"photometric": "rgb"}, "has 4 axes"),
        (np.zeros((5, 6, 7), np.uint8), {}, "does not say its voxel size"),
    ],
)
def test_tiff_that_is_no_volume(tmp_path: Path, voxels: np.ndarray, options: dict, message: str):
    tifffile.imwrite(tmp_path / "a.tif", voxels, **options)
    assert message in _message(lambda: open_volume(tmp_path / "a.tif"))


def test_stack_errors_name_the_section(tmp_path: Path):
    for name, array in {
        "grey1": np.zeros((4, 5)),
        "grey2": np.zeros((4, 6)),
        "rgb": np.zeros((4, 5, 3)),
    }.items():
        Image.fromarray(array.astype(np.uint8)).save(tmp_path / f"{name}.png")
    size_nm = (40, 4, 4)
    assert "rgb.png' is a colour image (RGB)" in _message(
        lambda: open_volume(f"stack:{tmp_path}/rgb*.png", voxel_size_nm=size_nm)
    )
    volume = open_volume(f"stack:{tmp_path}/grey*.png", voxel_size_nm=size_nm)
    assert "grey2.png' is (4, 6) uint8, the stack is (4, 5) uint8" in _message(volume.read)
    assert "no image in" in _message(lambda: open_volume(f"stack:{tmp_path}/*.tif"))
    assert "write stack:dir/*.png" in _message(lambda: open_volume(f"stack:{tmp_path}/rgb.png"))
    assert "does not say its voxel size" in _message(lambda: open_volume(f"stack:{tmp_path}/grey*.png"))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_lost_section_of_an_image_is_named_and_no_tissue(tmp_path: Path, suffix: str):
    spec = f"stack:{tmp_path}/s*{suffix}"
    with create_volume(spec, bounds=BOUNDS, dtype="uint16", voxel_size_nm=(40, 4, 4)) as volume:
        volume.write(BOUNDS, np.ones(BOUNDS.shape, np.uint16))
    lost = tmp_path / f"s00002{suffix}"
    lost.unlink()
    with open_volume(spec) as volume:
        assert volume.shape == BOUNDS.shape and volume.read(Box((1, 2, 3), (3, 8, 10))).all()
        assert f"section '{lost}' is missing; put it back" in _message(volume.read)
    with open_volume(spec, mode="r+") as volume:
        assert not volume.read(Box((3, 2, 3), (4, 8, 10))).any(), "who writes may fill it in"


@pytest.mark.parametrize(("dtype", "labels"), [("uint64", None), ("uint16", True)])
def test_sections_of_labels_that_are_not_there_hold_none(tmp_path: Path, dtype: str, labels: bool | None):
    spec = f"stack:{tmp_path}/s*.tif"
    create_volume(spec, bounds=BOUNDS, dtype=dtype, voxel_size_nm=(40, 4, 4), labels=labels).close()
    with open_volume(spec) as volume:
        assert not volume.read().any()


def test_one_folder_holds_one_new_stack(tmp_path: Path):
    _create_at(f"stack:{tmp_path}/a*.png")
    assert "holds the stack 'a*.png' already" in _message(lambda: _create_at(f"stack:{tmp_path}/b*.png"))


def test_labels_of_floats_are_no_segmentation(tmp_path: Path):
    message = _message(lambda: _create("precomputed", tmp_path, dtype="float32", labels=True))
    assert "cannot hold labels" in message


@pytest.mark.parametrize(
    ("array", "mode", "message"),
    [
        (np.zeros((3, 3)), "r", "is 2-D"),
        (np.zeros((2, 2, 2), object), "r", "holds object"),
        (np.broadcast_to(np.zeros(1), (2, 2, 2)), "r+", "is read-only"),
    ],
)
def test_arrays_that_are_no_volume(array: np.ndarray, mode: str, message: str):
    assert message in _message(lambda: open_volume(array, mode=mode))


def test_importing_volumes_loads_no_format_library():
    code = "import sys, volumes; volumes.open_volume; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"h5py", "tensorstore", "cloudvolume", "tifffile", "PIL", "numba", "scipy", "tensorflow"}
    assert not heavy & set(loaded)
