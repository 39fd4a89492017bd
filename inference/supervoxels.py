"""The supervoxels of a project as files: Precomputed with a pyramid, and the table of all of them.

Blocks of the finest scale are written by the workers that finish them (`inference.finished_blocks`), coarser
scales after that, scale by scale. Folders are filled under an unfinished name; a run that was interrupted
goes on filling them. A digest of every block of every scale is kept, so that a rerun notices one that was
damaged, names it and writes it again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np

from inference.finished_blocks import Targets, flaw_of
from inference.flooding import PieceReport
from inference.identity import array_digest
from inference.inputs import in_blocks
from inference.label_stages import kept_piece, reconciliation_directory
from inference.layer_info import mend_info
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
from volumes.pyramid import coarser_bounds, create_pyramid, fill_scale, next_factors, scale_blocks

# Along an edge of a block of a coarser scale, which is made of eight times its voxels: 256^3 of labels.
_CHUNKS = 2
_TABLES_AT_ONCE = 64


def open_targets(workspace: Workspace, done: Reconciled, tell: Callable[[str], None]) -> Targets:
    """The volumes to be filled: those in place if they hold these supervoxels, those of an interrupted run
    that was writing the same, or new ones, for which blocks that were finished before are forgotten.

    What the folders hold is noted beside them, since runs of other stages may have written them meanwhile.

    Args:
      workspace: of the project.
      done: what reconciliation found.
      tell: called with a line about an `info` that was damaged and is written again.

    Returns:
      The SPECs to write to; none where no volume is asked for.
    """
    if not workspace.config.outputs.precomputed:
        return Targets()
    dtypes = _dtypes(workspace)
    folders = {name: workspace.output / name for name in dtypes}
    if not _holds(_note(workspace), workspace, done, folders.values()):
        _note(workspace).unlink(missing_ok=True)
        folders = {name: unfinished(folder) for name, folder in folders.items()}
        if not _holds(_note(workspace, begun=True), workspace, done, folders.values()):
            for finished in ("blocks", "scales"):
                shutil.rmtree(reconciliation_directory(workspace, done.stage) / finished, ignore_errors=True)
            for name, folder in folders.items():
                shutil.rmtree(folder, ignore_errors=True)
                _create(workspace, name, folder, dtypes[name])
            _write_note(_note(workspace, begun=True), workspace, done)
    for name, folder in folders.items():
        note = mend_info(folder, partial(_create, workspace, name, dtype=dtypes[name]))
        if note:
            tell(f"note: {note}")
    specs = {name: f"precomputed://file://{folder.resolve()}" for name, folder in folders.items()}
    return Targets(specs.get("supervoxels"), specs.get("image"))


def put_supervoxels_in_place(
    workspace: Workspace, done: Reconciled, pool: Pool, progress: RunProgress
) -> None:
    """Fills the coarser scales of what was written, unless they are; then the folders take their places.

    Args:
      workspace: of the project.
      done: what reconciliation found; all its blocks are written.
      pool: where the pieces of coarser scales run.
      progress: of the run; counts blocks of all scales.
    """
    if not workspace.config.outputs.precomputed:
        return
    begun = {name: unfinished(workspace.output / name) for name in _dtypes(workspace)}
    begun = {name: folder for name, folder in begun.items() if (folder / "info").exists()}
    scales = {
        name: _scale_pieces(workspace, done, name, begun.get(name, workspace.output / name))
        for name in _dtypes(workspace)
    }
    count = sum(len(pieces) for each in scales.values() for pieces in each)
    progress.begin(SCALES, units=count, pieces=count)
    for name, each in scales.items():
        for pieces in each:
            for note in (report.note for report in pool.map(fill_block, pieces, progress=progress)):
                if note:
                    progress.write(f"note: {note}")
        if name in begun:
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
    names = [column.name for column in fields(SupervoxelTable)]
    # What is merged has about as many blocks as what it is merged with: each row is copied log(blocks) times.
    merged: list[tuple[int, SupervoxelTable]] = []
    waiting: list[SupervoxelTable] = []
    for arrays in blocks:
        waiting.append(SupervoxelTable(**{name: arrays[name] for name in names}))
        if len(waiting) == _TABLES_AT_ONCE:
            merged.append((1, merge_tables(waiting)))
            waiting.clear()
            while len(merged) > 1 and merged[-1][0] == merged[-2][0]:
                (count, last), (_, before) = merged.pop(), merged.pop()
                merged.append((2 * count, merge_tables([before, last])))
    return merge_tables([*(table for _, table in merged), *waiting])


def written_ids(workspace: Workspace) -> str | None:
    """The digest of the IDs of the supervoxels in place; None where none are, or those of another stage.

    Args:
      workspace: of the project.
    """
    try:
        noted = json.loads(_note(workspace).read_text())
    except (OSError, ValueError):
        return None
    there = (workspace.output / "supervoxels" / "info").exists()
    return str(noted["ids"]) if there and noted.get("stage") == workspace.final_stage else None


def fill_block(path: Path, ids_digest: str, spec: str, scale: int, box: Box, labels: bool) -> PieceReport:
    """One block of a coarser scale, from the next finer one; a piece of work.

    Args:
      path: keeps a digest of its voxels.
      ids_digest: names the IDs of the supervoxels.
      spec: of the Precomputed volume.
      scale: index of the scale to fill, from 1.
      box: what to fill, in voxels of that scale.
      labels: whether voxels are object IDs.
    """

    def fill() -> dict[str, np.ndarray]:
        with (
            open_volume(f"{spec}#{scale - 1}", mode="r+") as fine,
            open_volume(f"{spec}#{scale}", mode="r+") as coarse,
        ):
            fill_scale(fine, coarse, next_factors(fine.voxel_size_nm), box, labels=labels)
            return {"digest": np.array(array_digest(coarse.read(box)))}

    return kept_piece(
        path, ids_digest, fill, lambda arrays: flaw_of(f"{spec}#{scale}", box, str(arrays["digest"]))
    )


def _dtypes(workspace: Workspace) -> dict[str, np.dtype]:
    """What the Precomputed volumes hold, by name; an image that Precomputed cannot hold is left out."""
    dtypes = {"supervoxels": np.dtype(np.uint64), "image": workspace.inputs.image.dtype}
    return {name: dtypes[name] for name in workspace.volumes_written if dtypes[name].name in DTYPES}


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


def _scale_pieces(workspace: Workspace, done: Reconciled, name: str, folder: Path) -> list[list[Piece]]:
    """What fills the coarser scales of a volume, scale by scale: all blocks that cover written voxels."""
    spec = f"precomputed://file://{folder.resolve()}"
    region, boxes = workspace.inputs.box, workspace.inputs.boxes
    written = {in_blocks(box, region) for box in boxes}
    found, factors = [], next_factors(workspace.inputs.image.voxel_size_nm)
    for scale in range(1, len(json.loads((folder / "info").read_text())["scales"])):
        written = {coarser_bounds(box, factors) for box in written}
        with open_volume(f"{spec}#{scale}", mode="r+") as volume:
            blocks, factors = scale_blocks(volume, _CHUNKS), next_factors(volume.voxel_size_nm)
        found.append(
            [
                Piece(
                    f"{name} scale {scale}, {block}",
                    (
                        _scale_path(workspace, done, name, scale, block),
                        done.digest,
                        spec,
                        scale,
                        block,
                        name == "supervoxels",
                    ),
                )
                for block in blocks
                if any(not block.intersect(box).is_empty for box in written)
            ]
        )
    return found


def _scale_path(workspace: Workspace, done: Reconciled, name: str, scale: int, block: Box) -> Path:
    z, y, x = block.start
    folder = reconciliation_directory(workspace, done.stage) / "scales" / f"{name}-{scale}"
    return folder / f"{x}_{y}_{z}.npz"


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
