"""The supervoxels of a project as files: Precomputed with a pyramid, and the table of all of them.

Blocks of the finest scale are written by the workers that finish them (`inference.label_stages`), coarser
scales after that, scale by scale. Folders are filled under an unfinished name; a run that was interrupted
goes on filling them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import numpy as np

from inference.label_stages import Targets, reconciliation_directory
from inference.outputs import put_in_place, unfinished
from inference.reconcile import Reconciled, block_arrays
from inference.run_plan import SCALES
from inference.supervoxel_table import (
    SupervoxelTable,
    load_table,
    merge_tables,
    save_table,
    write_table_csv,
)
from inference.workspace import Workspace
from inference.written import write_unless_there
from jobs.dispatch import Piece
from jobs.pieces import CorruptPieceError, atomic_path
from jobs.run_progress import RunProgress
from jobs.workers import Pool
from volumes import Box, open_volume
from volumes.precomputed import DTYPES
from volumes.pyramid import create_pyramid, fill_scale, next_factors, scale_blocks

_CHUNKS = 4
_TABLES_AT_ONCE = 64


def open_targets(workspace: Workspace, done: Reconciled) -> Targets:
    """The volumes to be filled: those in place if they hold these supervoxels, those of an interrupted run
    that was writing the same, or new ones, for which blocks that were finished before are forgotten.

    What the folders hold is noted beside them, since runs of other stages may have written them meanwhile.

    Args:
      workspace: of the project.
      done: what reconciliation found.

    Returns:
      The SPECs to write to; none where no volume is asked for.
    """
    if not workspace.config.outputs.precomputed:
        return Targets()
    dtypes = {"supervoxels": np.dtype(np.uint64), "image": workspace.inputs.image.dtype}
    folders = {n: workspace.output / n for n in workspace.volumes_written if dtypes[n].name in DTYPES}
    if not _holds(_note(workspace), workspace, done, folders.values()):
        _note(workspace).unlink(missing_ok=True)
        folders = {name: unfinished(folder) for name, folder in folders.items()}
        if not _holds(_note(workspace, begun=True), workspace, done, folders.values()):
            shutil.rmtree(reconciliation_directory(workspace, done.stage) / "blocks", ignore_errors=True)
            for name, folder in folders.items():
                shutil.rmtree(folder, ignore_errors=True)
                _create(workspace, name, folder, dtypes[name])
            _write_note(_note(workspace, begun=True), workspace, done)
    specs = {name: f"precomputed://file://{folder.resolve()}" for name, folder in folders.items()}
    return Targets(specs.get("supervoxels"), specs.get("image"))


def put_supervoxels_in_place(
    workspace: Workspace, done: Reconciled, pool: Pool, progress: RunProgress
) -> None:
    """Fills the coarser scales of what was written; then the folders take their places.

    Args:
      workspace: of the project.
      done: what reconciliation found; all its blocks are written.
      pool: where the pieces of coarser scales run.
      progress: of the run; counts blocks of all scales.
    """
    places = {name: unfinished(workspace.output / name) for name in workspace.volumes_written}
    scales = {name: _scale_pieces(place, name) for name, place in places.items() if (place / "info").exists()}
    if scales:
        count = sum(len(pieces) for each in scales.values() for pieces in each)
        progress.begin(SCALES, units=count, pieces=count)
    for name, each in scales.items():
        for pieces in each:
            pool.map(fill_block, pieces, progress=progress)
        put_in_place(workspace.output / name)
    _write_note(_note(workspace), workspace, done)
    _note(workspace, begun=True).unlink(missing_ok=True)


def write_table(workspace: Workspace, done: Reconciled) -> SupervoxelTable:
    """`supervoxels.npz` and `supervoxels.csv`, merged from the tables of the blocks, unless they are there.

    Args:
      workspace: of the project.
      done: what reconciliation found; all its blocks are finished.

    Returns:
      The table.
    """
    archive, text = (workspace.output / f"supervoxels.{suffix}" for suffix in ("npz", "csv"))

    def write() -> None:
        merged = table_of(block_arrays(workspace, done.stage))
        save_table(archive, merged)
        write_table_csv(text, merged, workspace.inputs.image.voxel_size_nm)

    write_unless_there(workspace.output, [archive.name, text.name], made_from(workspace, done), write)
    try:
        return load_table(archive)
    except CorruptPieceError:  # damaged behind an unchanged size and time
        archive.unlink()
        return write_table(workspace, done)


def made_from(workspace: Workspace, done: Reconciled) -> dict[str, object]:
    """What files of all supervoxels follow from, as plain values.

    Args:
      workspace: of the project.
      done: what reconciliation found.
    """
    region, size_nm = workspace.inputs.box, workspace.inputs.image.voxel_size_nm
    return {
        "stage": done.stage,
        "ids": done.digest,
        "region_zyx": str(region),
        "voxel_size_nm": list(size_nm),
    }


def table_of(blocks: Iterable[dict[str, np.ndarray]]) -> SupervoxelTable:
    """The table of all blocks, from those of each."""
    merged, waiting = merge_tables([]), []
    for arrays in blocks:
        waiting.append(SupervoxelTable(**{c.name: arrays[c.name] for c in fields(SupervoxelTable)}))
        if len(waiting) == _TABLES_AT_ONCE:
            merged, waiting = merge_tables([merged, *waiting]), []
    return merge_tables([merged, *waiting])


def fill_block(spec: str, scale: int, box: Box, labels: bool) -> None:
    """One block of a coarser scale, from the next finer one; a piece of work.

    Args:
      spec: of the Precomputed volume.
      scale: index of the scale to fill, from 1.
      box: what to fill, in voxels of that scale.
      labels: whether voxels are object IDs.
    """
    with (
        open_volume(f"{spec}#{scale - 1}", mode="r+") as fine,
        open_volume(f"{spec}#{scale}", mode="r+") as coarse,
    ):
        fill_scale(fine, coarse, next_factors(fine.voxel_size_nm), box, labels=labels)


def _create(workspace: Workspace, name: str, folder: Path, dtype: np.dtype) -> None:
    for volume in create_pyramid(
        f"precomputed://file://{folder.resolve()}",
        bounds=workspace.inputs.box,
        dtype=dtype,
        voxel_size_nm=workspace.inputs.image.voxel_size_nm,
        scales=workspace.config.outputs.scales,
        overwrite=True,
        labels=name == "supervoxels",
    ):
        volume.close()


def _scale_pieces(folder: Path, name: str) -> list[list[Piece]]:
    """What fills the coarser scales of a volume, scale by scale."""
    spec = f"precomputed://file://{folder.resolve()}"
    found = []
    for scale in range(1, len(json.loads((folder / "info").read_text())["scales"])):
        with open_volume(f"{spec}#{scale}", mode="r+") as volume:
            blocks = scale_blocks(volume, _CHUNKS)
        found.append(
            [
                Piece(f"{name} scale {scale}, {block}", (spec, scale, block, name == "supervoxels"))
                for block in blocks
            ]
        )
    return found


def _note(workspace: Workspace, *, begun: bool = False) -> Path:
    """Says what the folders in place hold, or those that were begun."""
    return workspace.output / (".supervoxels.begun.json" if begun else ".supervoxels.json")


def _write_note(path: Path, workspace: Workspace, done: Reconciled) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(_written(workspace, done))


def _written(workspace: Workspace, done: Reconciled) -> str:
    """Names what is written: the supervoxels, and how."""
    outputs = workspace.config.outputs
    return json.dumps({"stage": done.stage, "ids": done.digest, "scales": outputs.scales})


def _holds(note: Path, workspace: Workspace, done: Reconciled, folders: Iterable[Path]) -> bool:
    """Whether a note names these supervoxels and the folders are there."""
    noted = note.exists() and note.read_text() == _written(workspace, done)
    return noted and all((folder / "info").exists() for folder in folders)
