"""The flood of one object: the steps of the method in their order, whatever is in its way."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
import pytest
from fake_network import answer, blobs, drive

from configs.errors import ConfigError
from ffn.flood import Flood, FloodOptions, flood, logit
from volumes import Box, VolumeError

Zyx = tuple[int, int, int]
OPTIONS = FloodOptions((9, 9, 9), (4, 4, 4))
SHAPE = (40, 40, 40)
MIDDLE = (20, 20, 20)


class Plain(NamedTuple):
    """What the plain rendering of the method comes to."""

    logits: np.ndarray
    visited: list[Zyx]
    deleted: list[int]


def plain_flood(
    image: np.ndarray, seed: Zyx, options: FloodOptions, obstacles: np.ndarray, mask: np.ndarray
) -> Plain:
    """The method written down once more, sentence by sentence, in slow numpy."""
    move, deltas, radius = logit(options.move_threshold), options.deltas_zyx, options.radius_zyx
    canvas = np.full(image.shape, np.nan, np.float32)
    canvas[seed] = logit(options.init_activation)
    queue, done, visited, deletions = [seed], set(), [], []

    def cell(position: Zyx) -> Zyx:
        return tuple((p - s + d // 2) // max(d, 1) for p, s, d in zip(position, seed, deltas, strict=True))

    while queue:
        if canvas[seed] < move:
            break
        position = queue.pop(0)
        leaves = any(p - r < 0 or p + r >= n for p, r, n in zip(position, radius, image.shape, strict=True))
        if cell(position) in done or canvas[position] < move or leaves:
            continue
        if obstacles[position] > 0 or mask[position]:
            continue
        window = tuple(slice(p - r, p + r + 1) for p, r in zip(position, radius, strict=True))
        old = canvas[window].copy()
        new = answer(image[window], np.where(np.isnan(old), logit(options.pad_value), old))
        deletions.append(int(np.sum((old >= math.log(4)) & (new < 0))))
        if 0 <= options.disco_seed_threshold < np.mean(new >= move):
            new = np.where((old < 0) & (new > old), old, new)
        canvas[window] = new
        done.add(cell(position))
        visited.append(position)
        queue += [tuple(np.add(position, offset).tolist()) for offset in best_faces(new, deltas, move)]
    return Plain(canvas, visited, deletions)


def best_faces(new: np.ndarray, deltas: Zyx, move: np.float32) -> list[Zyx]:
    found = set()
    for axis, delta in enumerate(deltas):
        for side in {-delta, delta} - {0}:
            offsets = [range(-d, d + 1) for d in deltas]
            offsets[axis] = range(side, side + 1)
            face = new[np.ix_(*(np.array(o) + n // 2 for o, n in zip(offsets, new.shape, strict=True)))]
            at = np.unravel_index(face.argmax(), face.shape)
            found.add((face[at], tuple(o[i] for o, i in zip(offsets, at, strict=True))))
    return [offset for value, offset in sorted(found, reverse=True) if value >= move]


@pytest.mark.parametrize("disco_seed_threshold", [-1.0, 0.0, 0.4])
@pytest.mark.parametrize(
    ("fov", "deltas"),
    [
        pytest.param((9, 9, 9), (4, 4, 4), id="isotropic"),
        pytest.param((5, 11, 9), (1, 3, 4), id="anisotropic"),
        pytest.param((3, 13, 13), (0, 5, 5), id="within a section"),
    ],
)
@pytest.mark.parametrize("number", [1, 2])
def test_a_flood_follows_the_method(fov: Zyx, deltas: Zyx, disco_seed_threshold: float, number: int) -> None:
    options = FloodOptions(fov, deltas, disco_seed_threshold=disco_seed_threshold)
    image = blobs(SHAPE, number)
    random = np.random.default_rng(number)
    obstacles, mask = random.integers(-1, 20, SHAPE) // 18, random.random(SHAPE) < 0.1
    inner = image[8:-8, 8:-8, 8:-8]
    z, y, x = (int(i) + 8 for i in np.unravel_index(inner.argmax(), inner.shape))
    obstacles[z, y, x], mask[z, y, x] = 0, False
    plain = plain_flood(image, (z, y, x), options, obstacles, mask)
    state = Flood(image, options, obstacles=obstacles, movement_mask=mask)
    assert drive(flood(state, (z, y, x)), fov) == len(plain.visited) > 3
    assert state.visited == plain.visited
    assert state.deleted == plain.deleted
    np.testing.assert_array_equal(state.logits, plain.logits)


def constant_answers(state: Flood, seed: Zyx, *values: float) -> list[Zyx]:
    """The positions a flood asks for when the answers are constants, the last one for ever."""
    requests = flood(state, seed)
    asked = []
    request = next(requests, None)
    while request is not None:
        asked.append(request.position)
        value = values[min(len(asked), len(values)) - 1]
        try:
            request = requests.send(np.full(OPTIONS.fov_zyx, value, np.float32))
        except StopIteration:
            return asked
    return asked


def dark(**arrays: np.ndarray) -> Flood:
    return Flood(np.zeros(SHAPE, np.float32), OPTIONS, **arrays)


def test_the_first_request_is_the_seed_alone() -> None:
    request = next(flood(dark(), MIDDLE))
    image, logits = np.empty((2, *OPTIONS.fov_zyx), np.float32)
    request.copy_into(image, logits)
    assert request.position == MIDDLE
    assert logits[4, 4, 4] == logit(0.95)
    assert np.count_nonzero(logits == logit(0.05)) == logits.size - 1


def test_a_flood_ends_when_its_seed_falls_below_the_move_threshold() -> None:
    """The answer keeps one voxel to move to, but takes the seed away."""
    state = dark()
    requests = flood(state, MIDDLE)
    next(requests)
    prediction = np.full(OPTIONS.fov_zyx, -3, np.float32)
    prediction[8, 4, 4] = 9
    with pytest.raises(StopIteration) as end:
        requests.send(prediction)
    assert end.value.value == 1 and state.has_lost_seed


def test_a_seed_below_the_move_threshold_is_never_shown() -> None:
    options = dataclasses.replace(OPTIONS, init_activation=0.8)
    assert drive(flood(Flood(blobs(SHAPE, 1), options), MIDDLE), (9, 9, 9)) == 0


@pytest.mark.parametrize("seed", [(3, 20, 20), (20, 20, 36)])
def test_a_field_of_view_never_leaves_the_subvolume(seed: Zyx) -> None:
    assert constant_answers(dark(), seed, 9.0) == []


@pytest.mark.parametrize("seed", [(4, 20, 20), (20, 20, 35)])
def test_a_field_of_view_may_touch_the_border(seed: Zyx) -> None:
    assert constant_answers(dark(), seed, 9.0)[0] == seed


def test_an_answer_without_active_voxels_on_the_faces_ends_the_flood() -> None:
    assert constant_answers(dark(), MIDDLE, logit(0.9)) != [MIDDLE]
    assert constant_answers(dark(), MIDDLE, np.nextafter(logit(0.9), np.float32(0))) == [MIDDLE]


def test_a_position_refused_by_a_mask_leaves_its_cell_to_others() -> None:
    """The two positions found from the seed lie in one cell, so only the first that is allowed is visited."""
    first, second = (24, 23, 20), (23, 24, 20)
    found = np.full(OPTIONS.fov_zyx, -3, np.float32)
    found[4, 4, 4], found[8, 7, 4], found[7, 8, 4] = 9, 9, 8
    mask = np.zeros(SHAPE, bool)
    mask[first] = True
    for movement_mask, visited in [(None, [MIDDLE, first]), (mask, [MIDDLE, second])]:
        state = dark(movement_mask=movement_mask)
        requests = flood(state, MIDDLE)
        next(requests)
        requests.send(found)
        with pytest.raises(StopIteration):
            requests.send(np.zeros(OPTIONS.fov_zyx, np.float32))
        assert state.visited == visited


def test_obstacles_written_during_a_flood_count() -> None:
    obstacles = np.zeros(SHAPE, np.int32)
    state = dark(obstacles=obstacles)
    requests = flood(state, MIDDLE)
    next(requests)
    obstacles[:] = 5
    with pytest.raises(StopIteration):
        requests.send(np.full(OPTIONS.fov_zyx, 9, np.float32))


def test_refused_seeds_are_no_obstacles() -> None:
    assert constant_answers(dark(obstacles=np.full(SHAPE, -1)), MIDDLE, 9.0)[0] == MIDDLE


def test_the_extent_is_what_was_written() -> None:
    state = Flood(blobs(SHAPE, 1), OPTIONS)
    drive(flood(state, MIDDLE), OPTIONS.fov_zyx)
    written = np.argwhere(~np.isnan(state.logits))
    assert state.extent == Box(written.min(axis=0), written.max(axis=0) + 1)


def test_the_next_object_starts_from_nothing() -> None:
    image = blobs(SHAPE, 1)
    used, fresh = Flood(image, OPTIONS), Flood(image, OPTIONS)
    drive(flood(used, (15, 15, 15)), OPTIONS.fov_zyx)
    for state in used, fresh:
        drive(flood(state, MIDDLE), OPTIONS.fov_zyx)
    np.testing.assert_array_equal(used.logits, fresh.logits)
    assert used.visited == fresh.visited and used.deleted == fresh.deleted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fov_zyx": (9, 8, 9)}, r"fov_zyx is \(9, 8, 9\); sizes must be odd"),
        ({"deltas_zyx": (4, 4, 5)}, r"deltas_zyx is \(4, 4, 5\); it may reach from 0 to \(4, 4, 4\)"),
        ({"deltas_zyx": (-1, 4, 4)}, "deltas_zyx"),
        ({"move_threshold": 1.0}, "move_threshold is 1.0; it must lie between 0 and 1"),
        ({"pad_value": 0.0}, "pad_value is 0.0"),
    ],
)
def test_options_out_of_range_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(OPTIONS, **change)


@pytest.mark.parametrize(
    ("shape", "arrays", "message"),
    [
        ((40, 40), {}, "has 2 axes"),
        ((40, 8, 40), {}, r"\(40, 8, 40\) voxels .* is smaller than the field of view \(9, 9, 9\)"),
        (SHAPE, {"movement_mask": np.zeros((40, 40, 39), bool)}, r"movement_mask has shape \(40, 40, 39\)"),
    ],
)
def test_an_image_that_cannot_be_flooded_is_refused(shape: Zyx, arrays: dict, message: str) -> None:
    with pytest.raises(VolumeError, match=message):
        Flood(np.zeros(shape, np.float32), OPTIONS, **arrays)


def test_probabilities_become_the_logits_google_ffn_computes_with() -> None:
    """Rounded to float32 before and after, since its settings and its canvas are."""
    assert logit(0.5) == 0
    assert logit(0.9) == np.float32(math.log(float(np.float32(0.9)) / (1 - float(np.float32(0.9)))))
    assert logit(0.95).dtype == np.float32
