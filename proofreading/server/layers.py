"""The volumes that the viewer shows: the image, the supervoxels, and meshes of these.

A volume that is a Precomputed folder is sent as it lies. Any other (HDF5, Zarr, stacks) is sent as if it were
one, of one scale and raw chunks, each of which is read when it is asked for. Chunks of supervoxels that a
person split are made in `proofreading.server.edited_chunks`.

Axes: the format speaks x, y, z, in the names of chunks and in `info`; it is turned here and nowhere else.
Source: https://github.com/google/neuroglancer/tree/master/src/datasource/precomputed
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from configs import ConfigView
from configs.errors import ReconstructionError
from proofreading.errors import ProofreadingError
from volumes import Box, Volume, open_volume
from volumes.box import Zyx
from volumes.precomputed import DTYPES

IMAGE, SEGMENTATION = "image", "segmentation"
MESHES = "mesh"
_CHUNK: Zyx = (64, 64, 64)
_KEY = "0"
_NAMED_BOX = re.compile(r"(-?\d{1,15})-(-?\d{1,15})_(-?\d{1,15})-(-?\d{1,15})_(-?\d{1,15})-(-?\d{1,15})")
_FOLDER = "precomputed://file://"


@dataclass(frozen=True)
class Layer:
    """A volume that is shown.

    Attributes:
      name: `image` or `segmentation`.
      volume: its finest scale.
      folder: of the Precomputed layer that is sent as it lies; None = it is read chunk by chunk.
      meshes: folder of its meshes; None = it has none.
    """

    name: str
    volume: Volume
    folder: Path | None
    meshes: Path | None = None

    def info(self) -> dict[str, Any]:
        """The `info` of the format.

        Raises:
          ProofreadingError: that of the folder cannot be read.
        """
        found = _described(self) if self.folder is None else _read(self.folder / "info")
        found.pop("mesh", None)
        # Skeletons of supervoxels are nowhere made.
        found.pop("skeletons", None)
        return {**found, "mesh": MESHES} if self.meshes is not None else found

    def chunk(self, name: str, read: Callable[[Box], np.ndarray]) -> bytes | None:
        """A chunk of a layer that is read chunk by chunk.

        Args:
          name: path of its file, scale and box.
          read: gives the voxels of a box, (z, y, x).

        Returns:
          Raw voxels, x fastest; None where the layer has no such chunk.

        Raises:
          VolumeError: it cannot be read.
        """
        scale, _, words = name.partition("/")
        box = named_box(words)
        if (
            self.folder is not None
            or scale != _KEY
            or box is None
            or box != _chunk_at(self.volume, box.start)
        ):
            return None
        # Their order is that of the format: of an array of z, y, x the last axis goes fastest.
        return read(box).astype(self.volume.dtype.newbyteorder("<")).tobytes("C")


def open_layers(config: ConfigView, tell: Callable[[str], None] = lambda _: None) -> dict[str, Layer]:
    """The layers of a project, by name.

    Args:
      config: of the project, with `agglomeration`.
      tell: takes a line about an image that cannot be shown.

    Raises:
      VolumeError: the supervoxels cannot be opened.
      ProofreadingError: there are none.
    """
    layers = {SEGMENTATION: _layer(SEGMENTATION, *_supervoxels(config))}
    try:
        source = _image(config)
        if source is not None:
            layers[IMAGE] = _layer(IMAGE, *source)
    except ReconstructionError as error:
        tell(f"the image is not shown: {error}")
    return layers


def named_box(words: str) -> Box | None:
    """The box that the name of a chunk's file says; None where it is no such name.

    Args:
      words: such as "0-64_64-128_0-20": x, y, z.
    """
    found = _NAMED_BOX.fullmatch(words)
    if found is None:
        return None
    x, end_x, y, end_y, z, end_z = map(int, found.groups())
    return Box((z, y, x), (end_z, end_y, end_x)) if z < end_z and y < end_y and x < end_x else None


def _supervoxels(config: ConfigView) -> tuple[str, tuple[float, ...] | None]:
    source = config.agglomeration.supervoxels if config.agglomeration is not None else None
    if source is not None:
        return source.spec, _size_nm(source)
    folder = Path(config.output_dir) / "supervoxels"
    if not (folder / "info").is_file():
        raise ProofreadingError(
            f"there are no supervoxels in '{folder}'; make them with run_inference --config, or name others "
            "in agglomeration.supervoxels"
        )
    return f"{_FOLDER}{folder.resolve()}", None


def _image(config: ConfigView) -> tuple[str, tuple[float, ...] | None] | None:
    """What is shown as the image: the one that the project wrote, else the one that it reads."""
    folder = Path(config.output_dir) / "image"
    if (folder / "info").is_file():
        return f"{_FOLDER}{folder.resolve()}", None
    return None if config.raw is None else (config.raw.spec, _size_nm(config.raw))


def _size_nm(source: ConfigView) -> tuple[float, ...] | None:
    return None if source.voxel_size_nm is None else tuple(source.voxel_size_nm)


def _layer(name: str, spec: str, size_nm: tuple[float, ...] | None) -> Layer:
    volume = open_volume(spec, voxel_size_nm=size_nm)
    folder = Path(spec.removeprefix(_FOLDER)) if spec.startswith(_FOLDER) else None
    # One scale of several, or another voxel size, is not what the folder says.
    is_whole = folder is not None and size_nm is None and (folder / "info").is_file()
    if not is_whole and volume.dtype.name not in DTYPES:
        raise ProofreadingError(
            f"'{spec}' of {volume.dtype} cannot be shown; convert it to one of {', '.join(DTYPES)}"
        )
    return Layer(name, volume, folder if is_whole else None)


def _described(layer: Layer) -> dict[str, Any]:
    """The `info` of a layer that is read chunk by chunk."""
    volume = layer.volume
    scale = {
        "key": _KEY,
        "size": volume.bounds.shape[::-1],
        "voxel_offset": volume.bounds.start[::-1],
        "resolution": volume.voxel_size_nm[::-1],
        "chunk_sizes": [_CHUNK[::-1]],
        "encoding": "raw",
    }
    return {
        "@type": "neuroglancer_multiscale_volume",
        "type": layer.name,
        "data_type": volume.dtype.name,
        "num_channels": 1,
        "scales": [scale],
    }


def _chunk_at(volume: Volume, start: Zyx) -> Box | None:
    """The chunk that begins at a voxel (absolute); None where none does."""
    bounds = volume.bounds
    for at, low, high, edge in zip(start, bounds.start, bounds.stop, _CHUNK, strict=True):
        if not low <= at < high or (at - low) % edge:
            return None
    return Box.from_shape(_CHUNK, start).intersect(bounds)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise ProofreadingError(f"'{path}' cannot be read ({error}); run run_inference again") from error
