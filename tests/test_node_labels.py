"""Nodes are looked up block by block: the same segments as one by one, from few and small reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import EvaluationError, node_labels
from evaluation.node_labels import NodeLabels, long_edges, look_up_nodes, node_labels_of
from jobs.progress import Progress
from volumes import Box, Skeleton, Volume, create_volume
from volumes.arrays import ArrayVolume


class CountingVolume(ArrayVolume):
    """Remembers which boxes were read."""

    def __init__(
        self,
        array: np.ndarray,
        *,
        chunk_shape: Sequence[int] = (1, 1, 1),
        voxel_size_nm: Sequence[float] = (1, 1, 1),
        start: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        super().__init__(array, voxel_size_nm=voxel_size_nm, start=start)
        z, y, x = chunk_shape
        self.chunk_shape = (z, y, x)
        self.boxes: list[Box] = []

    def _load(self, box: Box) -> np.ndarray:
        self.boxes.append(box)
        return super()._load(box)


def scattered(nodes_nm: np.ndarray, parts: int = 3) -> dict[int, Skeleton]:
    """Nodes without edges, dealt out to skeletons 10, 20, ..."""
    no_edges = np.zeros((0, 2), np.int64)
    return {10 * (i + 1): Skeleton(nodes_nm[i::parts], no_edges) for i in range(parts)}


def naive(volume: Volume, skeletons: dict[int, Skeleton]) -> dict[int, list[int]]:
    """One voxel at a time."""
    voxels = volume.read()
    found: dict[int, list[int]] = {}
    for skeleton_id, skeleton in skeletons.items():
        found[skeleton_id] = []
        for node in skeleton.nodes_nm / volume.voxel_size_nm:
            voxel = tuple(np.floor(node).astype(int).tolist())
            local = tuple(np.subtract(voxel, volume.bounds.start).tolist())
            found[skeleton_id].append(int(voxels[local]) if volume.bounds.contains(voxel) else 0)
    return found


def as_lists(labels: NodeLabels) -> dict[int, list[int]]:
    return {skeleton_id: labels.of(skeleton_id).tolist() for skeleton_id in labels.ids}


@given(
    seed=st.integers(0, 2**32 - 1),
    start=st.tuples(*[st.integers(-30, 30)] * 3),
    size_nm=st.tuples(*[st.sampled_from([1.0, 4.4, 8.0, 33.3])] * 3),
    chunk=st.tuples(*[st.sampled_from([1, 7, 16, 100])] * 3),
    least=st.sampled_from([1, 500, 10**6]),
)
def test_blocks_change_nothing(seed: int, start: tuple, size_nm: tuple, chunk: tuple, least: int) -> None:
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 2**63, (23, 31, 18), dtype=np.uint64)
    volume = CountingVolume(array, chunk_shape=chunk, voxel_size_nm=size_nm, start=start)
    voxels = rng.uniform(np.subtract(start, 4), np.add(volume.bounds.stop, 4), (200, 3))
    skeletons = scattered(voxels * size_nm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node_labels, "LEAST_BLOCK_VOXELS", least)
        labels = look_up_nodes(volume, skeletons)
    assert as_lists(labels) == naive(volume, skeletons)
    outside = [not volume.bounds.contains(voxel) for voxel in np.floor(voxels).astype(int).tolist()]
    assert labels.outside == sum(outside)


@pytest.mark.parametrize("spec", ["labels.h5:labels", "precomputed://file://{}/labels"])
def test_files_with_an_offset_are_looked_up(tmp_path: Path, spec: str) -> None:
    bounds = Box((40, 30, 20), (140, 110, 90))
    array = np.random.default_rng(1).integers(0, 2**40, bounds.shape).astype(np.uint64)
    spec = spec.format(tmp_path) if "{}" in spec else f"{tmp_path}/{spec}"
    size_nm = (40.0, 16.0, 16.0)
    with create_volume(
        spec, bounds=bounds, dtype=np.uint64, voxel_size_nm=size_nm, chunk_shape=(32, 32, 32)
    ) as volume:
        volume.write(bounds, array)
        nodes_nm = np.random.default_rng(2).uniform(bounds.start, bounds.stop, (1000, 3)) * size_nm
        skeletons = scattered(nodes_nm)
        assert as_lists(look_up_nodes(volume, skeletons)) == naive(volume, skeletons)


def test_each_block_with_nodes_is_read_once_and_only_around_them() -> None:
    volume = CountingVolume(np.ones((256, 256, 256), np.uint8), chunk_shape=(64, 64, 64))
    clusters = [(5, 5, 5), (70, 5, 130), (200, 200, 200)]
    nodes = np.concatenate(
        [np.add(corner, np.random.default_rng(0).uniform(0, 8, (500, 3))) for corner in clusters]
    )
    labels = look_up_nodes(volume, scattered(np.random.default_rng(1).permutation(nodes)))
    assert labels.segments.all() and labels.outside == 0
    assert volume.boxes == [Box.from_shape((8, 8, 8), corner) for corner in clusters]


def test_a_million_nodes_take_no_more_reads_than_there_are_blocks() -> None:
    volume = CountingVolume(np.ones((128, 128, 128), np.uint8), chunk_shape=(64, 64, 64), start=(64, 0, 0))
    nodes = np.random.default_rng(0).uniform((64, 0, 0), (192, 128, 128), (1_000_000, 3))
    labels = look_up_nodes(volume, scattered(nodes))
    assert labels.segments.sum() == 1_000_000
    assert len(volume.boxes) == 8 and max(box.size for box in volume.boxes) <= 64**3


@pytest.mark.parametrize("size_nm", [4.4, 33.3, 11.24, 0.1])
def test_a_node_on_the_face_between_voxels_lies_in_the_upper_one(size_nm: float) -> None:
    count = 3000
    volume = ArrayVolume(np.arange(count).reshape(1, 1, -1), voxel_size_nm=(1, 1, size_nm))
    faces_nm = np.stack([np.zeros(count), np.zeros(count), np.arange(count) * size_nm], axis=1)
    below_nm = np.nextafter(faces_nm, -np.inf)
    edgeless = np.zeros((0, 2), np.int64)
    assert look_up_nodes(volume, {1: Skeleton(faces_nm, edgeless)}).of(1).tolist() == list(range(count))
    below_nm[:, :2] = 0.5
    labels = look_up_nodes(volume, {1: Skeleton(below_nm, edgeless)})
    assert labels.of(1).tolist() == [0, *range(count - 1)]
    assert labels.outside == 1


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "uint64"])
def test_labels_of_any_integer_type_are_found(dtype: str) -> None:
    volume = ArrayVolume(np.array([[[0, 1, 1]]]).astype(dtype))
    labels = look_up_nodes(volume, scattered(np.array([(0.5, 0.5, x + 0.5) for x in range(3)]), parts=1))
    assert labels.segments.dtype == np.uint64 and labels.of(10).tolist() == [0, 1, 1]


def test_far_away_nodes_are_outside_whatever_their_distance() -> None:
    volume = ArrayVolume(np.ones((2, 2, 2), np.uint8))
    labels = look_up_nodes(volume, scattered(np.array([(0, 0, 0), (1e300, 0, 0), (0, -1e25, 0)], float)))
    assert (labels.segments.tolist(), labels.outside) == ([1, 0, 0], 2)


def test_progress_counts_the_nodes_inside() -> None:
    volume = ArrayVolume(np.ones((9, 9, 9), np.uint8))
    with Progress(total=30, unit="node", enabled=False) as progress:
        look_up_nodes(volume, scattered(np.random.default_rng(0).uniform(0, 9, (30, 3))), progress=progress)
    assert progress.done == 30


def test_skeletons_are_in_order_of_their_ids() -> None:
    labels = node_labels_of({7: [1, 2], 3: [2**64 - 1], 5: []}, outside=4)
    assert (labels.ids, labels.starts.tolist(), labels.outside) == ((3, 5, 7), [0, 1, 1, 3], 4)
    assert as_lists(labels) == {3: [2**64 - 1], 5: [], 7: [1, 2]}
    with pytest.raises(EvaluationError, match="skeleton 4 has no node labels"):
        labels.of(4)


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ([1, 1.5], "1.5"),
        ([1, -1], "-1"),
        ([2**64], str(2**64)),
        ([1, None], "None"),
        (np.array([3.0, 4.0]), "3.0"),
        (np.array([3, -4], np.int32), "-4"),
    ],
    ids=["fraction", "negative", "too large", "nothing", "floats", "signed"],
)
def test_known_segments_that_are_no_ids_are_refused(row: Sequence, wrong: str) -> None:
    with pytest.raises(
        EvaluationError, match=rf"a node of skeleton 7 lies in segment {wrong}, but .*correct"
    ):
        node_labels_of({3: [1], 7: row})


def test_ids_of_any_integer_type_are_kept_to_the_last_digit() -> None:
    mixed = [np.uint64(2**64 - 1), 3, np.int32(5), True]
    assert node_labels_of({1: mixed}).of(1).tolist() == [2**64 - 1, 3, 5, 1]
    assert node_labels_of({1: np.array([2**63 - 1, 0])}).of(1).tolist() == [2**63 - 1, 0]
    assert node_labels_of({1: np.array([True, False])}).of(1).tolist() == [1, 0]


def test_edges_that_may_pass_over_a_segment_are_counted() -> None:
    # The limit is 4 voxels of 40 nm; edges of 160 nm, 160.5 nm and, in another skeleton, 900 nm.
    near = Skeleton([(0, 0, 0), (160, 0, 0), (160, 160.5, 0)], [(0, 1), (1, 2)])
    far = Skeleton([(0, 0, 0), (0, 0, 900)], [(0, 1)])
    assert long_edges({1: near, 2: far}, (40, 8, 8)) == (2, 900)
    assert long_edges({1: near}, (41, 8, 8)) == (0, 160.5)
    assert long_edges({3: Skeleton([(0, 0, 0)], np.zeros((0, 2), np.int64))}, (1, 1, 1)) == (0, 0)


def test_no_skeletons_are_refused() -> None:
    with pytest.raises(EvaluationError, match="no skeletons.*check their path"):
        look_up_nodes(ArrayVolume(np.ones((2, 2, 2), np.uint8)), {})


def test_skeletons_that_miss_the_volume_are_refused_with_both_places() -> None:
    volume = ArrayVolume(np.ones((4, 4, 4), np.uint8), voxel_size_nm=(40, 8, 8), start=(10, 0, 0))
    nodes_nm = np.array([(0.4, 0.01, 0.02), (0.5, 0.03, 0.02)])
    expected = (
        r"none of the 2 nodes of 2 skeletons lies in volume 'array of uint8': they span z 0.4 to 0.5, "
        r"y 0.01 to 0.03, x 0.02 to 0.02 nm, the volume z 400 to 560, y 0 to 32, x 0 to 32 nm; check the unit"
    )
    with pytest.raises(EvaluationError, match=expected):
        look_up_nodes(volume, scattered(nodes_nm, parts=2))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((2, 2, 2), np.float32), "dtype float32, but labels are integers"),
        (np.full((2, 2, 2), -3, np.int32), "negative label -3"),
    ],
    ids=["float", "negative"],
)
def test_voxels_that_are_no_labels_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        look_up_nodes(ArrayVolume(array), scattered(np.zeros((1, 3)), parts=1))
