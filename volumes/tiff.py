"""Volumes in one TIFF file of many pages, through tifffile.

An uncompressed file whose sections follow each other is memory-mapped, any other is read page by page (and
not written to). Compressions other than deflate need the package `imagecodecs`.

The voxel size is read from our own description, from ImageJ's (spacing, unit, resolution) or from OME's
(physical sizes). A plain TIFF states no distance between sections: its voxel size must be given.
What we write is uncompressed, a BigTIFF from 4 GB, with tifffile's JSON description (`axes`, `voxel_size_nm`,
`start`, all zyx) and the usual resolution tags for y and x.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from jobs.pieces import atomic_path
from volumes.base import NewVolume, Volume, require_mode, require_voxels, voxel_size_of
from volumes.box import Box
from volumes.errors import VolumeError, mended
from volumes.units import nm_per_unit

DTYPES = (
    *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float32", "float64"),
)
# Older releases of tifffile derive its error from none of the others.
_DAMAGED = (
    *(OSError, ValueError, IndexError, KeyError, TypeError, RuntimeError),
    tifffile.TiffFileError,
)
_NM_PER_CM = 1e7


class TiffVolume(Volume):
    """One TIFF file; `sections` is its memory map, or its pages where it cannot be mapped."""

    def __init__(
        self,
        spec: str,
        file: tifffile.TiffFile,
        sections: np.ndarray | list[Any],
        given_nm: Iterable[float] | None,
        writable: bool,
    ) -> None:
        page = file.pages[0]
        shape = sections.shape if isinstance(sections, np.ndarray) else (len(sections), *page.shape)
        require_voxels(spec, shape, np.dtype(page.dtype))
        stored_nm, start = _description(file)
        super().__init__(
            spec,
            bounds=Box.from_shape(shape, start),
            dtype=page.dtype,
            voxel_size_nm=voxel_size_of(spec, given_nm, stored_nm),
            chunk_shape=(1, 1, 1),
            writable=writable,
        )
        self._file = file
        self._sections = sections
        if isinstance(sections, np.ndarray):
            file.close()

    def close(self) -> None:
        """Bring writes to the disk and close the file."""
        if self.writable and isinstance(self._sections, np.memmap):
            self._sections.flush()
        self._file.close()

    def _load(self, box: Box) -> np.ndarray:
        z, y, x = box.slices(self.bounds.start)
        if isinstance(self._sections, np.ndarray):
            return np.array(self._sections[z, y, x])
        with mended(
            f"cannot read box {box} of '{self.spec}'", "the file is damaged or compressed", *_DAMAGED
        ):
            return np.stack([page.asarray()[y, x] for page in self._sections[z]])

    def _store(self, box: Box, voxels: np.ndarray) -> None:
        assert isinstance(self._sections, np.ndarray), "only a mapped file is writable"
        self._sections[box.slices(self.bounds.start)] = voxels


def open_tiff(location: str, spec: str, voxel_size_nm: Iterable[float] | None, mode: str) -> TiffVolume:
    """Open a TIFF file whose pages are the sections of a volume.

    Args:
        location: the file.
        spec: the SPEC, for messages.
        voxel_size_nm: zyx; takes the place of what the file says.
        mode: 'r' or 'r+'.

    Raises:
        VolumeError: a missing or damaged file, one page only, several channels, no voxel size, or a file
            to be written to that cannot be memory-mapped.
    """
    writable = require_mode(mode)
    path = Path(location).expanduser()
    if not path.is_file():
        raise VolumeError(f"file '{path}' does not exist; check the path")
    with mended(f"cannot open '{path}'", "it must be an intact TIFF file", *_DAMAGED):
        file = tifffile.TiffFile(path)
    try:
        with mended(f"cannot open '{path}'", "it must be an intact TIFF file", *_DAMAGED):
            sections = _sections(file, path, spec, writable)
            return TiffVolume(spec, file, sections, voxel_size_nm, writable)
    except BaseException:
        file.close()
        raise


def create_tiff(location: str, new: NewVolume) -> TiffVolume:
    """Make an uncompressed TIFF file of zeros and open it for writing.

    Args:
        location: the file; missing folders are made.
        new: what to make.

    Raises:
        VolumeError: the file exists, the dtype is none of TIFF's, or the place cannot be written to.
    """
    new.require_dtype(*DTYPES)
    path = Path(location).expanduser()
    if path.exists() and not new.overwrite:
        raise new.refuse_existing(f"file '{path}'")
    _, y_nm, x_nm = new.voxel_size_nm
    with (
        mended(f"cannot write '{new.spec}'", "choose another output", *_DAMAGED),
        atomic_path(path) as temporary,
    ):
        tifffile.memmap(
            temporary,
            shape=new.bounds.shape,
            dtype=new.dtype,
            photometric="minisblack",
            resolution=(_NM_PER_CM / x_nm, _NM_PER_CM / y_nm),
            resolutionunit="CENTIMETER",
            metadata={"axes": "ZYX", "voxel_size_nm": new.voxel_size_nm, "start": new.bounds.start},
        ).flush()
    return open_tiff(location, new.spec, None, "r+")


def _sections(file: tifffile.TiffFile, path: Path, spec: str, writable: bool) -> np.ndarray | list[Any]:
    """The file's memory map (zyx), or its pages."""
    series = file.series[0]
    if series.ndim == 2 and len(file.series) > 1:
        return _equal_pages(file, spec, writable)
    require_voxels(spec, series.shape, np.dtype(series.dtype))
    if series.dataoffset is not None:
        return np.memmap(
            path,
            dtype=np.dtype(file.byteorder + series.dtype.char),
            mode="r+" if writable else "r",
            offset=series.dataoffset,
            shape=series.shape,
        )
    if len(series.pages) != series.shape[0]:
        raise VolumeError(f"'{spec}' does not hold one section a page; convert it to a multi-page TIFF")
    _refuse_writing(spec, writable)
    return list(series.pages)


def _equal_pages(file: tifffile.TiffFile, spec: str, writable: bool) -> list[Any]:
    """The pages of a file whose sections were appended one by one."""
    pages = list(file.pages)
    for number, page in enumerate(pages):
        if (page.shape, page.dtype) != (pages[0].shape, pages[0].dtype):
            raise VolumeError(
                f"page {number} of '{spec}' is {page.shape} {page.dtype}, page 0 is {pages[0].shape} "
                f"{pages[0].dtype}; a volume's sections are equal"
            )
    _refuse_writing(spec, writable)
    return pages


def _refuse_writing(spec: str, writable: bool) -> None:
    if writable:
        raise VolumeError(
            f"'{spec}' is compressed or in pieces and cannot be changed in place; write a new volume"
        )


def _description(file: tifffile.TiffFile) -> tuple[Any, Any]:
    """The voxel size (zyx nm, or None) and the first voxel (zyx) the file states."""
    ours: Mapping[str, Any] = (file.shaped_metadata or ({},))[0]
    if "voxel_size_nm" in ours:
        return ours["voxel_size_nm"], ours.get("start", (0, 0, 0))
    if file.is_ome:
        return _ome_size_nm(file.ome_metadata or ""), (0, 0, 0)
    return _imagej_size_nm(file) if file.is_imagej else None, (0, 0, 0)


def _imagej_size_nm(file: tifffile.TiffFile) -> tuple[float, ...] | None:
    """ImageJ keeps the spacing of sections in the unit, and pixels per unit in the resolution tags."""
    described = file.imagej_metadata or {}
    tags = file.pages[0].tags
    unit_nm = nm_per_unit(described.get("unit"))
    if unit_nm is None or not {"XResolution", "YResolution"} <= {tag.name for tag in tags}:
        return None
    edges = [tags[name].value[1] / tags[name].value[0] for name in ("YResolution", "XResolution")]
    return tuple(float(edge) * unit_nm for edge in (described.get("spacing", 0), *edges))


def _ome_size_nm(xml: str) -> tuple[float, ...] | None:
    pixels = next((node for node in ElementTree.fromstring(xml).iter() if node.tag.endswith("}Pixels")), None)
    if pixels is None:
        return None
    sizes = []
    for axis in "ZYX":
        unit_nm = nm_per_unit(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        value = pixels.get(f"PhysicalSize{axis}")
        sizes.append(float(value) * unit_nm if value and unit_nm else 0.0)
    return tuple(sizes) if all(sizes) else None
