"""What every volume is, whatever its format: voxels (zyx) at absolute coordinates, read and written by box.

A format's module makes a subclass that loads and stores boxes; the checks that a box lies inside,
that an array fits it and that no value would be lost are made here, once.

Conventions of all formats:
- A voxel nobody has written reads as 0; of an image in missing chunk files or sections, `precomputed` and
  `stacks` make an error.
- What several processes write at the same time must not share a chunk (`chunk_shape`, counted from
  `bounds.start`): a chunk written in part is read, changed and written back.
- A read returns a new, C-contiguous array in the machine's byte order, which the caller may change.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from volumes.box import Box, Zyx
from volumes.errors import NoVoxelSizeError, VolumeError, mended

# Voxels of these are taken for object IDs where nothing else is said.
LABEL_DTYPES = (np.uint32, np.uint64)
SizeNm = tuple[float, float, float]
_WHOLE = 0.01


class Volume(ABC):
    """Voxels of one dtype at absolute coordinates; made by `open_volume` and `create_volume`.

    Attributes:
        spec: the SPEC it was opened by, for messages.
        bounds: where there are voxels (zyx, absolute: an offset in the file is honoured).
        dtype: of the voxels, in the machine's byte order.
        voxel_size_nm: edge lengths of a voxel, zyx, nanometres.
        chunk_shape: voxels (zyx) that are stored as one; separate writers must not share a chunk.
        writable: whether `write` is allowed.
    """

    def __init__(
        self,
        spec: str,
        *,
        bounds: Box,
        dtype: npt.DTypeLike,
        voxel_size_nm: SizeNm,
        chunk_shape: Sequence[int],
        writable: bool,
    ) -> None:
        self.spec = spec
        self.bounds = bounds
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self.voxel_size_nm = voxel_size_nm
        z, y, x = map(int, chunk_shape)
        self.chunk_shape: Zyx = (z, y, x)
        self.writable = writable

    @property
    def shape(self) -> Zyx:
        """Voxels along z, y and x."""
        return self.bounds.shape

    def read(self, box: Box | None = None) -> np.ndarray:
        """The voxels of a box.

        Args:
            box: absolute coordinates, inside `bounds`; None reads everything.

        Returns:
            A new array of `box.shape` (zyx) and `dtype`.

        Raises:
            VolumeError: the box is empty or leaves the bounds, or what is stored is damaged.
        """
        box = self.bounds if box is None else box
        self._require_inside(box)
        return np.ascontiguousarray(self._load(box), self.dtype)

    def write(self, box: Box, voxels: np.ndarray) -> None:
        """Replace the voxels of a box.

        Args:
            box: absolute coordinates, inside `bounds`.
            voxels: an array of `box.shape` (zyx), of a dtype that `dtype` holds without loss.

        Raises:
            VolumeError: not opened for writing, an empty box or one that leaves the bounds, another
                shape, a dtype that would lose values, or a disk that cannot be written.
        """
        if not self.writable:
            raise VolumeError(f"volume '{self.spec}' is open for reading only; open it with mode='r+'")
        self._require_inside(box)
        voxels = np.asarray(voxels)
        if voxels.shape != box.shape:
            raise VolumeError(
                f"an array of shape {voxels.shape} does not fill box {box}; give shape {box.shape}"
            )
        if not np.can_cast(voxels.dtype, self.dtype, "safe"):
            raise VolumeError(
                f"{voxels.dtype} values do not all fit volume '{self.spec}' of {self.dtype}; "
                f"check their range and convert them with .astype('{self.dtype}')"
            )
        self._store(box, np.ascontiguousarray(voxels, self.dtype))

    def close(self) -> None:  # noqa: B027 (most formats hold nothing open)
        """Release files; everything written is then on its way to the disk. May be called twice."""

    def __enter__(self) -> Volume:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Volume '{self.spec}' {self.bounds} {self.dtype} {self.voxel_size_nm} nm>"

    @abstractmethod
    def _load(self, box: Box) -> np.ndarray:
        """A new array of a box inside the bounds, in any byte order and layout, shared with nobody."""

    def _store(self, box: Box, voxels: np.ndarray) -> None:
        """Write a box inside the bounds; `voxels` is contiguous and has our dtype. Not needed where no volume
        of the kind is ever writable, since `write` refuses these."""
        raise AssertionError(f"{type(self).__name__} is writable and does not say how")

    def _require_inside(self, box: Box) -> None:
        if box.is_empty:
            raise VolumeError(
                f"box {box} holds no voxels; give one of at least one voxel inside {self.bounds}"
            )
        if not self.bounds.contains_box(box):
            raise VolumeError(
                f"box {box} leaves volume '{self.spec}' ({self.bounds}); shrink it to those bounds"
            )


@dataclass(frozen=True)
class NewVolume:
    """What a volume to be made shall be; checked on creation.

    Args:
        spec: the SPEC, for messages.
        bounds: where its voxels lie (zyx, absolute), not empty.
        dtype: of the voxels.
        voxel_size_nm: zyx, positive.
        chunk_shape: zyx, positive; formats without chunks pass over it.
        overwrite: whether an existing volume of the same SPEC is replaced.
        labels: whether voxels are object IDs; None takes uint32 and uint64 for labels.

    Raises:
        VolumeError: one of them is not so.
    """

    spec: str
    bounds: Box
    dtype: np.dtype
    voxel_size_nm: SizeNm
    chunk_shape: Zyx = (64, 64, 64)
    overwrite: bool = False
    labels: bool | None = None

    def __post_init__(self) -> None:
        with mended(f"dtype {self.dtype!r} of '{self.spec}'", "name one such as 'uint8'", TypeError):
            object.__setattr__(self, "dtype", np.dtype(self.dtype))
        object.__setattr__(self, "voxel_size_nm", checked_voxel_size(self.voxel_size_nm, self.spec))
        object.__setattr__(self, "chunk_shape", Box.from_shape(self.chunk_shape).shape)
        if self.bounds.is_empty:
            raise VolumeError(
                f"cannot make '{self.spec}' of {self.bounds}: it holds no voxels; give every axis at least 1"
            )
        if min(self.chunk_shape) < 1:
            raise VolumeError(
                f"chunk shape {self.chunk_shape} of '{self.spec}' is not positive; give voxels (z, y, x)"
            )

    @property
    def holds_labels(self) -> bool:
        """Whether voxels are object IDs."""
        return self.dtype in LABEL_DTYPES if self.labels is None else self.labels

    def require_dtype(self, *names: str) -> None:
        """Refuse a dtype that is not one of `names`, the dtypes the format can hold."""
        if self.dtype.name not in names:
            raise VolumeError(f"'{self.spec}' cannot hold {self.dtype}; its format holds {', '.join(names)}")

    def refuse_existing(self, what: str) -> VolumeError:
        """The error for an output that is already there."""
        return VolumeError(
            f"{what} already exists; name another output or allow it to be replaced (overwrite=True)"
        )


def checked_voxel_size(values: Iterable[Any], spec: str) -> SizeNm:
    """A voxel size as three floats (zyx, nm).

    Args:
        values: zyx, nm, of anything that `float` takes.
        spec: the SPEC, for messages.

    Raises:
        VolumeError: not three finite numbers above 0.
    """
    try:
        z, y, x = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise VolumeError(
            f"voxel size {np.asarray(values).tolist()} of '{spec}' is not three numbers; give nm (z, y, x)"
        ) from error
    if not all(math.isfinite(value) and value > 0 for value in (z, y, x)):
        raise VolumeError(f"voxel size {(z, y, x)} of '{spec}' is not positive; give nm (z, y, x)")
    return z, y, x


def voxel_size_of(spec: str, given: Iterable[float] | None, stored: Iterable[Any] | None) -> SizeNm:
    """The voxel size the user gave, else the stored one (zyx, nm).

    Args:
        spec: the SPEC, for messages.
        given: zyx, nm, by the user; None: by nobody.
        stored: zyx, nm, as the volume states it; None: it does not.

    Raises:
        NoVoxelSizeError: neither is there. A guess would make every later figure in nanometres wrong without
            a word.
        VolumeError: it is not three positive numbers.
    """
    size = stored if given is None else given
    if size is None:
        raise NoVoxelSizeError(
            f"volume '{spec}' does not say its voxel size; give it in nm: voxel_size_nm=(z, y, x)"
        )
    return checked_voxel_size(size, spec)


def start_of(
    spec: str, offset_nm: Iterable[Any] | None, voxel_size_nm: SizeNm, stored_nm: Iterable[Any] | None
) -> Zyx:
    """The first voxel (zyx) of a volume that lies at `offset_nm`; (0, 0, 0) for None.

    Args:
        spec: the SPEC, for messages.
        offset_nm: zyx, as the volume states it.
        voxel_size_nm: zyx, of the volume.
        stored_nm: the voxel size stored beside the offset, or None. Where there is one it counts, as the two
            were written together: the first voxel does not move when a user corrects the size.

    Raises:
        VolumeError: the offset is no whole number of voxels.
    """
    if offset_nm is None:
        return 0, 0, 0
    size_nm = voxel_size_of(spec, stored_nm, voxel_size_nm)
    try:
        exact = [float(offset) / size for offset, size in zip(offset_nm, size_nm, strict=True)]
        if not all(abs(value - round(value)) <= _WHOLE for value in exact):
            raise ValueError("between two voxels")
    except (TypeError, ValueError, OverflowError) as error:
        raise VolumeError(
            f"offset {np.asarray(offset_nm).tolist()} nm of '{spec}' is no whole number of voxels of "
            f"{size_nm} nm; correct the stored offset or voxel size"
        ) from error
    z, y, x = map(round, exact)
    return z, y, x


def require_voxels(spec: str, shape: Sequence[int], dtype: np.dtype) -> None:
    """Refuse what is no volume: other than three axes, no voxels, or voxels that are not numbers.

    Args:
        spec: the SPEC, for messages.
        shape: entries along each axis.
        dtype: of the voxels.

    Raises:
        VolumeError: says which of the three it is.
    """
    if len(shape) == 2:
        raise VolumeError(f"'{spec}' is 2-D, shape {tuple(shape)}; a volume has three axes (z, y, x)")
    if len(shape) != 3:
        raise VolumeError(
            f"'{spec}' has {len(shape)} axes, shape {tuple(shape)}; a volume has three (z, y, x)"
        )
    if 0 in shape:
        raise VolumeError(f"'{spec}' holds no voxels, shape {tuple(shape)}; write it again")
    if dtype.kind not in "biuf":
        raise VolumeError(f"'{spec}' holds {dtype}; a volume holds whole numbers or floats")


def require_mode(mode: str) -> bool:
    """Whether a mode allows writing: 'r' reads, 'r+' reads and writes.

    Raises:
        VolumeError: another mode.
    """
    if mode not in ("r", "r+"):
        raise VolumeError(f"unknown mode {mode!r}; use 'r' to read or 'r+' to read and write")
    return mode == "r+"
