"""Volumes in Neuroglancer's Precomputed format, through cloud-volume.

Precomputed speaks x, y, z; it is turned here and nowhere else. `voxel_offset` becomes the start of the
bounds. The finest scale is opened; a volume has one channel.
Source: https://github.com/google/neuroglancer/tree/master/src/datasource/precomputed

Missing chunks. Writers commonly leave out chunks that hold nothing, so that a missing chunk of a
*segmentation* reads as 0. In an *image* a missing chunk is a hole that a network would take for tissue: it is
an error that names the chunk. A volume open for writing reads what nobody wrote yet as 0.

What we write opens in Neuroglancer as it lies: labels as a segmentation layer, compressed_segmentation for
uint32 and uint64; everything else as a raw image layer. Chunks on a local disk are not gzipped, since plain
web servers (and tensorstore) do not expect that; those in a bucket are. Chunks are not replaced in one step:
one that was cut off by a crash is whole again once the box is written again.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cloudfiles import CloudFiles
from cloudfiles.exceptions import DecompressionError
from cloudvolume import CloudVolume
from cloudvolume.exceptions import DecodingError, EmptyFileException, EmptyVolumeException
from cloudvolume.lib import Bbox

from jobs.pieces import atomic_path
from volumes.base import NewVolume, Volume, require_mode, require_voxels, voxel_size_of
from volumes.box import Box
from volumes.errors import VolumeError, mended

DTYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32")
_DAMAGED = (
    *(OSError, ValueError, KeyError, IndexError, RuntimeError, zlib.error),
    *(DecodingError, DecompressionError, EmptyFileException),
)


class PrecomputedVolume(Volume):
    """The finest scale of one Precomputed layer."""

    def __init__(
        self, spec: str, layer: CloudVolume, given_nm: Iterable[float] | None, writable: bool
    ) -> None:
        dtype = np.dtype(layer.dtype)
        if layer.num_channels != 1:
            raise VolumeError(f"'{spec}' has {layer.num_channels} channels; save one of them as a volume")
        shape = _turned(layer.volume_size)
        require_voxels(spec, shape, dtype)
        super().__init__(
            spec,
            bounds=Box.from_shape(shape, _turned(layer.voxel_offset)),
            dtype=dtype,
            voxel_size_nm=voxel_size_of(spec, given_nm, layer.resolution[::-1]),
            chunk_shape=_turned(layer.chunk_size),
            writable=writable,
        )
        self._layer = layer

    def _load(self, box: Box) -> np.ndarray:
        problem = f"cannot read box {box} of '{self.spec}'"
        try:
            with mended(problem, "its chunk is damaged: write it again", *_DAMAGED):
                cutout = self._layer.download(_bbox(box), mip=0)
        except EmptyVolumeException as error:
            raise VolumeError(
                f"{problem}: chunk {error} of this image is missing; write it, or leave it out"
            ) from error
        return np.asarray(cutout)[..., 0].T

    def _store(self, box: Box, voxels: np.ndarray) -> None:
        with mended(f"cannot write box {box} of '{self.spec}'", "check rights and free space", *_DAMAGED):
            self._layer[_bbox(box)] = voxels.T


def open_precomputed(
    location: str, spec: str, voxel_size_nm: Iterable[float] | None, mode: str
) -> PrecomputedVolume:
    """Open the finest scale of a Precomputed layer.

    Args:
        location: `file:///dir`, `gs://…`, `s3://…`, `https://…`, or a folder.
        spec: the SPEC, for messages.
        voxel_size_nm: zyx; takes the place of the stored resolution.
        mode: 'r' or 'r+'.

    Raises:
        VolumeError: no layer there, a damaged `info`, or several channels.
    """
    writable = require_mode(mode)
    url = _url_of(location)
    info = _read_info(url, spec)
    if info is None:
        raise VolumeError(f"there is no Precomputed volume at '{spec}' (no file 'info'); check the path")
    local = url.startswith("file://")
    with mended(f"cannot open '{spec}'", "check its file 'info'", *_DAMAGED, TypeError):
        layer = CloudVolume(
            url,
            info=info,
            progress=False,
            bounded=True,
            fill_missing=writable or info.get("type") == "segmentation",
            non_aligned_writes=True,
            compress=False if local else "gzip",
        )
        return PrecomputedVolume(spec, layer, voxel_size_nm, writable)


def create_precomputed(location: str, new: NewVolume) -> PrecomputedVolume:
    """Make a Precomputed layer of one scale and open it for writing.

    Args:
        location: `file:///dir`, `gs://…`, `s3://…`, or a folder.
        new: what to make; labels become a segmentation layer.

    Raises:
        VolumeError: a layer is there, labels that are no whole numbers, a dtype Precomputed has not, or
            a place that cannot be written to.
    """
    new.require_dtype(*DTYPES)
    if new.holds_labels and new.dtype.kind != "u":
        raise VolumeError(
            f"'{new.spec}' of {new.dtype} cannot hold labels; use uint8, uint16, uint32 or uint64"
        )
    url = _url_of(location)
    info = _new_info(new)
    with mended(f"cannot write '{new.spec}'", "choose another output", *_DAMAGED):
        present = _read_info(url, new.spec)
        if present is not None:
            if not new.overwrite:
                raise new.refuse_existing(f"'{new.spec}'")
            _clear(url, present)
        _write_info(url, info)
    return open_precomputed(location, new.spec, None, "r+")


def _new_info(new: NewVolume) -> dict[str, Any]:
    compact = new.holds_labels and new.dtype.name in ("uint32", "uint64")
    return CloudVolume.create_new_info(
        num_channels=1,
        layer_type="segmentation" if new.holds_labels else "image",
        data_type=new.dtype.name,
        encoding="compressed_segmentation" if compact else "raw",
        resolution=new.voxel_size_nm[::-1],
        voxel_offset=new.bounds.start[::-1],
        chunk_size=new.chunk_shape[::-1],
        volume_size=new.bounds.shape[::-1],
    )


def _read_info(url: str, spec: str) -> dict[str, Any] | None:
    # A bucket can fail in as many ways as there are clouds, and all of them mean the same to the user.
    with mended(
        f"cannot read 'info' of '{spec}'", "check the address, your rights and that it is intact", Exception
    ):
        info = CloudFiles(url, progress=False).get_json("info")
        if info is not None and not (isinstance(info, dict) and info.get("scales")):
            raise VolumeError(f"'info' of '{spec}' lists no scales; write the volume again")
        return info


def _write_info(url: str, info: dict[str, Any]) -> None:
    if not url.startswith("file://"):
        CloudFiles(url, progress=False).put_json("info", info)
        return
    with atomic_path(Path(url.removeprefix("file://")) / "info") as temporary:
        temporary.write_text(json.dumps(info, indent=2))


def _clear(url: str, info: Mapping[str, Any]) -> None:
    """Remove a layer: `info` first, so that a crash leaves no volume with holes, then its chunks."""
    files = CloudFiles(url, progress=False)
    files.delete("info")
    for scale in info["scales"]:
        if ".." not in scale["key"]:
            files.delete(list(files.list(prefix=f"{scale['key']}/")))


def _url_of(location: str) -> str:
    """The address cloud-volume takes; a path, also in `file://dir`, becomes absolute."""
    if "://" in location and not location.startswith("file://"):
        return location.rstrip("/")
    return f"file://{Path(location.removeprefix('file://')).expanduser().resolve()}"


def _bbox(box: Box) -> Bbox:
    return Bbox(box.start[::-1], box.stop[::-1], dtype=np.int64)


def _turned(values: Iterable[Any]) -> tuple[int, int, int]:
    """Whole numbers in x, y, z as z, y, x."""
    x, y, z = map(int, values)
    return z, y, x
