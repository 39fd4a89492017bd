"""Pairs flooded again: what is cleared, where floods begin, when they are tried again, and what is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_network import FakeNetwork, drive

from agglomeration.errors import AgglomerationError
from agglomeration.pair_box import PairBox
from agglomeration.resegmentation import (
    PairFloods,
    ResegmentationSettings,
    require_room,
    resegment_end,
    resegment_pair,
    resegmentation_settings,
)
from agglomeration.starts import deepest_points, depths_nm
from configs.proto import reconstruction_pb2
from configs.views import ConfigView
from ffn.flood import FloodOptions
from inference.executor import run_floods
from volumes.box import Box

FOV = (9, 9, 9)
OPTIONS = FloodOptions(FOV, (4, 4, 4), segment_threshold=0.5, min_segment_size=1)
SETTINGS = ResegmentationSettings((12, 12, 24), (10, 10, 20))
SHAPE = (25, 25, 49)
CENTRE = (12, 12, 24)
# A bar of 9 x 9 voxels along x, cut in the middle.
BAR = (slice(8, 17), slice(8, 17))


def bright(mask: np.ndarray) -> np.ndarray:
    """An image of which the fake network floods the mask; brightest along its axis, so that floods go on."""
    depth = depths_nm(np.pad(mask, 1), (1, 1, 1))[1:-1, 1:-1, 1:-1]
    return np.where(mask, 1 + 0.1 * depth, -3).astype(np.float32)


def pair_box(image: np.ndarray, labels: np.ndarray, **other) -> PairBox:
    ids = np.arange(1, labels.max() + 1, dtype=np.uint64) * np.uint64(100)
    whole = Box.from_shape(labels.shape)
    plain = PairBox(image, labels, 1, 2, CENTRE, (10.0, 10.0, 10.0), whole, ids)
    return replace(plain, **other)


def halves(gap: int = 0, membrane: bool = False) -> PairBox:
    """A bar along x whose halves are objects 1 and 2; dark between them where there is a membrane."""
    labels = np.zeros(SHAPE, np.int32)
    labels[(*BAR, slice(0, 24 - gap))] = 1
    labels[(*BAR, slice(25 + gap, None))] = 2
    mask = np.zeros(SHAPE, bool)
    mask[BAR] = True
    if membrane:
        mask[:, :, 22:27] = False
        labels[:, :, 22:27] = 0
    return pair_box(bright(mask), labels)


def flooded(box: PairBox, settings: ResegmentationSettings = SETTINGS, options=OPTIONS) -> PairFloods:
    return drive(resegment_pair(box, options, settings), FOV)


def shares(floods: PairFloods, box: PairBox) -> list[float]:
    """Of 1 and of 2, by the flood from 1, then by the flood from 2."""
    where = floods.analysis
    labels = box.labels[where.slices()]
    return [
        float(flood.mask(where)[labels == name].mean())
        for flood in (floods.from_a, floods.from_b)
        for name in (1, 2)
    ]


def test_both_floods_fill_both_halves_of_one_object() -> None:
    box = halves()
    floods = flooded(box)
    assert min(shares(floods, box)) > 0.9
    np.testing.assert_array_equal(floods.from_a.mask(floods.analysis), floods.from_b.mask(floods.analysis))
    assert floods.from_a.recovered and floods.from_b.recovered


def test_a_membrane_keeps_the_other_object_out() -> None:
    box = halves(membrane=True)
    a_from_a, b_from_a, a_from_b, b_from_b = shares(flooded(box), box)
    assert min(a_from_a, b_from_b) > 0.9
    assert (b_from_a, a_from_b) == (0, 0)


def test_other_objects_are_in_the_way() -> None:
    # The bar goes on without a membrane, but its middle belongs to a third object.
    box = halves(gap=4)
    box.labels[(*BAR, slice(20, 29))] = 3
    floods = flooded(box)
    a_from_a, b_from_a, *_ = shares(floods, box)
    assert a_from_a > 0.9 and b_from_a == 0
    assert floods.from_a.visited[:, 2].max() < 20
    # It is not when it is one of the pair.
    other = pair_box(box.image, box.labels, b=3)
    assert drive(resegment_pair(other, OPTIONS, SETTINGS), FOV).from_a.visited[:, 2].max() >= 20


def test_masked_voxels_are_in_the_way() -> None:
    box = halves()
    mask = np.zeros(SHAPE, bool)
    mask[:, :, 24:26] = True
    masked = replace(box, movement_mask=mask)
    assert shares(flooded(masked), masked)[1] < 0.2


def test_arguments_stay_as_they_are() -> None:
    box = halves()
    image, labels = box.image.copy(), box.labels.copy()
    flooded(box)
    np.testing.assert_array_equal(box.image, image)
    np.testing.assert_array_equal(box.labels, labels)


def test_the_first_start_is_the_deepest_voxel_half_a_field_of_view_inside() -> None:
    # Depth is 50 nm all along the axis (12, 12); x counts from 4, half a field of view inside the box.
    floods = flooded(halves())
    assert floods.from_a.start == (12, 12, 4)
    assert floods.from_b.start == (12, 12, 29)


def test_the_depth_is_in_nanometres() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[3:6, 1:8, 1:8] = True
    # Sections of 50 nm: as far to z as to y and x; of 10 nm: nearer.
    assert depths_nm(mask, (50, 25, 25))[4, 4].tolist() == [0, 25, 50, 75, 100, 75, 50, 25, 0]
    assert depths_nm(mask, (10, 25, 25)).max() == 20


def test_an_object_that_fills_everything_has_a_depth() -> None:
    assert depths_nm(np.ones((5, 5, 5), bool), (1, 1, 1))[2, 2, 2] == 3


def points(mask: np.ndarray, **other) -> list[tuple[int, int, int]]:
    arguments = {"margin_zyx": (0, 0, 0), "apart_zyx": (0, 0, 0), **other}
    return list(deepest_points(mask, (1.0, 1.0, 1.0), **arguments))


def test_starts_are_kept_apart_by_the_exclusion_box() -> None:
    line = np.zeros((1, 1, 12), bool)
    line[..., 1:11] = True
    # Depths 0 1 2 3 4 5 5 4 3 2 1 0.
    assert points(line)[:4] == [(0, 0, 5), (0, 0, 6), (0, 0, 4), (0, 0, 7)]
    assert points(line, apart_zyx=(0, 0, 2)) == [(0, 0, 5), (0, 0, 8), (0, 0, 2)]
    assert points(line, apart_zyx=(0, 0, 2), margin_zyx=(0, 0, 4)) == [(0, 0, 5)]
    assert points(line, apart_zyx=(9, 9, 9), unwanted=Box((0, 0, -3), (5, 5, 7))) == [(0, 0, 7)]


def test_no_start_without_room() -> None:
    assert points(np.ones((4, 4, 4), bool), margin_zyx=(2, 2, 2)) == []
    box = halves()
    small = replace(
        box,
        image=box.image[10:14],
        labels=box.labels[10:14],
        point=(2, 12, 24),
        inner=Box.from_shape((4, 25, 49)),
    )
    floods = flooded(small)
    assert floods.from_a is None and floods.from_b is None and floods.fovs == 0


def trap() -> PairBox:
    """Object 1 is a deep blob of which the network finds nothing, and a bar that it can flood."""
    box = halves()
    labels, image = box.labels.copy(), box.image.copy()
    labels[3:22, 3:22, 2:13] = 1
    image[3:22, 3:22, 2:13] = -3
    return replace(box, labels=labels, image=image)


def test_another_start_is_tried_outside_the_exclusion_box_until_enough_is_recovered() -> None:
    box = trap()
    settings = replace(SETTINGS, analysis_radius_zyx=(10, 10, 8), exclusion_radius_zyx=(12, 12, 9))
    from_a = flooded(box, settings).from_a
    first, *others = from_a.starts
    assert box.image[first] == -3
    assert len(others) == 1 and from_a.start == others[0]
    assert abs(others[0][2] - first[2]) > 9
    assert from_a.recovered
    # The second flood only: the first one's field of view is not among those kept, but counted.
    assert from_a.fovs == len(from_a.visited) + 1


def test_starts_are_limited_and_the_best_of_failed_floods_is_kept() -> None:
    box = trap()
    settings = replace(
        SETTINGS,
        min_recovered=1.0,
        max_starts=3,
        exclusion_radius_zyx=(12, 12, 9),
        analysis_radius_zyx=(10, 10, 8),
    )
    hard = replace(box, labels=box.labels.copy())
    hard.labels[2, 12, 18] = 1
    from_a = flooded(hard, settings).from_a
    assert not from_a.recovered and 0 < from_a.share < 1
    assert from_a.start == from_a.starts[1]
    assert len(flooded(hard, replace(settings, max_starts=1)).from_a.starts) == 1


def test_google_ffn_keeps_the_last_flood() -> None:
    box = trap()
    # From the far end of the blob nothing is flooded, either.
    settings = replace(SETTINGS, min_recovered=1.0, max_starts=2, exclusion_radius_zyx=(2, 2, 2))
    best = flooded(box, replace(settings, max_starts=40)).from_a
    last = flooded(box, replace(settings, keep_last=True)).from_a
    assert last.start == last.starts[-1]
    assert best.share > last.share


def test_the_share_that_has_to_be_recovered_is_that_of_the_analysis_box() -> None:
    box = trap()
    # Of all of object 1 the flood of its bar is less than a third; near the point it is nearly all.
    near = replace(SETTINGS, analysis_radius_zyx=(10, 10, 8), exclusion_radius_zyx=(12, 12, 9))
    assert flooded(box, near).from_a.recovered
    assert not flooded(box, replace(near, analysis_radius_zyx=(10, 10, 24))).from_a.recovered


def test_a_number_of_voxels_can_be_asked_for() -> None:
    box = halves()
    few = replace(SETTINGS, min_recovered=0.0, min_recovered_voxels=10)
    assert flooded(box, few).from_a.recovered
    assert not flooded(box, replace(few, min_recovered_voxels=10**6)).from_a.recovered


@pytest.mark.parametrize("case", ["membrane", "unrecovered", "one"])
def test_the_second_object_is_left_out_when_the_first_flood_says_enough(case: str) -> None:
    box = {"membrane": halves(membrane=True), "unrecovered": halves(), "one": halves()}[case]
    if case == "unrecovered":
        box.image[box.labels == 1] = -3
    early = flooded(box, replace(SETTINGS, terminate_early=True))
    whole = flooded(box)
    assert (early.from_b is None) == (case != "one")
    assert whole.from_b is not None
    assert early.from_a.start == whole.from_a.start


def test_deleted_voxels_are_kept_for_each_step() -> None:
    floods = flooded(halves())
    for flood in (floods.from_a, floods.from_b):
        assert flood.visited.shape == (len(flood.deleted), 3)
    assert floods.fovs == floods.from_a.fovs + floods.from_b.fovs


def test_the_analysis_box_ends_with_the_volume() -> None:
    box = replace(halves(), inner=Box((2, 0, 0), (25, 25, 44)))
    assert flooded(box, replace(SETTINGS, analysis_radius_zyx=(30, 3, 22))).analysis == Box(
        (2, 9, 2), (25, 16, 44)
    )


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_pair_has_the_same_floods_alone_and_among_others(batch_size: int) -> None:
    boxes = [halves(), halves(membrane=True), trap(), halves(gap=3)]
    alone = [flooded(box) for box in boxes]

    def numbered(number: int, box: PairBox):
        return number, (yield from resegment_pair(box, OPTIONS, SETTINGS))

    tasks = [numbered(number, box) for number, box in enumerate(boxes)]
    together = dict(run_floods(tasks, FakeNetwork(), FOV, batch_size=batch_size))
    for number, expected in enumerate(alone):
        found = together[number]
        for mine, theirs in ((expected.from_a, found.from_a), (expected.from_b, found.from_b)):
            assert mine.starts == theirs.starts
            np.testing.assert_array_equal(mine.logits, theirs.logits)
            np.testing.assert_array_equal(mine.visited, theirs.visited)
            np.testing.assert_array_equal(mine.deleted, theirs.deleted)


def test_from_an_end_the_flood_goes_into_any_object() -> None:
    box = halves(gap=4)
    box.labels[(*BAR, slice(20, 29))] = 3
    end = replace(box, b=None)
    found = drive(resegment_end(end, OPTIONS, SETTINGS), FOV)
    assert found.ids.tolist() == [1, 2, 3]
    # 81 voxels a section; the objects are 20, 20 and 9 sections long.
    assert found.original.tolist() == [1620, 1620, 729]
    inside = found.flood.mask(Box.from_shape(SHAPE))
    assert found.overlapping.tolist() == [int(inside[box.labels == i].sum()) for i in (1, 2, 3)]
    assert found.overlapping[2] == 729
    assert found.voxels == inside.sum()


def test_an_end_at_a_membrane_joins_nothing() -> None:
    box = replace(halves(membrane=True), b=None)
    assert drive(resegment_end(box, OPTIONS, SETTINGS), FOV).ids.tolist() == [1]


def test_a_box_without_the_object_is_refused() -> None:
    with pytest.raises(AgglomerationError, match="object 7 has no voxel in the box"):
        flooded(replace(halves(), b=7))


def section(**fields: float) -> ConfigView:
    message = reconstruction_pb2.ReconstructionConfig(name="t", output_dir="o")
    config = ConfigView(message).replace(agglomeration={"resegmentation": fields})
    return config.agglomeration.resegmentation


def test_lengths_become_voxels_of_each_axis() -> None:
    settings = resegmentation_settings(section(radius_nm=500, analysis_radius_nm=340), (20.0, 10.0, 10.0))
    assert settings == ResegmentationSettings(
        radius_zyx=(25, 50, 50), analysis_radius_zyx=(17, 34, 34), exclusion_radius_zyx=(4, 8, 8)
    )


def test_a_box_smaller_than_the_field_of_view_is_refused() -> None:
    require_room(replace(SETTINGS, radius_zyx=(4, 4, 4)), OPTIONS)
    with pytest.raises(AgglomerationError, match="9×7×9 voxels .* smaller than the field of view"):
        require_room(replace(SETTINGS, radius_zyx=(4, 3, 4)), OPTIONS)
