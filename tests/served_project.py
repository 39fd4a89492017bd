"""A project in miniature that is served: four supervoxels, an image, accounts, and a state in memory.

The state does what the routes need and no more: it notes edits, and refuses what a test tells it to refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from fastapi.testclient import TestClient

from agglomeration.database import open_database
from configs import ConfigView, load_config
from proofreading.edits import Edit, Kind
from proofreading.errors import UnknownError
from proofreading.migrations import bring_up_to_date
from proofreading.server import accounts
from proofreading.server.app import make_app
from proofreading.server.guards import known_hosts
from proofreading.server.layers import open_layers
from proofreading.server.limits import Limits
from proofreading.server.served import ServedProject
from proofreading.server.sessions import Sessions
from proofreading.state import ProofreadingState
from volumes import Box
from volumes.pyramid import create_pyramid

PASSWORD = "correct horse"
# Hashes that are slow to guess are slow to make, too.
accounts._LOG_N = 4
# Beyond 2^53, where numbers of a browser are no longer exact.
LARGE = 2**53 + 1
IDS = (1, 2, 3, LARGE)
SHAPE, SIZE_NM = (20, 24, 70), (10.0, 10.0, 10.0)
OURS = {"X-Requested-By": "proofread"}


def labels() -> np.ndarray:
    """Four supervoxels (z, y, x), side by side along x."""
    found = np.zeros(SHAPE, np.uint64)
    for index, number in enumerate(IDS):
        found[4:16, 4:20, 1 + 17 * index : 17 + 17 * index] = number
    return found


def write_project(folder: Path, *, as_hdf5: bool = False) -> ConfigView:
    """Volumes and config of the project; labels as a Precomputed folder, or as a dataset."""
    grey = np.where(labels() > 0, 180, 60).astype(np.uint8)
    with h5py.File(folder / "data.h5", "w") as file:
        for name, array in {"raw": grey, "pieces": labels()}.items():
            file.create_dataset(name, data=array).attrs["resolution"] = SIZE_NM
    for name, array in {} if as_hdf5 else {"supervoxels": labels(), "image": grey}.items():
        spec = f"precomputed://file://{folder / 'out' / name}"
        pyramid = create_pyramid(
            spec, bounds=Box.from_shape(SHAPE), dtype=array.dtype, voxel_size_nm=SIZE_NM, scales=1
        )
        pyramid[0].write(pyramid[0].bounds, array)
    named = f'supervoxels {{ spec: "{folder}/data.h5:pieces" }}' if as_hdf5 else ""
    (folder / "c.textproto").write_text(
        f'name: "tiny" output_dir: "{folder}/out" raw {{ spec: "{folder}/data.h5:raw" }}\n'
        f'network {{ weights: "builtin:phantom" }} inference {{ }} agglomeration {{ {named} }}\n'
    )
    return load_config(str(folder / "c.textproto"))


class NotedState(ProofreadingState):
    """Notes edits; each supervoxel is a neuron of its own."""

    error: Exception | None = None

    def __init__(self, config: ConfigView) -> None:
        database = open_database(Path(config.output_dir) / "decisions.sqlite")
        bring_up_to_date(database)
        super().__init__(database, Path(config.output_dir))
        self.edits: list[Edit] = []
        self.calls: list[tuple[str, tuple[Any, ...], Mapping[str, Any]]] = []

    @property
    def last_edit(self) -> int:
        return len(self.edits)

    def close(self) -> None:
        self.database.close()

    def neuron_of(self, supervoxel: int) -> int:
        if supervoxel not in IDS:
            raise UnknownError(f"there is no supervoxel {supervoxel}")
        return supervoxel

    def supervoxels_of(self, neuron: int) -> np.ndarray:
        return np.array([self.neuron_of(neuron)], np.uint64)

    def resolve(self, neuron: int) -> tuple[int, ...]:
        if neuron not in IDS:
            raise UnknownError(f"there never was a neuron {neuron}")
        return (neuron,)

    def version_of(self, neuron: int) -> int:
        return 0

    def voxels_of(self, neuron: int) -> int:
        return 16 * 16 * 12

    def somas_of(self, neuron: int) -> tuple[int, ...]:
        return ()

    def history(self, before: int | None = None, limit: int = 50, neuron: int | None = None) -> list[Edit]:
        return self.edits[::-1][:limit]

    def merge(self, *given: Any, **said: Any) -> Edit:
        self.neuron_of(given[0])
        return self._note("merge", given, said)

    def split(self, *given: Any, **said: Any) -> Edit:
        return self._note("split", given, said)

    def undo(self, *given: Any, **said: Any) -> Edit:
        return self._note("undo", given, said)

    def redo(self, *given: Any, **said: Any) -> Edit:
        return self._note("redo", given, said)

    def _note(self, kind: str, given: tuple[Any, ...], said: Mapping[str, Any]) -> Edit:
        if self.error is not None:
            raise self.error
        self.calls.append((kind, given, said))
        number = len(self.edits) + 1
        edit = Edit(
            number, "2030-01-01", said["person"], Kind(kind), (), (), (), "", False, said["client_key"]
        )
        self.edits.append(edit)
        return edit


def served(folder: Path, *, limits: Limits | None = None, as_hdf5: bool = False) -> ServedProject:
    """The project with three people: reader, worker and boss."""
    config = write_project(folder, as_hdf5=as_hdf5)
    state = NotedState(config)
    for name, role in (("reader", "read"), ("worker", "proofread"), ("boss", "admin")):
        accounts.add_person(state.database, name, role, PASSWORD)
    hosts = known_hosts("127.0.0.1")
    return ServedProject(
        config, state, open_layers(config), Sessions(state.database), hosts, limits or Limits()
    )


def client_of(project: ServedProject, name: str | None = None) -> TestClient:
    """A browser that may be logged in."""
    client = TestClient(make_app(project), "http://127.0.0.1:8765", headers=OURS)
    if name is not None:
        assert client.post("/api/session", json={"name": name, "password": PASSWORD}).status_code == 200
    return client
