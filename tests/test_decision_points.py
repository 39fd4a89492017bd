"""Where supervoxels come closest: hand-computed gaps, and a slow reference that compares every voxel."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agglomeration.candidate_pairs import CandidatePairs
from agglomeration.decision_points import find_decision_points
from agglomeration.errors import AgglomerationError
from agglomeration.expansion import expand, reach_voxels
from jobs.pieces import CorruptPieceError
from volumes import VolumeError

BIG = 2**40


def slabs(gap: int, *, axis: int = 2, shape: tuple[int, int] = (5, 5)) -> np.ndarray:
    """Supervoxels 7 and 2**40 that face each other over empty voxels, 3 thick."""
    row = np.repeat(np.array([7, 0, BIG], np.uint64), [3, gap, 3])
    labels = np.broadcast_to(row, (*shape, row.size))
    return np.ascontiguousarray(np.moveaxis(labels, 2, axis))


def rows(pairs: CandidatePairs) -> list[tuple[int, int, list[int], float, int]]:
    columns = pairs.id_a, pairs.id_b, pairs.points_zyx.tolist(), pairs.distance_nm, pairs.contact_faces
    return [(int(a), int(b), point, float(d), int(f)) for a, b, point, d, f in zip(*columns, strict=True)]


@pytest.mark.parametrize(
    ("gap", "point_x", "distance_nm"),
    [(0, 2, 0.0), (1, 3, 10.0), (2, 3, 20.0), (3, 4, 30.0), (4, 4, 40.0)],
)
def test_slabs_meet_in_the_middle_of_their_gap(gap: int, point_x: int, distance_nm: float) -> None:
    pairs = find_decision_points(slabs(gap), (10, 10, 10), max_distance_nm=100)
    assert rows(pairs) == [(7, BIG, [2, 2, point_x], distance_nm, 25)]
    assert (pairs.size_a.tolist(), pairs.size_b.tolist()) == ([75], [75])


@pytest.mark.parametrize(("axis", "distance_nm"), [(0, 80.0), (1, 16.0), (2, 8.0)])
def test_distances_are_physical(axis: int, distance_nm: float) -> None:
    pairs = find_decision_points(slabs(2, axis=axis), (40, 8, 4), max_distance_nm=40)
    assert pairs.distance_nm.tolist() == [distance_nm]


def test_the_nearest_is_chosen_by_nanometres_and_not_by_voxels() -> None:
    # One section up is 40 nm, three voxels along x are 12 nm.
    labels = np.zeros((2, 1, 4), np.uint8)
    labels[1, 0, 0], labels[0, 0, 3] = 1, 2
    expanded = expand(labels, (40, 8, 4), 40)
    assert expanded.objects[0, 0].tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(("limit_nm", "found"), [(19.99, 0), (20, 1)])
def test_supervoxels_grow_up_to_the_limit(limit_nm: float, found: int) -> None:
    assert len(find_decision_points(slabs(4), (10, 10, 10), max_distance_nm=limit_nm)) == found


def test_three_supervoxels_meet_in_three_pairs() -> None:
    labels = np.zeros((1, 4, 4), np.uint64)
    labels[0, :2, :2], labels[0, :2, 2:], labels[0, 2:] = 1, 2, 3
    found = find_decision_points(labels, (10, 10, 10), max_distance_nm=10)
    # Ties of an even number of faces: of the two next to the centroid the first.
    assert rows(found) == [
        (1, 2, [0, 0, 1], 0.0, 2),
        (1, 3, [0, 1, 0], 0.0, 2),
        (2, 3, [0, 1, 2], 0.0, 2),
    ]


def test_a_supervoxel_between_two_others_keeps_them_apart() -> None:
    labels = np.array([[[1, 0, 5, 0, 2]]], np.int64)
    pairs = find_decision_points(labels, (10, 10, 10), max_distance_nm=100)
    assert [(a, b) for a, b, *_ in rows(pairs)] == [(1, 5), (2, 5)]


def test_of_ties_the_one_nearest_the_centroid_is_taken() -> None:
    # A flat gap of two voxels, 5 by 5 faces, of which a corner of 2 by 2 is missing: the centroid moves away
    # from it, by less than a voxel.
    labels = slabs(2)
    labels[:2, :2] = 0
    pairs = find_decision_points(labels, (10, 10, 10), max_distance_nm=10)
    assert rows(pairs) == [(7, BIG, [2, 2, 3], 20.0, 21)]
    # Of two opposite columns neither is the middle, and the point is one of theirs.
    labels[:, 1:4] = 0
    labels[:2] = 0
    pairs = find_decision_points(labels, (10, 10, 10), max_distance_nm=10)
    assert rows(pairs) == [(7, BIG, [3, 0, 3], 20.0, 6)]


def test_nearness_to_the_centroid_is_physical() -> None:
    # Touching at (z, x) = (0, 0), (1, 1), (1, 2), (1, 3); the centroid lies at (0.75, 1.5).
    labels = np.zeros((2, 2, 4), np.uint8)
    for z, x in ((0, 0), (1, 1), (1, 2), (1, 3)):
        labels[z, :, x] = 1, 2
    flat = find_decision_points(labels, (100, 10, 10), max_distance_nm=5)
    assert rows(flat) == [(1, 2, [1, 0, 1], 0.0, 4)]
    # With thin sections and wide columns (0, 0) is away 1.5 columns still; x 1 and 2 tie but for z.
    wide = find_decision_points(labels, (1, 10, 100), max_distance_nm=0.5)
    assert rows(wide) == [(1, 2, [1, 0, 1], 0.0, 4)]


def test_an_empty_voxel_between_equals_goes_to_the_smaller_id() -> None:
    for labels in ([9, 0, 4], [4, 0, 9]):
        expanded = expand(np.array([[labels]]), (10, 10, 10), 10)
        assert expanded.ids[expanded.objects[0, 0, 1] - 1] == 4


@pytest.mark.parametrize("fill", [0, 3], ids=["empty", "one supervoxel"])
def test_without_two_supervoxels_there_is_no_pair(fill: int) -> None:
    pairs = find_decision_points(np.full((3, 3, 3), fill), (1, 1, 1), max_distance_nm=2)
    assert len(pairs) == 0
    assert pairs.points_zyx.shape == (0, 3)


def test_points_are_absolute() -> None:
    pairs = find_decision_points(slabs(0), (10, 10, 10), origin_zyx=(100, -20, 3), max_distance_nm=10)
    assert pairs.points_zyx.tolist() == [[102, -18, 5]]


def test_the_largest_id_is_kept() -> None:
    labels = np.array([[[2**64 - 1, 1]]], np.uint64)
    pairs = find_decision_points(labels, (1, 1, 1), max_distance_nm=1)
    assert (int(pairs.id_a[0]), int(pairs.id_b[0])) == (1, 2**64 - 1)


def slow_pairs(
    labels: np.ndarray, size: tuple[Fraction, ...], limit: Fraction
) -> dict[tuple[int, int], tuple[list[int], float, int]]:
    """The definition in exact numbers: every empty voxel compared with every other voxel."""
    voxels = [(v, int(labels[v])) for v in np.ndindex(labels.shape) if labels[v]]
    owner, squared = {}, {}
    for v in np.ndindex(labels.shape):
        near = [(sum(((a - b) * s) ** 2 for a, b, s in zip(v, w, size, strict=True)), n) for w, n in voxels]
        if near and min(near)[0] <= limit**2:
            squared[v], owner[v] = min(near)
    contacts: dict[tuple[int, int], list[tuple[float, tuple[Fraction, ...], tuple[int, ...]]]] = {}
    for v, axis in itertools.product(owner, range(3)):
        w = tuple(c + (i == axis) for i, c in enumerate(v))
        if w in owner and owner[v] != owner[w]:
            pair = (min(owner[v], owner[w]), max(owner[v], owner[w]))
            gap = round(math.sqrt(squared[v]) + math.sqrt(squared[w]), 6)
            centre = tuple(Fraction(a + b, 2) for a, b in zip(v, w, strict=True))
            contacts.setdefault(pair, []).append((gap, centre, v))
    found = {}
    for pair, every in contacts.items():
        least = min(gap for gap, *_ in every)
        ties = [(centre, v) for gap, centre, v in every if gap == least]
        mean = [sum(axis) / len(ties) for axis in zip(*(centre for centre, _ in ties), strict=True)]
        _, _, point = min(
            (sum(((c - m) * s) ** 2 for c, m, s in zip(centre, mean, size, strict=True)), centre, v)
            for centre, v in ties
        )
        found[pair] = (list(point), least, len(every))
    return found


@given(
    st.tuples(*[st.integers(1, 5)] * 3),
    st.sampled_from([(10, 10, 10), (40, 8, 8), (30, 10, 5), (8.5, 4.25, 3.5)]),
    st.sampled_from([5, 12, 25, 100]),
    st.integers(0, 10**6),
)
def test_pairs_are_those_of_the_definition(
    shape: tuple[int, int, int], size: tuple[float, ...], limit: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 5, shape) * (rng.random(shape) < rng.random()) * (BIG - 1)
    found = find_decision_points(labels, size, max_distance_nm=limit)
    expected = slow_pairs(labels, tuple(map(Fraction, size)), Fraction(limit))
    assert {(a, b): (p, d, f) for a, b, p, d, f in rows(found)} == {
        pair: (point, pytest.approx(gap, abs=1e-6), faces) for pair, (point, gap, faces) in expected.items()
    }
    assert [(a, b) for a, b, *_ in rows(found)] == sorted(expected)


def test_reach_counts_the_voxels_within_the_limit() -> None:
    assert reach_voxels((40, 8, 2e6), 100) == (2, 12, 0)


@pytest.mark.parametrize(
    ("labels", "limit_nm", "message"),
    [
        (np.zeros((2, 2), int), 1, r"have shape \(2, 2\); give three axes"),
        (np.zeros((2, 2, 2)), 1, "have dtype float64; give IDs"),
        (np.full((2, 2, 2), -3), 1, "there is a supervoxel -3; set empty voxels to 0"),
        (np.zeros((2, 2, 2), int), 0, "cannot grow by max_distance_nm 0; give a length above 0"),
        (np.zeros((2, 2, 2), int), math.nan, "cannot grow by max_distance_nm nan"),
        (np.zeros((2, 2, 2), int), 1e7, "cannot grow by max_distance_nm 10000000.0"),
    ],
)
def test_what_has_no_pairs_is_refused(labels: np.ndarray, limit_nm: float, message: str) -> None:
    with pytest.raises(AgglomerationError, match=message):
        find_decision_points(labels, (1, 1, 1), max_distance_nm=limit_nm)


def test_a_voxel_without_size_is_refused() -> None:
    with pytest.raises(VolumeError, match="is not positive"):
        find_decision_points(slabs(0), (0, 1, 1), max_distance_nm=1)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    pairs = find_decision_points(slabs(3), (10, 10, 10), max_distance_nm=100)
    pairs.save(tmp_path / "pairs.npz")
    again = CandidatePairs.load(tmp_path / "pairs.npz")
    for name, column in vars(pairs).items():
        np.testing.assert_array_equal(getattr(again, name), column)
        assert getattr(again, name).dtype == column.dtype
    (tmp_path / "pairs.npz").write_bytes((tmp_path / "pairs.npz").read_bytes()[:-9])
    with pytest.raises(CorruptPieceError):
        CandidatePairs.load(tmp_path / "pairs.npz")


def test_tables_are_joined_in_order_of_their_ids() -> None:
    labels = np.array([[[4, 0, 9, 1, 2, 5]]])
    pairs = find_decision_points(labels, (1, 1, 1), max_distance_nm=5)
    parts = [pairs.select(np.array([row])) for row in (2, 0, 3, 1)]
    assert rows(CandidatePairs.concatenate(parts)) == rows(pairs)
    assert len(CandidatePairs.concatenate([])) == 0
