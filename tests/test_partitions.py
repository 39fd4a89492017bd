"""Classes of centres: counted right, alike in blocks and whole, kept between starts, drawn equally."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import edt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_cases import blobs, two_slabs

from ffn.training import centres as centres_module
from ffn.training.centre_draw import CentreDraw, class_groups
from ffn.training.centres import CentreRule, find_centres, survey
from ffn.training.partitions import NO_OBJECT, block_classes
from volumes.arrays import ArrayVolume
from volumes.box import Box

RULE = CentreRule((2, 3, 1), (3, 4, 5), (0.2, 0.4, 0.8), min_object_voxels=500, clearance=1.5)


def partition_classes(labels, radius, thresholds, min_object_voxels):
    """The classes of a whole volume."""
    ids, counts = np.unique(labels, return_counts=True)
    large = ids[counts >= min_object_voxels]
    return block_classes(labels, Box.from_shape(labels.shape), large, radius, thresholds)


def _counted(labels, radius, thresholds):
    """The classes by their definition, voxel by voxel."""
    classes = np.full(labels.shape, NO_OBJECT, np.uint8)
    window = np.prod([2 * r + 1 for r in radius])
    for point in zip(*np.nonzero(labels), strict=True):
        box = tuple(slice(max(0, p - r), p + r + 1) for p, r in zip(point, radius, strict=True))
        share = (labels[box] == labels[point]).sum() / window
        classes[point] = sum(share >= threshold for threshold in thresholds)
    return classes


def _centres(labels, rule=RULE, mask=None, folder=None, block=(192, 192, 192)):
    labels = ArrayVolume(labels)
    mask = None if mask is None else ArrayVolume(mask)
    return find_centres(labels, mask, rule, survey(labels, mask), folder, block)


def _as_array(centres, shape):
    """The classes of every voxel, brick by brick."""
    grid = [-(-n // 32) for n in shape]
    whole = centres._bricks.reshape(*grid, 32, 32, 32).transpose(0, 3, 1, 4, 2, 5)
    return whole.reshape([32 * n for n in grid])[tuple(slice(n) for n in shape)]


def test_partition_is_the_share_of_same_object_voxels_around():
    labels = two_slabs()[1]
    classes = partition_classes(labels, (2, 2, 2), thresholds=(0.55, 0.9), min_object_voxels=1)
    middle = classes[10, :, 12]
    # Deep inside everything is the same object; at the border 3 of 5 layers are (0.6).
    assert middle[5] == 2 and middle[10] == 1 and middle[11] == 1
    assert partition_classes(labels, (2, 2, 2), (0.61, 0.9), 1)[10, 10, 12] == 0


def test_unlabelled_voxels_and_small_objects_have_no_class():
    labels = np.zeros((12, 12, 12), np.uint32)
    labels[2:5, 2:5, 2:5] = 7
    labels[6:, 6:, 6:] = 9
    classes = partition_classes(labels, (1, 1, 1), (0.5,), min_object_voxels=100)
    np.testing.assert_array_equal(classes != NO_OBJECT, labels == 9)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_partition_matches_counting_by_hand(dtype):
    labels = np.random.default_rng(0).integers(0, 3, (9, 8, 7)).astype(dtype)
    labels[labels == 2] = np.iinfo(dtype).max
    found = partition_classes(labels, (1, 2, 1), thresholds=(0.2, 0.4), min_object_voxels=1)
    np.testing.assert_array_equal(found, _counted(labels, (1, 2, 1), (0.2, 0.4)))


@given(
    seed=st.integers(0, 99),
    start=st.tuples(*[st.integers(0, 8)] * 3),
    radius=st.tuples(*[st.integers(0, 4)] * 3),
)
def test_a_block_with_its_context_has_the_classes_of_the_whole(seed, start, radius):
    labels = blobs((16, 15, 14), seed, 5)
    whole = partition_classes(labels, radius, (0.1, 0.5, 0.9), min_object_voxels=1)
    core = Box.from_shape((6, 5, 6), start)
    around = core.grow(radius).intersect(Box.from_shape(labels.shape))
    inner = core.shift([-n for n in around.start])
    found = block_classes(labels[around.slices()], inner, range(1, 6), radius, (0.1, 0.5, 0.9))
    np.testing.assert_array_equal(found, whole[core.slices()])


@pytest.mark.parametrize("block", [(32, 32, 32), (64, 32, 96)], ids=str)
def test_centres_do_not_depend_on_the_blocks_and_are_those_of_the_definition(block):
    labels = blobs((70, 50, 66), 3)
    mask = np.zeros(labels.shape, np.uint8)
    mask[:, 20:25] = 9
    found = _as_array(_centres(labels, mask=mask, block=block), labels.shape)
    expected = _counted(labels, RULE.radius_zyx, RULE.thresholds)
    sizes = np.bincount(labels.ravel())
    expected[sizes[labels] < RULE.min_object_voxels] = NO_OBJECT
    expected[edt.edt(labels) < RULE.clearance] = NO_OBJECT
    expected[mask != 0] = NO_OBJECT
    inner = Box.from_shape(labels.shape).grow([-m for m in RULE.margin_zyx])
    outside = np.ones(labels.shape, bool)
    outside[inner.slices()] = False
    expected[outside] = NO_OBJECT
    np.testing.assert_array_equal(found, expected)


def test_depth_is_measured_in_space():
    labels = np.ones((20, 30, 30), np.uint32)
    labels[10:] = 2
    rule = replace(RULE, margin_zyx=(2, 2, 2), clearance=3.0)
    for edges, layers in (((1, 1, 1), 4), ((3, 1, 1), 0), ((1, 3, 3), 4)):
        classes = _as_array(_centres(labels, replace(rule, edges_zyx=edges)), labels.shape)
        # Of 16 layers those at the border of the objects, two on either side or none.
        assert (classes[2:-2, 15, 15] == NO_OBJECT).sum() == layers


@pytest.mark.parametrize("block", [(32, 32, 32), (192, 192, 192)], ids=str)
def test_an_object_too_thin_for_the_clearance_keeps_its_deepest_voxels(block):
    labels = np.ones((40, 40, 70), np.uint64)
    labels[18:21, 15:18] = 2**63 + 7
    labels[30:32, 20:22] = 5
    mask = np.zeros(labels.shape, bool)
    mask[30:32] = True
    labels[:2, :2] = 6
    rule = replace(RULE, margin_zyx=(3, 3, 3), min_object_voxels=100, clearance=2.5)
    found = _centres(labels, rule, mask, block=block)
    classes = _as_array(found, labels.shape)
    thin = np.argwhere((classes != NO_OBJECT) & (labels == 2**63 + 7))
    assert {tuple(at) for at in thin} == {(19, 16, x) for x in range(3, 67)}
    # The masked one, and the one at the border of the volume.
    assert found.without == 2


def test_objects_are_measured_in_the_whole_volume_not_in_a_block():
    labels = np.zeros((64, 32, 32), np.uint32)
    labels[:, 8:24, 8:24] = 5
    rule = replace(RULE, min_object_voxels=64 * 256, clearance=0)
    centres = _centres(labels, rule, block=(32, 32, 32))
    assert len(centres) == (64 - 6) * 256 * 1 and (_as_array(centres, labels.shape)[:, 8:24, 8:24] < 9).any()


def test_no_more_is_read_at_a_time_than_a_block_and_what_is_around_it():
    class Watched(ArrayVolume):
        largest = 0

        def _load(self, box):
            self.largest = max(self.largest, box.size)
            return super()._load(box)

    labels = Watched(blobs((100, 66, 70), 3))
    find_centres(labels, None, RULE, survey(labels, None, (32, 32, 32)), block=(32, 32, 32))
    assert labels.largest <= (32 + 2 * 2) * (32 + 2 * 3) * (32 + 2 * 2)


def test_classes_are_drawn_equally_and_their_voxels_too():
    labels = blobs((40, 45, 50), 1, 4)
    centres = _centres(labels, replace(RULE, margin_zyx=(16, 18, 20), clearance=0))
    classes = _as_array(centres, labels.shape)
    rng = np.random.default_rng(0)
    draw = CentreDraw([SimpleNamespace(centres=centres)], [1.0])
    found = [draw.draw(rng)[1] for _ in range(20_000)]
    drawn = [(voxel, int(classes[voxel])) for voxel in found]
    assert all(of_class != NO_OBJECT for _, of_class in drawn)
    by_class = np.bincount([of_class for _, of_class in drawn])
    present = by_class[np.flatnonzero(centres.counts)]
    assert len(present) > 1 and present.min() > 0.9 * present.mean() and by_class.sum() == present.sum()
    rarest = int(np.flatnonzero(centres.counts)[np.argmin(centres.counts[centres.counts > 0])])
    seen = {voxel for voxel, of_class in drawn if of_class == rarest}
    assert len(seen) == centres.counts[rarest] == np.count_nonzero(classes == rarest)


def test_thin_classes_are_put_together_with_the_next():
    assert class_groups(np.array([18, 26, 518, 3069, 9000]), 1000) == [[0, 1, 2, 3], [4]]
    assert class_groups(np.array([0, 1500, 0, 3000, 40]), 1000) == [[1], [3, 4]]
    assert class_groups(np.array([3, 0, 4]), 1000) == [[0, 2]]
    assert class_groups(np.array([3, 0, 4]), 1) == [[0], [2]]


class Counted:
    """Centres that are numbers: of each class so many."""

    def __init__(self, *counts):
        self.counts, self.centres = np.array(counts), self

    def voxel(self, of_class, number):
        return of_class, number, 0


def test_a_class_is_drawn_over_all_volumes_and_a_few_voxels_do_not_take_a_share_of_their_own():
    volumes = [Counted(4, 996, 9000), Counted(0, 2000, 8000)]
    draw = CentreDraw(volumes, [1.0, 3.0], 1000)
    assert draw.groups == [[0, 1], [2]] and "classes 0-1 are drawn as one" in draw.describe()
    rng = np.random.default_rng(0)
    drawn = [draw.draw(rng) for _ in range(20_000)]
    by_class = np.bincount([voxel[0] for _, voxel in drawn], minlength=3) / len(drawn)
    # In proportion to weight times share: 0.004 and 0.996 · 0.1 of the first, 3 · 0.2 of the second.
    assert by_class[0] == pytest.approx(0.5 * 0.0004 / 0.7, abs=0.001) and abs(by_class[2] - 0.5) < 0.02
    of_first = np.mean([volume is volumes[0] for volume, voxel in drawn if voxel[0] < 2])
    assert of_first == pytest.approx(0.1 / 0.7, abs=0.02)
    of_first = np.mean([volume is volumes[0] for volume, voxel in drawn if voxel[0] == 2])
    assert of_first == pytest.approx(0.9 / (0.9 + 3 * 0.8), abs=0.02)


def test_the_same_seed_draws_the_same_centres():
    labels = blobs((40, 45, 50), 1, 4)
    first, second = (_centres(labels, block=block) for block in [(32, 32, 32), (64, 64, 64)])
    both = [CentreDraw([SimpleNamespace(centres=each)], [1.0]) for each in (first, second)]
    draws = [[c.draw(np.random.default_rng(n))[1] for n in range(50)] for c in both]
    assert draws[0] == draws[1]


def test_classes_are_kept_for_the_next_start_and_found_by_all_they_follow_from(tmp_path, monkeypatch):
    labels = blobs((40, 40, 40), 2)
    first = _as_array(_centres(labels, folder=tmp_path), labels.shape)
    assert len(list(tmp_path.iterdir())) == 2

    made = []
    monkeypatch.setattr(centres_module, "block_classes", lambda *args: made.append(1) or block_classes(*args))
    again = _centres(labels, folder=tmp_path)
    np.testing.assert_array_equal(_as_array(again, labels.shape), first)
    np.testing.assert_array_equal(again.counts, _centres(labels).counts)
    made.clear()

    mask = np.zeros(labels.shape, bool)
    mask[20, 20, 20] = True
    other = labels.copy()
    other[20, 20, 20] += 1
    changes = [{"radius_zyx": (2, 3, 2)}, {"margin_zyx": (3, 4, 4)}, {"thresholds": (0.2, 0.4, 0.7)}]
    changes += [{"min_object_voxels": 501}, {"clearance": 2.0}]
    for change in changes:
        _centres(labels, replace(RULE, **change), folder=tmp_path)
    _centres(labels, mask=mask, folder=tmp_path)
    _centres(other, folder=tmp_path)
    assert len(made) == 7 and len(list(tmp_path.iterdir())) == 16


@pytest.mark.parametrize("suffix", [".classes", ".npz"])
def test_damaged_classes_are_made_anew(tmp_path, suffix):
    labels = blobs((40, 40, 40), 2)
    expected = _as_array(_centres(labels, folder=tmp_path), labels.shape).copy()
    (path,) = tmp_path.glob(f"*{suffix}")
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    np.testing.assert_array_equal(_as_array(_centres(labels, folder=tmp_path), labels.shape), expected)
