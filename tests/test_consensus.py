"""The split consensus is that of the definition, and equals google/ffn's on a real subvolume."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from evaluation import contingency
from inference._label_slabs import narrowed
from inference.consensus import fold_consensus, split_components, split_consensus
from volumes import VolumeError


@st.composite
def label_pairs(draw: st.DrawFn, count: int = 2) -> list[np.ndarray]:
    """Blocky labels of one shape, since runs of equal voxels are what the loops are made for."""
    shape = draw(st.tuples(*[st.integers(1, 6)] * 3))
    seed = draw(st.integers(0, 10**6))
    random = np.random.default_rng(seed)
    stretch = draw(st.sampled_from([1, 2, 3]))
    dtypes = draw(st.lists(st.sampled_from(["uint8", "int32", "uint64"]), min_size=count, max_size=count))
    made = [random.integers(0, 5, shape).repeat(stretch, axis=2).astype(dtype) for dtype in dtypes]
    return [labels << np.uint64(40) if labels.dtype == np.uint64 else labels for labels in made]


def by_the_definition(a: np.ndarray, b: np.ndarray, min_size: int) -> np.ndarray:
    """Voxel by voxel with dictionaries, in the words of the design."""
    pairs = [(int(p), int(q)) for p, q in zip(a.flat, b.flat, strict=True)]
    counts = Counter(pairs)
    heirs: dict[int, tuple[int, int]] = {}
    for pair in sorted(counts):
        p = pair[0]
        if p not in heirs or counts[pair] > counts[heirs[p]]:
            heirs[p] = pair
    ids: dict[tuple[int, int], int] = {}
    fresh = int(a.max()) + 1
    for pair in sorted(counts):
        if pair[0] == 0 or counts[pair] < min_size:
            ids[pair] = 0
        elif heirs[pair[0]] == pair:
            ids[pair] = pair[0]
        else:
            ids[pair] = fresh
            fresh += 1
    return np.array([ids[pair] for pair in pairs], np.uint64).reshape(a.shape)


def components_by_the_definition(labels: np.ndarray, min_size: int) -> np.ndarray:
    """One object at a time, with scipy."""
    out = np.zeros(labels.shape, np.uint64)
    fresh = int(labels.max()) + 1
    for label in np.unique(labels[labels > 0]):
        found, count = ndimage.label(labels == label, np.ones((3, 3, 3)))
        masks = [found == n for n in range(1, count + 1)]
        masks.sort(key=lambda mask: int(np.flatnonzero(mask)[0]))
        heir = max(range(count), key=lambda n: (masks[n].sum(), -n))
        for n, mask in enumerate(masks):
            if mask.sum() < min_size:
                continue
            out[mask] = label if n == heir else fresh
            fresh += n != heir
    return out


@given(label_pairs(), st.integers(1, 6))
def test_pieces_are_those_of_the_definition(pair, min_size: int):
    found = split_consensus(*pair, min_size)
    assert found.dtype == np.uint64
    np.testing.assert_array_equal(found, by_the_definition(*pair, min_size))


@given(label_pairs(3), st.integers(1, 4))
def test_more_segmentations_are_folded_from_the_left(three, min_size: int):
    expected = by_the_definition(by_the_definition(*three[:2], min_size), three[2], min_size)
    np.testing.assert_array_equal(fold_consensus(three, min_size), expected)


@given(label_pairs(1), st.integers(1, 6))
def test_components_are_those_of_the_definition(one, min_size: int):
    found = split_components(one[0], min_size)
    np.testing.assert_array_equal(found, components_by_the_definition(one[0], min_size))


def test_a_case_by_hand():
    """Object 1 is halved: the tie goes to b = 0. Object 2 loses its small piece; (0, b) is nothing."""
    a = np.array([[[1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 3, 3, 3]]])
    b = np.array([[[0, 0, 7, 7, 4, 4, 4, 5, 5, 5, 6, 6, 8]]])
    expected = [[[1, 1, 4, 4, 2, 2, 2, 0, 0, 0, 3, 3, 0]]]
    assert split_consensus(a, b, 2).tolist() == expected
    assert split_consensus(a, b, 1).tolist() == [[[1, 1, 4, 4, 2, 2, 2, 5, 0, 0, 3, 3, 6]]]


def test_small_pieces_stay_at_the_faces_that_are_cuts():
    """Of the small pieces (2, 5) and (3, 8) the latter reaches the end of x."""
    a = np.array([[[1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 3, 3, 3]]])
    b = np.array([[[0, 0, 7, 7, 4, 4, 4, 5, 5, 5, 6, 6, 8]]])
    at_the_end = ((False, False), (False, False), (False, True))
    assert split_consensus(a, b, 2, at_the_end).tolist() == [[[1, 1, 4, 4, 2, 2, 2, 0, 0, 0, 3, 3, 5]]]
    at_the_start = ((False, False), (False, False), (True, False))
    assert split_consensus(a, b, 3, at_the_start).tolist() == [[[1, 1, 0, 0, 2, 2, 2, 0, 0, 0, 0, 0, 0]]]
    assert (
        fold_consensus([a, b, b], 3, at_the_start).tolist() == split_consensus(a, b, 3, at_the_start).tolist()
    )
    along_y = ((False, False), (False, True), (False, False))
    assert split_consensus(a, b, 9, along_y).tolist() == split_consensus(a, b, 1).tolist()


@given(label_pairs(), st.integers(1, 6), st.tuples(*[st.tuples(st.booleans(), st.booleans())] * 3))
def test_what_is_dropped_is_small_and_reaches_no_cut(pair, min_size: int, cuts):
    everything, found = split_consensus(*pair, 1), split_consensus(*pair, min_size, cuts)
    for piece in np.unique(everything[everything > 0]):
        voxels = np.argwhere(everything == piece)
        reaches = any(
            (before and (voxels[:, axis] == 0).any())
            or (after and (voxels[:, axis] == everything.shape[axis] - 1).any())
            for axis, (before, after) in enumerate(cuts)
        )
        kept = np.unique(found[everything == piece])
        assert kept.size == 1
        assert (kept[0] > 0) == (len(voxels) >= min_size or reaches)


def test_small_components_stay_at_the_faces_that_are_cuts():
    labels = np.array([[[5, 0, 0, 5], [0, 5, 0, 5], [0, 0, 0, 0], [7, 0, 0, 5]]], np.uint16)
    below = ((False, False), (False, True), (False, False))
    assert split_components(labels, 2, below).tolist() == split_components(labels, 1).tolist()
    beside = ((False, False), (False, False), (False, True))
    expected = [[[5, 0, 0, 8], [0, 5, 0, 8], [0, 0, 0, 0], [0, 0, 0, 9]]]
    assert split_components(labels, 2, beside).tolist() == expected


def test_an_object_whose_pieces_are_all_small_is_gone():
    assert not split_consensus(np.ones((1, 1, 4), int), np.arange(4).reshape(1, 1, 4), 2).any()


def test_corners_touch_and_the_first_of_equal_components_keeps_the_id():
    labels = np.array([[[5, 0, 0, 5], [0, 5, 0, 5], [0, 0, 0, 0], [7, 0, 0, 5]]], np.uint16)
    assert split_components(labels, 1).tolist() == [[[5, 0, 0, 8], [0, 5, 0, 8], [0, 0, 0, 0], [7, 0, 0, 9]]]
    assert split_components(labels, 2).tolist() == [[[5, 0, 0, 8], [0, 5, 0, 8], [0, 0, 0, 0], [0, 0, 0, 0]]]


def test_one_segmentation_is_its_own_consensus():
    labels = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    np.testing.assert_array_equal(fold_consensus([labels], 1000), labels)


@pytest.mark.parametrize("function", [lambda labels: split_consensus(labels, labels, 1), split_components])
def test_an_empty_array_stays_one(function):
    labels = np.zeros((0, 3, 3), np.uint32)
    found = function(labels) if function is not split_components else function(labels, 1)
    assert found.shape == (0, 3, 3)


def test_equals_the_intersection_google_ffn_made(shared_data: Path):
    with h5py.File(shared_data / "data" / "ffn_reference_dev.h5") as file:
        forward, backward = (file[name]["segmentation"][()] for name in ("forward", "reversed"))
        expected = file["consensus_min1000"][()]
    found = split_consensus(forward, backward, 1000)
    table = contingency(found, expected)
    assert table.counts.size == np.unique(table.segment_ids).size == np.unique(table.truth_ids).size
    np.testing.assert_array_equal(found == 0, expected == 0)
    assert table.counts.size > 15


SEGMENTATION = np.ones((2, 2, 2), np.uint32)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (SEGMENTATION, np.ones((2, 2, 3), int), "do not cover the same voxels; cut both to one box"),
        (SEGMENTATION, np.ones((2, 2, 2)), "the second segmentation has dtype float64"),
        (-SEGMENTATION.astype(int), SEGMENTATION, "the first segmentation holds the negative label -1"),
        (np.ones((2, 2), int), np.ones((2, 2), int), "has 2 axes"),
        (np.full((1, 1, 2), 2**64 - 1), np.arange(2).reshape(1, 1, 2), "do not fit in 64 bits"),
    ],
)
def test_what_has_no_consensus_says_why(first, second, message: str):
    with pytest.raises(VolumeError, match=message):
        split_consensus(first, second, 1)


def test_a_consensus_of_nothing_is_refused():
    with pytest.raises(VolumeError, match="give at least one"):
        fold_consensus([], 1)


@pytest.mark.parametrize("largest, dtype", [(2**32 - 1, np.uint32), (2**32, np.uint64)])
def test_labels_take_32_bits_where_these_hold_them(largest, dtype):
    labels = np.array([0, 3, largest], np.uint64).reshape(1, 1, 3)
    found = narrowed(labels)
    assert found.dtype == dtype and found.ravel().tolist() == [0, 3, largest]
    small = labels.astype(np.int32) % 100
    assert narrowed(small) is small
    assert narrowed(np.zeros((0, 2, 2), np.uint64)).dtype == np.uint32
