"""Reading and writing a field of view, deletions, the disconnected-seed rule, and where to go next."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ffn.movement import MovementQueue, face_maxima, gather, scatter

CENTER = (2, 3, 4)
MOVE = np.float32(2.0)
OFF = -1.0


def logits_at_center(values: list[float]) -> np.ndarray:
    """A subvolume, NaN but for a field of view of 1 x 1 x n voxels around `CENTER`."""
    logits = np.full((5, 7, 9), np.nan, np.float32)
    reach = len(values) // 2
    logits[2, 3, 4 - reach : 5 + reach] = values
    return logits


def field(values: list[float]) -> np.ndarray:
    """A field of view of 1 x 1 x n voxels that may not be written to, as a network returns it."""
    array = np.array(values, np.float32).reshape(1, 1, -1)
    array.flags.writeable = False
    return array


def scattered(before: list[float], predicted: list[float], setting: float) -> tuple[list[float], int]:
    logits = logits_at_center(before)
    deleted = scatter(logits, CENTER, field(predicted), MOVE, setting)
    reach = len(before) // 2
    return logits[2, 3, 4 - reach : 5 + reach].tolist(), deleted


def test_a_field_of_view_shows_the_image_and_pads_unvisited_voxels() -> None:
    image = np.arange(5 * 7 * 9, dtype=np.float32).reshape(5, 7, 9)
    logits = logits_at_center([1, 2, 3])
    image_fov, logits_fov = np.empty((2, 3, 3, 5), np.float32)
    gather(image, logits, CENTER, np.float32(-9), image_fov, logits_fov)
    np.testing.assert_array_equal(image_fov, image[1:4, 2:5, 2:7])
    expected = np.full((3, 3, 5), -9, np.float32)
    expected[1, 1, 1:4] = [1, 2, 3]
    np.testing.assert_array_equal(logits_fov, expected)
    assert np.isnan(logits).sum() == logits.size - 3


def test_the_prediction_is_written_where_it_was_read() -> None:
    logits = np.full((5, 7, 9), np.nan, np.float32)
    predicted = np.arange(27, dtype=np.float32).reshape(3, 3, 3)
    scatter(logits, CENTER, predicted, MOVE, OFF)
    np.testing.assert_array_equal(logits[1:4, 2:5, 3:6], predicted)
    assert np.isnan(logits).sum() == logits.size - 27


HELD = math.log(4) + 1e-4  # just above p = 0.8
ALMOST_HELD = math.log(4) - 1e-4


@pytest.mark.parametrize(
    ("before", "predicted", "deleted"),
    [
        pytest.param([HELD, 9, 9], [-0.1, -9, 9], 2, id="held and now below one half"),
        pytest.param([ALMOST_HELD, 1, -1], [-9, -9, -9], 0, id="never held"),
        pytest.param([9, 9, 9], [0, 0.1, 3], 0, id="exactly one half is not below it"),
        pytest.param([np.nan, np.nan, np.nan], [-9, -9, -9], 0, id="never visited"),
    ],
)
@pytest.mark.parametrize("setting", [OFF, 0.0])
def test_deleted_voxels_are_counted_with_the_rule_on_and_off(
    before: list[float], predicted: list[float], deleted: int, setting: float
) -> None:
    assert scattered(before, predicted, setting)[1] == deleted


@pytest.mark.parametrize(
    ("before", "predicted", "setting", "after"),
    [
        pytest.param([-1, 1, -3], [3, 3, -1], 0.5, [-1, 3, -3], id="no rise from below 0.5"),
        pytest.param([-1, 1, -3], [3, 3, -5], 0.5, [-1, 3, -5], id="may fall"),
        pytest.param([0, 1, 1], [3, 3, 3], 0.5, [3, 3, 3], id="exactly 0.5 may rise"),
        pytest.param([np.nan, 1, np.nan], [3, 3, 3], 0.5, [3, 3, 3], id="unvisited may rise"),
        pytest.param([-1, 1, -1], [3, 1, 1], 1 / 3, [3, 1, 1], id="a share equal to the setting"),
        pytest.param([-1, 1, -1], [3, 2, 1], 1 / 3, [-1, 2, -1], id="the move threshold itself is active"),
        pytest.param([-1, 1, -1], [1, 1, 1], 0.0, [1, 1, 1], id="nothing active, rule off"),
        pytest.param([-1, 1, -1], [3, 3, 3], OFF, [3, 3, 3], id="negative setting"),
    ],
)
def test_the_disconnected_seed_rule(
    before: list[float], predicted: list[float], setting: float, after: list[float]
) -> None:
    assert scattered(before, predicted, setting)[0] == after


def test_the_share_of_active_voxels_and_deletions_are_of_the_raw_prediction() -> None:
    """All three are active in the prediction, although two of them are then restored."""
    assert scattered([-1, 9, -1], [3, 3, 3], 0.9)[0] == [-1, 3, -1]
    assert scattered([9, -1, -1, -1, -1], [-1, 3, 3, 3, 3], 0.5) == ([-1, -1, -1, -1, -1], 1)


def cube(marks: dict[tuple[int, int, int], float], radius: int = 3) -> np.ndarray:
    logits = np.full((2 * radius + 1,) * 3, -5, np.float32)
    for (z, y, x), value in marks.items():
        logits[radius + z, radius + y, radius + x] = value
    return logits


def offsets(logits: np.ndarray, deltas: tuple[int, int, int]) -> list[tuple[int, ...]]:
    center = tuple(size // 2 for size in logits.shape)
    found = face_maxima(logits, center, deltas, MOVE)
    return [tuple(p - c for p, c in zip(position, center, strict=True)) for position in found]


def test_faces_are_left_highest_first() -> None:
    logits = cube({(2, 0, 1): 3, (-2, 1, 0): 5, (0, 0, 2): 4, (1, 1, 1): 9, (3, 0, 0): 9})
    assert offsets(logits, (2, 2, 2)) == [(-2, 1, 0), (0, 0, 2), (2, 0, 1)]


def test_equal_faces_are_left_by_descending_offset() -> None:
    marks = dict.fromkeys([(-2, 0, 0), (2, 0, 0), (0, -2, 0), (0, 2, 0), (0, 0, -2), (0, 0, 2)], 3.0)
    assert offsets(cube(marks), (2, 2, 2)) == sorted(marks, reverse=True)


def test_of_equal_voxels_in_a_face_the_first_counts() -> None:
    assert offsets(cube({(2, -1, 1): 3, (2, 0, -1): 3}), (2, 2, 2)) == [(2, -1, 1)]


def test_a_voxel_on_two_faces_is_one_position() -> None:
    assert offsets(cube({(2, 2, -2): 3}), (2, 2, 2)) == [(2, 2, -2)]


def test_a_maximum_has_to_reach_the_move_threshold() -> None:
    assert offsets(cube({(2, 0, 0): 2.0, (0, 2, 0): 1.999}), (2, 2, 2)) == [(2, 0, 0)]


def test_an_axis_without_moves_has_no_faces() -> None:
    logits = cube({(0, 2, 0): 3, (1, 2, 0): 9, (0, 0, 0): 9})
    assert offsets(logits, (0, 2, 2)) == [(0, 2, 0)]


@given(
    logits=arrays(np.float32, (7, 7, 7), elements=st.integers(-3, 3).map(float)),
    deltas=st.tuples(*[st.integers(0, 3)] * 3),
)
def test_face_maxima_are_those_of_the_method(logits: np.ndarray, deltas: tuple[int, int, int]) -> None:
    """Against a rendering of the definition in plain numpy, with many ties."""
    expected = set()
    for axis, delta in enumerate(deltas):
        for side in {-delta, delta} - {0}:
            region = [slice(3 - d, 4 + d) for d in deltas]
            region[axis] = slice(3 + side, 4 + side)
            face = logits[tuple(region)]
            at = np.unravel_index(face.argmax(), face.shape)
            expected.add((face[at], *(int(i) + part.start - 3 for i, part in zip(at, region, strict=True))))
    best = sorted((found for found in expected if found[0] >= MOVE), reverse=True)
    assert offsets(logits, deltas) == [found[1:] for found in best]


def test_positions_leave_the_queue_in_the_order_they_came() -> None:
    queue = MovementQueue((10, 10, 10), (8, 8, 8))
    queue.finish_first([(18, 10, 10), (10, 2, 10)])
    queue.finish_first([(26, 10, 10)])
    assert list(queue.waiting) == [(10, 2, 10), (26, 10, 10)]


@pytest.mark.parametrize(
    ("position", "done"),
    [
        pytest.param((10, 10, 10), True, id="the seed"),
        pytest.param((6, 6, 6), True, id="half a move below"),
        pytest.param((5, 10, 10), False, id="more than half a move below"),
        pytest.param((13, 13, 13), True, id="less than half a move above"),
        pytest.param((14, 10, 10), False, id="half a move above"),
    ],
)
def test_the_seed_lies_in_the_middle_of_a_cell(position: tuple[int, int, int], done: bool) -> None:
    queue = MovementQueue((10, 10, 10), (8, 8, 8))
    queue.finish_first([])
    assert queue.is_done(position) is done


def test_along_an_axis_without_moves_every_voxel_is_a_cell() -> None:
    queue = MovementQueue((10, 10, 10), (0, 8, 8))
    queue.finish_first([])
    assert queue.is_done((10, 11, 11)) and not queue.is_done((11, 10, 10))


def test_a_queue_is_rebuilt_from_what_was_visited_and_what_waits() -> None:
    queue = MovementQueue((10, 10, 10), (8, 8, 8), visited=[(10, 10, 10)], waiting=[(18, 10, 10)])
    assert queue.is_done((11, 10, 10)) and not queue.is_done((18, 10, 10))
    assert list(queue.waiting) == [(18, 10, 10)]
