"""Rows describe their objects exactly, however the volume was cut and the tables were merged."""

from __future__ import annotations

import csv
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.supervoxel_table import (
    CSV_COLUMNS,
    SupervoxelTable,
    block_statistics,
    load_table,
    merge_tables,
    save_table,
    write_table_csv,
)
from inference.supervoxels import table_of
from jobs.pieces import PieceError
from volumes import Box, VolumeError

shapes = st.tuples(*[st.integers(1, 7)] * 3)
starts = st.tuples(*[st.integers(-9, 9)] * 3)


def random_labels(shape: tuple[int, ...], seed: int) -> np.ndarray:
    labels = np.random.default_rng(seed).integers(0, 5, shape).repeat(2, axis=2)
    return np.where(labels > 2, labels.astype(np.uint64) << np.uint64(60), labels.astype(np.uint64))


def assert_equal(first: SupervoxelTable, second: SupervoxelTable) -> None:
    for field in fields(SupervoxelTable):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name), field.name)
        assert getattr(first, field.name).dtype == getattr(second, field.name).dtype


@given(shapes, starts, st.integers(0, 999))
def test_a_row_describes_its_object(shape, start, seed: int):
    labels = random_labels(shape, seed)
    table = block_statistics(labels, start)
    assert table.ids.tolist() == np.unique(labels[labels > 0]).tolist()
    for row, label in enumerate(table.ids):
        voxels = np.argwhere(labels == label) + start
        assert table.voxels[row] == table.point_voxels[row] == len(voxels)
        assert table.start_zyx[row].tolist() == voxels.min(axis=0).tolist()
        assert table.stop_zyx[row].tolist() == (voxels.max(axis=0) + 1).tolist()
        assert table.sum_zyx[row].tolist() == voxels.sum(axis=0).tolist()
        np.testing.assert_allclose(table.centroid_zyx[row], voxels.mean(axis=0), atol=1e-12)
        assert table.point_zyx[row].tolist() in voxels.tolist()
        distances = np.linalg.norm(voxels - voxels.mean(axis=0), axis=1)
        found = np.linalg.norm(table.point_zyx[row] - voxels.mean(axis=0))
        assert found == pytest.approx(distances.min(), abs=1e-9)


@given(shapes, starts, st.integers(0, 999), st.randoms(use_true_random=False))
def test_tables_of_blocks_merge_in_any_order_and_grouping(shape, start, seed: int, random):
    labels = random_labels(shape, seed)
    bounds = Box.from_shape(labels.shape, start)
    middle = [(low + high) // 2 for low, high in zip(bounds.start, bounds.stop, strict=True)]
    z, y, x = middle
    far = Box((z, y, x), bounds.stop)
    halves = [
        Box(bounds.start, (z, *bounds.stop[1:])),
        Box((z, *bounds.start[1:]), (bounds.stop[0], y, bounds.stop[2])),
        Box((z, y, bounds.start[2]), (*bounds.stop[:2], x)),
        far,
    ]
    assert sum(half.size for half in halves) == bounds.size
    tables = [block_statistics(labels[box.slices(start)], box.start) for box in halves]
    merged = merge_tables(tables)
    random.shuffle(tables)
    cut = random.randrange(5)
    assert_equal(merge_tables([merge_tables(tables[:cut]), merge_tables(tables[cut:])]), merged)
    whole = block_statistics(labels, start)
    for name in ("ids", "voxels", "start_zyx", "stop_zyx", "sum_zyx"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
    for label, point in zip(merged.ids, merged.point_zyx, strict=True):
        assert labels[tuple(point - start)] == label


def test_the_point_lies_in_the_largest_part_and_ties_go_to_the_first():
    """A ring has no voxel at its centroid; its four nearest are equally near."""
    ring = np.ones((1, 3, 3), np.uint8)
    ring[0, 1, 1] = 0
    table = block_statistics(ring, (4, 0, 0))
    assert table.point_zyx.tolist() == [[4, 0, 1]]
    small = block_statistics(np.ones((1, 1, 5), np.uint8), (0, 0, 0))
    assert merge_tables([small, table]).point_zyx.tolist() == [[4, 0, 1]]
    equal = block_statistics(np.ones((1, 1, 8), np.uint8), (3, 9, 9))
    for order in ([equal, table], [table, equal]):
        assert merge_tables(order).point_zyx.tolist() == [[3, 9, 12]]


def test_nothing_merges_to_nothing():
    assert_equal(merge_tables([]), merge_tables([block_statistics(np.zeros((2, 2, 2), np.uint8), (0, 0, 0))]))
    assert merge_tables([]).centroid_zyx.shape == (0, 3)


@pytest.mark.parametrize("count", [0, 63, 64, 65, 64 * 7 + 3])
def test_the_table_of_many_blocks_is_that_of_all_of_them_at_once(count: int):
    """Blocks in a row, one object in all of them and one in every third."""
    tables = []
    for x in range(count):
        block = np.full((1, 1, 3), 9, np.uint64)
        block[0, 0, 0] = 5 if x % 3 == 0 else 1000 + x
        tables.append(block_statistics(block, (2, 4, 3 * x)))
    merged = table_of(vars(table) for table in tables)
    assert_equal(merged, merge_tables(tables))
    assert merged.voxels[merged.ids == 9].sum() == 2 * count


def test_a_table_is_stored_whole(tmp_path: Path):
    table = block_statistics(random_labels((4, 5, 6), 0), (1, 2, 3))
    save_table(tmp_path / "t.npz", table)
    assert_equal(load_table(tmp_path / "t.npz"), table)
    with pytest.raises(PieceError, match="run the stage"):
        load_table(tmp_path / "other.npz")


def test_people_get_nanometres_of_voxel_centres(tmp_path: Path):
    labels = np.zeros((2, 2, 4), np.uint64)
    labels[1, :, 1:3] = 2**63 + 1
    write_table_csv(tmp_path / "t.csv", block_statistics(labels, (10, 0, -1)), (40, 4.6, 5))
    header, row = csv.reader((tmp_path / "t.csv").read_text().splitlines())
    assert tuple(header) == CSV_COLUMNS
    assert row[:8] == [str(2**63 + 1), "4", "11", "0", "0", "12", "2", "2"]
    # Centroid at voxel (11, 0.5, 0.5), point at voxel (11, 0, 0).
    assert [float(value) for value in row[8:]] == [460, 4.6, 5, 460, 2.3, 2.5]


@pytest.mark.parametrize(
    ("labels", "message"),
    [(np.ones((2, 2)), "has 2 axes"), (np.full((1, 1, 1), -1), "negative label -1")],
)
def test_what_is_no_label_array_says_why(labels: np.ndarray, message: str):
    with pytest.raises(VolumeError, match=message):
        block_statistics(labels, (0, 0, 0))
