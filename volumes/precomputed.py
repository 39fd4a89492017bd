"""Volumes in Neuroglancer's Precomputed format.

Precomputed speaks x, y, z; it is turned here (and in `precomputed_cloud`) and nowhere else. `voxel_offset`
becomes the start of the bounds. The finest scale is opened, or the one named after a `#`, by its index or its
key: `precomputed://file:///dir#1`, `…/dir#18_18_20`. (A folder may have a `#` in its name: one that holds a
volume under the whole name counts first.) A volume has one channel.
Source: https://github.com/google/neuroglancer/tree/master/src/datasource/precomputed

Plain chunk files on a local disk are read and written by tensorstore: it replaces a chunk in one step, so
that a crash leaves none half written, and its decoder reports a damaged chunk, where cloud-volume's may end
the process. Everything else goes through cloud-volume: buckets, the web, and local compressed chunk files.

Missing chunks. Writers commonly leave out chunks that hold nothing, so that a missing chunk of a
*segmentation* reads as 0. In an *image* a missing chunk is a hole that a network would take for tissue: it is
an error that names the chunk. A volume open for writing reads what nobody wrote yet as 0.

What we write opens in Neuroglancer as it lies: labels as a segmentation layer, compressed_segmentation for
uint32 and uint64; everything else as a raw image layer. Local chunks are plain files, since ordinary web
servers do not serve gzipped ones as such; chunks in a bucket are gzipped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorstore as ts

from jobs.pieces import atomic_path
from volumes.base import NewVolume, SizeNm, Volume, require_mode, voxel_size_of
from volumes.box import Box
from volumes.errors import VolumeError, mended
from volumes.tensorstores import TensorStoreVolume, delete_below, delete_file, folder_of, read_json, url_of

DTYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "float32")
_PLAIN_ENCODINGS = ("raw", "compressed_segmentation", "jpeg", "png")
_COMPRESSED_FILES = (".gz", ".br", ".zstd", ".xz", ".bz2")


def open_precomputed(location: str, spec: str, voxel_size_nm: Iterable[float] | None, mode: str) -> Volume:
    """Open one scale of a Precomputed layer.

    Args:
        location: `file:///dir`, `gs://…`, `s3://…`, `https://…`, or a folder; `#` and a scale may follow.
        spec: the SPEC, for messages.
        voxel_size_nm: zyx; takes the place of the stored resolution.
        mode: 'r' or 'r+'.

    Raises:
        VolumeError: no layer there, no such scale, a damaged `info`, or several channels.
    """
    writable = require_mode(mode)
    folder, scale_name, info = _find_layer(location, spec)
    if info is None:
        raise VolumeError(f"there is no Precomputed volume at '{spec}' (no file 'info'); check the path")
    if info.get("num_channels", 1) != 1:
        raise VolumeError(f"'{spec}' has {info['num_channels']} channels; save one of them as a volume")
    sparse = writable or info.get("type") == "segmentation"
    url = url_of(folder)
    with mended(f"cannot open '{spec}'", "check its file 'info'", KeyError, TypeError, ValueError, OSError):
        index = _scale_index(info, scale_name, spec)
        if _is_plain(url, info["scales"][index]):
            return _open_plain(url, info, index, spec, voxel_size_nm, sparse, writable)
    from volumes.precomputed_cloud import open_cloud_layer

    return open_cloud_layer(url, info, index, spec, voxel_size_nm, sparse=sparse, writable=writable)


def create_precomputed(location: str, new: NewVolume) -> Volume:
    """Make a Precomputed layer of one scale and open it for writing; see `create_precomputed_scales`.

    Args:
        location: `file:///dir`, `gs://…`, `s3://…`, or a folder.
        new: what to make; labels become a segmentation layer.

    Raises:
        VolumeError: as `create_precomputed_scales` does.
    """
    return create_precomputed_scales(location, new, [])[0]


def create_precomputed_scales(
    location: str, new: NewVolume, coarser: Sequence[tuple[Box, SizeNm]]
) -> list[Volume]:
    """Make a Precomputed layer and open all its scales for writing.

    Args:
        location: `file:///dir`, `gs://…`, `s3://…`, or a folder.
        new: what to make, at the finest scale; labels become a segmentation layer.
        coarser: bounds and voxel size (zyx, nm) of the further scales, each coarser than the one before.

    Returns:
        The scales, finest first.

    Raises:
        VolumeError: a layer is there, labels that are no whole numbers, a dtype Precomputed has not, or
            a place that cannot be written to.
    """
    new.require_dtype(*DTYPES)
    if new.holds_labels and new.dtype.kind != "u":
        raise VolumeError(
            f"'{new.spec}' of {new.dtype} cannot hold labels; use uint8, uint16, uint32 or uint64"
        )
    url = url_of(location)
    present = _read_info(url, new.spec)
    if present is not None and not new.overwrite:
        raise new.refuse_existing(f"'{new.spec}'")
    with mended(
        f"cannot write '{new.spec}'", "choose another output", KeyError, TypeError, ValueError, OSError
    ):
        if present is not None:
            _clear(url, new.spec, present)
        _write_info(url, new, coarser)
    suffixes = ["", *(f"#{index + 1}" for index in range(len(coarser)))]
    return [open_precomputed(location + scale, new.spec + scale, None, "r+") for scale in suffixes]


def _open_plain(
    url: str,
    info: Mapping[str, Any],
    index: int,
    spec: str,
    given_nm: Iterable[float] | None,
    sparse: bool,
    writable: bool,
) -> TensorStoreVolume:
    scale = info["scales"][index]
    description = {
        "driver": "neuroglancer_precomputed",
        "kvstore": url,
        "scale_index": index,
        "fill_missing_data_reads": sparse,
        # A black chunk of an image is written all the same: missing, it would count as a hole.
        "store_data_equal_to_fill_value": info.get("type") != "segmentation",
    }
    store = ts.open(description, open=True, read=True, write=writable).result()[..., 0].T
    return TensorStoreVolume(
        spec,
        store[ts.d[:].translate_to[0]],
        start=_turned(scale.get("voxel_offset", (0, 0, 0))),
        voxel_size_nm=voxel_size_of(spec, given_nm, scale["resolution"][::-1]),
        writable=writable,
    )


def _find_layer(location: str, spec: str) -> tuple[str, str, dict[str, Any] | None]:
    """Where the layer lies, the scale that is named ("" for none), and the layer's `info`, if it is there."""
    info = _read_info(url_of(location), spec)
    folder, mark, scale = location.rpartition("#")
    if info is not None or not mark or not folder or "/" in scale:
        return location, "", info
    return folder, scale, _read_info(url_of(folder), spec)


def _scale_index(info: Mapping[str, Any], name: str, spec: str) -> int:
    """Which scale is meant by its key or its index; without a name the finest."""
    keys = [scale["key"] for scale in info["scales"]]
    if name in keys:
        return keys.index(name)
    indices = {"": 0, **{str(index): index for index in range(len(keys))}}
    if name not in indices:
        listed = ", ".join(f"#{index} (#{key})" for index, key in enumerate(keys))
        raise VolumeError(f"there is no scale '{name}' for '{spec}'; end the SPEC in one of: {listed}")
    return indices[name]


def _is_plain(url: str, scale: Mapping[str, Any]) -> bool:
    """Whether tensorstore reads a scale: local, an encoding of the format, uncompressed files."""
    if not url.startswith("file://") or scale["encoding"] not in _PLAIN_ENCODINGS:
        return False
    folder = folder_of(url) / scale["key"]
    if not folder.is_dir():
        return True
    with os.scandir(folder) as chunks:
        first = next(chunks, None)
    return first is None or not first.name.endswith(_COMPRESSED_FILES)


def _new_info(new: NewVolume, coarser: Sequence[tuple[Box, SizeNm]]) -> dict[str, Any]:
    scales = [(new.bounds, new.voxel_size_nm), *coarser]
    return {
        "@type": "neuroglancer_multiscale_volume",
        "type": "segmentation" if new.holds_labels else "image",
        "data_type": new.dtype.name,
        "num_channels": 1,
        "scales": [_new_scale(new, bounds, size_nm) for bounds, size_nm in scales],
    }


def _new_scale(new: NewVolume, bounds: Box, voxel_size_nm: SizeNm) -> dict[str, Any]:
    compact = new.holds_labels and new.dtype.name in ("uint32", "uint64")
    resolution = list(voxel_size_nm[::-1])
    scale = {
        "key": "_".join(f"{edge:g}" for edge in resolution),
        "size": list(bounds.shape[::-1]),
        "resolution": resolution,
        "voxel_offset": list(bounds.start[::-1]),
        "chunk_sizes": [list(new.chunk_shape[::-1])],
        "encoding": "compressed_segmentation" if compact else "raw",
    }
    if compact:
        scale["compressed_segmentation_block_size"] = [8, 8, 8]
    return scale


def _read_info(url: str, spec: str) -> dict[str, Any] | None:
    if url.startswith("file://"):
        info = read_json(url, "info")
    else:
        from volumes.precomputed_cloud import read_cloud_info

        info = read_cloud_info(url, spec)
    if info is not None and not (isinstance(info, dict) and info.get("scales")):
        raise VolumeError(f"'info' of '{spec}' lists no scales; write the volume again")
    return info


def _write_info(url: str, new: NewVolume, coarser: Sequence[tuple[Box, SizeNm]]) -> None:
    info = _new_info(new, coarser)
    if url.startswith("file://"):
        with atomic_path(folder_of(url) / "info") as temporary:
            temporary.write_text(json.dumps(info, indent=2))
    else:
        from volumes.precomputed_cloud import write_cloud_info

        write_cloud_info(url, new.spec, info)


def _clear(url: str, spec: str, info: Mapping[str, Any]) -> None:
    """Remove a layer: `info` first, so that a crash leaves no volume with holes, then its chunks."""
    keys = [scale["key"] for scale in info["scales"] if ".." not in scale["key"]]
    if not url.startswith("file://"):
        from volumes.precomputed_cloud import clear_cloud_layer

        clear_cloud_layer(url, spec, keys)
        return
    delete_file(url, "info")
    for key in keys:
        delete_below(url, f"{key}/")


def _turned(values: Iterable[Any]) -> tuple[int, int, int]:
    """Whole numbers in x, y, z as z, y, x."""
    x, y, z = map(int, values)
    return z, y, x
