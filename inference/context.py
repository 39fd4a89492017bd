"""The image a subvolume is flooded in, with the context its field of view needs at the faces.

A field of view never leaves the image it floods in, so that objects stop short of its faces. With a
margin of half a field of view they reach the faces of the box that was asked for: real voxels where
the volume goes on, mirrored ones where it ends.
"""

from __future__ import annotations

import numpy as np

from volumes import Box, Volume, VolumeError


def read_with_margin(volume: Volume, box: Box, margin_zyx: tuple[int, int, int]) -> np.ndarray:
    """The voxels of a box grown by a margin, mirrored beyond the volume's bounds.

    Args:
      volume: the image.
      box: inside the volume's bounds.
      margin_zyx: voxels added on either side of each axis.

    Returns:
      Array of shape box.shape + 2 · margin (z, y, x), the volume's dtype.

    Raises:
      VolumeError: the box leaves the volume, or is too small to be mirrored that far.
    """
    if not volume.bounds.contains_box(box):
        raise VolumeError(
            f"box {box} leaves volume '{volume.spec}' ({volume.bounds}); shrink it to lie inside"
        )
    wanted = box.grow(margin_zyx)
    there = wanted.intersect(volume.bounds)
    before = [t - w for t, w in zip(there.start, wanted.start, strict=True)]
    after = [w - t for w, t in zip(wanted.stop, there.stop, strict=True)]
    if any(max(b, a) >= n for b, a, n in zip(before, after, there.shape, strict=True)):
        raise VolumeError(
            f"volume '{volume.spec}' ({volume.bounds}) is too small to be mirrored by {margin_zyx} (z, y, x) "
            "voxels; turn edge_context off or take a network with a smaller field of view"
        )
    return np.pad(volume.read(there), list(zip(before, after, strict=True)), mode="reflect")


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
                f"z {z}, y {y}, x {x} of the box read; replace them or mask them out"
            )
    return (image.astype(np.float32) - np.float32(mean)) / np.float32(stddev)
