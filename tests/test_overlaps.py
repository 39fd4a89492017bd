"""Voxels that a subvolume left empty are filled by one neighbour, and every voxel is counted once."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_project import CUT, make_bars, run, supervoxels, write_config

from inference.overlaps import filled_voxels, rims
from inference.results import load_result, save_result
from inference.supervoxel_table import load_table
from jobs import plan_subvolumes
from volumes import Box

# Whole projects are run.
pytestmark = pytest.mark.slow


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


@pytest.fixture
def one_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results of all subvolumes; the first one, cut off at x 24 and 28 deep, did not find bar 1."""
    monkeypatch.chdir(tmp_path)
    make_bars(inference=CUT + "edge_context: MIRROR")
    assert run("--config", "c.textproto") == 0
    shutil.copytree("out/passes", "results")
    found = load_result("results/forward", (0, 0, 0))
    assert found is not None
    missing = found.segmentation[5, 5, 5]
    assert missing > 0
    labels = np.where(found.segmentation == missing, 0, found.segmentation)
    save_result("results/forward", replace(found, segmentation=labels))
    return tmp_path


def test_what_one_subvolume_missed_is_there_up_to_the_end_of_its_neighbour(one_missing):
    whole = supervoxels()
    shutil.copytree("results", "other/passes")
    write_config(inference=CUT + "edge_context: MIRROR", output_dir='"other"')
    assert run("--config", "c.textproto") == 0
    found = supervoxels("other")
    bar = whole == whole[5, 5, 5]
    np.testing.assert_array_equal(found > 0, (whole > 0) & ~(bar & (np.indices(bar.shape)[2] < 20)))
    assert len(np.unique(found[bar])) == 2, "0, and the one object that is left of the bar"


def test_voxels_that_are_filled_count_for_the_minimum_size(one_missing):
    """What is left of bar 1 has 13 sections in the core of its subvolume, and fills 4 in the other."""

    def sizes(min_size: int) -> list[int]:
        output = f"other{min_size}"
        shutil.copytree("results", f"{output}/passes")
        write_config(
            inference=CUT + "edge_context: MIRROR",
            output_dir=f'"{output}"',
            reconciliation=f"{{ min_size: {min_size} }}",
            outputs="{ precomputed: false png: false }",
        )
        assert run("--config", "c.textproto") == 0
        return sorted(load_table(f"{output}/supervoxels.npz").voxels.tolist())

    everything = sizes(1)
    smallest = everything[0]
    assert 13 * 49 < smallest <= 17 * 49
    assert sizes(smallest) == everything and sizes(smallest + 1) == everything[1:]
