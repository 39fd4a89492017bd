"""Precomputed layers in a bucket or on the web, or with compressed chunk files, through cloud-volume.

The part of `volumes.precomputed` that tensorstore does not read: gzipped and Brotli chunk files as
cloud-volume writes them, its own encodings, and addresses for which the user's cloud-volume secrets are
needed. gzip's checksum also keeps damaged chunks from the label decoder, which does not check what it gets.

Any exception counts as an error of the volume here: every codec and every cloud brings its own kinds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from cloudfiles import CloudFiles
from cloudvolume import CloudVolume
from cloudvolume.exceptions import EmptyVolumeException
from cloudvolume.lib import Bbox

from volumes.base import Volume, require_voxels, voxel_size_of
from volumes.box import Box
from volumes.errors import VolumeError, mended

_ADDRESS = "check the address and your rights"


class CloudPrecomputedVolume(Volume):
    """One scale of a Precomputed layer of one channel; `layer` was opened at that scale."""

    def __init__(
        self, spec: str, layer: CloudVolume, given_nm: Iterable[float] | None, writable: bool
    ) -> None:
        shape = tuple(map(int, layer.volume_size[::-1]))
        dtype = np.dtype(layer.dtype)
        require_voxels(spec, shape, dtype)
        super().__init__(
            spec,
            bounds=Box.from_shape(shape, map(int, layer.voxel_offset[::-1])),
            dtype=dtype,
            voxel_size_nm=voxel_size_of(spec, given_nm, layer.resolution[::-1]),
            chunk_shape=layer.chunk_size[::-1],
            writable=writable,
        )
        self._layer = layer

    def _load(self, box: Box) -> np.ndarray:
        problem = f"cannot read box {box} of '{self.spec}'"
        with mended(problem, "its chunk is damaged, or the address out of reach", Exception):
            try:
                cutout = self._layer.download(_bbox(box), mip=self._layer.mip)
            except EmptyVolumeException as error:
                mend = "write it, or leave it out"
                raise VolumeError(f"{problem}: chunk {error} of this image is missing; {mend}") from error
        return np.asarray(cutout)[..., 0].T

    def _store(self, box: Box, voxels: np.ndarray) -> None:
        with mended(f"cannot write box {box} of '{self.spec}'", "check rights and free space", Exception):
            self._layer[_bbox(box)] = voxels.T


def open_cloud_layer(
    url: str,
    info: Mapping[str, Any],
    index: int,
    spec: str,
    given_nm: Iterable[float] | None,
    *,
    sparse: bool,
    writable: bool,
) -> CloudPrecomputedVolume:
    """Open one scale of a layer whose `info` was read.

    Args:
        url: an address cloud-volume takes.
        info: the layer's `info`.
        index: of the scale, 0 is the finest.
        spec: the SPEC, for messages.
        given_nm: the voxel size (zyx) in place of the stored one, or None.
        sparse: whether a missing chunk reads as 0; else it is an error.
        writable: whether it may be written to; its chunks are then gzipped.

    Raises:
        VolumeError: `info` does not describe a layer cloud-volume reads.
    """
    with mended(f"cannot open '{spec}'", "check its file 'info'", Exception):
        layer = CloudVolume(
            url,
            info=dict(info),
            mip=index,
            progress=False,
            bounded=True,
            fill_missing=sparse,
            non_aligned_writes=True,
            compress="gzip",
        )
        return CloudPrecomputedVolume(spec, layer, given_nm, writable)


def read_cloud_info(url: str, spec: str) -> Any:
    """The `info` at an address, or None.

    Args:
        url: address of the layer.
        spec: the SPEC, for messages.

    Raises:
        VolumeError: the address cannot be read, or its `info` is no JSON.
    """
    with mended(f"cannot read 'info' of '{spec}'", _ADDRESS, Exception):
        return CloudFiles(url, progress=False).get_json("info")


def write_cloud_info(url: str, spec: str, info: Mapping[str, Any]) -> None:
    """Write `info` at an address.

    Args:
        url: address of the layer.
        spec: the SPEC, for messages.
        info: plain values, as Neuroglancer's format has them (x, y, z).

    Raises:
        VolumeError: the address cannot be written to.
    """
    with mended(f"cannot write 'info' of '{spec}'", _ADDRESS, Exception):
        CloudFiles(url, progress=False).put_json("info", dict(info))


def clear_cloud_layer(url: str, spec: str, keys: Iterable[str]) -> None:
    """Delete `info`, then the chunks below each scale's key.

    Args:
        url: address of the layer.
        spec: the SPEC, for messages.
        keys: the key of each scale, a folder below the address.

    Raises:
        VolumeError: the address cannot be written to.
    """
    with mended(f"cannot delete '{spec}'", _ADDRESS, Exception):
        files = CloudFiles(url, progress=False)
        files.delete("info")
        for key in keys:
            files.delete(list(files.list(prefix=f"{key}/")))


def _bbox(box: Box) -> Bbox:
    return Bbox(box.start[::-1], box.stop[::-1], dtype=np.int64)
