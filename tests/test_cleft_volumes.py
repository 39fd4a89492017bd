"""Clefts of volumes have the distances of their arrays, however they are cut into blocks."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from evaluation import EvaluationError
from evaluation.cleft_volumes import CleftMarks, compare_clefts
from evaluation.clefts import cleft_distances
from jobs.progress import Progress
from volumes import Box, Volume
from volumes.arrays import ArrayVolume

CREMI_NM = (40.0, 4.0, 4.0)
START = (5, -3, 2)
NO_CLEFT, UNKNOWN = np.uint64(2**64 - 1), np.uint64(2**64 - 2)


def volume(labels: np.ndarray, start: tuple[int, int, int] = START, size_nm: tuple = CREMI_NM) -> ArrayVolume:
    return ArrayVolume(labels, voxel_size_nm=size_nm, start=start)


def blobs(seed: int, shape: tuple[int, int, int], share: float) -> np.ndarray:
    """Smooth random masks that fill a share of the voxels."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), (0.5, 2, 2))
    return (noise > np.quantile(noise, 1 - share)).astype(np.uint8)


def flat(figures: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """All figures under one name each, those that are undefined as NaN."""
    found = {}
    for name, value in figures.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name} ")
        else:
            found[prefix + name] = np.nan if value is None else value
    return found


def assert_same(figures: dict[str, Any], expected: dict[str, Any], box: Box) -> None:
    assert figures.pop("box") == [list(box.start), list(box.stop)]
    assert flat(figures) == pytest.approx(flat(expected), rel=2e-6, abs=1e-3, nan_ok=True)


@given(
    seed=st.integers(0, 999),
    share=st.sampled_from([0.001, 0.02, 0.3, 0.9]),
    block_voxels=st.sampled_from([30, 400, 10**6]),
    size_nm=st.sampled_from([CREMI_NM, (1.0, 1.0, 1.0), (33.3, 4.6, 7.1)]),
    ignore=st.sampled_from([None, 7]),
)
def test_blocks_do_not_show_in_the_distances(
    seed: int, share: float, block_voxels: int, size_nm: tuple, ignore: int | None
) -> None:
    shape = (7, 16, 18)
    found, true = blobs(seed, shape, share), blobs(seed + 1000, shape, share)
    if ignore is not None:
        true[np.random.default_rng(seed).random(shape) < 0.1] = ignore
    here = volume(found, size_nm=size_nm)
    figures = compare_clefts(
        here,
        volume(true, size_nm=size_nm),
        threshold_nm=25,
        marks=CleftMarks(ignore=ignore),
        block_voxels=block_voxels,
    )
    ignored = None if ignore is None else true == ignore
    expected = cleft_distances(found, true, size_nm, threshold_nm=25, ignored=ignored)
    assert_same(figures, expected, here.bounds)


def test_a_distance_across_the_whole_volume_is_found() -> None:
    found, true = np.zeros((2, 3, 400), np.uint8), np.zeros((2, 3, 400), np.uint8)
    found[0, 0, 0] = found[1, 2, 3] = true[0, 0, 399] = 1
    figures = compare_clefts(volume(found), volume(true), block_voxels=50)
    near = np.hypot(40, np.hypot(8, 396 * 4))
    assert figures["adf_nm"] == pytest.approx(near) and figures["found_nm"]["max"] == 399 * 4
    assert figures["found_nm"]["median"] == pytest.approx((near + 1596) / 2)


def test_volumes_are_compared_in_a_box_and_clefts_outside_count_nowhere() -> None:
    found, true = blobs(1, (8, 20, 22), 0.05), blobs(2, (8, 20, 22), 0.05)
    box = Box((6, 0, 4), (12, 14, 20))
    part = box.slices(START)
    figures = compare_clefts(volume(found), volume(true), box, block_voxels=300)
    assert_same(figures, cleft_distances(found[part], true[part], CREMI_NM), box)


@pytest.mark.parametrize("empty", ["found", "true", "both"])
def test_without_clefts_there_is_no_distance(empty: str) -> None:
    some, none = blobs(3, (4, 9, 9), 0.1), np.zeros((4, 9, 9), np.uint8)
    found, true = {"found": (none, some), "true": (some, none), "both": (none, none)}[empty]
    figures = compare_clefts(volume(found), volume(true), block_voxels=100)
    assert_same(figures, cleft_distances(found, true, CREMI_NM), volume(found).bounds)
    assert figures["adgt_nm"] is None and figures["cremi_score_nm"] is None


def test_files_of_the_challenge_are_read_by_their_marks() -> None:
    found, true = blobs(4, (5, 12, 12), 0.1), blobs(5, (5, 12, 12), 0.1)
    unknown = np.zeros(true.shape, bool)
    unknown[:, :3] = True
    marked = np.where(true, np.uint64(0), NO_CLEFT)
    marked[unknown] = UNKNOWN
    expected = cleft_distances(found, true, CREMI_NM, ignored=unknown)
    bounds = volume(found).bounds
    for prediction, also in ((found, False), (np.where(found, np.uint64(3), NO_CLEFT), True)):
        marks = CleftMarks(cremi_truth=True, cremi_prediction=also)
        assert_same(compare_clefts(volume(prediction), volume(marked), marks=marks), expected, bounds)
    with pytest.raises(
        EvaluationError, match="ground truth 'array of uint64' holds 2.64 - 1.*labels are CREMI"
    ):
        compare_clefts(volume(found), volume(marked))
    with pytest.raises(EvaluationError, match="prediction 'array of uint64' holds .*prediction is CREMI's"):
        compare_clefts(volume(np.where(found, np.uint64(3), NO_CLEFT)), volume(true))


class SparseVolume(Volume):
    """A plane of clefts every 50 voxels, computed when read."""

    def __init__(self, shift: int) -> None:
        bounds = Box.from_shape((64, 256, 256))
        super().__init__(
            "sparse",
            bounds=bounds,
            dtype=np.uint8,
            voxel_size_nm=CREMI_NM,
            chunk_shape=(32, 64, 64),
            writable=False,
        )
        self._shift = shift

    def _load(self, box: Box) -> np.ndarray:
        z, y, x = np.ogrid[box.slices()]
        return (((x + self._shift) % 50 == 0) & (y % 50 < 10) & (z % 16 == 0)).astype(np.uint8)


def test_memory_is_that_of_a_block_and_of_the_surfaces() -> None:
    found, true = SparseVolume(3), SparseVolume(0)
    compare_clefts(found, true, Box.from_shape((4, 40, 60)))
    tracemalloc.start()
    try:
        figures = compare_clefts(found, true, block_voxels=1 << 17)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The clefts of 47, 97, … lie 3 voxels before those of 50, 100, …
    assert figures["adgt_nm"] == figures["found_nm"]["max"] == 12
    assert figures["n_true"] == 4 * 56 * 6 and figures["true_nm"]["max"] == 47 * 4
    assert peak < found.bounds.size // 2


def test_progress_counts_both_passes() -> None:
    mask = volume(blobs(6, (4, 9, 9), 0.1))
    with Progress(2 * mask.bounds.size, "voxel", enabled=False) as progress:
        compare_clefts(mask, mask, block_voxels=100, progress=progress)
    assert progress.done == 2 * mask.bounds.size


def test_what_cannot_be_compared_is_refused() -> None:
    mask = volume(blobs(7, (4, 9, 9), 0.2))
    with pytest.raises(EvaluationError, match="prediction 'array of float32' has dtype float32, but labels"):
        compare_clefts(volume(np.zeros((4, 9, 9), np.float32)), mask)
    with pytest.raises(EvaluationError, match="bring both to one grid"):
        compare_clefts(volume(mask.read(), size_nm=(40.0, 8.0, 8.0)), mask)
    with pytest.raises(EvaluationError, match="share no voxel"):
        compare_clefts(mask, volume(mask.read(), start=(50, 0, 0)))
    with pytest.raises(EvaluationError, match="threshold -1 nm is no distance"):
        compare_clefts(mask, mask, threshold_nm=-1)
    with pytest.raises(EvaluationError, match="not known anywhere"):
        compare_clefts(mask, volume(np.full((4, 9, 9), 5)), marks=CleftMarks(ignore=5))
    with pytest.raises(EvaluationError, match="more than 10 voxels on their surfaces.*smaller boxes"):
        compare_clefts(mask, mask, most_surface_voxels=10)
