"""Segmenting one subvolume: which floods become segments, under which ID, and what is kept about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_network import answer, dim_blobs, drive

from ffn.canvas import REFUSED, Canvas, Origin, quantise_probability, segment_all
from ffn.flood import FloodOptions, flood
from ffn.seeds import peak_seeds
from jobs.pieces import load_npz, save_npz
from volumes import VolumeError

FOV = (9, 9, 9)
OPTIONS = FloodOptions(FOV, (4, 4, 4), min_segment_size=100)
SHAPE = (32, 32, 64)
LEFT, RIGHT = (16, 16, 16), (16, 16, 48)


VOXELS = 7**3


def two_boxes() -> np.ndarray:
    """Two bright boxes of 7³ voxels around `LEFT` and `RIGHT`; one field of view takes in either."""
    image = np.full(SHAPE, -2, np.float32)
    image[13:20, 13:20, 13:20] = image[13:20, 13:20, 45:52] = 2
    return image


def segmented(canvas: Canvas, *seeds: tuple[int, int, int]) -> Canvas:
    return drive(segment_all(canvas, np.array(seeds).reshape(-1, 3)), FOV)


def test_objects_get_ids_in_the_order_of_their_seeds() -> None:
    canvas = segmented(Canvas(two_boxes(), OPTIONS), RIGHT, LEFT)
    assert canvas.segmentation.dtype == np.int32
    assert canvas.segmentation[RIGHT] == 1 and canvas.segmentation[LEFT] == 2
    np.testing.assert_array_equal(canvas.segmentation > 0, two_boxes() > 0)


def test_an_object_tells_its_seed_and_its_steps() -> None:
    canvas = Canvas(two_boxes(), OPTIONS)
    segmented(canvas, LEFT)
    assert canvas.origins == {1: Origin(LEFT, 1)}
    assert canvas.overlaps == {1: {}}


def test_a_seed_inside_a_segment_is_skipped() -> None:
    canvas = segmented(Canvas(two_boxes(), OPTIONS), LEFT, (16, 16, 18))
    assert set(canvas.origins) == {1}


def marked_after(canvas: Canvas, seed: tuple[int, int, int]) -> bool:
    """Whether a seed is marked as refused once it was tried."""
    if canvas.accepts(seed):
        canvas.claim(seed, drive(flood(canvas.flood, seed), FOV))
    marked = canvas.segmentation[seed] == REFUSED
    canvas.clear_marks()
    assert canvas.segmentation[seed] != REFUSED
    return bool(marked)


@pytest.mark.parametrize(("gap", "refused"), [(2, True), (3, False)])
def test_a_seed_too_near_to_a_segment_is_marked(gap: int, refused: bool) -> None:
    options = dataclasses.replace(OPTIONS, min_boundary_dist_zyx=(1, 1, 2))
    segments = np.zeros(SHAPE, np.uint64)
    segments[:, :, :10] = 4
    canvas = Canvas(two_boxes(), options, segmentation=segments)
    seed = (16, 16, 9 + gap)
    assert canvas.accepts(seed) == (not refused)
    assert (canvas.segmentation[seed] == REFUSED) == refused


def test_the_box_around_a_seed_ends_at_the_border() -> None:
    options = dataclasses.replace(OPTIONS, min_boundary_dist_zyx=(30, 30, 30))
    assert Canvas(two_boxes(), options).accepts(LEFT)


def test_a_seed_that_cannot_be_visited_is_skipped_without_a_mark() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[LEFT] = True
    assert not marked_after(Canvas(two_boxes(), OPTIONS, movement_mask=mask), LEFT)
    assert not marked_after(Canvas(two_boxes(), OPTIONS, seed_mask=mask), LEFT)
    assert not marked_after(Canvas(two_boxes(), OPTIONS), (2, 16, 16))


def test_a_flood_without_a_step_leaves_no_mark() -> None:
    options = dataclasses.replace(OPTIONS, init_activation=0.5)
    assert not marked_after(Canvas(two_boxes(), options), LEFT)


def test_a_flood_that_gives_up_its_seed_marks_it() -> None:
    canvas = Canvas(two_boxes(), OPTIONS)
    assert marked_after(canvas, (16, 16, 32))
    assert canvas.origins == {} and canvas.flood.has_lost_seed


def test_an_object_too_small_marks_its_seed() -> None:
    for size, marked in [(VOXELS, False), (VOXELS + 1, True)]:
        canvas = Canvas(two_boxes(), dataclasses.replace(OPTIONS, min_segment_size=size))
        assert marked_after(canvas, LEFT) is marked
        assert (canvas.origins == {}) is marked


def test_earlier_segments_win_and_the_overlap_is_recorded() -> None:
    segments = np.zeros(SHAPE, np.uint16)
    segments[:, :, 18:] = 7
    segments[0, 0, 0] = 9
    canvas = segmented(Canvas(two_boxes(), OPTIONS, segmentation=segments), LEFT)
    kept = segments > 0
    np.testing.assert_array_equal(canvas.segmentation[kept], segments[kept])
    assert canvas.overlaps == {10: {7: 7 * 7 * 2}}
    assert np.count_nonzero(canvas.segmentation == 10) == 7 * 7 * 5


def test_voxels_of_earlier_segments_do_not_count_for_the_size() -> None:
    segments = np.zeros(SHAPE, np.uint16)
    segments[:, :, 18:] = 7
    for size, marked in [(7 * 7 * 5, False), (7 * 7 * 5 + 1, True)]:
        options = dataclasses.replace(OPTIONS, min_segment_size=size)
        assert marked_after(Canvas(two_boxes(), options, segmentation=segments), LEFT) is marked


def test_marks_keep_nothing_out_and_are_gone_in_the_end() -> None:
    canvas = Canvas(two_boxes(), OPTIONS)
    canvas.segmentation[LEFT] = canvas.segmentation[14, 14, 14] = canvas.segmentation[0, 0, 0] = REFUSED
    segmented(canvas, LEFT)
    assert np.count_nonzero(canvas.segmentation == 1) == VOXELS
    assert canvas.segmentation.min() == 0


def test_every_seed_is_flooded_as_if_it_were_alone() -> None:
    """Clearing only what was visited leaves nothing behind: each comes out as on a fresh canvas."""
    both = segmented(Canvas(two_boxes(), OPTIONS), LEFT, RIGHT)
    alone = segmented(Canvas(two_boxes(), OPTIONS), RIGHT)
    np.testing.assert_array_equal(both.segmentation == 2, alone.segmentation == 1)
    assert both.origins[2] == alone.origins[1]


def test_probabilities_are_kept_for_segments_only() -> None:
    canvas = segmented(Canvas(two_boxes(), OPTIONS), LEFT)
    np.testing.assert_array_equal(canvas.probability > 0, canvas.segmentation > 0)
    assert canvas.probability[LEFT] >= quantise_probability(np.array([0.6]))[0]
    assert Canvas(two_boxes(), OPTIONS, keep_probability=False).probability is None


def test_probabilities_are_quantised_as_google_ffn_does() -> None:
    given = [0, 0.5, 0.6, 1, np.nan, 253.9 / 254]
    assert quantise_probability(np.array(given)).tolist() == [1, 128, 153, 255, 0, 254]


def snapshots(canvas: Canvas, seeds: np.ndarray, every: int) -> Iterator[dict[str, np.ndarray]]:
    """The canvas at every so many requests while it is segmented."""
    floods, image, logits = segment_all(canvas, seeds), *np.empty((2, *FOV), np.float32)
    prediction: Any = None
    for count in range(1_000_000):
        try:
            request = floods.send(prediction)
        except StopIteration:
            return
        if count % every == 0:
            yield canvas.snapshot()
        request.copy_into(image, logits)
        prediction = answer(image, logits)


def test_a_canvas_goes_on_in_the_middle_of_an_object(tmp_path: Path) -> None:
    """Stored at any request and loaded into a fresh canvas, it comes to the same in every array."""
    image = dim_blobs(SHAPE, 3)
    options = dataclasses.replace(OPTIONS, min_segment_size=30, disco_seed_threshold=0.0)
    seeds = peak_seeds(image, FOV)
    whole = drive(segment_all(Canvas(image, options), seeds), FOV).snapshot()
    assert len(whole["origins"]) >= 4
    middle_of_an_object = 0
    for number, stored in enumerate(snapshots(Canvas(image, options), seeds, every=11)):
        path = tmp_path / f"{number}.npz"
        save_npz(path, stored)
        fresh = Canvas(image, options)
        fresh.restore(load_npz(path))
        middle_of_an_object += len(fresh.flood.visited) > 0
        finished = drive(segment_all(fresh, seeds), FOV).snapshot()
        assert finished.keys() == whole.keys()
        for name in whole:
            np.testing.assert_array_equal(finished[name], whole[name], err_msg=f"{name} from {number}")
    assert middle_of_an_object > 3


def test_a_snapshot_of_another_subvolume_is_refused() -> None:
    stored = Canvas(two_boxes(), OPTIONS).snapshot()
    with pytest.raises(VolumeError, match="delete it to start over"):
        Canvas(two_boxes()[:, :, :32], OPTIONS).restore(stored)


@pytest.mark.parametrize(
    ("image", "segmentation", "message"),
    [
        pytest.param(np.full(SHAPE, np.nan, np.float32), None, "not finite", id="NaN"),
        pytest.param(np.zeros((8, 32, 32), np.float32), None, "smaller than the field of view", id="small"),
        pytest.param(two_boxes(), np.zeros((1, 1, 1)), "segmentation has shape", id="another shape"),
        pytest.param(two_boxes(), np.full(SHAPE, 2**31), "2147483648 is above", id="large IDs"),
    ],
)
def test_what_cannot_be_segmented_is_refused(
    image: np.ndarray, segmentation: np.ndarray | None, message: str
) -> None:
    with pytest.raises(VolumeError, match=message):
        Canvas(image, OPTIONS, segmentation=segmentation)
