"""Volumes as folders of images, one file a section: `stack:dir/*.png`, `stack:dir/*.tif`.

Sections are ordered by the numbers in their names (`s9` before `s10`) and read one by one, as a box asks for
them: a box costs as many whole sections as it is deep. PNG holds grey values of 8 or 16 bits, TIFF every
dtype tifffile knows.

Images of a folder share no voxel size, so that it is given or lies beside them in `volume.json`:

    {"voxel_size_nm": [40, 4, 4], "start": [0, 0, 0]}

(zyx; `start`, the first voxel, may be left out). `create_volume` writes this file with `pattern`, `shape`,
`dtype` and `labels` added. Sections appear whole; separate writers must not share a section.

Missing sections of such a stack. Labels that are not there read as 0. In an image a missing section is a hole
that a network would take for tissue: it is an error that names the section. A stack open for writing reads
what nobody wrote yet as 0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from jobs.pieces import atomic_path
from volumes.base import LABEL_DTYPES, NewVolume, Volume, require_mode, require_voxels, voxel_size_of
from volumes.box import Box, Zyx
from volumes.errors import VolumeError, mended

SIDECAR = "volume.json"
PNG_DTYPES = ("uint8", "uint16")
TIFF_DTYPES = (
    *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float32", "float64"),
)
# Pillow gives damage as SyntaxError; older releases of tifffile derive its error from none of the others.
_DAMAGED = (
    *(OSError, ValueError, IndexError, KeyError, TypeError, RuntimeError, SyntaxError),
    tifffile.TiffFileError,
)
_SUFFIXES = (".png", ".tif", ".tiff")
# Pillow refuses images above 179 megapixels as attacks; whole EM sections are larger.
Image.MAX_IMAGE_PIXELS = None


class StackVolume(Volume):
    """A folder of sections, in order; of a sparse one, sections that are not there read as 0."""

    def __init__(
        self,
        spec: str,
        files: list[Path],
        *,
        section: tuple[int, int],
        dtype: np.dtype,
        voxel_size_nm: tuple[float, float, float],
        start: Zyx,
        sparse: bool,
        writable: bool,
    ) -> None:
        require_voxels(spec, (len(files), *section), dtype)
        super().__init__(
            spec,
            bounds=Box.from_shape((len(files), *section), start),
            dtype=dtype,
            voxel_size_nm=voxel_size_nm,
            chunk_shape=(1, *section),
            writable=writable,
        )
        self._files = files
        self._sparse = sparse

    def _load(self, box: Box) -> np.ndarray:
        z, y, x = box.slices(self.bounds.start)
        return np.stack([self._section(path)[y, x] for path in self._files[z]])

    def _store(self, box: Box, voxels: np.ndarray) -> None:
        z, y, x = box.slices(self.bounds.start)
        for path, part in zip(self._files[z], voxels, strict=True):
            section = part
            if part.shape != self.shape[1:]:
                section = np.array(self._section(path), self.dtype)
                section[y, x] = part
            _write_section(path, section, self.spec)

    def _section(self, path: Path) -> np.ndarray:
        """One section (y, x); zeros for one that may be missing."""
        if self._sparse and not path.exists():
            return np.zeros(self.shape[1:], self.dtype)
        section = _read_section(path)
        if section.shape != self.shape[1:] or section.dtype != self.dtype:
            raise VolumeError(
                f"section '{path}' is {section.shape} {section.dtype}, the stack is {self.shape[1:]} "
                f"{self.dtype}; sections of a stack are equal"
            )
        return section


def open_stack(location: str, spec: str, voxel_size_nm: Iterable[float] | None, mode: str) -> StackVolume:
    """Open a folder of images; the first one tells the size of all.

    Args:
        location: `folder/pattern`, the pattern with one `*`, ending in .png, .tif or .tiff.
        spec: the SPEC, for messages.
        voxel_size_nm: zyx; takes the place of what `volume.json` says.
        mode: 'r' or 'r+' (under which sections are replaced, or filled in).

    Raises:
        VolumeError: a folder or images that are not there, colour images, a damaged image or
            `volume.json`, or no voxel size.
    """
    writable = require_mode(mode)
    folder, pattern = _parts(location, spec)
    described = _read_sidecar(folder)
    ours = described.get("pattern") == pattern and "shape" in described
    if ours:
        with mended(f"cannot understand '{folder / SIDECAR}'", "repair or remove it", *_DAMAGED):
            depth, *section = map(int, described["shape"])
            files, dtype = _new_names(folder, pattern, depth), np.dtype(described["dtype"])
    else:
        files = _present(folder, pattern, spec)
        first = _read_section(files[0])
        section, dtype = list(first.shape), first.dtype
    if len(section) != 2:
        raise VolumeError(f"section '{files[0]}' has shape {tuple(section)}; sections are grey, (y, x)")
    return StackVolume(
        spec,
        files,
        section=(section[0], section[1]),
        dtype=dtype,
        voxel_size_nm=voxel_size_of(spec, voxel_size_nm, described.get("voxel_size_nm")),
        start=Box.from_shape((0, 0, 0), described.get("start", (0, 0, 0))).start,
        sparse=ours and (writable or described.get("labels", dtype in LABEL_DTYPES)),
        writable=writable,
    )


def create_stack(location: str, new: NewVolume) -> StackVolume:
    """Make an empty stack: `volume.json`, beside which sections appear as they are written.

    The `*` of the pattern becomes the section's number from 0, five digits.

    Args:
        location: `folder/pattern`, the pattern with one `*`, ending in .png, .tif or .tiff.
        new: what to make.

    Raises:
        VolumeError: images of the pattern or another stack's `volume.json` are there, a dtype the images
            cannot hold, or a folder that cannot be written to.
    """
    folder, pattern = _parts(location, new.spec)
    new.require_dtype(*(PNG_DTYPES if pattern.lower().endswith(".png") else TIFF_DTYPES))
    other = _read_sidecar(folder).get("pattern", pattern)
    if other != pattern:
        raise VolumeError(f"folder '{folder}' holds the stack '{other}' already; choose another folder")
    present = sorted(folder.glob(pattern))
    if (present or (folder / SIDECAR).exists()) and not new.overwrite:
        raise new.refuse_existing(f"a stack '{folder / pattern}'")
    description = {
        "voxel_size_nm": new.voxel_size_nm,
        "start": new.bounds.start,
        "shape": new.bounds.shape,
        "dtype": new.dtype.name,
        "labels": new.holds_labels,
        "pattern": pattern,
        "axes": "zyx",
    }
    with mended(f"cannot write '{new.spec}'", "choose another output", OSError):
        for path in present:
            path.unlink()
        with atomic_path(folder / SIDECAR) as temporary:
            temporary.write_text(json.dumps(description, indent=2))
    return open_stack(location, new.spec, None, "r+")


def _parts(location: str, spec: str) -> tuple[Path, str]:
    """The folder and the pattern of a stack."""
    path = Path(location).expanduser()
    if path.name.count("*") != 1 or path.suffix.lower() not in _SUFFIXES:
        raise VolumeError(f"'{spec}' is no stack; write stack:dir/*.png or stack:dir/*.tif")
    return path.parent, path.name


def _present(folder: Path, pattern: str, spec: str) -> list[Path]:
    if not folder.is_dir():
        raise VolumeError(f"folder '{folder}' does not exist; check the path")
    files = sorted(folder.glob(pattern), key=_natural)
    if not files:
        kinds = sorted({path.suffix for path in folder.iterdir() if path.suffix})
        raise VolumeError(
            f"no image in '{folder}' matches '{pattern}' of '{spec}'; it holds {', '.join(kinds) or 'none'}"
        )
    return files


def _new_names(folder: Path, pattern: str, depth: int) -> list[Path]:
    return [folder / pattern.replace("*", f"{section:05d}") for section in range(depth)]


def _natural(path: Path) -> list[tuple[int, str]]:
    """A sort key under which numbers in a name count as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _read_sidecar(folder: Path) -> dict[str, Any]:
    path = folder / SIDECAR
    if not path.is_file():
        return {}
    with mended(f"cannot read '{path}'", "repair or remove it", OSError, ValueError):
        described = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(described, dict):
        raise VolumeError(f"'{path}' holds no JSON object; repair or remove it")
    return described


def _read_section(path: Path) -> np.ndarray:
    if not path.exists():
        raise VolumeError(f"section '{path}' is missing; put it back or write the stack again")
    read: Callable[[Path], np.ndarray] = _read_png if path.suffix.lower() == ".png" else tifffile.imread
    with mended(f"cannot read section '{path}'", "it is missing, damaged or of another kind", *_DAMAGED):
        section = read(path)
    return section.astype(section.dtype.newbyteorder("="), copy=False)


def _read_png(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        if image.mode not in ("L", "I", "I;16", "I;16B", "1"):
            raise VolumeError(
                f"section '{path}' is a colour image ({image.mode}); save it as grey, 8 or 16 bits"
            )
        values = np.asarray(image)
    # Some releases of Pillow widen 16-bit images; PNG itself holds no wider grey values.
    return values.astype(np.uint16) if values.dtype.itemsize > 2 else values


def _write_section(path: Path, section: np.ndarray, spec: str) -> None:
    with (
        mended(f"cannot write section '{path}' of '{spec}'", "check rights and free space", OSError),
        atomic_path(path) as temporary,
    ):
        if path.suffix.lower() == ".png":
            Image.fromarray(section).save(temporary, format="png")
        else:
            tifffile.imwrite(temporary, section, compression="zlib", photometric="minisblack")
