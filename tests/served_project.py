"""A project in miniature that is served: six supervoxels in a row, an image, decisions, and three people."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from fastapi.testclient import TestClient
from proofreading_cases import VOXEL_NM, agglomerated

from configs import load_config
from inference.supervoxel_table import block_statistics
from proofreading.server import accounts
from proofreading.server.app import make_app
from proofreading.server.guards import known_hosts
from proofreading.server.limits import Limits
from proofreading.server.served import ServedProject, open_project
from volumes import Box
from volumes.pyramid import create_pyramid, fill_scale, next_factors

# Hashes that are slow to guess are slow to make, too.
accounts._LOG_N = 4
PASSWORD = "correct horse"
# Beyond 2^53, where numbers of a browser are no longer exact.
LARGE = 2**53 + 1
IDS = (1, 2, 3, 4, 5, LARGE)
SHAPE, STEP = (20, 24, 104), 17
# 1 and 2 are one neuron, the others are open.
EDGES = [(1, 2, 0.9), (2, 3, 0.3), (3, 4, 0.4), (4, 5, 0.2), (5, LARGE, 0.3)]
OURS = {"X-Requested-By": "proofread"}


def labels() -> np.ndarray:
    """Supervoxels (z, y, x), side by side along x."""
    found = np.zeros(SHAPE, np.uint64)
    for index, number in enumerate(IDS):
        found[4:16, 4:20, 1 + STEP * index : 1 + STEP * (index + 1)] = number
    return found


def grey() -> np.ndarray:
    """The image."""
    return np.where(labels() > 0, 180, 60).astype(np.uint8)


def point_nm(supervoxel: int) -> list[float]:
    """The middle of a supervoxel, z, y, x."""
    middle = (10, 12, 1 + STEP * IDS.index(supervoxel) + STEP // 2)
    return [(n + 0.5) * size for n, size in zip(middle, VOXEL_NM, strict=True)]


def served(folder: Path, **how: Any) -> ServedProject:
    """The project, opened, with people `reader`, `worker` and `boss`.

    Args:
      folder: to write it to.
      **how: `as_hdf5` for volumes in one file, `proofreading` settings; `limits` of the server.
    """
    limits = how.pop("limits", None)
    config = load_config(str(write_project(folder, **how)))
    project = open_project(config, hosts=known_hosts("127.0.0.1"), limits=limits or Limits())
    for name, role in (("reader", "read"), ("worker", "proofread"), ("boss", "admin")):
        accounts.add_person(project.state.database, name, role, PASSWORD)
    return project


def write_project(folder: Path, *, as_hdf5: bool = False, proofreading: str = "") -> Path:
    """Writes it; gives the path of its config."""
    shutil.copytree(_template(), folder, dirs_exist_ok=True)
    if as_hdf5:
        shutil.rmtree(folder / "out/supervoxels")
        shutil.rmtree(folder / "out/image")
    named = f'supervoxels {{ spec: "{folder}/data.h5:pieces" }}' if as_hdf5 else ""
    path = folder / "c.textproto"
    path.write_text(
        f'name: "tiny" output_dir: "{folder}/out" raw {{ spec: "{folder}/data.h5:raw" }}\n'
        'network { weights: "builtin:phantom" } inference { }\n'
        f"agglomeration {{ {named} }} proofreading {{ port: 0 {proofreading} }}\n"
    )
    return path


def client_of(project: ServedProject, name: str | None = None) -> TestClient:
    """A browser that may be logged in."""
    client = TestClient(make_app(project), "http://127.0.0.1:8765", headers=OURS)
    if name is not None:
        assert client.post("/api/session", json={"name": name, "password": PASSWORD}).status_code == 200
    return client


@lru_cache(maxsize=1)
def _template() -> Path:
    """Volumes, decisions and lengths, made once."""
    folder = Path(tempfile.mkdtemp(prefix="served-project-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with h5py.File(folder / "data.h5", "w") as file:
        for name, array in {"raw": grey(), "pieces": labels()}.items():
            file.create_dataset(name, data=array).attrs["resolution"] = VOXEL_NM
    for name, array in {"supervoxels": labels(), "image": grey()}.items():
        spec, bounds = f"precomputed://file://{folder / 'out' / name}", Box.from_shape(SHAPE)
        fine, coarse = create_pyramid(
            spec, bounds=bounds, dtype=array.dtype, voxel_size_nm=VOXEL_NM, scales=2
        )
        fine.write(bounds, array)
        fill_scale(fine, coarse, next_factors(VOXEL_NM), coarse.bounds)
    table = block_statistics(labels(), (0, 0, 0))
    agglomerated(folder / "out/decisions.sqlite", EDGES, {}, table=table).close()
    return folder
