"""Boxes: their algebra, and the errors for what is no box."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumes import Box, VolumeError

corners = st.tuples(*[st.integers(-50, 50)] * 3)
shapes = st.tuples(*[st.integers(0, 20)] * 3)
boxes = st.builds(lambda shape, start: Box.from_shape(shape, start), shapes, corners)


def _voxels(box: Box) -> set[tuple[int, ...]]:
    ranges = (range(low, high) for low, high in zip(box.start, box.stop, strict=True))
    return set(map(tuple, np.stack(np.meshgrid(*ranges), -1).reshape(-1, 3).tolist()))


def test_box_reads_like_the_axes_it_has():
    box = Box((0, 0, 0), (128, 64, 32))
    assert str(box) == "z 0:128, y 0:64, x 0:32"
    assert (box.shape, box.size, box.is_empty) == ((128, 64, 32), 128 * 64 * 32, False)


def test_numpy_integers_become_plain_ones():
    box = Box(np.array([1, 2, 3]), np.array([4, 5, 6]))
    assert box == Box((1, 2, 3), (4, 5, 6))
    assert all(type(value) is int for value in (*box.start, *box.stop))
    assert hash(box) == hash(Box((1, 2, 3), (4, 5, 6)))


@given(boxes, boxes)
def test_intersection_holds_the_common_voxels_and_no_other(first: Box, second: Box):
    common = first.intersect(second)
    assert _voxels(common) == _voxels(first) & _voxels(second)
    assert first.contains_box(common) and second.contains_box(common)


@given(boxes, boxes)
def test_containing_a_box_is_containing_its_voxels(first: Box, second: Box):
    assert first.contains_box(second) == (_voxels(second) <= _voxels(first))


@given(boxes, corners)
def test_points_inside_are_the_voxels(box: Box, point: tuple[int, int, int]):
    assert box.contains(point) == (point in _voxels(box))


@given(boxes, corners)
def test_shifting_back_is_the_inverse_of_shifting(box: Box, offset: tuple[int, int, int]):
    there = box.shift(offset)
    assert there.shape == box.shape
    assert there.shift([-value for value in offset]) == box


@given(boxes, shapes)
def test_shrinking_undoes_growing(box: Box, margin: tuple[int, int, int]):
    grown = box.grow(margin)
    assert grown.contains_box(box)
    assert grown.grow([-width for width in margin]) == box


def test_shrinking_below_nothing_leaves_an_empty_box():
    assert Box.from_shape((3, 9, 9)).grow(-2).is_empty


@given(boxes)
def test_slices_cut_the_box_out_of_an_array_around_it(box: Box):
    around = box.grow(2)
    indices = np.zeros(around.shape, bool)
    indices[box.slices(around.start)] = True
    assert indices.sum() == box.size


def test_slices_below_the_origin_are_refused_since_they_would_wrap_around():
    with pytest.raises(VolumeError, match="starts below the array's origin"):
        Box((-1, 0, 0), (3, 3, 3)).slices()


@pytest.mark.parametrize(
    ("start", "stop", "message"),
    [
        ((0, 0, 5), (4, 4, 4), "box z 0:4, y 0:4, x 5:4 ends before it starts"),
        ((0, 0), (4, 4, 4), "start .* is not three whole numbers"),
        ((0, 0, 0.5), (4, 4, 4), "start .* is not three whole numbers"),
        ((0, 0, 0), 4, "stop 4 of a box is not three whole numbers"),
    ],
)
def test_what_is_no_box_says_why(start: object, stop: object, message: str):
    with pytest.raises(VolumeError, match=message):
        Box(start, stop)
