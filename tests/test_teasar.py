"""Skeletons of labels: where their nodes lie, what they leave out, and large volumes object by object."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.ndimage import distance_transform_edt, find_objects
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from evaluation._coarse_objects import coarse_factors
from evaluation._object_boxes import object_boxes
from evaluation.errors import EvaluationError
from evaluation.teasar import made_with, max_voxels_of, skeletonise, skeletonise_volume
from jobs.progress import Progress
from volumes import Box, Skeleton, VolumeError
from volumes.arrays import ArrayVolume

SIZE = (30.0, 10.0, 10.0)


@pytest.fixture(autouse=True)
def _with_kimimaro() -> None:
    pytest.importorskip("kimimaro")


def tube(shape: tuple[int, int, int], points: list[tuple[int, int, int]], radius: float) -> np.ndarray:
    """True within `radius` voxels of the straight lines from each point to the next."""
    line = np.ones(shape, bool)
    for first, second in zip(points, points[1:], strict=False):
        steps = 1 + max(abs(a - b) for a, b in zip(first, second, strict=True))
        way = np.rint(np.linspace(first, second, steps)).astype(int)
        line[tuple(way.T)] = False
    return distance_transform_edt(line) <= radius


def neurons() -> np.ndarray:
    """Uint64 labels: a long bent tube (5), a fork (2**40), two pieces of one object (7), and a speck (9)."""
    shape = (48, 64, 80)
    labels = np.zeros(shape, np.uint64)
    labels[tube(shape, [(0, 8, 8), (40, 8, 8), (40, 8, 79)], 3)] = 5
    fork = tube(shape, [(10, 30, 10), (10, 30, 40), (10, 50, 70)], 3)
    labels[fork | tube(shape, [(10, 30, 40), (30, 30, 70)], 3)] = 2**40
    labels[tube(shape, [(40, 40, 10), (40, 40, 60)], 2) | tube(shape, [(44, 60, 10), (44, 60, 60)], 2)] = 7
    labels[24:26, 55:57, 5:7] = 9
    return labels


def made(labels: np.ndarray, **options: object) -> dict[int, Skeleton]:
    return skeletonise(labels, SIZE, **{"const_nm": 100, "min_voxels": 20} | options)


@cache
def expected() -> dict[int, Skeleton]:
    """Skeletons of `neurons` from memory; what is claimed of them is tested below."""
    return made(neurons())


def of_volume(volume: ArrayVolume, box: Box | None = None, **options: object) -> dict[int, Skeleton]:
    return skeletonise_volume(volume, box, **{"const_nm": 100, "min_voxels": 20} | options)


def voxels_of(skeleton: Skeleton) -> tuple[np.ndarray, ...]:
    """Where the nodes lie, by the rule that holds everywhere."""
    return tuple(np.floor(skeleton.nodes_nm / SIZE).astype(int).T)


def trees(skeleton: Skeleton) -> int:
    count = len(skeleton.nodes_nm)
    graph = coo_array((np.ones(len(skeleton.edges)), tuple(skeleton.edges.T)), shape=(count, count))
    return connected_components(graph, directed=False, return_labels=False)


def ends(skeleton: Skeleton) -> np.ndarray:
    """(n, 3) positions of the nodes of one edge."""
    return skeleton.nodes_nm[np.bincount(skeleton.edges.ravel(), minlength=len(skeleton.nodes_nm)) == 1]


def same(first: dict[int, Skeleton], second: dict[int, Skeleton]) -> bool:
    return first.keys() == second.keys() and all(
        np.array_equal(first[number].nodes_nm, second[number].nodes_nm)
        and np.array_equal(first[number].edges, second[number].edges)
        and np.array_equal(first[number].radii_nm, second[number].radii_nm)
        for number in first
    )


def test_a_rod_has_its_axis_as_skeleton() -> None:
    labels = np.zeros((12, 15, 40), np.uint8)
    labels[5:8, 3:12, 2:38] = 1
    (skeleton,) = made(labels, const_nm=200).values()
    assert trees(skeleton) == 1 and len(ends(skeleton)) == 2
    middle = skeleton.nodes_nm[(skeleton.nodes_nm[:, 2] > 60) & (skeleton.nodes_nm[:, 2] < 340)]
    # Voxel 6 of z and 7 of y are in the middle: (6 + 0.5) * 30 and (7 + 0.5) * 10 nm. Paths keep away from
    # the boundary, not to the exact middle: one voxel of z off it at the most.
    assert np.abs(middle[:, :2] - [195, 75]).max() <= 30
    assert sorted(middle[:, 2]) == [10 * (x + 0.5) for x in range(6, 34)]
    assert 340 <= skeleton.length_nm <= 480


def test_radii_are_distances_to_the_nearest_foreign_voxel_in_nm() -> None:
    labels = np.zeros((11, 41, 41), np.uint8)
    labels[1:10, 10:31, :] = 1
    (skeleton,) = made(labels, const_nm=300).values()
    middle = np.abs(skeleton.nodes_nm[:, 2] - 205) < 50
    # From the middle it is 11 voxels of 10 nm in y, and 5 of 30 nm in z.
    assert skeleton.radii_nm[middle].max() == 110


def test_every_node_lies_in_its_own_object() -> None:
    labels = neurons()
    skeletons = expected()
    assert list(skeletons) == [5, 7, 2**40]
    for number, skeleton in skeletons.items():
        assert (labels[voxels_of(skeleton)] == number).all()


def test_branches_end_where_the_object_ends() -> None:
    skeletons = expected()
    assert len(ends(skeletons[2**40])) == 3
    tips = np.array([(10, 30, 10), (10, 50, 70), (30, 30, 70)])
    away = np.linalg.norm(ends(skeletons[2**40])[:, None] - (tips + 0.5) * SIZE, axis=2)
    assert (away.min(axis=0) < 130).all()


def test_an_object_in_two_pieces_is_a_forest_and_too_small_a_piece_is_left_out() -> None:
    labels = np.where(neurons() >= 7, neurons(), 0)
    assert trees(made(labels)[7]) == 2
    labels[:, 52:][labels[:, 52:] == 7] = 0
    labels[44, 60, 10:14] = 7
    assert trees(made(labels)[7]) == 1
    assert 9 not in made(labels) and 9 in made(labels, min_voxels=8) and 9 not in made(labels, min_voxels=9)


def test_a_ring_loses_one_edge_at_most() -> None:
    z, y, x = np.ogrid[:9, :60, :60]
    ring = (np.hypot(y - 30, x - 30) - 20) ** 2 + 9 * (z - 4) ** 2 <= 16
    (skeleton,) = made(ring, const_nm=20, scale=0.5).values()
    assert len(skeleton.edges) == len(skeleton.nodes_nm) - 1
    assert skeleton.length_nm > 1000


def test_the_same_labels_give_the_same_skeletons() -> None:
    assert same(expected(), made(neurons()))
    assert same(expected(), made(np.asfortranarray(neurons())))


def test_labels_are_left_as_they_were() -> None:
    labels = neurons()
    labels.setflags(write=False)
    made(labels, ids=[5])
    assert np.array_equal(labels, neurons())


def test_the_origin_moves_every_node() -> None:
    here, there = expected(), made(neurons(), origin_nm=(1000, 200, 30))
    for number in here:
        assert (there[number].nodes_nm - here[number].nodes_nm).tolist() == pytest.approx(
            np.tile([1000, 200, 30], (len(here[number].nodes_nm), 1))
        )


@pytest.mark.parametrize(
    ("ids", "found"),
    [([5], [5]), ([7, 5], [5, 7]), ([], []), ([0, 9, 11, 2**70], []), (None, [5, 7, 2**40])],
)
def test_only_the_objects_asked_for(ids: list[int] | None, found: list[int]) -> None:
    assert same(made(neurons(), ids=ids), {number: expected()[number] for number in found})


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, ">u4", np.int64])
def test_labels_of_any_integer_dtype_are_alike(dtype: object) -> None:
    labels = (neurons() == 5).astype(dtype)
    assert same(made(labels), {1: expected()[5]})


def test_nothing_gives_nothing() -> None:
    assert made(np.zeros((4, 4, 4), np.uint8)) == {}
    assert made(np.zeros((0, 4, 4), np.uint8)) == {}
    assert made(np.ones((1, 1, 1), np.uint8), min_voxels=1) == {}
    assert len(made(np.ones((1, 1, 9), np.uint8), min_voxels=1)[1].nodes_nm) == 9
    assert of_volume(ArrayVolume(np.zeros((4, 4, 4), np.uint8), voxel_size_nm=SIZE)) == {}


def test_a_cell_body_with_a_hole_has_its_nodes_in_itself() -> None:
    z, y, x = np.ogrid[:46, :46, :80]
    away = np.sqrt((z - 22) ** 2 + (y - 22) ** 2 + (x - 22) ** 2)
    labels = np.where(away <= 20, 3, 0).astype(np.uint8)
    labels[20:25, 20:25, 30:78] = 3
    labels[away <= 9] = 4
    found = skeletonise(labels, (200, 200, 200), const_nm=400, min_voxels=100, ids=[3])
    skeleton = found[3]
    assert (labels[tuple(np.floor(skeleton.nodes_nm / 200).astype(int).T)] == 3).all()
    # A radius of 20 * 200 nm is a cell body: one process and no further paths.
    assert len(ends(skeleton)) == 2
    assert skeleton.nodes_nm[:, 2].max() > 74 * 200


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (np.zeros((2, 2, 2)), {}, "the array has dtype float64, but labels are integers"),
        (np.full((2, 2, 2), -1), {}, "negative label -1; set unlabelled voxels to 0"),
        (np.zeros((2, 2), int), {}, r"shape \(2, 2\); give three axes"),
        (np.zeros((2, 2, 2), int), {"scale": -1}, "scale is -1; give a number of at least 0"),
        (np.zeros((2, 2, 2), int), {"const_nm": np.nan}, "const_nm is nan"),
        (np.zeros((2, 2, 2), int), {"const_nm": 0, "scale": 0}, "are both 0"),
        (np.zeros((2, 2, 2), int), {"min_voxels": 0}, "min_voxels is 0; give at least 1"),
    ],
)
def test_what_cannot_be_skeletonised_says_why(labels: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(EvaluationError, match=message) as caught:
        made(labels, **options)
    assert "\n" not in str(caught.value)


def test_without_kimimaro_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kimimaro", None)
    with pytest.raises(EvaluationError, match=r"run pip install 'ffn-reconstruction\[skeletons\]'"):
        made(neurons())


class CountingVolume(ArrayVolume):
    """An array that remembers the largest box that was read of it."""

    largest = 0

    def _load(self, box: Box) -> np.ndarray:
        self.largest = max(self.largest, box.size)
        return super()._load(box)


@pytest.mark.parametrize("max_voxels", [1 << 26, 70_000])
def test_a_volume_gives_what_its_array_gives(max_voxels: int) -> None:
    volume = CountingVolume(neurons(), voxel_size_nm=SIZE, start=(100, -20, 7))
    found = of_volume(volume, max_voxels=max_voxels)
    assert volume.largest <= max_voxels
    assert found.keys() == expected().keys()
    for number, skeleton in found.items():
        assert (skeleton.nodes_nm - [3000, -200, 70]).tolist() == pytest.approx(expected()[number].nodes_nm)
        assert skeleton.edges.tolist() == expected()[number].edges.tolist()


def test_what_is_read_at_once_follows_from_the_memory() -> None:
    assert max_voxels_of(2) == 40_000_000
    assert max_voxels_of(1e-9) == 64
    labels = np.zeros((64, 200, 200), np.uint8)
    labels[4:60, 4:196, 4:196] = 1
    volume = CountingVolume(labels, voxel_size_nm=SIZE)
    of_volume(volume, max_voxels=max_voxels_of(0.01))
    assert volume.largest <= 200_000


def test_skeletons_name_all_they_are_made_with() -> None:
    options = {"scale": 2.0, "const_nm": 50.0, "min_voxels": 9, "max_voxels": 64}
    record = made_with(**options)
    assert options.items() <= record.items()
    assert (record["pdrf_scale"], record["pdrf_exponent"], record["soma_acceptance_threshold"]) == (
        5000,
        16,
        3500,
    )
    assert record["kimimaro"] == version("kimimaro")


def test_what_is_too_large_is_made_coarser_and_keeps_to_its_own_voxels() -> None:
    labels, exact = neurons(), expected()
    volume = CountingVolume(labels, voxel_size_nm=SIZE)
    found = of_volume(volume, max_voxels=4000)
    assert volume.largest <= 4000
    assert found.keys() == exact.keys()
    for number, skeleton in found.items():
        assert (labels[voxels_of(skeleton)] == number).all()
        assert trees(skeleton) == trees(exact[number])
        assert skeleton.length_nm == pytest.approx(exact[number].length_nm, rel=0.15)
        # No node is farther than two coarse voxels from the exact skeleton.
        away = np.linalg.norm(skeleton.nodes_nm[:, None] - exact[number].nodes_nm, axis=2).min(axis=1)
        assert away.max() < 2 * 80


def test_objects_end_at_the_box_that_was_asked_for() -> None:
    volume = ArrayVolume(neurons(), voxel_size_nm=SIZE)
    box = Box((0, 0, 0), (20, 64, 40))
    found = of_volume(volume, box)
    assert same(found, made(neurons()[box.slices()]))
    assert max(skeleton.nodes_nm[:, 0].max() for skeleton in found.values()) == 19.5 * 30


def test_progress_counts_objects() -> None:
    with Progress(None, "object", enabled=False) as progress:
        of_volume(ArrayVolume(neurons(), voxel_size_nm=SIZE), max_voxels=70_000, progress=progress)
    assert progress.done == 3


def test_a_volume_of_floats_or_a_box_outside_is_refused() -> None:
    with pytest.raises(EvaluationError, match="'array of float32' has dtype float32, but labels"):
        of_volume(ArrayVolume(np.zeros((2, 2, 2), np.float32)))
    with pytest.raises(VolumeError, match="leaves volume"):
        of_volume(ArrayVolume(np.zeros((2, 2, 2), np.uint8)), Box((0, 0, 0), (3, 2, 2)))
    with pytest.raises(EvaluationError, match="max_voxels is 10; allow at least 64"):
        of_volume(ArrayVolume(np.zeros((2, 2, 2), np.uint8)), max_voxels=10)


@settings(max_examples=25, deadline=None)
@given(
    arrays.arrays(np.uint16, st.tuples(*[st.integers(1, 9)] * 3), elements=st.sampled_from([0, 1, 2, 700])),
    st.integers(1, 300),
    st.tuples(*[st.integers(-5, 5)] * 3),
)
def test_boxes_of_objects_are_those_of_scipy(labels: np.ndarray, most: int, start: tuple) -> None:
    volume = CountingVolume(labels, start=start)
    table = object_boxes(volume, volume.bounds, most)
    assert table.ids.tolist() == [number for number in np.unique(labels).tolist() if number]
    assert volume.largest <= most
    for row, number in enumerate(table.ids.tolist()):
        assert table.box(row).slices(start) == find_objects((labels == number).astype(int))[0]
        assert table.voxels[row] == (labels == number).sum()


def factor_cases() -> Iterator[tuple]:
    yield (100, 100, 100), (30, 10, 10), 10**6, (1, 1, 1)
    yield (100, 100, 100), (30, 10, 10), 250_000, (1, 2, 2)
    yield (100, 100, 100), (10, 10, 10), 125_000, (2, 2, 2)
    yield (1, 1, 100), (10, 10, 10), 10, (1, 1, 10)
    yield (3, 3, 3), (10, 10, 10), 1, (3, 3, 3)


@pytest.mark.parametrize(("shape", "size", "most", "factors"), list(factor_cases()))
def test_coarse_voxels_stay_as_isotropic_as_they_can(
    shape: tuple, size: tuple, most: int, factors: tuple
) -> None:
    assert coarse_factors(shape, size, most) == factors
