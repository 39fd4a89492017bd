"""`Box`: a place in a volume, in whole voxels.

Axis order is z, y, x and the upper end is not part of the box (half open), everywhere in this
repository. A box never speaks nanometres; `Volume.voxel_size_nm` turns one into the other.

    >>> core = Box((0, 0, 0), (128, 64, 64))
    >>> str(core.grow((0, 8, 8)).intersect(Box.from_shape((100, 100, 100))))
    'z 0:100, y 0:72, x 0:72'
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from volumes.errors import VolumeError

Zyx = tuple[int, int, int]


@dataclass(frozen=True)
class Box:
    """A half-open box of voxels: `start` belongs to it, `stop` does not.

    Args:
        start: the lowest corner, three whole numbers (zyx); may be negative.
        stop: one past the highest corner, three whole numbers (zyx), none below `start`.

    Raises:
        VolumeError: not three whole numbers, or a stop below its start.
    """

    start: Zyx
    stop: Zyx

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", _zyx(self.start, "start"))
        object.__setattr__(self, "stop", _zyx(self.stop, "stop"))
        if any(high < low for low, high in zip(self.start, self.stop, strict=True)):
            raise VolumeError(f"box {self} ends before it starts; give start ≤ stop on every axis (zyx)")

    @classmethod
    def from_shape(cls, shape: Iterable[int], start: Iterable[int] = (0, 0, 0)) -> Box:
        """The box of this shape (zyx, voxels) whose lowest corner is `start`."""
        corner = _zyx(start, "start")
        return cls(corner, _add(corner, _zyx(shape, "shape")))

    @property
    def shape(self) -> Zyx:
        """Voxels along z, y and x."""
        return _subtract(self.stop, self.start)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    @property
    def is_empty(self) -> bool:
        """Whether the box holds no voxel."""
        return 0 in self.shape

    def slices(self, origin: Iterable[int] = (0, 0, 0)) -> tuple[slice, slice, slice]:
        """The zyx slices of this box in an array whose first voxel lies at `origin`.

        Raises:
            VolumeError: the box starts below the origin, where a slice would count from the array's end.
        """
        local = self.shift(_negative(_zyx(origin, "origin")))
        if min(local.start) < 0:
            raise VolumeError(
                f"box {self} starts below the array's origin {_zyx(origin, 'origin')}; intersect first"
            )
        z, y, x = (slice(low, high) for low, high in zip(local.start, local.stop, strict=True))
        return z, y, x

    def intersect(self, other: Box) -> Box:
        """What both boxes hold; an empty box when they share nothing."""
        start = _each(max, self.start, other.start)
        return Box(start, _each(max, start, _each(min, self.stop, other.stop)))

    def contains(self, point: Iterable[int]) -> bool:
        """Whether the voxel at `point` (zyx) belongs to the box."""
        position = _zyx(point, "point")
        return all(low <= p < high for low, p, high in zip(self.start, position, self.stop, strict=True))

    def contains_box(self, other: Box) -> bool:
        """Whether every voxel of `other` belongs to this box; true of an empty one."""
        return other.is_empty or self.intersect(other) == other

    def grow(self, margin: int | Iterable[int]) -> Box:
        """The box with `margin` voxels (one number, or zyx) more on either side of each axis.

        A negative margin shrinks; an axis that would turn inside out becomes empty.
        """
        by = (margin,) * 3 if isinstance(margin, int) else margin
        width = _zyx(by, "margin")
        start = _subtract(self.start, width)
        return Box(start, _each(max, start, _add(self.stop, width)))

    def shift(self, offset: Iterable[int]) -> Box:
        """The box moved by `offset` voxels (zyx)."""
        by = _zyx(offset, "offset")
        return Box(_add(self.start, by), _add(self.stop, by))

    def __str__(self) -> str:
        ends = zip("zyx", self.start, self.stop, strict=True)
        return ", ".join(f"{axis} {low}:{high}" for axis, low, high in ends)


def _zyx(values: Iterable[int], name: str) -> Zyx:
    try:
        z, y, x = (operator.index(value) for value in values)
    except (TypeError, ValueError) as error:
        raise VolumeError(
            f"{name} {values!r} of a box is not three whole numbers; give (z, y, x) in voxels"
        ) from error
    return z, y, x


def _each(function: Callable[[int, int], int], first: Zyx, second: Zyx) -> Zyx:
    z, y, x = map(function, first, second)
    return z, y, x


def _add(first: Zyx, second: Zyx) -> Zyx:
    return _each(operator.add, first, second)


def _subtract(first: Zyx, second: Zyx) -> Zyx:
    return _each(operator.sub, first, second)


def _negative(values: Zyx) -> Zyx:
    return _subtract((0, 0, 0), values)
