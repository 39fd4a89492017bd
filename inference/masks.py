"""Voxels that are kept out of the flood: `MaskConfig`s over a box as one bool array, True = kept out.

A mask comes from a volume of its own, from the image, or from a condition on positions
(`inference.expressions`). Of a volume or image, each of its `channels` entries selects voxels, by value or
range, possibly inverted; the entries are united, then the whole is inverted if the mask says so; several
masks are united in the end. Masks lie on the grid of the raw volume; `downsample_mask` makes those of coarser
passes.

Beyond the end of its volume a mask reads the value 0, to which conditions and inversions then apply.
Positions that lie beyond the image itself, in the mirrored margin of a box, take the mirrored mask
(`inference.surroundings`).

`from_corner`: the box, and with it x, y and z, counts voxels from the corner of every file, whatever offset
it states. google/ffn's requests do; a `ReconstructionConfig` speaks absolute voxels.

Source: google/ffn, `build_mask` in ffn/inference/storage.py, whose rules these are (the value 0 beyond a
volume's end included; it has no mirrored margins and wants four axes, where we take three as channel 0).
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from configs import ConfigError, ConfigView, volume_spec
from inference.expressions import evaluate_expression, parse_expression
from volumes import Box, Volume, VolumeError
from volumes.opening import open_channel

_SLAB = 64  # sections of a box that `box_excluded` looks at together


@dataclass(frozen=True)
class _Source:
    """One mask, ready to be read.

    Attributes:
      config: the MaskConfig.
      expression: of a mask from positions, else None.
      volumes: by channel, of a mask from a volume; empty for the others.
    """

    config: ConfigView
    expression: ast.expr | None
    volumes: Mapping[int, Volume]


def build_mask(
    masks: Sequence[ConfigView],
    box: Box,
    image: np.ndarray | None,
    voxel_size_nm: Iterable[float],
    *,
    from_corner: bool = False,
) -> np.ndarray | None:
    """The union of masks over a box.

    Args:
      masks: views of `MaskConfig`.
      box: absolute voxels of the raw volume (see the module for `from_corner`).
      image: grey values of the box before normalisation (z, y, x); None unless `needs_image`.
      voxel_size_nm: of the raw volume (z, y, x), for mask volumes that state none.
      from_corner: see the module.

    Returns:
      bool (z, y, x), True = kept out; None without masks.

    Raises:
      VolumeError: a mask volume that cannot be read, or a channel it has not.
      ConfigError: an expression that cannot be read, a channel of the image other than 0, or a mask from the
        image where there is none.
    """
    if not masks:
        return None
    assert image is None or image.shape == box.shape
    with _opened(masks, tuple(voxel_size_nm)) as sources:
        return _united(sources, box, image, from_corner)


def check_masks(masks: Sequence[ConfigView], image: Volume | None, *, from_corner: bool = False) -> None:
    """Opens every mask volume and reads every expression, before any work.

    Args:
      masks: views of `MaskConfig`.
      image: the raw volume; None leaves out the comparison with its grid.
      from_corner: see the module; mask volumes and image then share no stated grid that could be compared.

    Raises:
      VolumeError: a mask volume that cannot be opened, a channel it has not, or, unless `from_corner`, one
        that shares no voxel with the image or has voxels of another size.
      ConfigError: an expression that cannot be read, or a channel of the image other than 0.
    """
    size_nm = (1.0, 1.0, 1.0) if image is None else image.voxel_size_nm
    with _opened(masks, size_nm) as sources:
        for source in sources:
            for volume in source.volumes.values():
                if image is not None and not from_corner:
                    _require_same_grid(volume, image)


def needs_image(masks: Sequence[ConfigView]) -> bool:
    """Whether one of the masks is computed from the image."""
    return any(config.image is not None for config in masks)


def box_excluded(masks: Sequence[ConfigView], box: Box, image: Volume, *, from_corner: bool = False) -> bool:
    """Whether the masks keep out every voxel of a box, so that there is nothing to do in it.

    Slabs of the box are read one after the other, up to the first with a free voxel.

    Args:
      masks: views of `MaskConfig`.
      box: inside the image's bounds; with `from_corner`, counted from its corner.
      image: the raw volume; read only for masks computed from it.
      from_corner: see the module.

    Returns:
      True when no voxel is free; False without masks.

    Raises:
      VolumeError, ConfigError: as for `build_mask`.
    """
    if not masks:
        return False
    shift = image.bounds.start if from_corner else (0, 0, 0)
    with _opened(masks, image.voxel_size_nm) as sources:
        for low in range(box.start[0], box.stop[0], _SLAB):
            start, stop = (low, *box.start[1:]), (min(low + _SLAB, box.stop[0]), *box.stop[1:])
            slab = Box(start, stop)
            seen = image.read(slab.shift(shift)) if needs_image(masks) else None
            if not _united(sources, slab, seen, from_corner).all():
                return False
    return True


def downsample_mask(mask: np.ndarray, factors: Iterable[int]) -> np.ndarray:
    """A mask on a coarser grid: a coarse voxel is kept out when any of its fine voxels is.

    Blocks begin at the first voxel and end short at the far end, as in `volumes.resample`.

    Args:
      mask: bool (z, y, x).
      factors: voxels of a block along z, y, x, each at least 1.

    Returns:
      bool, of shape ceil(shape / factors).
    """
    for axis, factor in enumerate(factors):
        if factor > 1:
            mask = np.logical_or.reduceat(mask, np.arange(0, mask.shape[axis], factor), axis=axis)
    return mask


def open_stated(spec: str, channel: int, otherwise_nm: Iterable[float]) -> Volume:
    """One channel of a volume, with the voxel size it states, or another where it states none.

    Args:
      spec: as `volumes.open_volume` takes it.
      channel: counted from 0.
      otherwise_nm: (z, y, x).

    Raises:
      VolumeError: it cannot be opened, or has no such channel.
    """
    try:
        return open_channel(spec, channel)
    except VolumeError:
        # Whatever else is wrong with it shows again.
        return open_channel(spec, channel, voxel_size_nm=otherwise_nm)


def read_zero_beyond(volume: Volume, box: Box) -> np.ndarray:
    """The voxels of a box (z, y, x), 0 where it leaves the volume's bounds.

    Args:
      volume: any.
      box: absolute; may leave the volume or lie outside.
    """
    there = box.intersect(volume.bounds)
    if there == box:
        return volume.read(box)
    voxels = np.zeros(box.shape, volume.dtype)
    if not there.is_empty:
        voxels[there.slices(box.start)] = volume.read(there)
    return voxels


def _require_same_grid(volume: Volume, image: Volume) -> None:
    if volume.bounds.intersect(image.bounds).is_empty:
        raise VolumeError(
            f"mask '{volume.spec}' ({volume.bounds}) shares no voxel with image '{image.spec}' "
            f"({image.bounds}); give a mask of the same place, or correct the offset it states"
        )
    if not np.allclose(volume.voxel_size_nm, image.voxel_size_nm, rtol=1e-3):
        raise VolumeError(
            f"mask '{volume.spec}' has voxels of {volume.voxel_size_nm} nm but image '{image.spec}' has "
            f"{image.voxel_size_nm} nm (z, y, x); resample the mask"
        )


@contextmanager
def _opened(masks: Sequence[ConfigView], voxel_size_nm: tuple[float, ...]) -> Iterator[list[_Source]]:
    with ExitStack() as stack:
        yield [_source(config, voxel_size_nm, stack) for config in masks]


def _source(config: ConfigView, voxel_size_nm: tuple[float, ...], stack: ExitStack) -> _Source:
    if config.coordinate_expression is not None:
        return _Source(config, parse_expression(config.coordinate_expression.expression), {})
    if config.image is not None:
        for channel in config.image.channels:
            if channel.channel != 0:
                raise ConfigError(
                    f"an image mask names channel {channel.channel}; the image has channel 0 alone"
                )
        return _Source(config, None, {})
    spec = volume_spec(config.volume.mask)
    numbers = sorted({channel.channel for channel in config.volume.channels})
    volumes = {number: stack.enter_context(open_stated(spec, number, voxel_size_nm)) for number in numbers}
    return _Source(config, None, volumes)


def _united(sources: Sequence[_Source], box: Box, image: np.ndarray | None, from_corner: bool) -> np.ndarray:
    mask = np.zeros(box.shape, bool)
    for source in sources:
        mask |= _mask_of(source, box, image, from_corner)
    return mask


def _mask_of(source: _Source, box: Box, image: np.ndarray | None, from_corner: bool) -> np.ndarray:
    config = source.config
    if source.expression is not None:
        mask = evaluate_expression(source.expression, box)
    elif config.image is not None:
        if image is None:
            raise ConfigError(
                "a mask computed from the image cannot be used where there is no image; "
                "give a mask volume or a coordinate expression"
            )
        mask = _selected(config.image.channels, image)
    else:
        mask = np.zeros(box.shape, bool)
        for number, volume in source.volumes.items():
            where = box.shift(volume.bounds.start) if from_corner else box
            channels = [channel for channel in config.volume.channels if channel.channel == number]
            mask |= _selected(channels, read_zero_beyond(volume, where))
    return np.logical_not(mask, out=mask) if config.invert else mask


def _selected(channels: Iterable[ConfigView], voxels: np.ndarray) -> np.ndarray:
    """The voxels that any of these conditions, all on the same channel, selects."""
    mask = np.zeros(voxels.shape, bool)
    for channel in channels:
        found = _equal(channel, voxels) if channel.values else _in_range(channel, voxels)
        mask |= ~found if channel.invert else found
    return mask


def _equal(channel: ConfigView, voxels: np.ndarray) -> np.ndarray:
    """Exact for whole numbers of any size: a value the dtype cannot hold is the value of no voxel."""
    if voxels.dtype.kind in "iu":
        largest = np.iinfo(voxels.dtype).max
        values = np.array([value for value in channel.values if value <= largest], voxels.dtype)
        return np.isin(voxels, values)
    return np.isin(voxels, np.array(channel.values, np.float64))


def _in_range(channel: ConfigView, voxels: np.ndarray) -> np.ndarray:
    low, high = channel.min_value, channel.max_value
    if voxels.dtype.kind in "iu":
        # Whole bounds, so that large IDs are not compared as floats.
        low, high = math.ceil(low), math.floor(high)
    return (voxels >= low) & (voxels <= high)
