"""Volumes compared block by block have the table of the whole arrays, in the memory of a block."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import EvaluationError, blockwise, contingency, table_metrics
from evaluation.blockwise import common_box, compare_volumes
from evaluation.boundaries import boundary_context, without_boundaries
from evaluation.overlap import ContingencyTable
from jobs.progress import Progress
from volumes import Box, Volume, create_volume, open_volume
from volumes.arrays import ArrayVolume
from volumes.box import Zyx

SIZE_NM = (40.0, 8.0, 8.0)


class StripedVolume(Volume):
    """Objects of 16 x 24 x 32 voxels, computed when read; notes the boxes that were read."""

    def __init__(self, shape: tuple[int, int, int], chunk: tuple[int, int, int], step: int = 0) -> None:
        super().__init__(
            "striped",
            bounds=Box.from_shape(shape),
            dtype=np.uint64,
            voxel_size_nm=SIZE_NM,
            chunk_shape=chunk,
            writable=False,
        )
        self._step = step
        self.boxes: list[Box] = []

    def _load(self, box: Box) -> np.ndarray:
        self.boxes.append(box)
        z, y, x = np.ogrid[box.slices()]
        labels = ((z + self._step) // 16 * 1000 + y // 24) * 1000 + (x + self._step) // 32 + 1
        return labels.astype(np.uint64)


def blobs(seed: int, shape: tuple[int, int, int] = (24, 36, 40)) -> np.ndarray:
    """Blocks of random labels 0 to 6."""
    coarse = np.random.default_rng(seed).integers(0, 7, [-(-n // 5) for n in shape])
    fine = coarse.repeat(5, axis=0).repeat(5, axis=1).repeat(5, axis=2)
    return fine[tuple(slice(n) for n in shape)].astype(np.uint32)


def assert_same(one: ContingencyTable, other: ContingencyTable) -> None:
    for name in ("segment_ids", "truth_ids", "counts"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def stored(spec: str, labels: np.ndarray, start: Zyx, chunk_shape: Zyx) -> Volume:
    """A volume of these labels whose first voxel lies at `start`."""
    bounds = Box.from_shape(labels.shape, start)
    made = create_volume(
        spec, bounds=bounds, dtype=labels.dtype, voxel_size_nm=SIZE_NM, chunk_shape=chunk_shape
    )
    with made:
        made.write(bounds, labels)
    return open_volume(spec)


@pytest.mark.parametrize("block_voxels", [1, 700, 4096, 10**7])
def test_volumes_of_different_offsets_and_chunks_have_the_table_of_what_both_hold(
    tmp_path: Path, block_voxels: int
) -> None:
    shape = (9, 11, 13) if block_voxels == 1 else (24, 36, 40)
    first, second = blobs(1, shape), blobs(2, shape)
    with (
        stored(f"{tmp_path}/a.h5:labels", first, (5, -3, 2), (7, 16, 5)) as a,
        stored(f"zarr://{tmp_path}/b", second, (8, -1, 0), (16, 9, 12)) as b,
    ):
        shared = common_box(a, b)
        assert shared == a.bounds.intersect(b.bounds) != a.bounds
        for box in (shared, shared.grow(-2)):
            of_a, of_b = first[box.slices(a.bounds.start)], second[box.slices(b.bounds.start)]
            asked = None if box == shared else box
            assert_same(compare_volumes(a, b, asked, block_voxels=block_voxels), contingency(of_a, of_b))
            assert_same(compare_volumes(b, a, asked, block_voxels=block_voxels), contingency(of_b, of_a))


@given(
    room=st.sampled_from([0, 900, 5000]),
    tolerance_nm=st.sampled_from([8, 12, 40, 60, 100]),
    seed=st.integers(0, 5),
    inset=st.integers(0, 4),
)
def test_blocks_do_not_show_in_what_a_tolerance_leaves_out(
    room: int, tolerance_nm: float, seed: int, inset: int
) -> None:
    shape = (12, 30, 20)
    truth = ArrayVolume(np.where(blobs(seed, shape) < 4, 1, 2), voxel_size_nm=SIZE_NM, start=(3, 0, 9))
    segmentation = ArrayVolume(blobs(seed + 1, shape), voxel_size_nm=SIZE_NM, start=(3, 0, 9))
    box = truth.bounds.grow(-inset)
    kept = without_boundaries(truth.read(), SIZE_NM, tolerance_nm)[box.slices(truth.bounds.start)]
    if not kept.any():
        return
    context = boundary_context(SIZE_NM, tolerance_nm)
    least = int(np.prod([min(1 + 2 * c, n) for c, n in zip(context, shape, strict=True)]))
    if least > 1:
        with pytest.raises(EvaluationError, match=f"{least} with it, but {least - 1} may be read at a time"):
            compare_volumes(
                segmentation, truth, box, boundary_tolerance_nm=tolerance_nm, block_voxels=least - 1
            )
    found = compare_volumes(
        segmentation, truth, box, boundary_tolerance_nm=tolerance_nm, block_voxels=max(100, least + room)
    )
    assert_same(found, contingency(segmentation.read(box), kept))


@pytest.mark.parametrize("tolerance_nm", [0, 80], ids=["plain", "boundaries left out"])
def test_memory_is_that_of_a_block_on_a_volume_twice_the_budget(tolerance_nm: float) -> None:
    shape = (96, 192, 256)
    budget = int(np.prod(shape)) * 8 // 2  # bytes: half of one volume of uint64
    block_voxels = 1 << 18
    volumes = [StripedVolume(shape, (32, 32, 32)), StripedVolume(shape, (16, 64, 64), step=3)]
    compare_volumes(*volumes, Box.from_shape((8, 8, 8)), block_voxels=64)  # compiles
    tracemalloc.start()
    try:
        table = compare_volumes(*volumes, boundary_tolerance_nm=tolerance_nm, block_voxels=block_voxels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert table.n_voxels == np.prod(shape)
    assert peak < budget
    for volume in volumes:
        assert max(box.size for box in volume.boxes) <= block_voxels


def test_blocks_grow_with_the_tolerance_so_that_little_is_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    # 80 nm are 2, 10 and 10 voxels around a block; blocks twice as long are 4 x 20 x 20 voxels.
    monkeypatch.setattr(blockwise, "BLOCK_VOXELS", 1000)
    shape = (24, 80, 80)
    segmentation, truth = StripedVolume(shape, (16, 64, 64), step=3), StripedVolume(shape, (16, 64, 64))
    table = compare_volumes(segmentation, truth, boundary_tolerance_nm=80)
    kept = without_boundaries(truth.read(), SIZE_NM, 80)
    assert_same(table, contingency(segmentation.read(), kept))
    read = [box.size for box in truth.boxes[:-1]]
    assert 6400 < max(read) <= 8 * 40 * 40 and sum(read) < 8 * np.prod(shape)


def test_the_most_that_is_read_at_a_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blockwise, "BLOCK_VOXELS", 1000)
    volume = StripedVolume((24, 80, 80), (16, 64, 64))
    with pytest.raises(EvaluationError, match="every labelled voxel"):
        compare_volumes(
            volume, volume, Box((4, 30, 30), (8, 40, 40)), boundary_tolerance_nm=80, most_voxels=5000
        )
    assert max(box.size for box in volume.boxes) <= 5000
    with pytest.raises(
        EvaluationError, match=r"\(12, 62, 62\) voxels .* 153600 with it.*lower the tolerance"
    ):
        compare_volumes(volume, volume, boundary_tolerance_nm=500, most_voxels=5000)


def test_each_chunk_of_the_volume_with_larger_chunks_is_read_once() -> None:
    segmentation, truth = (
        StripedVolume((70, 100, 130), (8, 8, 8)),
        StripedVolume((70, 100, 130), (16, 24, 32)),
    )
    compare_volumes(segmentation, truth, Box((3, 5, 7), (69, 99, 130)), block_voxels=1 << 15)
    for box in truth.boxes:
        for low, high, chunk, first, last in zip(
            box.start, box.stop, truth.chunk_shape, (3, 5, 7), (69, 99, 130), strict=True
        ):
            assert low % chunk == 0 or low == first
            assert high % chunk == 0 or high == last
    assert sum(box.size for box in truth.boxes) == 66 * 94 * 123
    assert len(truth.boxes) > 1


def test_a_file_without_chunks_is_read_in_blocks() -> None:
    segmentation, truth = StripedVolume((40, 50, 60), (40, 50, 60)), StripedVolume((40, 50, 60), (1, 1, 1))
    table = compare_volumes(segmentation, truth, block_voxels=5000)
    assert max(box.size for box in truth.boxes) <= 5000 and table.n_voxels == 40 * 50 * 60


def test_progress_counts_every_voxel() -> None:
    volume = ArrayVolume(blobs(0))
    with Progress(volume.bounds.size, "voxel", enabled=False) as progress:
        compare_volumes(volume, volume, block_voxels=500, progress=progress)
    assert progress.done == volume.bounds.size


@pytest.mark.slow
def test_figures_of_a_file_are_those_of_its_arrays(shared_data: Path) -> None:
    data = shared_data / "data"
    with (
        open_volume(f"{data}/fib25_training2_google_ffn_dev.h5:segmentation") as segmentation,
        open_volume(f"{data}/fib25_training2_dev.h5:labels") as truth,
    ):
        table = compare_volumes(segmentation, truth, block_voxels=1 << 20)
        assert_same(table, contingency(segmentation.read(), truth.read()))
        box = Box((0, 40, 60), (60, 140, 160))
        tolerant = compare_volumes(segmentation, truth, box, boundary_tolerance_nm=20, block_voxels=1 << 16)
        around = box.grow(9).intersect(truth.bounds)
        kept = without_boundaries(truth.read(around), truth.voxel_size_nm, 20)[box.slices(around.start)]
        assert_same(tolerant, contingency(segmentation.read(box), kept))
        strict = compare_volumes(segmentation, truth, box)
    assert table_metrics(tolerant)["arand"] < table_metrics(strict)["arand"]


LABELS = np.ones((4, 4, 4), np.uint8)


def volume_of(labels: np.ndarray = LABELS, **settings: object) -> ArrayVolume:
    return ArrayVolume(labels, **{"voxel_size_nm": SIZE_NM, **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("segmentation", "truth", "box", "message"),
    [
        (volume_of(LABELS.astype(float)), volume_of(), None, "segmentation 'array.*' has dtype float64"),
        (
            volume_of(),
            volume_of(LABELS.astype(np.float32)),
            None,
            "ground truth .* has dtype float32.*integers",
        ),
        (volume_of(), volume_of(voxel_size_nm=(40, 4, 4)), None, r"\(40.0, 8.0, 8.0\).*\(40.0, 4.0, 4.0\)"),
        (volume_of(), volume_of(start=(4, 0, 0)), None, "z 0:4.*z 4:8.*share no voxel; check their offsets"),
        (volume_of(), volume_of(), Box((0, 0, 0), (4, 4, 5)), "box z 0:4, y 0:4, x 0:5 is empty or leaves"),
        (volume_of(), volume_of(), Box((1, 1, 1), (1, 4, 4)), "is empty or leaves"),
        (volume_of(-LABELS.astype(np.int16)), volume_of(), None, "segmentation holds the negative label -1"),
    ],
    ids=["float", "float truth", "voxel sizes", "apart", "box outside", "empty box", "negative"],
)
def test_volumes_that_cannot_be_compared_are_refused_in_one_line(
    segmentation: Volume, truth: Volume, box: Box | None, message: str
) -> None:
    with pytest.raises(EvaluationError, match=message) as refused:
        compare_volumes(segmentation, truth, box)
    assert "\n" not in str(refused.value)


def test_voxel_sizes_that_differ_by_rounding_are_one() -> None:
    assert common_box(volume_of(), volume_of(voxel_size_nm=(40.01, 8.0, 8.0))) == Box.from_shape((4, 4, 4))


def test_edges_in_another_order_are_refused_unless_a_box_or_an_offset_speaks_for_them() -> None:
    labels = np.ones((2, 3, 4), np.uint32)
    with pytest.raises(EvaluationError, match=r"shape \(2, 3, 4\) and .* \(4, 3, 2\) .*transpose that one"):
        compare_volumes(volume_of(labels), volume_of(labels.T))
    box = Box.from_shape((2, 3, 2))
    assert compare_volumes(volume_of(labels), volume_of(labels.T), box).counts.sum() == 12
    assert common_box(volume_of(labels, start=(0, 0, 1)), volume_of(labels.T)).shape == (2, 3, 1)


def test_a_tolerance_that_leaves_nothing_says_so() -> None:
    truth = volume_of(np.indices((4, 4, 4)).sum(axis=0) % 2 + 1)
    with pytest.raises(EvaluationError, match="every labelled voxel .* within 40 nm.*lower the boundary"):
        compare_volumes(volume_of(), truth, boundary_tolerance_nm=40)
    with pytest.raises(EvaluationError, match="no distance"):
        compare_volumes(volume_of(), truth, boundary_tolerance_nm=-1)


def test_empty_ground_truth_is_refused_with_the_figures() -> None:
    with pytest.raises(EvaluationError, match="no labelled voxel"):
        table_metrics(compare_volumes(volume_of(), volume_of(0 * LABELS), boundary_tolerance_nm=8))
