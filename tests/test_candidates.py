"""Pairs of a stored volume: the same for any blocks in any order, after a kill, and after damage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agglomeration.candidate_pairs import CandidatePairs
from agglomeration.candidates import CandidateSource, candidate_blocks, candidates_block, find_candidates
from agglomeration.contacts import find_contacts, merge_contacts
from agglomeration.decision_points import find_decision_points, pairs_of
from agglomeration.errors import AgglomerationError
from agglomeration.expansion import expand
from configs import ConfigView
from configs.parsing import parse_text
from configs.proto import reconstruction_pb2
from inference.reconciliation import object_voxels
from inference.supervoxel_table import block_statistics
from jobs import WorkerSettings, worker_pool
from volumes import Box, Volume, create_volume, open_volume

SIZE_NM = (20.0, 10.0, 10.0)


def settings_of(**changes: float) -> ConfigView:
    candidates = "max_distance_nm: 40 min_size: 1 block { z: 16 y: 16 x: 16 }"
    section = ConfigView(parse_text(candidates, reconstruction_pb2.Candidates, "candidates"))
    return section.replace(**changes)


def blobs(shape: tuple[int, int, int] = (20, 24, 36), seed: int = 3, ids: int = 40) -> np.ndarray:
    """Balls of a few voxels with empty space between them, some of which touch."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint64)
    grid = np.stack(np.indices(shape), -1)
    for number in rng.choice(2**40, ids, replace=False):
        centre, radius = rng.uniform(0, shape), rng.uniform(1, 4)
        labels[np.linalg.norm(grid - centre, axis=-1) < radius] = number
    return labels


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., Volume]:
    def store(labels: np.ndarray) -> Volume:
        with create_volume(
            f"zarr://{tmp_path}/labels",
            bounds=Box.from_shape(labels.shape, (5, -7, 100)),
            dtype=np.uint64,
            voxel_size_nm=SIZE_NM,
            overwrite=True,
        ) as volume:
            volume.write(volume.bounds, labels)
        return open_volume(f"zarr://{tmp_path}/labels")

    return store


def found_in(
    volume: Volume, folder: Path, section: ConfigView | None = None, **options: Any
) -> CandidatePairs:
    section = settings_of() if section is None else section
    return find_candidates(volume, volume.bounds, section=section, directory=folder / "pieces", **options)


def assert_same(first: CandidatePairs, second: CandidatePairs) -> None:
    for name, column in vars(second).items():
        np.testing.assert_array_equal(getattr(first, name), column, name)
        assert getattr(first, name).dtype == column.dtype


def test_blocks_find_what_one_box_finds(store: Callable[..., Volume], tmp_path: Path) -> None:
    labels = blobs()
    volume = store(labels)
    expected = find_decision_points(labels, SIZE_NM, origin_zyx=volume.bounds.start, max_distance_nm=40)
    assert len(expected) > 30
    assert_same(found_in(volume, tmp_path), expected)
    assert len(list((tmp_path / "pieces").iterdir())) == 2 * 2 * 3


@given(
    st.tuples(*[st.integers(1, 9)] * 3),
    st.tuples(*[st.integers(1, 9)] * 3),
    st.sampled_from([1, 30, 200]),
    st.integers(0, 999),
)
def test_neither_the_cut_nor_the_order_of_blocks_changes_the_pairs(
    shape: tuple[int, int, int], block_shape: tuple[int, int, int], limit: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 4, shape) * (rng.random(shape) < rng.choice([0.05, 0.2, 0.7, 1.0]))
    region = Box.from_shape(shape, (4, 0, -9))
    source = CandidateSource("labels", SIZE_NM, region, limit, Path("pieces"))
    parts = []
    for block in candidate_blocks(region, block_shape):
        window = source.window(block)
        expanded = expand(labels[window.slices(region.start)], SIZE_NM, limit)
        parts.append(find_contacts(expanded, window.start, block))
    rng.shuffle(parts)
    contacts = merge_contacts(each for each, _ in parts)
    rng.shuffle(parts)
    found = pairs_of(contacts, parts, SIZE_NM, object_voxels(labels))
    assert_same(found, find_decision_points(labels, SIZE_NM, origin_zyx=region.start, max_distance_nm=limit))


@pytest.mark.parametrize("block", [(17, 99, 99), (20, 16, 36), (19, 23, 35), (99, 99, 99)])
def test_any_setting_of_blocks_gives_the_same_table(
    block: tuple[int, int, int], store: Callable[..., Volume], tmp_path: Path
) -> None:
    volume = store(blobs())
    assert_same(
        found_in(volume, tmp_path / "other", settings_of().replace(block=block)), found_in(volume, tmp_path)
    )


def test_labels_beyond_the_box_are_not_seen(store: Callable[..., Volume], tmp_path: Path) -> None:
    labels = blobs()
    volume = store(labels)
    box = Box((8, 0, 105), (20, 12, 130))
    inside = labels[box.slices(volume.bounds.start)]
    expected = find_decision_points(inside, SIZE_NM, origin_zyx=box.start, max_distance_nm=40)
    assert_same(find_candidates(volume, box, section=settings_of(), directory=tmp_path / "p"), expected)


def test_small_supervoxels_and_small_contacts_are_left_out(
    store: Callable[..., Volume], tmp_path: Path
) -> None:
    volume = store(blobs())
    every = found_in(volume, tmp_path)
    chosen = found_in(volume, tmp_path, settings_of(min_size=40, min_contact_faces=12))
    kept = (np.minimum(every.size_a, every.size_b) >= 40) & (every.contact_faces >= 12)
    assert 0 < kept.sum() < len(every)
    assert_same(chosen, every.select(kept))


def test_sizes_come_from_the_table_of_supervoxels(store: Callable[..., Volume], tmp_path: Path) -> None:
    labels = blobs()
    table = block_statistics(labels, (0, 0, 0))
    larger = replace(table, voxels=table.voxels + 1000)
    volume = store(labels)
    pairs, counted = found_in(volume, tmp_path, sizes=larger), found_in(volume, tmp_path)
    assert_same(pairs, replace(counted, size_a=counted.size_a + 1000, size_b=counted.size_b + 1000))


def test_a_table_of_other_supervoxels_is_refused(store: Callable[..., Volume], tmp_path: Path) -> None:
    other = block_statistics(np.ones((2, 2, 2), np.uint64), (0, 0, 0))
    with pytest.raises(AgglomerationError, match="not in the table of supervoxels"):
        found_in(store(blobs()), tmp_path, sizes=other)


def test_a_rerun_makes_only_missing_and_damaged_pieces(store: Callable[..., Volume], tmp_path: Path) -> None:
    volume = store(blobs())
    first = found_in(volume, tmp_path)
    pieces = sorted((tmp_path / "pieces").iterdir())
    times = {path: path.stat().st_mtime_ns for path in pieces}
    pieces[1].unlink()
    pieces[2].write_bytes(pieces[2].read_bytes()[:-50])
    damaged = bytearray(pieces[3].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    pieces[3].write_bytes(damaged)
    told: list[str] = []
    assert_same(found_in(volume, tmp_path, tell=told.append), first)
    changed = [path for path in pieces if path.stat().st_mtime_ns != times[path]]
    assert changed == pieces[1:4]
    assert sorted(line.split(" ")[1] for line in told) == [str(path) for path in pieces[2:4]]
    assert all(line.endswith("it is made anew") for line in told)


def test_pieces_of_other_labels_or_settings_are_made_anew(
    store: Callable[..., Volume], tmp_path: Path
) -> None:
    found_in(store(blobs(seed=1)), tmp_path)
    labels = blobs(seed=2)
    volume = store(labels)
    expected = find_decision_points(labels, SIZE_NM, origin_zyx=volume.bounds.start, max_distance_nm=40)
    assert_same(found_in(volume, tmp_path), expected)
    nearer = find_decision_points(labels, SIZE_NM, origin_zyx=volume.bounds.start, max_distance_nm=20)
    assert_same(found_in(volume, tmp_path, settings_of(max_distance_nm=20.0)), nearer)


def test_a_named_volume_is_not_read_again(store: Callable[..., Volume], tmp_path: Path) -> None:
    volume = store(blobs(seed=1))
    box, pieces = volume.bounds, tmp_path / "pieces"
    source = CandidateSource(volume.spec, SIZE_NM, box, 40.0, pieces, "run 1")
    assert not candidates_block(source, box).reused
    gone = replace(source, spec=f"zarr://{tmp_path}/gone")
    assert candidates_block(gone, box).reused


def test_workers_find_the_same(store: Callable[..., Volume], tmp_path: Path) -> None:
    volume = store(blobs())
    alone = found_in(volume, tmp_path)
    with worker_pool(WorkerSettings(threads_per_worker=2)) as pool:
        again = find_candidates(
            volume, volume.bounds, section=settings_of(), directory=tmp_path / "other", pool=pool
        )
    assert_same(again, alone)


def test_a_box_beyond_the_volume_and_an_array_are_refused(
    store: Callable[..., Volume], tmp_path: Path
) -> None:
    volume = store(blobs())
    with pytest.raises(AgglomerationError, match="give a box inside that is not empty"):
        find_candidates(volume, volume.bounds.grow(1), section=settings_of(), directory=tmp_path)
    array = open_volume(np.zeros((4, 4, 4), np.uint64))
    with pytest.raises(AgglomerationError, match="or call find_decision_points"):
        find_candidates(array, array.bounds, section=settings_of(), directory=tmp_path)
