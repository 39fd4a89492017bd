"""Where supervoxels touch, in one chunk and across its faces.

Inputs: labels (z, y, x), unsigned, 0 = none. Outputs: pairs of supervoxels and how many faces of voxels they
share. Work and memory are those of the chunk.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from volumes import Box, Volume
from volumes.box import Zyx


class Contacts(NamedTuple):
    """Pairs that touch; one row each.

    Attributes:
      first, second: (n,) uint64, supervoxels.
      faces: (n,) int64, between voxels, that they share.
    """

    first: np.ndarray
    second: np.ndarray
    faces: np.ndarray


def contacts_inside(labels: np.ndarray) -> Contacts:
    """Pairs of different supervoxels that touch, the smaller one first, ascending.

    Args:
      labels: (z, y, x), unsigned.
    """
    firsts, seconds = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
    for axis in range(3):
        n = labels.shape[axis]
        low = labels.take(range(n - 1), axis).reshape(-1)
        high = labels.take(range(1, n), axis).reshape(-1)
        touch = (low != high) & (low != 0) & (high != 0)
        firsts.append(np.minimum(low[touch], high[touch]).astype(np.uint64))
        seconds.append(np.maximum(low[touch], high[touch]).astype(np.uint64))
    return counted(np.concatenate(firsts), np.concatenate(seconds))


def contacts_across(inner: np.ndarray, outer: np.ndarray) -> Contacts:
    """Pairs of supervoxels on both sides of a face, those that are one supervoxel among them, ascending.

    Args:
      inner, outer: labels of the layers of voxels on either side, of one shape.
    """
    inner, outer = inner.reshape(-1), outer.reshape(-1)
    touch = (inner != 0) & (outer != 0)
    return counted(inner[touch].astype(np.uint64), outer[touch].astype(np.uint64))


def counted(first: np.ndarray, second: np.ndarray) -> Contacts:
    """Equal rows as one, ascending.

    Args:
      first, second: (m,) uint64.
    """
    names, at = np.unique(np.concatenate([first, second]), return_inverse=True)
    keys, faces = np.unique(at[: first.size] * np.int64(names.size) + at[first.size :], return_counts=True)
    size = max(names.size, 1)
    return Contacts(names[keys // size], names[keys % size], faces.astype(np.int64))


def layer_beyond(volume: Volume, box: Box, axis: int, side: int) -> np.ndarray:
    """The voxels on the other side of a face of a box.

    Args:
      volume: to read; the layer is in its bounds.
      box: absolute.
      axis: of the face, 0 = z.
      side: 0 = the lower one, 1 = the upper one.
    """
    start, stop = [*box.start], [*box.stop]
    start[axis] = box.stop[axis] if side else box.start[axis] - 1
    stop[axis] = start[axis] + 1
    return volume.read(Box(_zyx(start), _zyx(stop)))


def layer_inside(labels: np.ndarray, axis: int, side: int) -> np.ndarray:
    """The voxels on this side of a face.

    Args:
      labels: of the box.
      axis, side: see `layer_beyond`.
    """
    return labels.take([labels.shape[axis] - 1 if side else 0], axis)


def _zyx(values: list[int]) -> Zyx:
    z, y, x = values
    return z, y, x
