"""What a person should look at: two cell bodies in one supervoxel, vessels, and objects unlike all others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agglomeration import tables
from agglomeration.cell_bodies import CellBodies
from agglomeration.database import open_database
from agglomeration.flags import (
    Flag,
    cell_body_flags,
    entering,
    find_flags,
    neuron_table,
    outliers,
    write_flags,
)
from agglomeration.runs import start_run
from agglomeration.somas import SomaPlaces
from agglomeration.tissue_contacts import contacts
from configs.parsing import parse_text
from configs.proto import reconstruction_pb2
from configs.views import ConfigView
from inference.supervoxel_table import SupervoxelTable, block_statistics
from volumes import Box, Volume, create_volume
from volumes.arrays import ArrayVolume

NM = (100.0, 100.0, 100.0)


def volume_of(labels: np.ndarray, nm: float = 100.0, start: tuple[int, int, int] = (0, 0, 0)) -> Volume:
    return ArrayVolume(labels, voxel_size_nm=(nm, nm, nm), start=start)


def table_of_sizes(voxels: list[int], lengths: list[int]) -> SupervoxelTable:
    """Objects of so many voxels in boxes of 1 by 1 by a length."""
    n = len(voxels)
    start = np.zeros((n, 3), np.int64)
    stop = np.stack([np.ones(n), np.ones(n), np.array(lengths)], axis=1).astype(np.int64)
    ids, counts = np.arange(1, n + 1, dtype=np.uint64), np.array(voxels, np.int64)
    return SupervoxelTable(ids, counts, start, stop, start, start + [0, 0, 7], counts)


def places_of(rows: list[tuple[int, int, bool]]) -> SomaPlaces:
    body, supervoxel, main = (np.array(column) for column in zip(*rows, strict=True))
    ids = np.unique(body)
    bodies = CellBodies(ids, np.stack([ids * 1.0, ids * 2.0, ids * 3.0], axis=1), ids * 10.0, "table")
    return SomaPlaces((bodies,), body, supervoxel.astype(np.uint64), main.astype(bool), np.ones(len(rows)))


def test_several_cell_bodies_in_one_supervoxel_are_reported() -> None:
    found = cell_body_flags(
        places_of([(1, 5, True), (2, 5, True), (3, 6, True), (4, 6, False), (4, 7, True)])
    )
    assert found == [Flag("two_cell_bodies", 5, (1.0, 2.0, 3.0), "cell bodies 1, 2")]


def test_a_cell_body_without_a_supervoxel_is_reported() -> None:
    found = cell_body_flags(places_of([(1, 5, True), (2, 0, False)]))
    assert [(flag.kind, flag.object, flag.point_nm) for flag in found] == [
        ("no_supervoxel", 2, (2.0, 4.0, 6.0))
    ]


def test_overlap_and_contact_are_counted_by_hand() -> None:
    labels = np.array([[[1, 1, 1, 2, 0, 3]]], np.uint64)
    vessel = np.array([[[0, 0, 1, 0, 1, 0]]], np.uint8)
    # 1 holds a labelled voxel, 2 touches that one and the one behind, 3 the one before.
    found = contacts(volume_of(labels), volume_of(vessel))
    assert found.ids.tolist() == [1, 2, 3]
    assert found.overlap_voxels.tolist() == [1, 0, 0]
    assert found.contact_faces.tolist() == [0, 2, 1]
    assert found.point_zyx.tolist() == [[0, 0, 2], [0, 0, 3], [0, 0, 5]]


def test_nothing_labelled_gives_no_contacts() -> None:
    found = contacts(volume_of(np.ones((3, 3, 3), np.uint64)), volume_of(np.zeros((3, 3, 3), np.uint8)))
    assert [len(column) for column in (found.ids, found.overlap_voxels, found.contact_faces)] == [0, 0, 0]
    assert found.point_zyx.shape == (0, 3)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2]), st.integers(1, 7))
def test_contacts_are_those_of_every_voxel_whatever_the_blocks(seed: int, factor: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    start = tuple(rng.integers(-3, 4, 3).tolist())
    labels = rng.integers(0, 4, rng.integers(1, 7, 3)).astype(np.uint64)
    coarse = rng.integers(0, 2, (4, 3, 5)).astype(np.uint8)
    coarse_start = tuple(rng.integers(-2, 2, 3).tolist())
    found = contacts(
        volume_of(labels, 100.0, start), volume_of(coarse, 100.0 * factor, coarse_start), block_edge=block
    )
    overlap: dict[int, int] = {}
    faces: dict[int, int] = {}
    inside = np.zeros(labels.shape, bool)
    for voxel in np.ndindex(labels.shape):
        at = tuple((v + s) // factor - c for v, s, c in zip(voxel, start, coarse_start, strict=True))
        inside[voxel] = Box((0, 0, 0), coarse.shape).contains(at) and bool(coarse[at])  # type: ignore[arg-type]
    for voxel in np.ndindex(labels.shape):
        i = int(labels[voxel])
        if i and inside[voxel]:
            overlap[i] = overlap.get(i, 0) + 1
        for axis, step in ((axis, step) for axis in range(3) for step in (-1, 1)):
            other = tuple(n + step * (k == axis) for k, n in enumerate(voxel))
            there = all(0 <= n < length for n, length in zip(other, labels.shape, strict=True))
            if i and not inside[voxel] and there and inside[other] and labels[other] != i:
                faces[i] = faces.get(i, 0) + 1
    assert found.ids.tolist() == sorted({*overlap, *faces})
    assert found.overlap_voxels.tolist() == [overlap.get(i, 0) for i in found.ids.tolist()]
    assert found.contact_faces.tolist() == [faces.get(i, 0) for i in found.ids.tolist()]
    for i, point in zip(found.ids.tolist(), found.point_zyx, strict=True):
        at = tuple((point - start).tolist())
        assert labels[at] == i and bool(inside[at]) == (i in overlap)


def test_a_neuron_that_enters_a_vessel_is_flagged_and_one_that_runs_along_is_not() -> None:
    labels = np.zeros((10, 12, 12), np.uint64)
    labels[:, 1, 1], labels[:5, 6, 6], labels[5:, 6, 6] = 1, 2, 3
    vessel = np.zeros_like(labels, np.uint8)
    vessel[:, 2, 1] = 1
    vessel[4:, 4:9, 4:9] = 1
    table = block_statistics(labels, (0, 0, 0))
    found = contacts(volume_of(labels), volume_of(vessel))
    # 2 and 3 are one neuron, 6 of whose voxels of 0.001 um3 lie inside; its own faces are no contact.
    neurons = np.array([1, 2, 2], np.uint64)
    flags = entering("enters_vessel", found, table.ids, neurons, NM, least_nm3=5e6)
    words = "0.006 um3 inside, 0 faces in contact"
    assert flags == [Flag("enters_vessel", 2, (550.0, 650.0, 650.0), words)]
    assert entering("enters_vessel", found, table.ids, neurons, NM, least_nm3=7e6) == []


def test_a_neuron_is_the_sum_of_its_supervoxels() -> None:
    labels = np.array([[[1, 1, 0, 2, 2, 2]]], np.uint64)
    whole = neuron_table(block_statistics(labels, (0, 0, 0)), np.array([1, 1], np.uint64))
    assert (whole.ids.tolist(), whole.voxels.tolist()) == ([1], [5])
    assert (whole.start_zyx.tolist(), whole.stop_zyx.tolist()) == ([[0, 0, 0]], [[1, 1, 6]])
    assert whole.point_zyx.tolist() == [[0, 0, 4]]


def test_size_and_shape_outliers_are_found_among_many() -> None:
    rng = np.random.default_rng(1)
    lengths = rng.integers(80, 120, 100)
    # Logarithms spread by 0.2; 101 is 400 times larger and as thick, 102 a lump, 103 a fragment.
    voxels = np.round(lengths * np.exp(rng.normal(0, 0.2, 100)) * 10).astype(int)
    table = table_of_sizes([*voxels.tolist(), 400_000, 1000, 3], [*lengths.tolist(), 40_000, 4, 3])
    flags = outliers(table, NM)
    assert [(flag.kind, flag.object) for flag in flags] == [("size_outlier", 101), ("shape_outlier", 102)]
    assert flags[0].point_nm == (50.0, 50.0, 750.0)
    assert flags[0].detail.startswith("400 um3, +")


@pytest.mark.parametrize("count", [3, 40], ids=["few", "all equal"])
def test_without_a_spread_to_compare_with_nothing_is_an_outlier(count: int) -> None:
    table = table_of_sizes([1000] * count + [900_000], [100] * (count + 1))
    assert outliers(table, NM) == []


def test_all_flags_of_a_project_are_written_once(tmp_path: Path) -> None:
    labels = np.zeros((10, 12, 12), np.uint64)
    labels[:, 1:5, 1:5], labels[:, 6:11, 6:11] = 1, 2
    spec, box = f"{tmp_path}/tissue.h5:outside", Box((0, 0, 0), (5, 6, 6))
    with create_volume(spec, bounds=box, dtype=np.uint8, voxel_size_nm=(200, 200, 200)) as outside:
        outside.write(box, np.repeat([0, 0, 0, 1, 1], 36).reshape(5, 6, 6).astype(np.uint8))
    section = ConfigView(parse_text(f'outside {{ spec: "{spec}" }}', reconstruction_pb2.Somas, "test"))
    places = places_of([(1, 1, True), (2, 1, True)])
    table = block_statistics(labels, (0, 0, 0))
    flags = find_flags(section, volume_of(labels), table, np.array([1, 2], np.uint64), places)
    found = [(flag.kind, flag.object) for flag in flags]
    assert found == [("leaves_tissue", 1), ("leaves_tissue", 2), ("two_cell_bodies", 1)]
    assert find_flags(None, volume_of(labels), table, np.array([1, 2], np.uint64), None) == []
    with open_database(tmp_path / "decisions.sqlite") as database:
        run = start_run(database, "digest", "", {})
        for _ in range(2):
            write_flags(database, run, flags)
        with database.reading() as connection:
            rows = connection.execute(tables.flags.select().order_by("kind", "object")).all()
        assert [(row.kind, row.object) for row in rows] == found
        assert tuple(rows[2])[3:] == (1.0, 2.0, 3.0, "cell bodies 1, 2")
        write_flags(database, run, [])
        with database.reading() as connection:
            assert connection.execute(tables.flags.select()).all() == []
