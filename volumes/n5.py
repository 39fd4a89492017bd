"""Volumes in N5 datasets, through tensorstore.

N5 lists axes as x, y, z (https://github.com/saalfeldlab/n5); they are turned here and nowhere else. So are
its attributes: `resolution` (with `units`) or `pixelResolution` (`dimensions`, `unit`), and `offset`, in the
dataset's own axis order, nanometres unless a unit says otherwise; or COSEM's `transform`, which names axes.
A folder that is no dataset but holds `s0`, the finest level of a pyramid, opens as that level.

We write `resolution`, `units`, `pixelResolution` and `offset` beside N5's own attributes in one file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import tensorstore as ts

from volumes.base import NewVolume, SizeNm, require_mode, start_of, voxel_size_of
from volumes.errors import VolumeError, mended
from volumes.tensorstores import TensorStoreVolume, delete_file, list_files, open_store, read_json, url_of
from volumes.units import nm_per_unit

DTYPES = (
    *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float32", "float64"),
)
_ATTRIBUTES = "attributes.json"
_BLOCK = re.compile(r"\d+/\d+/\d+")


def open_n5(location: str, spec: str, voxel_size_nm: Iterable[float] | None, mode: str) -> TensorStoreVolume:
    """Open an N5 dataset, or level `s0` of a pyramid.

    Args:
        location: a folder or URL of the dataset.
        spec: the SPEC, for messages.
        voxel_size_nm: zyx; takes the place of the stored one. The first voxel stays where it is.
        mode: 'r' or 'r+'.

    Raises:
        VolumeError: nothing there, damaged attributes, not three axes, no voxel size, or an offset between
            two voxels.
    """
    writable = require_mode(mode)
    url, attributes = _dataset(url_of(location), spec)
    with mended(f"cannot understand '{url}{_ATTRIBUTES}'", "repair it", KeyError, TypeError, ValueError):
        stored_nm, offset_nm = _placement(attributes)
    size_nm = voxel_size_of(spec, voxel_size_nm, stored_nm)
    store = open_store(spec, "n5", url, writable).T
    start = start_of(spec, offset_nm, size_nm, stored_nm)
    return TensorStoreVolume(spec, store, start=start, voxel_size_nm=size_nm, writable=writable)


def create_n5(location: str, new: NewVolume) -> TensorStoreVolume:
    """Make an N5 dataset (gzip, which every N5 reader knows) and open it for writing.

    Args:
        location: a folder or URL; missing folders are made.
        new: what to make.

    Raises:
        VolumeError: a dataset is there, the dtype is none of N5's, or the place cannot be written to.
    """
    new.require_dtype(*DTYPES)
    url = url_of(location)
    offset_nm = [first * size for first, size in zip(new.bounds.start, new.voxel_size_nm, strict=True)]
    resolution_xyz = list(_turned(new.voxel_size_nm))
    metadata = {
        "dimensions": _turned(new.bounds.shape),
        "blockSize": _turned(new.chunk_shape),
        "dataType": new.dtype.name,
        "compression": {"type": "gzip", "level": 1},
        "n5": "2.5.0",
        "axes": ["x", "y", "z"],
        "units": ["nm"] * 3,
        "resolution": resolution_xyz,
        "pixelResolution": {"dimensions": resolution_xyz, "unit": "nm"},
        "offset": _turned(offset_nm),
    }
    with mended(f"cannot write '{new.spec}'", "choose another output", ValueError, OSError):
        if read_json(url, _ATTRIBUTES) is not None:
            if not new.overwrite:
                raise new.refuse_existing(f"'{new.spec}'")
            _clear(url, new)
        ts.open({"driver": "n5", "kvstore": url, "metadata": metadata}, create=True).result()
    return open_n5(location, new.spec, None, "r+")


def _clear(url: str, new: NewVolume) -> None:
    """Remove a dataset: its attributes first, then its blocks, which lie in folders named by number."""
    if "dimensions" not in (read_json(url, _ATTRIBUTES) or {}):
        raise VolumeError(
            f"'{new.spec}' holds something else than a volume of ours; delete it or name another output"
        )
    delete_file(url, _ATTRIBUTES)
    for name in list_files(url):
        if _BLOCK.fullmatch(name):
            delete_file(url, name)


def _dataset(url: str, spec: str) -> tuple[str, Mapping[str, Any]]:
    """The URL and attributes of the dataset at `url`, or of `s0` below it."""
    for candidate in (url, f"{url}s0/"):
        attributes = read_json(candidate, _ATTRIBUTES)
        if attributes and "dimensions" in attributes:
            return candidate, attributes
    raise VolumeError(f"there is no N5 dataset at '{spec}'; check the path (a dataset within: {spec}/NAME)")


def _placement(attributes: Mapping[str, Any]) -> tuple[SizeNm | None, Any]:
    """Voxel size and offset (zyx, nm) the attributes state, None for what they do not."""
    if "transform" in attributes:
        return _placement_of_transform(attributes["transform"])
    size: Any = attributes.get("resolution")
    units = attributes.get("units", "nm")
    if size is None:
        pixel = attributes.get("pixelResolution")
        size, units = (
            (pixel["dimensions"], pixel.get("unit")) if isinstance(pixel, Mapping) else (pixel, "nm")
        )
    offset = attributes.get("offset")
    return _nanometres(size, units), None if offset is None else _turned(offset)


def _placement_of_transform(transform: Mapping[str, Any]) -> tuple[SizeNm | None, Any]:
    axes = list(transform["axes"])
    order = [axes.index(axis) for axis in "xyz"]
    scale, translate, units = ([transform[key][i] for i in order] for key in ("scale", "translate", "units"))
    size_nm = _nanometres(scale, units)
    return size_nm, _nanometres(translate, units)


def _nanometres(values_xyz: Any, units_xyz: Any) -> SizeNm | None:
    """Lengths in x, y, z as nm in z, y, x; None without lengths or with a unit that is none."""
    if values_xyz is None:
        return None
    names = [units_xyz] * 3 if isinstance(units_xyz, str) or units_xyz is None else units_xyz
    scales = [nm_per_unit(name) for name in names]
    x, y, z = (
        None if scale is None else float(v) * scale for v, scale in zip(values_xyz, scales, strict=True)
    )
    return None if x is None or y is None or z is None else (z, y, x)


def _turned(values: Iterable[Any]) -> list[Any]:
    """x, y, z as z, y, x, and the other way round."""
    return list(values)[::-1]
