"""The plan: cores tile the region, boxes overlap as asked, and sizes follow from memory."""

from __future__ import annotations

import math
import re
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from configs.errors import ConfigError
from jobs import Subvolume, largest_size, neighbours, plan_subvolumes
from jobs.plan import NO_CUTS, core_finder, cut_faces
from volumes import Box, VolumeError

AXES = range(3)


@st.composite
def settings(draw: st.DrawFn) -> tuple[Box, tuple[int, ...], tuple[int, ...]]:
    """A small region, and a size and an overlap that every axis of it can be cut with."""
    start = [draw(st.integers(-30, 30)) for _ in AXES]
    shape = [draw(st.integers(1, 40)) for _ in AXES]
    overlap = [draw(st.integers(0, 4)) for _ in AXES]
    size = [draw(st.integers(max(1, 3 * least), 24)) for least in overlap]
    assume(math.prod(-(-n // max(1, s - o)) for n, s, o in zip(shape, size, overlap, strict=True)) < 400)
    return Box.from_shape(shape, start), tuple(size), tuple(overlap)


@given(settings())
def test_cores_tile_the_region_and_lie_in_their_boxes(drawn):
    region, size, overlap = drawn
    times = np.zeros(region.shape, int)
    for subvolume in plan_subvolumes(region, size, overlap):
        assert not subvolume.core.is_empty
        assert subvolume.box.contains_box(subvolume.core) and region.contains_box(subvolume.box)
        assert all(n <= s for n, s in zip(subvolume.box.shape, size, strict=True))
        times[subvolume.core.slices(region.start)] += 1
    assert (times == 1).all()


@given(settings())
def test_no_box_is_a_sliver_and_none_is_too_many(drawn):
    region, size, overlap = drawn
    plan = plan_subvolumes(region, size, overlap)
    for axis in AXES:
        extents = {s.box.shape[axis] for s in plan}
        assert max(extents) - min(extents) <= 1
        count, length = 1 + plan[-1].index[axis], region.shape[axis]
        fewest = next(n for n in range(1, 99) if n * size[axis] - (n - 1) * overlap[axis] >= length)
        assert count == fewest
        if count > 1:
            assert min(s.core.shape[axis] for s in plan) >= overlap[axis]


@given(settings())
def test_neighbours_share_the_overlap_and_others_share_nothing_along_that_axis(drawn):
    region, size, overlap = drawn
    plan = plan_subvolumes(region, size, overlap)
    for axis in AXES:
        row = [s for s in plan if all(s.index[other] == 0 for other in AXES if other != axis)]
        for first, second in combinations(row, 2):
            shared = first.box.intersect(second.box).shape[axis]
            adjacent = second.index[axis] == first.index[axis] + 1
            assert shared == (overlap[axis] if adjacent else 0)


@given(settings())
def test_half_of_an_overlap_lies_in_either_core(drawn):
    region, size, overlap = drawn
    for subvolume in plan_subvolumes(region, size, overlap):
        for axis in AXES:
            low = subvolume.core.start[axis] - subvolume.box.start[axis]
            high = subvolume.box.stop[axis] - subvolume.core.stop[axis]
            at_start = subvolume.core.start[axis] == region.start[axis]
            at_stop = subvolume.core.stop[axis] == region.stop[axis]
            assert low == (0 if at_start else overlap[axis] // 2)
            assert high == (0 if at_stop else overlap[axis] - overlap[axis] // 2)


@given(settings(), st.tuples(*[st.integers(-100, 100)] * 3))
def test_a_region_moved_is_cut_in_the_same_places(drawn, offset):
    region, size, overlap = drawn
    here = plan_subvolumes(region, size, overlap)
    there = plan_subvolumes(region.shift(offset), size, overlap)
    assert [(s.index, s.box.shift(offset), s.core.shift(offset)) for s in here] == [
        (s.index, s.box, s.core) for s in there
    ]


@given(settings(), st.data())
def test_neighbours_are_the_pairs_whose_overlap_lies_in_no_other_box(drawn, data):
    region, size, overlap = drawn
    plan = plan_subvolumes(region, size, overlap)
    kept = [s for s in plan if data.draw(st.booleans())] if len(plan) < 30 else plan[:60]
    expected = []
    for (i, first), (j, second) in combinations(enumerate(kept), 2):
        shared = first.box.intersect(second.box)
        others = [s.box for s in kept if s not in (first, second)]
        if not shared.is_empty and not any(box.contains_box(shared) for box in others):
            expected.append((i, j))
    assert neighbours(kept) == expected


@given(settings())
def test_in_a_whole_plan_neighbours_follow_each_other_along_one_axis(drawn):
    plan = plan_subvolumes(*drawn)
    for i, j in neighbours(plan):
        assert sum(abs(a - b) for a, b in zip(plan[i].index, plan[j].index, strict=True)) == 1


def test_two_boxes_that_meet_at_an_edge_are_neighbours_once_those_between_are_left_out():
    plan = plan_subvolumes(Box.from_shape((8, 14, 14)), (8, 8, 8), (2, 2, 2))
    assert neighbours(plan) == [(0, 1), (0, 2), (1, 3), (2, 3)]
    assert neighbours([plan[0], plan[3]]) == neighbours([plan[1], plan[2]]) == [(0, 1)]
    assert neighbours([plan[0], plan[2], plan[3]]) == [(0, 1), (1, 2)]


@given(settings(), st.data())
def test_cores_are_found_by_the_cuts(drawn, data):
    region, size, overlap = drawn
    plan = plan_subvolumes(region, size, overlap)
    kept = [s for s in plan if data.draw(st.booleans())] if len(plan) < 30 else plan[::2]
    touched = core_finder(kept)
    around = region.grow(3)
    corners = [
        sorted(data.draw(st.tuples(st.integers(low, high), st.integers(low, high))))
        for low, high in zip(around.start, around.stop, strict=True)
    ]
    box = Box(*(tuple(ends) for ends in zip(*corners, strict=True)))
    assert touched(box) == [i for i, s in enumerate(kept) if not s.core.intersect(box).is_empty]


def test_a_face_inside_the_region_is_a_cut():
    region = Box((1, 2, 3), (11, 12, 13))
    assert cut_faces(Box((1, 4, 3), (9, 12, 13)), region) == ((False, True), (True, False), (False, False))
    assert cut_faces(region, region) == NO_CUTS


@given(settings())
def test_a_plan_is_in_order_and_names_are_those_of_the_corners(drawn):
    plan = plan_subvolumes(*drawn)
    assert [s.index for s in plan] == sorted(s.index for s in plan)
    assert len({s.name for s in plan}) == len(plan)
    for subvolume in plan:
        x, y, z = map(int, re.fullmatch(r"(-?\d+)_(-?\d+)_(-?\d+)", subvolume.name).groups())
        assert (z, y, x) == subvolume.box.start


def test_one_axis_is_cut_as_by_hand():
    plan = plan_subvolumes(Box((0, 0, 100), (8, 8, 120)), (8, 8, 10), (3, 3, 3))
    assert plan == [
        Subvolume((0, 0, 0), "100_0_0", Box((0, 0, 100), (8, 8, 109)), Box((0, 0, 100), (8, 8, 107))),
        Subvolume((0, 0, 1), "106_0_0", Box((0, 0, 106), (8, 8, 115)), Box((0, 0, 107), (8, 8, 113))),
        Subvolume((0, 0, 2), "112_0_0", Box((0, 0, 112), (8, 8, 120)), Box((0, 0, 113), (8, 8, 120))),
    ]
    assert neighbours(plan) == [(0, 1), (1, 2)]


def test_a_region_no_larger_than_the_size_is_one_box_whatever_the_overlap():
    region = Box((1, 2, 3), (11, 12, 13))
    assert plan_subvolumes(region, (10, 99, 10), (50, 50, 50)) == [
        Subvolume((0, 0, 0), "3_2_1", region, region)
    ]


def test_boxes_without_an_overlap_have_no_neighbours():
    assert neighbours(plan_subvolumes(Box.from_shape((20, 8, 8)), (10, 8, 8), (0, 0, 0))) == []


@pytest.mark.parametrize(
    ("size", "overlap", "message"),
    [
        pytest.param((8, 8, 8), (2, 8, 2), "8 voxels are too small for an overlap of 8 along y", id="equal"),
        pytest.param((8, 8, 8), (2, 2, 9), "give a size of at least 27", id="overlap larger"),
        pytest.param((8, 8, 7), (0, 0, 4), "give a size of at least 12", id="less than two overlaps"),
        pytest.param((12, 8, 8), (6, 0, 0), "along z", id="cores would be thinner than the overlap"),
        pytest.param((8, 0, 8), (0, 0, 0), "size of at least 1", id="no size"),
        pytest.param((8, 8, 8), (0, -1, 0), "overlap of at least 0", id="negative overlap"),
    ],
)
def test_sizes_that_no_axis_can_be_cut_with_are_refused(size, overlap, message):
    with pytest.raises(ConfigError, match=message):
        plan_subvolumes(Box.from_shape((40, 40, 40)), size, overlap)


def test_an_empty_region_is_refused():
    empty = Box.from_shape((4, 0, 4))
    with pytest.raises(VolumeError, match="is empty"):
        plan_subvolumes(empty, (8, 8, 8), (0, 0, 0))
    with pytest.raises(VolumeError, match="is empty"):
        largest_size((3, 3, 3), 1e9, 1, 1, empty)


@pytest.mark.parametrize(
    ("fov", "megavoxels", "shape", "expected"),
    [
        pytest.param((33, 33, 33), 2.1, (999, 999, 999), (128, 128, 128), id="a cube"),
        pytest.param(
            (33, 33, 33), 2.1, (40, 999, 999), (40, 224, 224), id="a thin region leaves more to others"
        ),
        pytest.param((9, 33, 33), 1e6, (100, 200, 300), (100, 200, 300), id="a region that fits is not cut"),
        pytest.param((9, 33, 33), 0.32, (999, 999, 999), (48, 80, 80), id="at least twice the field of view"),
    ],
)
def test_the_largest_size_is_as_computed_by_hand(fov, megavoxels, shape, expected):
    assert largest_size(fov, megavoxels * 1e6, 1, 1, Box.from_shape(shape)) == expected
    assert largest_size(fov, megavoxels * 24e6, 8, 3, Box.from_shape(shape, (5, -6, 7))) == expected


@given(
    fov=st.tuples(*[st.integers(1, 40)] * 3),
    shape=st.tuples(*[st.integers(1, 600)] * 3),
    voxels=st.integers(100, 10**8),
)
def test_the_largest_size_fits_and_the_next_would_not(fov, shape, voxels):
    try:
        size = largest_size(fov, voxels, 1, 1, Box.from_shape(shape))
    except ConfigError:
        assert math.prod(min(n, 16 * math.ceil(2 * f / 16)) for f, n in zip(fov, shape, strict=True)) > voxels
        return
    assert math.prod(size) <= voxels
    free = [axis for axis in AXES if size[axis] < shape[axis]]
    for axis in free:
        assert size[axis] % 16 == 0 and size[axis] >= 2 * fov[axis]
    edge = min((size[axis] for axis in free), default=0)
    larger = [min(max(s, edge + 16), n) for s, n in zip(size, shape, strict=True)]
    assert not free or math.prod(larger) > voxels


def test_too_little_memory_says_how_much_is_enough():
    region = Box.from_shape((500, 500, 500))
    with pytest.raises(ConfigError, match=r"give at least \S+ GB") as caught:
        largest_size((33, 33, 33), 1e7, 20, 2, region)
    enough = float(re.search(r"at least (\S+) GB", str(caught.value))[1])
    assert largest_size((33, 33, 33), enough * 1e9, 20, 2, region) == (80, 80, 80)
    with pytest.raises(ConfigError):
        largest_size((33, 33, 33), enough * 0.99e9, 20, 2, region)
