"""Reading pictures that somebody uploaded: PNG, TIFF and HDF5, each only as far as it is a plain picture.

A file is known by its first bytes, not by its name. What it says of its size is held against the limit
before anything is unpacked, and nothing outside of it is read: no external or virtual datasets, no companion
files. Nothing is unpickled.

Grey values become uint8. Colours become their brightness (ITU-R BT.601), values of other types are stretched
from the lowest to 0 and the highest to 255.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from proofreading.errors import ProofreadingError

PNG, TIFF, HDF5 = "png", "tiff", "hdf5"
HEAD_BYTES = 8
_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": PNG,
    b"\x89HDF\r\n\x1a\n": HDF5,
    b"II*\0": TIFF,
    b"MM\0*": TIFF,
    b"II+\0": TIFF,
    b"MM\0+": TIFF,
}
_BRIGHTNESS = np.array([0.299, 0.587, 0.114])
_MOST_DATASETS = 1000


class PictureError(ProofreadingError):
    """A picture that cannot be segmented."""


class Picture(NamedTuple):
    """What was read.

    Attributes:
      voxels: (z, y, x) uint8.
      notes: lines about what was changed on reading.
    """

    voxels: np.ndarray
    notes: tuple[str, ...] = ()


def kind_of(head: bytes) -> str:
    """The format of a file.

    Args:
      head: its first `HEAD_BYTES`.

    Returns:
      `PNG`, `TIFF` or `HDF5`.

    Raises:
      PictureError: any other.
    """
    for beginning, kind in _BEGINNINGS.items():
        if head.startswith(beginning):
            return kind
    raise PictureError("the file is no PNG, TIFF or HDF5; convert it to one of these")


def read_picture(path: Path, most_voxels: int, dataset: str = "") -> Picture:
    """Reads a picture.

    Args:
      path: of the file.
      most_voxels: a larger one is refused before it is unpacked.
      dataset: of an HDF5 file that has several.

    Raises:
      PictureError: another format, a damaged file, one that is too large, has no grey values, or unpacks to
        more than it says.
    """
    with path.open("rb") as file:
        kind = kind_of(file.read(HEAD_BYTES))
    readers: dict[str, Callable[[], np.ndarray]] = {
        PNG: lambda: _read_png(path, most_voxels),
        TIFF: lambda: _read_tiff(path, most_voxels),
        HDF5: lambda: _read_hdf5(path, most_voxels, dataset),
    }
    try:
        voxels = readers[kind]()
    except PictureError:
        raise
    except MemoryError as error:
        raise PictureError("the file unpacks to more than it says; save it again") from error
    except Exception as error:
        # Three libraries read what anybody sent; each has errors of its own for each kind of damage.
        line = " ".join(str(error).split())[:200] or type(error).__name__
        raise PictureError(f"the {kind.upper()} file cannot be read: {line}; save it again") from error
    return as_grey(voxels)


def as_grey(voxels: np.ndarray) -> Picture:
    """Grey values as uint8.

    Args:
      voxels: (z, y, x), numbers or bool.

    Raises:
      PictureError: NaN or infinite values.
    """
    if voxels.dtype == np.uint8:
        return Picture(voxels)
    if voxels.dtype == bool:
        return Picture(voxels.astype(np.uint8) * 255, ("black and white became 0 and 255",))
    low, high = float(voxels.min()), float(voxels.max())
    if not np.isfinite([low, high]).all():
        raise PictureError("the picture has values that are no numbers; replace them")
    grey = (voxels - np.float64(low)) * (255 / (high - low or 1.0))
    note = f"values from {low:g} to {high:g} ({voxels.dtype}) became 0 to 255"
    return Picture(np.rint(grey).astype(np.uint8), (note,))


def _read_png(path: Path, most_voxels: int) -> np.ndarray:
    from PIL import Image

    # What PIL itself takes for a bomb depends on what others set.
    Image.MAX_IMAGE_PIXELS = None
    # A copy, so that nothing of the file is open when it is removed.
    with Image.open(io.BytesIO(path.read_bytes()), formats=["PNG"]) as image:
        _require_size((1, image.height, image.width), most_voxels)
        plain = image if image.mode in ("1", "L", "I;16", "I;16B", "I") else image.convert("RGB")
        return _brightness(np.array(plain))[None]


def _read_tiff(path: Path, most_voxels: int) -> np.ndarray:
    import tifffile

    sections: list[np.ndarray] = []
    # Metadata of OME files may name other files.
    with tifffile.TiffFile(path, is_ome=False) as file:
        first = file.pages.first
        for count, page in enumerate(file.pages, 1):
            if page.shape != first.shape or page.dtype != first.dtype:
                raise PictureError(
                    f"section {count} has shape {page.shape} of {page.dtype}, the first one {first.shape} of "
                    f"{first.dtype}; save sections of one size"
                )
            _require_size((count, *page.shape[:2]), most_voxels)
            if page.imagedepth != 1 or len(page.shape) not in (2, 3):
                raise PictureError(
                    f"a section of shape {page.shape} is no picture; save y, x or y, x, colour"
                )
        for page in file.pages:
            sections.append(_brightness(page.asarray()))
    return np.stack(sections)


def _read_hdf5(path: Path, most_voxels: int, wanted: str) -> np.ndarray:
    with h5py.File(path, "r") as file:
        dataset = _dataset_of(file, wanted.strip("/"))
        shape = dataset.shape if dataset.ndim == 3 else (1, *dataset.shape)
        _require_size(shape, most_voxels)
        if dataset.is_virtual or dataset.external:
            raise PictureError(f"dataset '{dataset.name}' has its values elsewhere; copy them into the file")
        if dataset.chunks is not None and prod(dataset.chunks) > most_voxels:
            raise PictureError(
                f"dataset '{dataset.name}' has chunks larger than allowed; save it with small ones"
            )
        return np.asarray(dataset[()]).reshape(shape)


def _dataset_of(file: h5py.File, wanted: str) -> h5py.Dataset:
    """The dataset to read; only those that lie in the file itself are looked at."""
    found: dict[str, h5py.Dataset] = {}

    def collect(name: str, item: h5py.Dataset | h5py.Group) -> bool | None:
        is_picture = isinstance(item, h5py.Dataset) and item.ndim in (2, 3) and item.dtype.kind in "buif"
        if is_picture:
            found[name] = item
        return True if len(found) > _MOST_DATASETS else None

    file.visititems(collect)
    names = ", ".join(sorted(found)[:5]) or "none"
    if wanted:
        if wanted not in found:
            raise PictureError(f"there is no picture '{wanted[:100]}' in the file; there are: {names}")
        return found[wanted]
    if len(found) != 1:
        raise PictureError(f"the file has {len(found)} pictures ({names}); name one dataset with grey values")
    return next(iter(found.values()))


def _require_size(shape: tuple[int, ...], most_voxels: int) -> None:
    size = prod(shape)
    if size == 0:
        raise PictureError("the picture has no voxels; give one that is not empty")
    if size > most_voxels:
        edges = " x ".join(map(str, shape))
        raise PictureError(
            f"a picture of {edges} voxels (z, y, x) is larger than the {most_voxels} that are allowed; cut it"
        )


def _brightness(values: np.ndarray) -> np.ndarray:
    """(y, x) of grey values (y, x), or of colours (y, x, c), whose fourth is opacity."""
    if values.ndim == 2:
        return values
    if values.shape[2] < 3:
        return values[..., 0]
    grey = values[..., :3] @ _BRIGHTNESS
    return np.rint(grey).astype(values.dtype) if values.dtype.kind in "ui" else grey
