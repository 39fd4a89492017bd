"""Meshes of all supervoxels, for the viewer; made once, if zmesh is installed.

They lie beside the segmentation, not in it: `proofreading/supervoxels` of the output directory has a copy of
its `info`, links to its voxels, and the folder of meshes (`agglomeration.meshes`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import sqlalchemy as sql

from agglomeration import tables
from agglomeration.database import Database
from agglomeration.meshes import FOLDER, STAGE, MeshSettings, write_meshes
from agglomeration.neuron_volume import NeuronVolume
from agglomeration.neurons import NeuronTable
from agglomeration.project import workers_of
from agglomeration.rows import joined, read_arrays
from configs import ConfigView
from inference.stage_reports import progress_of
from jobs.run_progress import Stage
from proofreading.server.layers import Layer

# Smaller supervoxels have no mesh, voxels.
_MIN_VOXELS = 100


def supervoxel_meshes(
    config: ConfigView, database: Database, layer: Layer, folder: Path, tell: Callable[[str], None]
) -> Path | None:
    """The folder of the meshes, made unless it is there.

    Args:
      config: of the project; its workers make them.
      database: its decisions.
      layer: the segmentation.
      folder: where proofreading keeps its files.
      tell: takes a line about why there are none.

    Returns:
      The folder; None without zmesh, or where the segmentation is no Precomputed folder.

    Raises:
      ReconstructionError: voxels that cannot be read, or a place that cannot be written to.
    """
    if layer.folder is None:
        tell("the supervoxels are no Precomputed volume; the page shows them in slices only")
        return None
    if find_spec("zmesh") is None:
        tell(
            "zmesh is not installed, and the page shows supervoxels in slices only; run pip install "
            "'ffn-reconstruction[meshes]' for their surfaces"
        )
        return None
    volume = NeuronVolume(folder / "supervoxels", folder / "meshes", _identity(database))
    _link(layer.folder, volume.folder)
    table_path = volume.kept / "supervoxels.npz"
    _table(database).save(table_path)
    with workers_of(config) as pool, progress_of(config, [Stage(STAGE, 1)]) as progress:
        settings = MeshSettings(min_voxels=_MIN_VOXELS)
        write_meshes(volume, table_path, settings, pool=pool, progress=progress)
    return volume.folder / FOLDER


def _identity(database: Database) -> str:
    """Names the segmentation that the decisions are about."""
    with database.reading() as connection:
        query = sql.select(tables.project.c.value).where(tables.project.c.name == "supervoxels")
        return str(connection.execute(query).scalar())


def _link(source: Path, target: Path) -> None:
    """Makes a folder that is read as the segmentation and may have meshes of its own."""
    target.mkdir(parents=True, exist_ok=True)
    if not (target / "info").is_file():
        shutil.copyfile(source / "info", target / "info")
    for scale in (path for path in source.iterdir() if path.is_dir() and path.name != FOLDER):
        link = target / scale.name
        if not link.is_symlink():
            os.symlink(scale.resolve(), link, target_is_directory=True)


def _table(database: Database) -> NeuronTable:
    """A row for each supervoxel, as if each were a neuron."""
    columns = tables.supervoxels.c
    ends = [f"{end}_{axis}" for end in ("start", "stop") for axis in "zyx"]
    dtypes = {"id": np.uint64, "voxels": np.int64, **dict.fromkeys(ends, np.int64)}
    query = sql.select(columns.id, columns.voxels, *(columns[name] for name in ends)).order_by(columns.id)
    found = joined(read_arrays(database, query, dtypes), dtypes)
    start, stop = (np.stack([found[f"{end}_{axis}"] for axis in "zyx"], 1) for end in ("start", "stop"))
    middle = (start + stop) // 2
    ones = np.ones(len(found["id"]), np.int64)
    return NeuronTable(
        found["id"], ones, found["voxels"], start, stop, middle * found["voxels"][:, None], middle
    )
