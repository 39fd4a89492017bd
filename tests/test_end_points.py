"""Tips inside the volume at which nothing goes on: tubes that stop, leave, or meet another."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from agglomeration import end_points as module
from agglomeration.end_points import EndPoints, find_end_points, skeleton_tips
from agglomeration.errors import AgglomerationError
from evaluation.teasar import skeletonise
from volumes import Box, Skeleton
from volumes.arrays import ArrayVolume

SIZE_NM = (20.0, 10.0, 10.0)
START = (3, -10, 50)
TUBE = 2**33 + 1


def line(*nodes: tuple[float, float, float]) -> Skeleton:
    return Skeleton(np.array(nodes, float), np.array([(i, i + 1) for i in range(len(nodes) - 1)]))


def volume_with(
    *tubes: tuple[int, int, int], shape: tuple[int, int, int] = (20, 30, 60), y: int = 15
) -> ArrayVolume:
    """Tubes along x of 3 by 5 voxels in the middle: ID, first and one past the last x."""
    labels = np.zeros(shape, np.uint64)
    for identity, first, stop in tubes:
        labels[9:12, y - 2 : y + 3, first:stop] = identity
    return ArrayVolume(labels, voxel_size_nm=SIZE_NM, start=START, writable=True)


def centre_line(identity: int, first: int, stop: int) -> tuple[int, Skeleton]:
    """The skeleton of such a tube, as far as the centres of its voxels go."""
    z, y, x = START
    nodes = [(z + 10.5, y + 15.5, x + at + 0.5) for at in range(first, stop)]
    return identity, line(*(tuple(np.array(node) * SIZE_NM) for node in nodes))


def rows(found: EndPoints) -> list[tuple[int, list[int], list[float]]]:
    points = (found.points_zyx - START).tolist()
    return list(zip(found.ids.tolist(), points, found.directions.round(6).tolist(), strict=True))


def found_in(volume: ArrayVolume, *skeletons: tuple[int, Skeleton], **changes: float) -> EndPoints:
    lengths = {"max_distance_nm": 80.0, "margin_nm": 50.0, **changes}
    return find_end_points(volume, volume.bounds, skeletons, **lengths)


def test_a_tube_that_stops_inside_has_an_end_and_where_it_leaves_it_has_none() -> None:
    found = found_in(volume_with((TUBE, 0, 30)), centre_line(TUBE, 0, 30))
    assert rows(found) == [(TUBE, [10, 15, 29], [0, 0, 1])]
    assert [column.dtype for column in vars(found).values()] == [np.uint64, np.int64, np.float64]


def test_a_tube_inside_has_two_ends() -> None:
    found = found_in(volume_with((TUBE, 10, 40)), centre_line(TUBE, 10, 40))
    assert rows(found) == [(TUBE, [10, 15, 10], [0, 0, -1]), (TUBE, [10, 15, 39], [0, 0, 1])]


@pytest.mark.parametrize(("first", "ends"), [(37, 0), (38, 1)], ids=["within reach", "too far"])
def test_a_supervoxel_ahead_takes_an_end_away(first: int, ends: int) -> None:
    # From x = 29 on 8 voxels of 10 nm are 80 nm.
    volume = volume_with((TUBE, 0, 30), (9, first, 60))
    assert len(found_in(volume, centre_line(TUBE, 0, 30))) == ends


def test_a_supervoxel_beside_a_tip_does_not_go_on() -> None:
    volume = volume_with((TUBE, 0, 30))
    beside = Box((9, 18, 0), (12, 30, 31)).shift(START)
    volume.write(beside, np.full(beside.shape, 9, np.uint64))
    assert len(found_in(volume, centre_line(TUBE, 0, 30))) == 1


def test_what_lies_beyond_the_box_is_not_seen() -> None:
    volume, tube = volume_with((TUBE, 0, 30), (9, 36, 60)), centre_line(TUBE, 0, 30)
    box = Box(START, (START[0] + 20, START[1] + 30, START[2] + 36))
    assert len(find_end_points(volume, box, [tube], max_distance_nm=80, margin_nm=50)) == 1
    assert len(find_end_points(volume, box, [tube], max_distance_nm=80, margin_nm=80)) == 0


@pytest.mark.parametrize(("margin_nm", "ends"), [(94.9, 1), (95, 0)])
def test_the_margin_is_in_nanometres(margin_nm: float, ends: int) -> None:
    # The centre of section 4 of 20 lies 90 nm from the first face, that of row 9 lies 95 nm from it.
    labels = np.zeros((20, 30, 60), np.uint64)
    volume = ArrayVolume(labels, voxel_size_nm=SIZE_NM, start=START)
    z, y, x = START
    nodes = [((z + 10.5) * 20, (y + row + 0.5) * 10, (x + 30.5) * 10) for row in (14, 9)]
    found = found_in(volume, (1, line(*nodes)), margin_nm=margin_nm)
    assert len(found.select(found.points_zyx[:, 1] == y + 9)) == ends


def test_skeletons_of_labels_end_where_the_objects_do() -> None:
    pytest.importorskip("kimimaro")
    volume = volume_with((TUBE, 0, 30))
    origin = np.array(START) * SIZE_NM
    skeletons = skeletonise(volume.read(), SIZE_NM, origin_nm=origin, const_nm=50, min_voxels=50)
    found = found_in(volume, *skeletons.items())
    assert found.ids.tolist() == [TUBE]
    assert found.points_zyx[0, 2] - START[2] >= 27
    assert found.directions[0, 2] > 0.95


def test_neither_blocks_nor_order_change_the_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    labels = (rng.random((30, 40, 40)) < 0.004) * rng.integers(1, 9, (30, 40, 40))
    volume = ArrayVolume(labels, voxel_size_nm=SIZE_NM, start=START)
    shape_nm, origin = np.array(labels.shape) * SIZE_NM, np.array(START) * SIZE_NM
    skeletons = [
        (identity, line(*map(tuple, rng.uniform(0, 1, (2, 3)) * shape_nm + origin))) for identity in range(60)
    ]
    first = found_in(volume, *skeletons)
    assert 10 < len(first) < 80
    monkeypatch.setattr(module, "_BLOCK_EDGE", 7)
    again = found_in(volume, *skeletons[::-1])
    for name, column in vars(first).items():
        np.testing.assert_array_equal(getattr(again, name), column, name)


def test_a_tip_points_along_its_last_stretch() -> None:
    # A right angle 30 nm before the end.
    bent = line((0, 0, 0), (0, 0, 100), (0, 0, 200), (0, 30, 200))
    nodes, directions = skeleton_tips(bent, 30)
    assert nodes.tolist() == [0, 3]
    np.testing.assert_allclose(directions, [[0, 0, -1], [0, 1, 0]])
    _, directions = skeleton_tips(bent, 130)
    np.testing.assert_allclose(directions[1], np.array([0, 30, 100]) / math.hypot(30, 100))


def test_the_stretch_ends_at_a_branch() -> None:
    nodes = np.array([(0, 0, 0), (0, 0, 50), (0, 0, 100), (0, 50, 50)], float)
    fork = Skeleton(nodes, np.array([(0, 1), (1, 2), (1, 3)]))
    tips, directions = skeleton_tips(fork, 1000)
    assert tips.tolist() == [0, 2, 3]
    np.testing.assert_allclose(directions, [[0, 0, -1], [0, 0, 1], [0, 1, 0]])


def test_isolated_nodes_and_edges_without_length_have_no_tips() -> None:
    assert len(skeleton_tips(Skeleton(np.zeros((1, 3)), np.zeros((0, 2), int)), 100)[0]) == 0
    nodes, directions = skeleton_tips(Skeleton(np.zeros((2, 3)), np.array([(0, 1)])), 100)
    assert (nodes.size, directions.shape) == (0, (0, 3))


def test_without_skeletons_there_are_no_ends() -> None:
    assert len(found_in(volume_with((TUBE, 0, 30)))) == 0


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = found_in(volume_with((TUBE, 10, 40)), centre_line(TUBE, 10, 40))
    found.save(tmp_path / "ends.npz")
    assert rows(EndPoints.load(tmp_path / "ends.npz")) == rows(found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin_nm": -1}, "margin_nm is -1; give a length of at least 0"),
        ({"stretch_nm": math.inf}, "stretch_nm is inf; give a length"),
        ({"max_distance_nm": 0}, "max_distance_nm 0; give a length above 0"),
    ],
)
def test_lengths_out_of_range_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(AgglomerationError, match=message):
        found_in(volume_with((TUBE, 0, 30)), **changes)


def test_a_box_beyond_the_volume_is_refused() -> None:
    volume = volume_with((TUBE, 0, 30))
    with pytest.raises(AgglomerationError, match="give a box inside that is not empty"):
        find_end_points(volume, volume.bounds.grow(1), [], max_distance_nm=1, margin_nm=0)
