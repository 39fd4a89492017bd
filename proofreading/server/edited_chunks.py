"""Chunks of a Precomputed segmentation in which a person split a supervoxel.

The folder of the segmentation stays as it is. A chunk that a split touches is read, the parts put in the
place of the supervoxel, and encoded as the folder's `info` says; all others are sent as they lie.

At coarser scales a voxel of a split supervoxel is the part that lies in it, of both the one with the larger
ID: parts are neither lost nor thickened by more than a voxel of the scale.

Axes: zyx; the format's names of chunks and its `info` are x, y, z.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorstore as ts

from proofreading.server.layers import Layer, named_box
from proofreading.supervoxel_split import KeptSplit
from volumes import Box, open_volume
from volumes.box import Zyx
from volumes.pyramid import coarser_bounds

Read = Callable[[Box], np.ndarray]


def edited_chunk(layer: Layer, name: str, splits: Sequence[KeptSplit], read: Read) -> bytes | None:
    """A chunk with the parts of split supervoxels in it.

    Args:
      layer: the segmentation, of a folder.
      name: path of the chunk's file, scale and box.
      splits: those that are not undone.
      read: gives the supervoxels of a box with the parts of split ones, (z, y, x) uint64.

    Returns:
      The file; None for a chunk that none of them touches, and for what is no chunk.

    Raises:
      ReconstructionError: voxels that cannot be read.
    """
    key, _, words = name.partition("/")
    box = named_box(words)
    if not splits or box is None or layer.folder is None:
        return None
    info = layer.info()
    index = next((i for i, scale in enumerate(info["scales"]) if scale["key"] == key), None)
    if index is None or "sharding" in info["scales"][index]:
        return None
    factors = _factors(info["scales"], index)
    fine = _scaled(box, factors).intersect(layer.volume.bounds)
    touched = [each for each in splits if not fine.intersect(each.box).is_empty]
    if not touched:
        return None
    voxels = read(box) if index == 0 else _coarse(layer, index, box, factors, touched, read)
    return _encoded(info, index, name, box, voxels)


def largest_in_blocks(voxels: np.ndarray, start: Zyx, factors: Zyx) -> np.ndarray:
    """The largest value in each coarse voxel.

    Args:
      voxels: (z, y, x).
      start: where they begin (absolute); need not be a multiple of the factors.
      factors: voxels in a coarse one, zyx.

    Returns:
      An array of the coarse voxels that cover them.
    """
    for axis, (low, factor) in enumerate(zip(start, factors, strict=True)):
        first = -low % factor
        cuts = np.arange(first, voxels.shape[axis], factor)
        cuts = cuts if first == 0 else np.concatenate([[0], cuts])
        voxels = np.maximum.reduceat(voxels, cuts, axis=axis)
    return voxels


def _coarse(
    layer: Layer, index: int, box: Box, factors: Zyx, splits: Sequence[KeptSplit], read: Read
) -> np.ndarray:
    with open_volume(f"{layer.volume.spec}#{index}") as coarse:
        voxels = coarse.read(box).astype(np.uint64)
    fine = _scaled(box, factors).intersect(layer.volume.bounds)
    for split in splits:
        common = fine.intersect(split.box)
        whole = np.uint64(split.split.supervoxel)
        # Empty for a part that was split once more: it is in no voxel of the folder, and `read` knows of it.
        was = layer.volume.read(common) == whole
        if was.any():
            parts = largest_in_blocks(np.where(was, read(common), 0), common.start, factors)
            here = voxels[coarser_bounds(common, factors).slices(box.start)]
            here[...] = np.where((here == whole) & (parts > 0), parts, here)
    return voxels


def _encoded(info: Mapping[str, Any], index: int, name: str, box: Box, voxels: np.ndarray) -> bytes:
    """The file of a chunk, as its scale says."""
    scale = info["scales"][index]
    wanted = ("key", "size", "resolution", "voxel_offset", "encoding", "compressed_segmentation_block_size")
    volume = ts.open(
        {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "memory"},
            "multiscale_metadata": {each: info[each] for each in ("type", "data_type", "num_channels")},
            "scale_metadata": {
                **{each: scale[each] for each in wanted if each in scale},
                "chunk_size": scale["chunk_sizes"][0],
            },
        },
        create=True,
        # A memory of its own: those of other chunks are not its.
        context=ts.Context(),
    ).result()
    place = tuple(slice(a, b) for a, b in zip(box.start[::-1], box.stop[::-1], strict=True))
    volume[place][..., 0] = voxels.T
    files: Any = volume.kvstore
    return bytes(files.read(name).result().value)


def _factors(scales: Sequence[Mapping[str, Any]], index: int) -> Zyx:
    fine, coarse = (scales[i]["resolution"] for i in (0, index))
    x, y, z = (round(b / a) for a, b in zip(fine, coarse, strict=True))
    return z, y, x


def _scaled(box: Box, factors: Zyx) -> Box:
    start, stop = (tuple(n * f for n, f in zip(end, factors, strict=True)) for end in (box.start, box.stop))
    return Box(start, stop)  # type: ignore[arg-type]
