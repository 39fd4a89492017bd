"""Volumes in Zarr arrays of version 2 and 3, through tensorstore.

Three layouts are read, whichever version the SPEC names:
- an OME-Zarr group: its finest array, with the group's axes, scale and translation;
- one array of such a group (`zarr://vol.zarr/s2`): any level of a pyramid;
- a bare array with attributes `resolution` or `voxel_size`, and `offset` (nm, zyx), or without any, when
  the voxel size is given.

Of an array with several channels one is read: along axis `c` of the OME-Zarr metadata, or the first of the
four axes of a bare array.

We write the first: the array in `0`, OME-Zarr metadata 0.4 or 0.5 in the group. The group's metadata is
written last, so that a folder left by a crash is not taken for a volume.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

import tensorstore as ts

from volumes.base import NewVolume, require_mode, start_of, voxel_size_of
from volumes.channels import channel_view
from volumes.errors import VolumeError, mended
from volumes.ngff import ZYX, Placement, dataset_paths, group_attributes, placement
from volumes.tensorstores import (
    TensorStoreVolume,
    child_of,
    delete_below,
    delete_file,
    open_store,
    read_json,
    url_of,
    write_json,
    zyx_view,
)

DTYPES = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64"),
)
_ARRAY = "0"


def open_zarr(
    location: str, spec: str, voxel_size_nm: Iterable[float] | None, mode: str, channel: int | None = None
) -> TensorStoreVolume:
    """Open a Zarr array or OME-Zarr group of either version.

    Args:
        location: a folder or URL of the array or group.
        spec: the SPEC, for messages.
        voxel_size_nm: zyx; takes the place of what the metadata says.
        mode: 'r' or 'r+'.
        channel: of an array with a channel axis; None wants at most one.

    Raises:
        VolumeError: nothing there, a group without multiscales metadata, damaged metadata, other axes than
            z, y, x with more than one entry, no such channel, or no voxel size.
    """
    writable = require_mode(mode)
    url = url_of(location)
    kind, attributes = _node(url)
    if kind == "none":
        raise VolumeError(f"there is no Zarr array or group at '{spec}'; check the path")
    with mended(
        f"cannot understand the metadata of '{spec}'",
        "repair it",
        KeyError,
        TypeError,
        ValueError,
        StopIteration,
    ):
        if kind == "group":
            path = _finest(attributes, spec)
            place, url = placement(attributes, path), child_of(url, path)
            kind, _ = _node(url)
            if kind not in ("zarr", "zarr3"):
                raise VolumeError(
                    f"'{spec}' lists array '{path}', which is not there; write the volume again"
                )
        else:
            place = _placement_of_array(url, attributes, spec, voxel_size_nm)
    store = open_store(spec, kind, url, writable)
    size_nm = voxel_size_of(spec, voxel_size_nm, place.voxel_size_nm)
    axes = place.axes
    if channel is not None:
        store, axes = channel_view(store, axes, channel, spec)
    view = zyx_view(store, axes, spec) if axes else store
    return TensorStoreVolume(spec, view, start=place.start, voxel_size_nm=size_nm, writable=writable)


def create_zarr2(location: str, new: NewVolume) -> TensorStoreVolume:
    """Make an OME-Zarr 0.4 group of one array (Zarr version 2, zstd) and open it for writing.

    Args:
        location: a folder or URL; missing folders are made.
        new: what to make.

    Raises:
        VolumeError: a Zarr group or array is there, or the place cannot be written to.
    """
    metadata = {
        "shape": list(new.bounds.shape),
        "chunks": list(new.chunk_shape),
        "dtype": new.dtype.newbyteorder("<").str,
        "dimension_separator": "/",
        "compressor": {"id": "zstd", "level": 1},
        "fill_value": None if new.dtype == bool else 0,
        "order": "C",
    }
    attributes = group_attributes(new.voxel_size_nm, new.bounds.start, _ARRAY, "0.4")
    files = {".zgroup": {"zarr_format": 2}, ".zattrs": attributes}
    return _create(location, new, "zarr", metadata, files)


def create_zarr3(location: str, new: NewVolume) -> TensorStoreVolume:
    """Make an OME-Zarr 0.5 group of one array (Zarr version 3, zstd) and open it for writing.

    Args:
        location: a folder or URL; missing folders are made.
        new: what to make.

    Raises:
        VolumeError: a Zarr group or array is there, or the place cannot be written to.
    """
    metadata = {
        "shape": list(new.bounds.shape),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(new.chunk_shape)}},
        "data_type": new.dtype.name,
        "fill_value": False if new.dtype == bool else 0,
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "zstd", "configuration": {"level": 1}},
        ],
        "dimension_names": list(ZYX),
    }
    attributes = group_attributes(new.voxel_size_nm, new.bounds.start, _ARRAY, "0.5")
    files = {"zarr.json": {"zarr_format": 3, "node_type": "group", "attributes": attributes}}
    return _create(location, new, "zarr3", metadata, files)


def _create(
    location: str, new: NewVolume, driver: str, metadata: dict[str, Any], files: dict[str, dict[str, Any]]
) -> TensorStoreVolume:
    new.require_dtype(*DTYPES)
    url = url_of(location)
    with mended(f"cannot write '{new.spec}'", "choose another output", ValueError, OSError):
        kind, _ = _node(url)
        if kind != "none":
            if not new.overwrite:
                raise new.refuse_existing(f"'{new.spec}'")
            _clear(url, kind, new)
        description = {"driver": driver, "kvstore": f"{url}{_ARRAY}/", "metadata": metadata}
        ts.open(description, create=True, delete_existing=True).result()
        for name, content in files.items():
            write_json(url, name, content)
    return open_zarr(location, new.spec, None, "r+")


def _clear(url: str, kind: str, new: NewVolume) -> None:
    """Remove the volume of an OME-Zarr group: its metadata first, then the arrays it lists."""
    _, attributes = _node(url)
    paths = dataset_paths(attributes)
    if kind != "group" or not paths or any(".." in path or not path for path in paths):
        raise VolumeError(
            f"'{new.spec}' holds something else than a volume of ours; delete it or name another output"
        )
    for name in (".zattrs", ".zgroup", "zarr.json"):
        delete_file(url, name)
    for path in paths:
        delete_below(url, f"{path}/")


def _node(url: str) -> tuple[str, dict[str, Any]]:
    """What lies at a URL: the array's tensorstore driver, "group" or "none"; and its attributes."""
    described = read_json(url, "zarr.json")
    if described is not None:
        kind = "zarr3" if described.get("node_type") == "array" else "group"
        return kind, described.get("attributes", {})
    attributes = read_json(url, ".zattrs")
    if read_json(url, ".zarray") is not None:
        return "zarr", attributes or {}
    return ("none" if attributes is None and read_json(url, ".zgroup") is None else "group"), attributes or {}


def _finest(attributes: Mapping[str, Any], spec: str) -> str:
    paths = dataset_paths(attributes)
    if not paths:
        raise VolumeError(
            f"'{spec}' is a group without OME-Zarr multiscales; name an array in it: {spec}/NAME"
        )
    return paths[0]


def _placement_of_array(
    url: str, attributes: Mapping[str, Any], spec: str, given_nm: Iterable[float] | None
) -> Placement:
    """From the OME-Zarr group above the array, where one lists it, else from its own attributes."""
    name = PurePosixPath(url).name
    _, above = _node(url.rstrip("/").removesuffix(name))
    name = unquote(name)
    if name in dataset_paths(above):
        return placement(above, name)
    stored = attributes.get("resolution", attributes.get("voxel_size"))
    size_nm = voxel_size_of(spec, given_nm, stored)
    return Placement((), size_nm, start_of(spec, attributes.get("offset"), size_nm, stored))
