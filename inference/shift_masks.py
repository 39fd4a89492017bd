"""Positions that are refused because sections are shifted against each other around them.

An alignment program reports, for every place, how far a section is shifted in x and in y against the next;
large shifts mark folds, tears and jumps, where floods run from one neurite into another. A field of view is
not centred where a shift in the box around it reaches a threshold.

The shifts are a volume of two channels. Along z it has the sections of the image; along y and x one of its
voxels covers `scale` voxels of the image. Either component counts, by its magnitude. Where the volume ends,
and where it holds NaN, no shift is known and none counts.

Source: google/ffn, `MovementRestrictor` in ffn/inference/movement.py. It looks only at the shifts inside the
subvolume and counts coarse voxels from its corner; here the surroundings count too and coarse voxels have
absolute places, so that the result does not depend on how a region is cut. With the field of view as the box,
and subvolumes that start at multiples of the scale, the positions that a flood can reach are the same.
"""

from __future__ import annotations

import numpy as np

from configs import ConfigError, ConfigView, box_bounds, volume_spec
from inference.masks import open_stated
from volumes import Box, Volume, VolumeError
from volumes.box import Zyx

_UNSTATED_NM = (1.0, 1.0, 1.0)  # nothing here depends on the size of a shift's voxel


def shift_mask(section: ConfigView, box: Box, fov_zyx: Zyx) -> np.ndarray:
    """Where a `ShiftMask` refuses to centre a field of view.

    Args:
      section: a view of `ShiftMask`, as in `ReconstructionConfig.masks.shifts`.
      box: absolute voxels of the raw volume.
      fov_zyx: field of view in voxels of the raw volume, for a section without `fov`.

    Returns:
      bool (z, y, x) of the box, True = refused.

    Raises:
      VolumeError: the shifts cannot be read.
    """
    fov = default_fov(fov_zyx) if section.fov is None else Box(*box_bounds(section.fov))
    return read_shift_mask(section.volume.spec, box, section.scale, section.threshold, fov)


def request_shift_mask(request: ConfigView, box: Box, fov_zyx: Zyx) -> np.ndarray | None:
    """Where a google/ffn request refuses to centre a field of view.

    Args:
      request: a view of `InferenceRequest`.
      box: voxels from the corner of the image's file.
      fov_zyx: field of view, for a request without `shift_mask_fov`.

    Returns:
      bool (z, y, x) of the box, True = refused; None for a request without `shift_mask`.

    Raises:
      VolumeError: the shifts cannot be read.
      ConfigError: the volume is given in a form that is not public.
    """
    if request.shift_mask is None:
        return None
    fov = default_fov(fov_zyx) if request.shift_mask_fov is None else Box(*box_bounds(request.shift_mask_fov))
    spec, scale = volume_spec(request.shift_mask), request.shift_mask_scale
    return read_shift_mask(spec, box, scale, request.shift_mask_threshold, fov, from_corner=True)


def check_shift_mask(section: ConfigView, image: Volume) -> None:
    """Opens the shifts of a `ShiftMask` before any work.

    Args:
      section: a `ShiftMask` of the config.
      image: the image that is masked.

    Raises:
      VolumeError: they cannot be opened, have fewer than two channels, or share no voxel with the image.
    """
    scale = section.scale
    place = _coarse(image.bounds, scale)
    for channel in (0, 1):
        with open_stated(section.volume.spec, channel, _UNSTATED_NM) as shifts:
            if shifts.bounds.intersect(place).is_empty:
                raise VolumeError(
                    f"shifts '{shifts.spec}' ({shifts.bounds}) share no voxel with image '{image.spec}' "
                    f"({place} at scale {scale}); correct the scale or the offset they state"
                )


def check_request_shift_mask(request: ConfigView) -> None:
    """Opens the shifts of a google/ffn request, if it names any, before any work.

    Raises:
      VolumeError: they cannot be opened or have fewer than two channels.
      ConfigError: a threshold of 0, which every shift reaches, or a volume in a form that is not public.
    """
    if request.shift_mask is None:
        return
    if request.shift_mask_threshold < 1:
        raise ConfigError(
            "inference request: shift_mask_threshold is 0, which every shift reaches; give at least 1 voxel"
        )
    for channel in (0, 1):
        open_stated(volume_spec(request.shift_mask), channel, _UNSTATED_NM).close()


def default_fov(fov_zyx: Zyx) -> Box:
    """The field of view as a box relative to its centre (z, y, x)."""
    z, y, x = (-(extent // 2) for extent in fov_zyx)
    return Box.from_shape(fov_zyx, (z, y, x))


def read_shift_mask(
    spec: str, box: Box, scale: int, threshold: float, fov: Box, *, from_corner: bool = False
) -> np.ndarray:
    """Reads the shifts around a box and finds the refused positions in it.

    Args:
      spec: volume of two channels, as `volumes.open_volume` takes it.
      box: voxels of the image.
      scale, threshold, fov: see `refused_positions`.
      from_corner: the box counts from the corners of the files, whatever offset the shifts state.

    Returns:
      bool (z, y, x) of the box, True = refused.

    Raises:
      VolumeError: the shifts cannot be read or have fewer than two channels.
    """
    last = (edge - 1 for edge in fov.stop)
    reach = Box(box.shift(fov.start).start, box.shift(last).stop)
    wanted = _coarse(reach, scale)
    read = []
    for channel in (0, 1):
        with open_stated(spec, channel, _UNSTATED_NM) as volume:
            offset = volume.bounds.start if from_corner else (0, 0, 0)
            there = wanted.shift(offset).intersect(volume.bounds)
            if there.is_empty:
                return np.zeros(box.shape, bool)
            read.append(volume.read(there))
    z, y, x = (low - off for low, off in zip(there.start, offset, strict=True))
    return refused_positions(np.stack(read), (z, y, x), box, scale=scale, threshold=threshold, fov=fov)


def refused_positions(
    shifts: np.ndarray, origin: Zyx, box: Box, *, scale: int, threshold: float, fov: Box
) -> np.ndarray:
    """The positions of a box around which a shift reaches the threshold.

    Args:
      shifts: (2, z, y, x), any real dtype, in voxels of the image; y and x are coarser by `scale`.
      origin: coordinates of the first shift (z, y, x), coarse along y and x.
      box: positions, voxels of the image.
      scale: voxels of the image along one coarse voxel.
      threshold: a shift of at least this magnitude, along x or y, counts.
      fov: the box around a position, relative to it; a coarse voxel that it touches counts.

    Returns:
      bool (z, y, x) of the box, True = refused. Linear in the voxels of shifts and box.
    """
    # Not by np.abs, which overflows at the lowest whole number.
    large: np.ndarray = np.any((shifts >= threshold) | (shifts <= -threshold), axis=0, keepdims=True)[0]
    for axis, coarse in enumerate((1, scale, scale)):
        positions = np.arange(box.start[axis], box.stop[axis])
        low = (positions + fov.start[axis]) // coarse - origin[axis]
        stop = (positions + fov.stop[axis] - 1) // coarse - origin[axis] + 1
        large = _any_between(large, low, stop, axis)
    return large


def _any_between(mask: np.ndarray, low: np.ndarray, stop: np.ndarray, axis: int) -> np.ndarray:
    """Along one axis: for each pair, whether any entry from low to stop, the end excluded, is True.

    Pairs may leave the array, which is False around. Equal pairs, of which a coarse grid has many, are
    computed once.
    """
    length = mask.shape[axis]
    pairs, which = np.unique(np.clip([low, stop], 0, length), axis=1, return_inverse=True)
    counts = np.zeros((*mask.shape[:axis], length + 1, *mask.shape[axis + 1 :]), np.int32)
    behind = tuple(slice(1, None) if i == axis else slice(None) for i in range(mask.ndim))
    np.cumsum(mask, axis=axis, dtype=np.int32, out=counts[behind])
    found = np.take(counts, pairs[1], axis) > np.take(counts, pairs[0], axis)
    return np.take(found, which.ravel(), axis)


def _coarse(box: Box, scale: int) -> Box:
    """The coarse voxels that a box of the image touches; z keeps its scale."""
    (z, y, x), (z_end, y_end, x_end) = box.start, box.stop
    start = (z, y // scale, x // scale)
    return Box(start, (z_end, -(-y_end // scale), -(-x_end // scale)))
