"""The plan: into which subvolumes a region is cut, and how large they may be.

Along each axis a region is cut into as few boxes as the largest size allows, and these are made equal to
within a voxel, so that none is a sliver. Neighbours overlap. Each cut lies in the middle of an overlap, and
the voxels between two cuts are the core of a box: the part of its result that is written. Cores are disjoint
and tile the region; boxes are what is segmented, so that what lies around a core is known there too.

    region   |--------------------------------------|
    boxes    [ core 0         ....]
                          [....  core 1       ....]     .... overlap, half of it inside the core
                                            [....  core 2 ]

Nothing depends on where the region lies: a region moved by a vector is cut in the same places. Which of the
subvolumes are worked on at all (several boxes, seeds) is for the caller to filter.

Inputs and outputs: boxes and extents in voxels, zyx.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from configs.errors import ConfigError
from volumes.box import Box, Zyx
from volumes.errors import VolumeError

_GRAIN = 16

# For each axis (zyx) whether the lower and the upper face of a box are cuts: the region goes on behind them.
Cuts: TypeAlias = tuple[tuple[bool, bool], tuple[bool, bool], tuple[bool, bool]]
NO_CUTS: Cuts = ((False, False),) * 3


@dataclass(frozen=True)
class Subvolume:
    """One piece of a region.

    Attributes:
        index: its place in the grid of subvolumes (zyx).
        name: `x_y_z` of the lowest corner of `box`, as in the names of result files; unique in a plan.
        box: the voxels that are segmented; overlaps with those of its neighbours.
        core: the voxels of `box` that are written; the cores of a plan are disjoint and tile the region.
    """

    index: Zyx
    name: str
    box: Box
    core: Box


def plan_subvolumes(region: Box, size_zyx: Zyx, overlap_zyx: Zyx) -> list[Subvolume]:
    """Cuts a region into overlapping boxes whose cores tile it.

    An axis not longer than `size_zyx` is not cut. Otherwise the boxes on it are as few as possible and differ
    by at most a voxel in extent; neighbours share exactly `overlap_zyx` voxels, of which the lower one's core
    has half (rounded down) and the upper one's the rest. Cores are at least as long as the overlap, so that a
    voxel belongs to at most two boxes along each axis.

    Args:
        region: what is segmented.
        size_zyx: largest extent of a box, the overlap included.
        overlap_zyx: voxels that neighbouring boxes share; 0 where they only touch.

    Returns:
        The subvolumes in ascending order of `index`.

    Raises:
        VolumeError: the region is empty.
        ConfigError: an overlap is negative, or too large for the size.
    """
    if region.is_empty:
        raise VolumeError(f"region {region} is empty; give it a size of at least 1 along every axis")
    axes = zip("zyx", region.start, region.shape, size_zyx, overlap_zyx, strict=True)
    spans = [_spans(*axis) for axis in axes]
    indices = itertools.product(*(range(len(along)) for along in spans))
    return list(map(_subvolume, indices, itertools.product(*spans)))


def neighbours(plan: Sequence[Subvolume]) -> list[tuple[int, int]]:
    """Pairs of subvolumes whose boxes overlap, without those that the others join.

    Boxes that follow each other along one axis are a pair. What is shared across an edge or a corner of the
    cores lies in the boxes between them, too, so that such boxes are a pair only where all of these were left
    out of the plan.

    Args:
        plan: subvolumes of one plan, all or some of them, in any order.

    Returns:
        Positions (i, j) in `plan`, i < j, in ascending order.
    """
    positions = {subvolume.index: position for position, subvolume in enumerate(plan)}
    # Each direction and its opposite once.
    steps = [step for step in itertools.product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]
    pairs = []
    for index, here in positions.items():
        for step in steps:
            there = positions.get(_moved(index, step))
            if there is None or plan[here].box.intersect(plan[there].box).is_empty:
                continue
            if not any(_moved(index, part) in positions for part in _parts(step)):
                pairs.append((min(here, there), max(here, there)))
    return sorted(pairs)


def cut_faces(box: Box, region: Box) -> Cuts:
    """Which faces of a box that lies in a region are cuts, and not faces of the region.

    Args:
        box: of a subvolume, absolute.
        region: what it was cut from, absolute.
    """
    z, y, x = (
        (low > first, high < last)
        for low, high, first, last in zip(box.start, box.stop, region.start, region.stop, strict=True)
    )
    return z, y, x


def core_finder(plan: Sequence[Subvolume]) -> Callable[[Box], list[int]]:
    """Look-up of the subvolumes whose cores a box touches, by the cuts along each axis.

    Args:
        plan: subvolumes of one plan, all or some of them, in any order.

    Returns:
        A function that gives for a box (absolute) their positions in `plan`, ascending, in time that grows
        with their number alone, apart from three binary searches.
    """
    positions = {subvolume.index: position for position, subvolume in enumerate(plan)}
    spans = [
        sorted({(s.index[axis], s.core.start[axis], s.core.stop[axis]) for s in plan}) for axis in range(3)
    ]
    axes = [tuple(zip(*along, strict=True)) or ((), (), ()) for along in spans]

    def touched(box: Box) -> list[int]:
        if box.is_empty:
            return []
        along = [
            indices[bisect_right(stops, low) : bisect_left(starts, high)]
            for (indices, starts, stops), low, high in zip(axes, box.start, box.stop, strict=True)
        ]
        found = (positions.get(_zyx(index)) for index in itertools.product(*along))
        return sorted(position for position in found if position is not None)

    return touched


def largest_size(
    fov_zyx: Zyx, memory_bytes: float, bytes_per_voxel: float, subvolumes_in_flight: int, region: Box
) -> Zyx:
    """The largest extent of a box whose subvolumes fit into memory together.

    The extent is the same number of voxels along every axis, a multiple of 16, except where the region is
    shorter, which is then its extent, or where twice the field of view is longer, which is the least.

    Args:
        fov_zyx: the network's field of view (voxels).
        memory_bytes: what the subvolumes in flight may use together.
        bytes_per_voxel: what each voxel of a segmented box needs.
        subvolumes_in_flight: how many are worked on at the same time (>= 1).
        region: what is to be cut; no extent is larger than its own.

    Returns:
        The extent (zyx, voxels), for `plan_subvolumes`.

    Raises:
        VolumeError: the region is empty.
        ConfigError: boxes of twice the field of view do not fit.
    """
    if region.is_empty:
        raise VolumeError(f"region {region} is empty; give it a size of at least 1 along every axis")
    voxels = memory_bytes / (bytes_per_voxel * subvolumes_in_flight)
    least = _zyx(min(_round_up(2 * fov), extent) for fov, extent in zip(fov_zyx, region.shape, strict=True))
    if math.prod(least) > voxels:
        needed = math.prod(least) * bytes_per_voxel * subvolumes_in_flight
        raise ConfigError(
            f"{memory_bytes / 1e9:.3g} GB hold less than {subvolumes_in_flight} boxes of {least} voxels "
            f"(z, y, x), twice the field of view; give at least {_ceil_3_digits(needed / 1e9):.3g} GB "
            "(inference.subvolumes.memory_gb) or fewer subvolumes in flight"
        )
    best = least
    for edge in range(_GRAIN, _round_up(max(region.shape)) + 1, _GRAIN):
        size = _zyx(min(max(edge, low), high) for low, high in zip(least, region.shape, strict=True))
        if math.prod(size) > voxels:
            break
        best = size
    return best


class _Span(NamedTuple):
    """Box and core of a subvolume along one axis."""

    box: tuple[int, int]
    core: tuple[int, int]


def _spans(axis: str, start: int, length: int, size: int, overlap: int) -> list[_Span]:
    """The boxes and cores along one axis, lowest first."""
    if size < 1 or overlap < 0:
        raise ConfigError(
            f"subvolumes of {size} voxels with an overlap of {overlap} along {axis}; give a size of at least "
            "1 and an overlap of at least 0 (inference.subvolumes)"
        )
    if length <= size:
        return [_Span((start, start + length), (start, start + length))]
    _require_room(axis, size, overlap)
    count = -((overlap - length) // (size - overlap))
    extents = _even(length + (count - 1) * overlap, count)
    starts = itertools.accumulate((extent - overlap for extent in extents[:-1]), initial=start)
    boxes = [(low, low + extent) for low, extent in zip(starts, extents, strict=True)]
    cuts = [start, *(low + overlap // 2 for low, _ in boxes[1:]), start + length]
    cores = list(itertools.pairwise(cuts))
    if min(high - low for low, high in cores) < overlap:
        _refuse(axis, size, overlap)
    return [_Span(box, core) for box, core in zip(boxes, cores, strict=True)]


def _require_room(axis: str, size: int, overlap: int) -> None:
    if size < 2 * overlap or size == overlap:
        _refuse(axis, size, overlap)


def _refuse(axis: str, size: int, overlap: int) -> None:
    raise ConfigError(
        f"subvolumes of {size} voxels are too small for an overlap of {overlap} along {axis}; give a size of "
        f"at least {max(3 * overlap, 1)} or a smaller overlap (inference.subvolumes)"
    )


def _even(total: int, count: int) -> list[int]:
    """`total` as `count` whole numbers that differ by at most one, larger ones first."""
    share, rest = divmod(total, count)
    return [share + 1] * rest + [share] * (count - rest)


def _subvolume(index: tuple[int, ...], spans: tuple[_Span, ...]) -> Subvolume:
    box = Box(_zyx(span.box[0] for span in spans), _zyx(span.box[1] for span in spans))
    core = Box(_zyx(span.core[0] for span in spans), _zyx(span.core[1] for span in spans))
    z, y, x = box.start
    return Subvolume(_zyx(index), f"{x}_{y}_{z}", box, core)


def _moved(index: Zyx, step: tuple[int, ...]) -> Zyx:
    return _zyx(n + by for n, by in zip(index, step, strict=True))


def _parts(step: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The steps along some of the axes of a step, but not along all or none."""
    choices = itertools.product(*((0, n) if n else (0,) for n in step))
    return [part for part in choices if any(part) and part != step]


def _round_up(extent: int) -> int:
    return -(-extent // _GRAIN) * _GRAIN


def _ceil_3_digits(value: float) -> float:
    """At least `value`, with three digits: a bound that is still enough once it is printed."""
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return math.ceil(value / step) * step


def _zyx(values: Iterable[int]) -> Zyx:
    z, y, x = values
    return z, y, x
