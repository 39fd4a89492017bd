"""Neurons as tables and voxels: exact sums of their supervoxels, the same after any rerun."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from cloudvolume import CloudVolume
from hypothesis import given
from hypothesis import strategies as st

from agglomeration import neuron_volume as neuron_volume_module
from agglomeration.errors import AgglomerationError
from agglomeration.merge_graph import components
from agglomeration.neuron_skeletons import write_neuron_skeletons
from agglomeration.neuron_volume import NeuronVolume, name_in_info, write_neuron_volume
from agglomeration.neurons import CSV_COLUMNS, NeuronMap, NeuronTable, neuron_table
from configs.proto import reconstruction_pb2
from configs.views import ConfigView
from inference.supervoxel_table import SupervoxelTable, block_statistics
from jobs import WorkerSettings, worker_pool
from jobs.pieces import PieceError
from jobs.workers import Pool
from volumes import Box, VolumeError, create_volume, open_volume, read_skeletons
from volumes.resample import downsample_labels

SIZE_NM = (20.0, 10.0, 10.0)
START = (4, -8, 100)


def arrays(seed: int, shape: tuple[int, int, int] = (6, 8, 9)) -> tuple[np.ndarray, NeuronMap]:
    """Labels of five large IDs, and a map of some of them to each other."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 6, shape).astype(np.uint64) * np.uint64(10**15 + 1)
    ids = np.unique(labels[labels > 0])
    merges = random.choice(ids, (3, 2)) if ids.size else np.zeros((0, 2), np.uint64)
    return labels, NeuronMap(ids, components(ids, *np.sort(merges, axis=1).T))


@given(st.integers(0, 2**32))
def test_a_neuron_is_the_sum_of_its_supervoxels(seed: int) -> None:
    labels, neuron_map = arrays(seed)
    neurons = neuron_map.relabelled(labels)
    found = neuron_table(block_statistics(labels, START), neuron_map)
    expected = block_statistics(neurons, START)
    for name in ("ids", "voxels", "start_zyx", "stop_zyx", "sum_zyx"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    np.testing.assert_array_equal(found.centroid_zyx, expected.centroid_zyx)
    for row, neuron in enumerate(found.ids):
        members = neuron_map.supervoxels[neuron_map.neurons == neuron]
        assert neuron == members.min()
        assert found.supervoxels[row] == members.size
        assert neurons[tuple(found.point_zyx[row] - START)] == neuron


@given(st.integers(0, 2**32))
def test_relabelling_is_a_lookup_of_every_voxel(seed: int) -> None:
    labels, neuron_map = arrays(seed)
    neuron_of = {0: 0, **dict(zip(neuron_map.supervoxels.tolist(), neuron_map.neurons.tolist(), strict=True))}
    expected = [neuron_of[label] for label in labels.ravel().tolist()]
    found = neuron_map.relabelled(labels)
    assert found.dtype == np.uint64 and found.ravel().tolist() == expected


def test_a_supervoxel_without_neuron_is_named() -> None:
    neuron_map = NeuronMap(np.array([2, 5], np.uint64), np.array([2, 2], np.uint64))
    for unknown in (1, 3, 9):
        with pytest.raises(AgglomerationError, match=f"supervoxel {unknown} has no neuron; agglomerate"):
            neuron_map.relabelled(np.array([[[0, 2, unknown]]], np.uint32))
    with pytest.raises(AgglomerationError, match="a table of 1 supervoxels and a map of 2"):
        neuron_table(block_statistics(np.full((1, 1, 1), 2), (0, 0, 0)), neuron_map)


@pytest.mark.parametrize(
    "supervoxels, neurons, message",
    [
        ([1, 2], [1], "2 supervoxels and 1 neurons do not make a map"),
        ([2, 1], [1, 1], "do not ascend from 1"),
        ([1, 1], [1, 1], "do not ascend from 1"),
        ([0, 1], [1, 1], "do not ascend from 1"),
        ([1, 2], [1, 0], "or a neuron is 0"),
    ],
)
def test_what_is_no_map_is_refused(supervoxels: list[int], neurons: list[int], message: str) -> None:
    with pytest.raises(AgglomerationError, match=message):
        NeuronMap(np.array(supervoxels, np.uint64), np.array(neurons, np.uint64))


def test_no_supervoxels_make_no_neurons() -> None:
    labels = np.zeros((2, 2, 2), np.uint64)
    nothing = NeuronMap(np.zeros(0, np.uint64), np.zeros(0, np.uint64))
    assert len(neuron_table(block_statistics(labels, (0, 0, 0)), nothing)) == 0
    assert not nothing.relabelled(labels).any()


def test_tables_survive_the_disk(tmp_path: Path) -> None:
    labels, neuron_map = arrays(5)
    table = neuron_table(block_statistics(labels, START), neuron_map)
    table.save(tmp_path / "neurons.npz")
    neuron_map.save(tmp_path / "map.npz")
    again = NeuronTable.load(tmp_path / "neurons.npz")
    for field in fields(NeuronTable):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(table, field.name))
    assert NeuronMap.load(tmp_path / "map.npz").digest == neuron_map.digest
    with pytest.raises(PieceError, match="cannot read piece"):
        NeuronMap.load(tmp_path / "none.npz")


def test_the_csv_has_boxes_in_voxels_and_places_in_nanometres(tmp_path: Path) -> None:
    labels = np.zeros((2, 3, 4), np.uint64)
    labels[0, 0, :2] = 3
    labels[1, 2, 3] = 8
    neuron_map = NeuronMap(np.array([3, 8], np.uint64), np.array([3, 3], np.uint64))
    neuron_table(block_statistics(labels, (0, 0, 0)), neuron_map).write_csv(tmp_path / "n.csv", SIZE_NM)
    with (tmp_path / "n.csv").open(newline="") as stream:
        header, row = csv.reader(stream)
    assert tuple(header) == CSV_COLUMNS
    assert row[:9] == ["3", "2", "3", "0", "0", "0", "2", "3", "4"]
    # Voxels at z 0, 0, 1; y 0, 0, 2; x 0, 1, 3. The point is the first voxel of supervoxel 3.
    assert [float(each) for each in row[9:]] == [16.7, 11.7, 18.3, 10, 5, 5]


SHAPE = (70, 130, 140)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with worker_pool(WorkerSettings()) as workers:
        yield workers


class Project:
    """Supervoxels on the disk: boxes along x, of which pairs are neurons."""

    def __init__(self, folder: Path, merges: dict[int, int]) -> None:
        self.folder, self.source = folder, f"precomputed://file://{folder / 'supervoxels'}"
        labels = np.zeros(SHAPE, np.uint64)
        for number in range(1, 8):
            labels[5:60, 10:120, 20 * number - 18 : 20 * number] = number
        self.labels = labels
        bounds = Box.from_shape(SHAPE, START)
        with create_volume(
            self.source, bounds=bounds, dtype=np.uint64, voxel_size_nm=SIZE_NM, overwrite=True
        ) as volume:
            volume.write(bounds, labels)
        self.merge(merges)

    def merge(self, merges: dict[int, int]) -> None:
        ids = np.arange(1, 8, dtype=np.uint64)
        self.map = NeuronMap(ids, np.array([merges.get(int(each), int(each)) for each in ids], np.uint64))
        self.map.save(self.folder / "map.npz")

    def write(self, pool: Pool) -> NeuronVolume:
        return write_neuron_volume(
            self.source,
            self.folder / "map.npz",
            self.folder / "neurons",
            self.folder / "kept",
            made_from={"ids": "abc"},
            pool=pool,
        )


def states(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_neurons_are_written_with_a_pyramid_where_the_supervoxels_lie(tmp_path: Path, pool: Pool) -> None:
    project = Project(tmp_path, {2: 1, 5: 3})
    volume = project.write(pool)
    neurons = project.map.relabelled(project.labels)
    with open_volume(volume.spec) as written:
        assert (written.bounds, written.voxel_size_nm) == (Box.from_shape(SHAPE, START), SIZE_NM)
        np.testing.assert_array_equal(written.read(), neurons)
    with open_volume(f"{volume.spec}#1") as coarse:
        assert coarse.voxel_size_nm == (20, 20, 20)
        np.testing.assert_array_equal(coarse.read(), downsample_labels(neurons, (1, 2, 2)))
    assert not list(tmp_path.glob(".neurons.unfinished*"))
    # The file speaks x, y, z.
    theirs = CloudVolume(f"file://{volume.folder}", progress=False, fill_missing=True, bounded=False)
    assert theirs[122, 10, 20][0, 0, 0, 0] == neurons[20 - 4, 10 + 8, 122 - 100] == 1


def test_a_rerun_writes_nothing_unless_a_block_was_damaged(tmp_path: Path, pool: Pool) -> None:
    project = Project(tmp_path, {2: 1})
    volume = project.write(pool)
    before = states(tmp_path)
    assert project.write(pool) == volume and states(tmp_path) == before
    with open_volume(volume.spec, mode="r+") as written:
        box = Box.from_shape((1, 20, 20), (20, 20, 100))
        written.write(box, np.zeros(box.shape, np.uint64))
    project.write(pool)
    with open_volume(volume.spec) as written:
        np.testing.assert_array_equal(written.read(), project.map.relabelled(project.labels))


def test_another_map_takes_the_place_of_the_neurons(tmp_path: Path, pool: Pool) -> None:
    project = Project(tmp_path, {2: 1})
    first = project.write(pool)
    project.merge({2: 1, 3: 1})
    second = project.write(pool)
    assert first.made_from != second.made_from
    with open_volume(second.spec) as written:
        np.testing.assert_array_equal(written.read(), project.map.relabelled(project.labels))


def test_an_interrupted_run_is_taken_up(tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path, {2: 1})

    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(neuron_volume_module, "put_in_place", killed)
        project.write(pool)
    assert not (tmp_path / "neurons").exists()
    before = states(tmp_path / "kept")
    assert before
    volume = project.write(pool)
    assert states(tmp_path / "kept") == before
    with open_volume(volume.spec) as written:
        np.testing.assert_array_equal(written.read(), project.map.relabelled(project.labels))


def test_a_map_of_other_supervoxels_ends_the_run(tmp_path: Path, pool: Pool) -> None:
    project = Project(tmp_path, {})
    NeuronMap(np.arange(1, 7, dtype=np.uint64), np.ones(6, np.uint64)).save(tmp_path / "map.npz")
    with pytest.raises(AgglomerationError, match="supervoxel 7 has no neuron"):
        project.write(pool)
    assert not (tmp_path / "neurons").exists()


def test_supervoxels_that_are_not_there_are_named(tmp_path: Path, pool: Pool) -> None:
    project = Project(tmp_path, {})
    project.source = f"precomputed://file://{tmp_path / 'elsewhere'}"
    with pytest.raises(VolumeError, match="there is no Precomputed volume"):
        project.write(pool)


def test_what_lies_beside_the_voxels_is_named_and_forgotten(tmp_path: Path) -> None:
    (tmp_path / "info").write_text('{"scales": []}')
    name_in_info(tmp_path, "mesh", "mesh")
    assert json.loads((tmp_path / "info").read_text()) == {"scales": [], "mesh": "mesh"}
    name_in_info(tmp_path, "mesh", None)
    assert json.loads((tmp_path / "info").read_text()) == {"scales": []}


@pytest.mark.slow
def test_skeletons_lie_beside_the_neurons_where_readers_find_them(tmp_path: Path, pool: Pool) -> None:
    pytest.importorskip("kimimaro")
    project = Project(tmp_path, {2: 1, 5: 3})
    volume = project.write(pool)

    def section(min_voxels: int) -> ConfigView:
        message = reconstruction_pb2.Skeletonisation(scale=1.5, const_nm=100, min_voxels=min_voxels)
        return ConfigView(message)

    assert write_neuron_skeletons(volume, section(1000))
    found = read_skeletons(volume.spec)
    assert list(found) == [1, 3, 4, 6, 7]
    neurons = project.map.relabelled(project.labels)
    for neuron, skeleton in found.items():
        voxels = np.floor(skeleton.nodes_nm / SIZE_NM).astype(int) - START
        assert np.all(neurons[tuple(voxels.T)] == neuron)
    before = states(tmp_path)
    assert write_neuron_skeletons(volume, section(1000)) and states(tmp_path) == before
    assert not write_neuron_skeletons(volume, section(10**7))
    assert "skeletons" not in json.loads((volume.folder / "info").read_text())


def test_supervoxel_tables_of_another_order_are_refused() -> None:
    labels, neuron_map = arrays(5)
    table = block_statistics(labels, START)
    turned = SupervoxelTable(**{f.name: getattr(table, f.name)[::-1] for f in fields(SupervoxelTable)})
    with pytest.raises(AgglomerationError, match="are not of the same ones"):
        neuron_table(turned, neuron_map)
