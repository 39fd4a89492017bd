"""The image a subvolume is flooded in, with the context its field of view needs at the faces.

A field of view never leaves the image it floods in, so that objects stop short of its faces. With a
margin of half a field of view they reach the faces of the box that was asked for: real voxels where
the volume goes on, mirrored ones where it ends.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from volumes import Box, Volume, VolumeError
from volumes.box import Zyx

Margin: TypeAlias = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def face_margins(box: Box, region: Box, radius_zyx: Zyx, *, mirror: bool) -> Margin:
    """Context that each face of a box needs for objects to reach it.

    A face inside the region is a cut, which must not show: it gets half a field of view. A face of the region
    itself gets it only if asked.

    Args:
      box: what is segmented.
      region: what the box was cut from.
      radius_zyx: half the field of view.
      mirror: give it to the faces of the region too.

    Returns:
      Voxels (before, after) of each axis, z, y, x.
    """
    z, y, x = (
        (r if mirror or start > first else 0, r if mirror or stop < last else 0)
        for r, start, stop, first, last in zip(
            radius_zyx, box.start, box.stop, region.start, region.stop, strict=True
        )
    )
    return z, y, x


def require_room_for(margin: Margin, box: Box, volume: Volume) -> None:
    """Checks that a volume can be continued by a margin.

    Args:
      margin: voxels to continue by, before and after, for each axis (zyx).
      box: absolute; what is to be continued.
      volume: the image it is read from.

    Raises:
      VolumeError: the box leaves the volume, or the volume is too small to be mirrored that far.
    """
    if not volume.bounds.contains_box(box):
        raise VolumeError(
            f"box {box} leaves volume '{volume.spec}' ({volume.bounds}); shrink it to lie inside"
        )
    there, missing = _split(margin, box, volume.bounds)
    if any(max(pair) >= n for pair, n in zip(missing, there.shape, strict=True)):
        raise VolumeError(
            f"volume '{volume.spec}' ({volume.bounds}) is too small to be mirrored by {margin} (z, y, x) "
            "voxels; turn edge_context off or take a network with a smaller field of view"
        )


def read_with_margin(volume: Volume, box: Box, margin: Margin) -> np.ndarray:
    """The voxels of a box grown by a margin, mirrored beyond the volume's bounds.

    Args:
      volume: the image.
      box: inside the volume's bounds.
      margin: voxels added before and after, along each axis.

    Returns:
      Array of the shape of the grown box (z, y, x), the volume's dtype.

    Raises:
      VolumeError: the box leaves the volume, or is too small to be mirrored that far.
    """
    require_room_for(margin, box, volume)
    there, missing = _split(margin, box, volume.bounds)
    return np.pad(volume.read(there), missing, mode="reflect")


def grown(box: Box, margin: Margin) -> Box:
    """The box with its margin.

    Args:
      box: absolute, not empty.
      margin: voxels before and after, for each axis (zyx).
    """
    return Box(
        tuple(s - before for s, (before, _) in zip(box.start, margin, strict=True)),  # type: ignore[arg-type]
        tuple(s + after for s, (_, after) in zip(box.stop, margin, strict=True)),  # type: ignore[arg-type]
    )


def _split(margin: Margin, box: Box, bounds: Box) -> tuple[Box, list[tuple[int, int]]]:
    """The part of the grown box inside the bounds, and the voxels missing on either side of it."""
    wanted = grown(box, margin)
    there = wanted.intersect(bounds)
    before = [t - w for t, w in zip(there.start, wanted.start, strict=True)]
    after = [w - t for w, t in zip(wanted.stop, there.stop, strict=True)]
    return there, list(zip(before, after, strict=True))


def normalise(image: np.ndarray, mean: float, stddev: float, spec: str) -> np.ndarray:
    """The image as networks see it: (image − mean) / stddev, float32.

    Args:
      image: (z, y, x), any real dtype.
      mean: grey value that becomes 0.
      stddev: grey values that become 1.
      spec: where the image came from, for messages.

    Raises:
      VolumeError: NaN or infinite voxels (says how many and where the first is).
    """
    if np.issubdtype(image.dtype, np.floating):
        bad = ~np.isfinite(image)
        if bad.any():
            z, y, x = np.argwhere(bad)[0]
            raise VolumeError(
                f"image '{spec}' has {np.count_nonzero(bad)} voxels that are NaN or infinite, the first at "
                f"z {z}, y {y}, x {x} of the box read; replace them"
            )
    return (image.astype(np.float32) - np.float32(mean)) / np.float32(stddev)
