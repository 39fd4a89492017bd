"""Arrays in memory (or memory-mapped) as volumes: the array is used in place, not copied."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from volumes.base import Volume, require_voxels, voxel_size_of
from volumes.box import Box, Zyx
from volumes.errors import VolumeError


class ArrayVolume(Volume):
    """A volume over an array (zyx); writes change the array itself.

    Args:
        array: three axes, z, y, x.
        voxel_size_nm: zyx; an array carries none, so that it counts as 1 nm where none is given.
        start: absolute coordinates (zyx) of the first voxel.
        writable: whether `write` is allowed.

    Raises:
        VolumeError: not three axes, not numbers, or a read-only array to be written.
    """

    def __init__(
        self,
        array: np.ndarray,
        *,
        voxel_size_nm: Iterable[float] | None = None,
        start: Zyx = (0, 0, 0),
        writable: bool = False,
    ) -> None:
        spec = f"array of {array.dtype}"
        require_voxels(spec, array.shape, array.dtype)
        if writable and not array.flags.writeable:
            raise VolumeError(f"the {spec} is read-only; give a copy of it to write to")
        super().__init__(
            spec,
            bounds=Box.from_shape(array.shape, start),
            dtype=array.dtype,
            voxel_size_nm=voxel_size_of(spec, voxel_size_nm, (1.0, 1.0, 1.0)),
            chunk_shape=(1, 1, 1),
            writable=writable,
        )
        self._array = array

    def _load(self, box: Box) -> np.ndarray:
        return np.array(self._array[box.slices(self.bounds.start)])

    def _store(self, box: Box, voxels: np.ndarray) -> None:
        self._array[box.slices(self.bounds.start)] = voxels
