"""Meshes lie where their neurons do, close across blocks, and open in other readers."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cloudvolume import CloudVolume

from agglomeration import meshes as meshes_module
from agglomeration.errors import AgglomerationError
from agglomeration.meshes import MeshSettings, fragments, write_meshes
from agglomeration.neuron_volume import NeuronVolume, write_neuron_volume
from agglomeration.neurons import NeuronMap, neuron_table
from inference.supervoxel_table import block_statistics
from jobs import WorkerSettings, worker_pool
from jobs.workers import Pool
from volumes import Box, create_volume
from volumes.arrays import ArrayVolume

pytest.importorskip("zmesh")

SIZE_NM = (20.0, 10.0, 5.0)
START = (3, -6, 11)
SHAPE = (24, 30, 40)
LARGE = 2**63 + 5


def ball(shape: tuple[int, ...], centre: tuple[int, ...], radii: tuple[float, ...]) -> np.ndarray:
    axes = np.indices(shape)
    return sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radii, strict=True)) <= 1


def labels() -> np.ndarray:
    """A ball in the middle, a bar from face to face along x, and one voxel."""
    found = np.zeros(SHAPE, np.uint64)
    found[ball(SHAPE, (12, 12, 20), (5, 8, 15))] = LARGE
    found[4:7, 23:27, :] = 7
    found[20, 2, 2] = 9
    return found


def volume_of(voxels: np.ndarray) -> ArrayVolume:
    return ArrayVolume(voxels, voxel_size_nm=SIZE_NM, start=START)


def whole(voxels: np.ndarray, edge: int, **options: float) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """The fragments of all blocks of an edge length, put together; vertices at one place are one."""
    volume, parts = volume_of(voxels), dict[int, list[tuple[np.ndarray, np.ndarray]]]()
    for corner in np.ndindex(*(-(-n // edge) for n in voxels.shape)):
        start = [s + edge * c for s, c in zip(START, corner, strict=True)]
        box = Box.from_shape((edge,) * 3, start).intersect(volume.bounds)
        for number, part in fragments(volume, box, **options).items():
            parts.setdefault(number, []).append(part)
    return {number: joined(each) for number, each in parts.items()}


def joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    counts = np.cumsum([0, *(len(vertices) for vertices, _ in parts)])
    faces = np.concatenate([f.astype(np.int64) + n for (_, f), n in zip(parts, counts, strict=False)])
    places, numbers = np.unique(np.concatenate([v for v, _ in parts]).round(2), axis=0, return_inverse=True)
    return places, numbers.reshape(-1)[faces]


def open_edges(faces: np.ndarray) -> int:
    """Directed edges without one that runs the other way: 0 for a closed surface."""
    edges = Counter(
        map(tuple, np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist())
    )
    return sum(abs(count - edges[(b, a)]) for (a, b), count in edges.items())


def enclosed_nm3(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Volume inside, positive where the fronts of triangles are outside."""
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize("edge", [11, 64], ids=["blocks", "one block"])
@pytest.mark.parametrize("reduction", [0, 100])
def test_surfaces_close_around_their_objects(edge: int, reduction: int) -> None:
    voxels = labels()
    found = whole(voxels, edge, reduction=reduction)
    assert set(found) == {7, 9, LARGE}
    for number, (vertices, faces) in found.items():
        assert open_edges(faces) == 0
        inside = np.argwhere(voxels == number)
        # Half a voxel around the centres of the outermost voxels; turned to x, y, z here.
        low = ((inside.min(axis=0) + START) * SIZE_NM)[::-1]
        high = ((inside.max(axis=0) + 1 + np.array(START)) * SIZE_NM)[::-1]
        if reduction == 0:
            np.testing.assert_allclose(vertices.min(axis=0), low)
            np.testing.assert_allclose(vertices.max(axis=0), high)
        else:
            assert np.all(vertices.min(axis=0) >= low - 5) and np.all(vertices.max(axis=0) <= high + 5)


def test_the_surface_of_a_ball_encloses_it() -> None:
    voxels = labels()
    vertices, faces = whole(voxels, 64, reduction=0)[LARGE]
    expected = np.count_nonzero(voxels == LARGE) * np.prod(SIZE_NM)
    assert enclosed_nm3(vertices, faces) == pytest.approx(expected, rel=0.1)
    fewer = whole(voxels, 64, reduction=100)[LARGE]
    assert len(fewer[1]) < len(faces) / 3
    assert enclosed_nm3(*fewer) == pytest.approx(expected, rel=0.15)


def test_only_objects_that_are_wanted_are_meshed() -> None:
    volume = volume_of(labels())
    assert list(fragments(volume, volume.bounds, np.array([7, 8], np.uint64))) == [7]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with worker_pool(WorkerSettings()) as workers:
        yield workers


@pytest.fixture
def neurons(tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> NeuronVolume:
    """The objects as supervoxels of a project, each its own neuron, in chunks of 64; blocks of one chunk."""
    voxels = np.zeros((24, 30, 140), np.uint64)
    voxels[:, :, :40] = labels()
    voxels[4:7, 23:27, :] = 7
    spec, bounds = f"precomputed://file://{tmp_path / 'supervoxels'}", Box.from_shape(voxels.shape, START)
    with create_volume(spec, bounds=bounds, dtype=np.uint64, voxel_size_nm=SIZE_NM) as volume:
        volume.write(bounds, voxels)
    table = block_statistics(voxels, START)
    neuron_map = NeuronMap(table.ids, table.ids)
    neuron_map.save(tmp_path / "map.npz")
    neuron_table(table, neuron_map).save(tmp_path / "neurons.npz")
    monkeypatch.setattr(meshes_module, "_EDGE_CHUNKS", 1)
    return write_neuron_volume(
        spec, tmp_path / "map.npz", tmp_path / "neurons", tmp_path / "kept", made_from={}, pool=pool
    )


SETTINGS = MeshSettings(min_voxels=2)


def test_another_reader_finds_the_meshes_at_their_places(
    neurons: NeuronVolume, tmp_path: Path, pool: Pool
) -> None:
    assert write_meshes(neurons, tmp_path / "neurons.npz", SETTINGS, pool=pool)
    theirs = CloudVolume(f"file://{neurons.folder}", progress=False)
    assert theirs.info["mesh"] == "mesh"
    mesh = theirs.mesh.get(7)
    mesh = mesh[7] if isinstance(mesh, dict) else mesh
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    # x: the whole of 140 voxels from 11; y: 23 to 27 from -6; z: 4 to 7 from 3.
    np.testing.assert_allclose(low, [11 * 5, 17 * 10, 7 * 20], atol=5)
    np.testing.assert_allclose(high, [151 * 5, 21 * 10, 10 * 20], atol=5)
    manifest = json.loads((neurons.folder / "mesh" / "7:0").read_text())
    assert manifest["fragments"] == [
        "7:0:11-75_-6-24_3-27", "7:0:75-139_-6-24_3-27", "7:0:139-151_-6-24_3-27",
    ]  # fmt: skip
    assert (neurons.folder / "mesh" / f"{LARGE}:0").exists()
    # Smaller than wanted.
    assert not (neurons.folder / "mesh" / "9:0").exists()


def test_meshes_are_made_once(neurons: NeuronVolume, tmp_path: Path, pool: Pool) -> None:
    table = tmp_path / "neurons.npz"
    assert write_meshes(neurons, table, SETTINGS, pool=pool)
    assert not write_meshes(neurons, table, SETTINGS, pool=pool)
    (neurons.folder / "mesh" / "7:0").unlink()
    assert write_meshes(neurons, table, SETTINGS, pool=pool)
    assert (neurons.folder / "mesh" / "7:0").exists()
    assert write_meshes(neurons, table, MeshSettings(scale=1, min_voxels=2), pool=pool)


def test_an_interrupted_run_is_taken_up(
    neurons: NeuronVolume, tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(meshes_module, "put_in_place", killed)
        write_meshes(neurons, tmp_path / "neurons.npz", SETTINGS, pool=pool)
    assert "mesh" not in json.loads((neurons.folder / "info").read_text())
    fragment = neurons.folder / ".mesh.unfinished" / "7:0:11-75_-6-24_3-27"
    written, others = fragment.read_bytes(), fragment.with_name("7:0:75-139_-6-24_3-27").stat().st_mtime_ns
    fragment.unlink()
    write_meshes(neurons, tmp_path / "neurons.npz", SETTINGS, pool=pool)
    mesh = neurons.folder / "mesh"
    assert (mesh / fragment.name).read_bytes() == written
    assert (mesh / "7:0:75-139_-6-24_3-27").stat().st_mtime_ns == others


def test_without_zmesh_the_extra_is_named(
    neurons: NeuronVolume, tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zmesh", None)
    with pytest.raises(AgglomerationError, match=r"pip install 'ffn-reconstruction\[meshes\]'"):
        write_meshes(neurons, tmp_path / "neurons.npz", pool=pool)


@pytest.mark.parametrize(
    "wrong", [{"scale": -1}, {"reduction": -1}, {"max_error_nm": 0.0}, {"min_voxels": 0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(AgglomerationError, match="out of range; give scale"):
        MeshSettings(**wrong)  # type: ignore[arg-type]
