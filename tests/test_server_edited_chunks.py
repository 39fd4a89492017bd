"""Supervoxels that a person split, in the chunks that the viewer gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from served_project import client_of, labels, point_nm, served
from test_server_files import fetched

from proofreading.server.edited_chunks import largest_in_blocks
from proofreading.server.layers import SEGMENTATION, named_box
from proofreading.server.served import ServedProject
from volumes import Box, open_volume


def cut_third(project: ServedProject) -> tuple[TestClient, list[int]]:
    """A client of a project in which supervoxel 3 was cut across x, and the IDs of the parts."""
    client = client_of(project, "worker")
    z, y, x = point_nm(3)
    sides = {
        f"side_{name}": [{"supervoxel": "3", "point_nm": [z, y, x + d]}]
        for name, d in (("a", -60), ("b", 60))
    }
    seen = client.post("/api/edits/split/preview", json={"neuron": "3", **sides}).json()
    assert seen["needs_supervoxel_split"] == "3" and sum(seen["supervoxel_parts"]["voxels"]) == 12 * 16 * 17
    done = client.post("/api/edits/split", json={"neuron": "3", **sides, "key": "split-0003"})
    assert done.status_code == 200, done.text
    return client, [int(each) for each in seen["supervoxel_parts"]["new_ids"]]


@pytest.mark.parametrize("as_hdf5", [False, True], ids=["folder", "hdf5"])
def test_parts_take_the_place_of_the_supervoxel(as_hdf5: bool, tmp_path: Path) -> None:
    client, (first, second) = cut_third(served(tmp_path, as_hdf5=as_hdf5))
    found, was = fetched(client, "segmentation~1", tmp_path / "fetched"), labels()
    assert np.array_equal(found[was != 3], was[was != 3])
    parts = found[was == 3].reshape(12, 16, 17)
    assert set(np.unique(parts)) == {first, second}
    assert (parts[..., :3] == first).all() and (parts[..., -3:] == second).all()
    if not as_hdf5:
        coarse = fetched(client, "segmentation~1", tmp_path / "coarse", scale=1)
        with open_volume(f"precomputed://file://{tmp_path}/out/supervoxels#1") as volume:
            plain = volume.read()
        assert np.array_equal(coarse[plain != 3], plain[plain != 3])
        assert set(np.unique(coarse[plain == 3])) == {first, second}
    client.post("/api/edits/1/undo", json={"key": "undo-0001"})
    assert np.array_equal(fetched(client, "segmentation~2", tmp_path / "again"), was)


@given(st.tuples(*[st.integers(-5, 5)] * 3), st.tuples(*[st.integers(1, 4)] * 3), st.randoms())
def test_the_largest_in_each_coarse_voxel(
    start: tuple[int, ...], factors: tuple[int, ...], random: object
) -> None:
    rng = np.random.default_rng(random.randrange(2**32))  # type: ignore[attr-defined]
    voxels = rng.integers(0, 9, rng.integers(1, 9, 3)).astype(np.uint64)
    found = largest_in_blocks(voxels, start, factors)  # type: ignore[arg-type]
    expected: dict[tuple[int, ...], int] = {}
    for place, value in np.ndenumerate(voxels):
        coarse = tuple((p + s) // f - s // f for p, s, f in zip(place, start, factors, strict=True))
        expected[coarse] = max(expected.get(coarse, 0), int(value))
    assert {place: int(value) for place, value in np.ndenumerate(found)} == expected


def test_the_name_of_a_chunk_is_a_box() -> None:
    assert named_box("0-64_8-24_-4-20") == Box((-4, 8, 0), (20, 24, 64))
    for wrong in ("", "0-64", "0-0_0-1_0-1", "5-1_0-1_0-1", "a-b_c-d_e-f", "0-1_0-1_0-1/", "0-1_0-1_0-1_0-1"):
        assert named_box(wrong) is None


def test_a_part_has_a_surface_in_its_own_half(tmp_path: Path) -> None:
    pytest.importorskip("zmesh")
    project = served(tmp_path)
    (tmp_path / "meshes").mkdir()
    project.layers[SEGMENTATION] = replace(project.layers[SEGMENTATION], meshes=tmp_path / "meshes")
    client, parts = cut_third(project)
    for number, (low, high) in zip(parts, ((35, 47), (39, 52)), strict=True):
        (name,) = client.get(f"/data/segmentation/mesh/{number}:0").json()["fragments"]
        content = client.get(f"/data/segmentation/mesh/{name}").content
        count = int.from_bytes(content[:4], "little")
        x_nm = np.frombuffer(content, "<f4", 3 * count, 4).reshape(-1, 3)[:, 0]
        assert count > 4 and low * 10 - 10 <= x_nm.min() and x_nm.max() <= high * 10 + 10
    assert client.get("/data/segmentation/mesh/3:0").status_code == 404
    assert client.get("/data/segmentation/info").json()["mesh"] == "mesh"
