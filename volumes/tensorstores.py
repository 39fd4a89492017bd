"""What the formats read by tensorstore (Zarr, N5) share: places, small JSON files, and the volume itself.

A place is a folder, or a URL tensorstore knows (`file://…`, `gs://bucket/…`, `s3://bucket/…`). JSON files
are written by tensorstore too, which replaces a file in one step.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import tensorstore as ts

from volumes.base import SizeNm, Volume, require_voxels
from volumes.box import Box, Zyx
from volumes.errors import VolumeError, mended


class TensorStoreVolume(Volume):
    """A volume over a tensorstore array whose axes are z, y, x."""

    def __init__(
        self, spec: str, store: ts.TensorStore, *, start: Zyx, voxel_size_nm: SizeNm, writable: bool
    ) -> None:
        dtype = store.dtype.numpy_dtype
        require_voxels(spec, store.shape, dtype)
        super().__init__(
            spec,
            bounds=Box.from_shape(store.shape, start),
            dtype=dtype,
            voxel_size_nm=voxel_size_nm,
            # What is written as one: of a sharded array the shard, not the chunks in it.
            chunk_shape=[int(edge or 1) for edge in store.chunk_layout.write_chunk.shape or store.shape],
            writable=writable,
        )
        self._store_zyx = store

    def _load(self, box: Box) -> np.ndarray:
        with mended(
            f"cannot read box {box} of '{self.spec}'",
            "its chunk is damaged or missing: write it again",
            ValueError,
            OSError,
        ):
            return self._store_zyx[box.slices(self.bounds.start)].read(order="C").result()

    def _store(self, box: Box, voxels: np.ndarray) -> None:
        with mended(
            f"cannot write box {box} of '{self.spec}'", "check rights and free space", ValueError, OSError
        ):
            self._store_zyx[box.slices(self.bounds.start)].write(voxels).result()


def url_of(location: str) -> str:
    """The URL of a place, ending in a slash; of a path (`dir`, `file://dir`) an absolute `file://` URL."""
    path = location.removeprefix("file://")
    if "://" in path:
        return path.rstrip("/") + "/"
    return Path(path).expanduser().resolve().as_uri() + "/"


def child_of(url: str, path: str) -> str:
    """The URL of the folder `path` below a URL.

    Args:
        url: of a folder, ending in a slash.
        path: plain, not quoted; slashes at its ends count for nothing.

    Returns:
        A URL that ends in a slash.
    """
    return f"{url}{quote(path.strip('/'))}/"


def folder_of(url: str) -> Path:
    """The folder a `file://` URL stands for; the inverse of `url_of`."""
    return Path(unquote(url.removeprefix("file://")))


def read_json(url: str, name: str) -> dict[str, Any] | None:
    """The JSON object in file `name` below a URL, or None when there is no such file.

    Args:
        url: of a folder, ending in a slash.
        name: of the file, relative to it.

    Raises:
        VolumeError: the place cannot be read, or the file is no JSON object.
    """
    mend = "check the path, the rights and that it is intact"
    with mended(f"cannot read '{url}{name}'", mend, ValueError, OSError):
        found = ts.KvStore.open(url).result().read(name).result()
        value = json.loads(found.value) if found.state == "value" else None
    if value is not None and not isinstance(value, dict):
        raise VolumeError(f"'{url}{name}' holds no JSON object; {mend}")
    return value


def write_json(url: str, name: str, value: dict[str, Any]) -> None:
    """Write a JSON object to file `name` below a URL, in one step.

    Args:
        url: of a folder, ending in a slash.
        name: of the file, relative to it.
        value: plain values.
    """
    ts.KvStore.open(url).result().write(name, json.dumps(value, indent=2).encode()).result()


def list_files(url: str) -> list[str]:
    """The names of all files below a URL."""
    return [name.decode() for name in ts.KvStore.open(url).result().list().result()]


def delete_file(url: str, name: str) -> None:
    """Delete the file `name` below a URL, if it is there.

    Args:
        url: of a folder, ending in a slash.
        name: of the file, relative to it.
    """
    ts.KvStore.open(url).result().write(name, None).result()


def delete_below(url: str, prefix: str) -> None:
    """Delete every file below a URL whose name starts with `prefix`.

    Args:
        url: of a folder, ending in a slash.
        prefix: of the names, relative to it; empty deletes all.
    """
    ts.KvStore.open(url).result().delete_range(ts.KvStore.KeyRange(prefix, prefix + "\U0010ffff")).result()


def open_store(spec: str, driver: str, url: str, writable: bool) -> ts.TensorStore:
    """Open the array at a URL, in the axis order it is stored in.

    Args:
        spec: the SPEC, for messages.
        driver: tensorstore's name of the format, such as `zarr`.
        url: of the array's folder, ending in a slash.
        writable: whether it may be written to.

    Raises:
        VolumeError: no array there, or metadata tensorstore does not read.
    """
    with mended(f"cannot open '{spec}'", "check that the array is intact", ValueError, OSError):
        description = {"driver": driver, "kvstore": url}
        return ts.open(description, open=True, read=True, write=writable).result()


def zyx_view(store: ts.TensorStore, axes: Sequence[str], spec: str) -> ts.TensorStore:
    """The array with axes z, y, x; other axes of one entry (time, channel) are dropped.

    Args:
        store: an array of any rank.
        axes: the name of each of its axes.
        spec: the SPEC, for messages.

    Raises:
        VolumeError: one of z, y, x is missing, or another axis has several entries.
    """
    if len(axes) != store.rank or not set("zyx") <= set(axes):
        raise VolumeError(f"'{spec}' has axes ({', '.join(axes)}); a volume has axes z, y, x")
    for axis, length in zip(axes, store.shape, strict=True):
        if axis not in "zyx" and length != 1:
            raise VolumeError(
                f"'{spec}' has {length} entries along axis '{axis}'; save one of them as a volume"
            )
    kept = tuple(slice(None) if axis in "zyx" else 0 for axis in axes)
    spatial = [axis for axis in axes if axis in "zyx"]
    return store[kept].transpose([spatial.index(axis) for axis in "zyx"])
