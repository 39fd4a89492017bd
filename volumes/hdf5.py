"""Volumes in HDF5 files, `file.h5:dataset`.

The layout is that of the CREMI challenge (https://cremi.org/data): a dataset with axes z, y, x and the
attributes `resolution` (nm, zyx) and `offset` (nm, zyx, a whole number of voxels). Files that give one
size for all datasets in an attribute `resolution_zyx_nm` of a group or of the root are read too.

A dataset with a channel axis in front (c, z, y, x) is read one channel at a time; its attributes are the
same.

HDF5 has one writer at a time: while a file is open for writing, other processes cannot open it.
A new file appears with its dataset and attributes complete.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from jobs.pieces import atomic_path
from volumes.base import NewVolume, Volume, require_mode, require_voxels, start_of, voxel_size_of
from volumes.box import Box
from volumes.channels import require_channel
from volumes.errors import VolumeError, mended

DTYPES = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64"),
)
_LISTED = 12


class Hdf5Volume(Volume):
    """One dataset of an open file, or a channel of it; boxes are read and written straight from the file."""

    def __init__(
        self,
        spec: str,
        file: h5py.File,
        dataset: h5py.Dataset,
        given_nm: Iterable[float] | None,
        channel: int | None = None,
    ) -> None:
        shape: tuple[int, ...] = dataset.shape or ()
        self._leading: tuple[int, ...] = ()
        if channel is not None:
            require_channel(spec, channel, shape[0] if len(shape) == 4 else 1)
            if len(shape) == 4:
                shape, self._leading = shape[1:], (channel,)
        require_voxels(spec, shape, dataset.dtype)
        stored_nm = _stored_size_nm(dataset)
        size_nm = voxel_size_of(spec, given_nm, stored_nm)
        start = start_of(spec, dataset.attrs.get("offset"), size_nm, stored_nm)
        super().__init__(
            spec,
            bounds=Box.from_shape(shape, start),
            dtype=dataset.dtype,
            voxel_size_nm=size_nm,
            chunk_shape=(dataset.chunks or shape)[-3:],
            writable=file.mode == "r+",
        )
        self._file = file
        self._dataset = dataset

    def close(self) -> None:
        """Flush and close the file."""
        self._file.close()

    def _load(self, box: Box) -> np.ndarray:
        with mended(
            f"cannot read box {box} of '{self.spec}'", "the file is damaged or closed", OSError, ValueError
        ):
            return self._dataset[(*self._leading, *box.slices(self.bounds.start))]

    def _store(self, box: Box, voxels: np.ndarray) -> None:
        with mended(
            f"cannot write box {box} of '{self.spec}'", "check the disk's free space", OSError, ValueError
        ):
            self._dataset[(*self._leading, *box.slices(self.bounds.start))] = voxels


def open_hdf5(
    location: str, spec: str, voxel_size_nm: Iterable[float] | None, mode: str, channel: int | None = None
) -> Hdf5Volume:
    """Open `file.h5:dataset`.

    Args:
        location: file and dataset, parted by the last colon.
        spec: the SPEC, for messages.
        voxel_size_nm: zyx; takes the place of the stored one. The first voxel stays where it is.
        mode: 'r' or 'r+'.
        channel: of a dataset with axes c, z, y, x; None wants z, y, x alone.

    Raises:
        VolumeError: a missing or damaged file, a dataset that is not there (those there are listed), not
            three axes, no such channel, not numbers, no voxel size, or an offset between two voxels.
    """
    path, _, name = location.rpartition(":")
    file = _open_file(Path(path).expanduser(), "r+" if require_mode(mode) else "r")
    try:
        return Hdf5Volume(spec, file, _dataset_of(file, path, name), voxel_size_nm, channel)
    except BaseException:
        file.close()
        raise


def create_hdf5(location: str, new: NewVolume) -> Hdf5Volume:
    """Make a dataset of zeros in a new or an existing file, compressed (gzip with byte shuffling).

    Args:
        location: file and dataset, parted by the last colon; missing folders and groups are made.
        new: what to make.

    Raises:
        VolumeError: the dataset exists, the dtype or place cannot be written, or the file is damaged.
    """
    new.require_dtype(*DTYPES)
    path, _, name = location.rpartition(":")
    if not name.strip("/"):
        raise VolumeError(f"'{new.spec}' names no dataset; write '{path}:NAME'")
    target = Path(path).expanduser()
    with mended(f"cannot write '{new.spec}'", "choose another output", OSError, ValueError, TypeError):
        if not target.exists():
            with atomic_path(target) as temporary, h5py.File(temporary, "w") as file:
                _make_dataset(file, name, new)
        else:
            with _open_file(target, "r+") as file:
                _require_free(file, path, name, new)
                _make_dataset(file, name, new)
    return open_hdf5(location, new.spec, None, "r+")


def _require_free(file: h5py.File, path: str, name: str, new: NewVolume) -> None:
    """Refuse to replace a dataset unless asked to, and anything but a dataset at all."""
    if name not in file:
        return
    if not isinstance(file[name], h5py.Dataset):
        raise VolumeError(f"'{name}' of '{path}' is a group; name a dataset in it: '{new.spec}/NAME'")
    if not new.overwrite:
        raise new.refuse_existing(f"dataset '{name}' of '{path}'")


def _make_dataset(file: h5py.File, name: str, new: NewVolume) -> None:
    if name in file:
        del file[name]
    dataset = file.create_dataset(
        name,
        shape=new.bounds.shape,
        dtype=new.dtype,
        chunks=tuple(np.minimum(new.chunk_shape, new.bounds.shape)),
        compression="gzip",
        # The lowest level: with the bytes shuffled, labels are nearly as small as at the highest.
        compression_opts=1,
        shuffle=True,
    )
    size_nm = np.array(new.voxel_size_nm)
    dataset.attrs["resolution"] = size_nm
    dataset.attrs["offset"] = size_nm * new.bounds.start


def _open_file(path: Path, mode: str) -> h5py.File:
    if not path.is_file():
        raise VolumeError(f"file '{path}' does not exist; check the path")
    if mode == "r+" and not os.access(path, os.W_OK):
        raise VolumeError(f"file '{path}' is read-only; open it with mode='r' or name another output")
    with mended(
        f"cannot open '{path}'", "it must be an intact HDF5 file that no other process writes to", OSError
    ):
        return h5py.File(path, mode)


def _dataset_of(file: h5py.File, path: str, name: str) -> h5py.Dataset:
    found = file.get(name) if name else None
    if isinstance(found, h5py.Dataset):
        return found
    present = _datasets_of(file)
    listed = ", ".join(present[:_LISTED]) + (" …" if len(present) > _LISTED else "")
    wrong = f"has no dataset '{name}'" if name else "needs the name of a dataset"
    raise VolumeError(f"file '{path}' {wrong}; it holds {listed or 'none'} (write '{path}:NAME')")


def _datasets_of(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def _stored_size_nm(dataset: h5py.Dataset) -> Any:
    """The voxel size (zyx, nm) the dataset or a group above it states, or None."""
    if "resolution" in dataset.attrs:
        return dataset.attrs["resolution"]
    holder = dataset
    while "resolution_zyx_nm" not in holder.attrs and holder.name != "/":
        holder = holder.parent
    return holder.attrs.get("resolution_zyx_nm")
