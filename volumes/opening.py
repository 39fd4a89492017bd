"""`open_volume` and `create_volume`: from a SPEC to a volume of the right format.

| SPEC | format | module |
| --- | --- | --- |
| `file.h5:dataset` | HDF5, CREMI layout | `hdf5` |
| `precomputed://file:///dir`, `gs://…`, `s3://…` | Neuroglancer Precomputed | `precomputed` |
| `zarr://dir`, `zarr3://dir` | Zarr version 2 and 3, OME-Zarr | `zarr` |
| `n5://dir` | N5 | `n5` |
| `file.tif` | one TIFF of many pages | `tiff` |
| `stack:dir/*.png`, `stack:dir/*.tif` | one image a section | `stacks` |
| a NumPy array | | `arrays` |

A format's module, and with it its library, is loaded when its first SPEC is opened.

`open_channel` reads one channel of a volume that has a channel axis, as masks and shifts do.

The voxel size is the one given, else the one the volume states; a volume that states none needs one
(an array alone counts as 1 nm).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from importlib import import_module

import numpy as np
import numpy.typing as npt

from volumes.base import NewVolume, Volume, require_mode
from volumes.box import Box, Zyx
from volumes.channels import require_channel
from volumes.errors import VolumeError

_FORMS = (
    "file.h5:dataset, precomputed://file:///dir (gs://…, s3://…), zarr://dir, zarr3://dir, n5://dir, "
    "stack:dir/*.png, stack:dir/*.tif, file.tif"
)
_SCHEMES = ("precomputed://", "zarr3://", "zarr://", "n5://", "stack:")
# By scheme: the module, what opens and what makes a volume in it.
_FORMATS = {
    "hdf5": ("hdf5", "open_hdf5", "create_hdf5"),
    "precomputed://": ("precomputed", "open_precomputed", "create_precomputed"),
    "zarr://": ("zarr", "open_zarr", "create_zarr2"),
    "zarr3://": ("zarr", "open_zarr", "create_zarr3"),
    "n5://": ("n5", "open_n5", "create_n5"),
    "stack:": ("stacks", "open_stack", "create_stack"),
    "tiff": ("tiff", "open_tiff", "create_tiff"),
}
# The formats that hold several channels, and what opens one of them.
_CHANNEL_FORMATS = {
    "hdf5": ("hdf5", "open_hdf5"),
    "precomputed://": ("precomputed_channels", "open_precomputed_channel"),
    "zarr://": ("zarr", "open_zarr"),
    "zarr3://": ("zarr", "open_zarr"),
}
_HDF5_FILE = re.compile(r"\.(h5|hdf5|hdf|he5|h5f)$", re.IGNORECASE)
_TIFF_FILE = re.compile(r"\.(tif|tiff|btf)$", re.IGNORECASE)


def open_volume(
    source: str | os.PathLike[str] | np.ndarray,
    *,
    voxel_size_nm: Iterable[float] | None = None,
    mode: str = "r",
) -> Volume:
    """Open a volume; nothing but its description is read.

    Args:
        source: a SPEC (see the module), or an array (zyx), which is used in place.
        voxel_size_nm: zyx; takes the place of the stored one, and is needed where none is stored.
        mode: 'r' to read, 'r+' to read and write.

    Returns:
        The volume; close it or use it as a context manager.

    Raises:
        VolumeError: an unknown SPEC (the forms are listed), nothing there, or nothing readable; not three
            axes; no voxel size; a volume that cannot be written to under 'r+'.
    """
    require_mode(mode)
    if not isinstance(source, (str, os.PathLike, np.ndarray)):
        raise VolumeError(
            f"a volume is a SPEC or an array, not {type(source).__name__}; write one of: {_FORMS}"
        )
    if isinstance(source, np.ndarray):
        from volumes.arrays import ArrayVolume

        return ArrayVolume(source, voxel_size_nm=voxel_size_nm, writable=mode == "r+")
    spec = os.fspath(source)
    scheme, location = _parse(spec)
    module, opener, _ = _FORMATS[scheme]
    return getattr(import_module(f"volumes.{module}"), opener)(location, spec, voxel_size_nm, mode)


def open_channel(
    spec: str | os.PathLike[str], channel: int, *, voxel_size_nm: Iterable[float] | None = None
) -> Volume:
    """Open one channel of a volume for reading; a volume without channels has channel 0.

    HDF5 datasets and bare Zarr arrays have the axes c, z, y, x, OME-Zarr those its metadata names, and
    Precomputed its `num_channels`. The other formats have no channels.

    Args:
        spec: a SPEC (see the module).
        channel: counted from 0.
        voxel_size_nm: as for `open_volume`.

    Returns:
        The channel as a volume (zyx); close it or use it as a context manager.

    Raises:
        VolumeError: as for `open_volume`.
        NoChannelError: there is no such channel; says how many there are. It is a `VolumeError` too.
    """
    spec = os.fspath(spec)
    scheme, location = _parse(spec)
    if scheme not in _CHANNEL_FORMATS:
        require_channel(spec, channel, 1)
        return open_volume(spec, voxel_size_nm=voxel_size_nm)
    module, opener = _CHANNEL_FORMATS[scheme]
    return getattr(import_module(f"volumes.{module}"), opener)(location, spec, voxel_size_nm, "r", channel)


def create_volume(
    spec: str | os.PathLike[str],
    *,
    bounds: Box,
    dtype: npt.DTypeLike,
    voxel_size_nm: Iterable[float],
    chunk_shape: Zyx = (64, 64, 64),
    overwrite: bool = False,
    labels: bool | None = None,
) -> Volume:
    """Make a volume of zeros and open it for reading and writing.

    Its description is complete before the volume appears; voxels are stored as they are written.

    Args:
        spec: where and in which format (see the module); missing folders are made.
        bounds: where its voxels lie (zyx); a start other than 0 becomes the stored offset.
        dtype: of the voxels. PNG holds uint8 and uint16; Precomputed holds whole numbers and float32; N5
            and TIFF hold no float16 and no bool; HDF5 and Zarr hold all numbers.
        voxel_size_nm: zyx.
        chunk_shape: zyx, for the formats with chunks. Writers in several processes keep to whole chunks,
            counted from `bounds.start`.
        overwrite: replace what is there. A folder is only cleared of the volume it holds.
        labels: whether voxels are object IDs (for Precomputed: a segmentation layer); by default uint32
            and uint64 are.

    Returns:
        The volume, open as under mode 'r+'.

    Raises:
        VolumeError: an unknown SPEC, something there already, a dtype the format does not hold, an empty
            box, or a place that cannot be written to. Nothing is left half made.
    """
    spec = os.fspath(spec)
    scheme, location = _parse(spec)
    module, _, creator = _FORMATS[scheme]
    new = NewVolume(spec, bounds, dtype, voxel_size_nm, chunk_shape, overwrite, labels)  # type: ignore[arg-type]
    return getattr(import_module(f"volumes.{module}"), creator)(location, new)


def _parse(spec: str) -> tuple[str, str]:
    """The format's name and what follows the scheme."""
    for scheme in _SCHEMES:
        if spec.startswith(scheme) and len(spec) > len(scheme):
            return scheme, spec[len(scheme) :]
    path, colon, name = spec.rpartition(":")
    if colon and path and name and "://" not in spec:
        return "hdf5", spec
    if _HDF5_FILE.search(spec):
        return "hdf5", f"{spec}:"
    if _TIFF_FILE.search(spec):
        return "tiff", spec
    raise VolumeError(f"'{spec}' is no volume SPEC; write one of: {_FORMS}")
