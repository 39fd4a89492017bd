"""Voxels that a subvolume left empty are filled by one neighbour, and every voxel is counted once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inference.overlaps import filled_voxels, rims
from jobs import plan_subvolumes
from volumes import Box


def positions_of(plan):
    return {subvolume.index: position for position, subvolume in enumerate(plan)}


def test_a_rim_is_divided_as_by_hand():
    """Two by two boxes: z is not cut; y is cut at 10, x at 20, and 4 voxels are shared along both."""
    plan = plan_subvolumes(Box.from_shape((5, 20, 40)), (5, 12, 22), (0, 4, 4))
    assert [str(s.core) for s in plan] == [
        "z 0:5, y 0:10, x 0:20",
        "z 0:5, y 0:10, x 20:40",
        "z 0:5, y 10:20, x 0:20",
        "z 0:5, y 10:20, x 20:40",
    ]
    assert [(i, str(box)) for i, box in rims(plan, positions_of(plan), 0)] == [
        (2, "z 0:5, y 8:10, x 0:20"),
        (1, "z 0:5, y 0:8, x 18:20"),
    ]
    assert [(i, str(box)) for i, box in rims(plan, positions_of(plan), 3)] == [
        (1, "z 0:5, y 10:12, x 20:40"),
        (2, "z 0:5, y 12:20, x 20:22"),
    ]


@given(
    st.tuples(*[st.integers(1, 40)] * 3),
    st.tuples(*[st.integers(12, 24)] * 3),
    st.tuples(*[st.integers(0, 4)] * 3),
    st.data(),
)
def test_rims_are_what_neighbours_across_a_cut_have_seen_too(shape, size, overlap, data):
    whole = plan_subvolumes(Box.from_shape(shape), size, overlap)
    plan = [s for s in whole if data.draw(st.booleans())] or whole[:1]
    for position, subvolume in enumerate(plan):
        times, seen = np.zeros(shape, int), np.zeros(shape, bool)
        for other in plan:
            if sum(abs(a - b) for a, b in zip(subvolume.index, other.index, strict=True)) == 1:
                seen[other.box.intersect(subvolume.core).slices()] = True
        found = rims(plan, positions_of(plan), position)
        assert len({other for other, _ in found}) == len(found)
        for other, box in found:
            assert not box.is_empty
            assert subvolume.core.contains_box(box) and plan[other].box.contains_box(box)
            times[box.slices()] += 1
        np.testing.assert_array_equal(times, seen)


def test_empty_voxels_that_a_neighbour_fills_are_counted():
    own = np.array([[[1, 1, 0, 0, 0, 2]]], np.int32)
    theirs = np.array([[[7, 7, 7, 9, 0, 9]]], np.int32)
    assert filled_voxels(own, theirs).tolist() == [[7, 1], [9, 1]]
    assert filled_voxels(own, own).shape == (0, 2)
