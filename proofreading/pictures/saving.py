"""Results as files and as pictures.

| format | holds |
| --- | --- |
| `hdf5` | `raw` (uint8) and `segmentation` (uint32), all sections, voxel size |
| `tiff` | the objects, uint32, all sections, voxel size as ImageJ writes it |
| `raw` | the objects, uint32, little-endian, x fastest, without a header; shape in the file's name |
| `png`, `jpeg`, `pdf` | one section: the picture with the objects in colours over it |

An object's colour follows from its number alone, so that it is the same in all sections.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from PIL import Image

from proofreading.pictures.jobs import Job
from proofreading.pictures.reading import PictureError

# Suffix and media type of each format.
FORMATS = {
    "hdf5": (".h5", "application/x-hdf5"),
    "tiff": (".tif", "image/tiff"),
    "png": (".png", "image/png"),
    "jpeg": (".jpg", "image/jpeg"),
    "raw": (".raw", "application/octet-stream"),
    "pdf": (".pdf", "application/pdf"),
}
WHOLE = ("hdf5", "tiff", "raw")
_OPACITY = 0.5
_JPEG_QUALITY = 92


class Section(NamedTuple):
    """One section of a result.

    Attributes:
      raw: (y, x) uint8.
      objects: (y, x) uint32.
    """

    raw: np.ndarray
    objects: np.ndarray


def read_section(path: Path, z: int) -> Section:
    """A section of a result.

    Args:
      path: of `result.h5`.
      z: which, from 0.

    Raises:
      PictureError: there is no such section.
    """
    with h5py.File(path, "r") as file:
        count = file["raw"].shape[0]
        if not 0 <= z < count:
            raise PictureError(f"there is no section {z}; the picture has {count}, counted from 0")
        return Section(file["raw"][z], file["segmentation"][z])


def colours_of(objects: np.ndarray) -> np.ndarray:
    """Colours of objects, bright and unlike for numbers next to each other; 0 is black.

    Args:
      objects: of any shape, uint32.

    Returns:
      (…, 3) uint8.
    """
    # Hues a golden ratio apart are spread evenly, however many there are; so are the other two, less so.
    hue = objects * 0.618033988749895 % 1.0
    saturation = 0.55 + 0.4 * (objects * 0.7548776662466927 % 1.0)
    value = 0.75 + 0.25 * (objects * 0.5698402909980532 % 1.0)
    sector = (hue[..., None] * 6 + np.array([5.0, 3.0, 1.0])) % 6
    share = np.clip(np.minimum(sector, 4 - sector), 0, 1)
    shown = value[..., None] * (1 - saturation[..., None] * share)
    return np.where(objects[..., None] > 0, np.rint(255 * shown), 0).astype(np.uint8)


def overlay(section: Section, opacity: float = _OPACITY) -> np.ndarray:
    """A section with its objects in colours over it, (y, x, 3) uint8.

    Args:
      section: what is drawn.
      opacity: of the colours, 0 to 1.
    """
    grey = section.raw[..., None].astype(np.float32)
    mixed = (1 - opacity) * grey + opacity * colours_of(section.objects)
    return np.where(section.objects[..., None] > 0, np.rint(mixed), grey).astype(np.uint8)


def shown_raw(section: Section) -> bytes:
    """The picture alone, as PNG."""
    return _encoded(Image.fromarray(section.raw), "PNG")


def shown_objects(section: Section) -> bytes:
    """The objects alone, as PNG; clear where there are none."""
    clear = np.where(section.objects > 0, 255, 0).astype(np.uint8)
    return _encoded(Image.fromarray(np.dstack([colours_of(section.objects), clear])), "PNG")


def saved_section(section: Section, form: str) -> bytes:
    """A section in one of the formats that hold one.

    Args:
      section: what is drawn.
      form: `png`, `jpeg` or `pdf`.

    Raises:
      PictureError: any other.
    """
    image = Image.fromarray(overlay(section))
    if form == "png":
        return _encoded(image, "PNG")
    if form == "jpeg":
        return _encoded(image, "JPEG", quality=_JPEG_QUALITY)
    if form == "pdf":
        return _encoded(image, "PDF")
    raise PictureError(f"there is no format '{form[:20]}'; choose from {', '.join(FORMATS)}")


def save_tiff(result: Path, target: Path) -> None:
    """Writes all objects as TIFF, a section at a time.

    Args:
      result: `result.h5`.
      target: the file to write.
    """
    import tifffile

    with h5py.File(result, "r") as file, tifffile.TiffWriter(target, bigtiff=_is_large(file)) as writer:
        z_nm, y_nm, x_nm = (float(edge) for edge in file["segmentation"].attrs["resolution"])
        for objects in _sections(file):
            writer.write(
                objects,
                contiguous=False,
                compression="zlib",
                photometric="minisblack",
                resolution=(1e7 / x_nm, 1e7 / y_nm),
                resolutionunit="CENTIMETER",
                description=f"spacing={z_nm / 1000:g} unit=um",
                metadata=None,
            )


def raw_parts(result: Path) -> Iterator[bytes]:
    """All objects as plain bytes, a section at a time.

    Args:
      result: `result.h5`.
    """
    with h5py.File(result, "r") as file:
        for objects in _sections(file):
            yield objects.astype("<u4").tobytes()


def file_name(job: Job, form: str, z: int) -> str:
    """What a saved file is called.

    Args:
      job: that is done.
      form: of `FORMATS`.
      z: the section, for formats of one.
    """
    stem = Path(job.name).stem or "picture"
    part = "" if form in WHOLE or (job.shape or (1,))[0] == 1 else f"_z{z}"
    if form == "raw":
        part = "".join(f"_{axis}{n}" for axis, n in zip("zyx", job.shape or (), strict=False)) + "_uint32"
    return f"{stem}_{job.wanted.network}{part}{FORMATS[form][0]}"


def _sections(file: h5py.File) -> Iterator[np.ndarray]:
    for z in range(file["segmentation"].shape[0]):
        yield file["segmentation"][z]


def _is_large(file: h5py.File) -> bool:
    return bool(file["segmentation"].size * 4 > 2**31)


def _encoded(image: Image.Image, form: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()
