"""Runs the reconciliation of one stage over all its subvolumes: measure, compare, number, finish.

The client holds objects and pairs of objects, never voxels; see `inference.label_stages` and
`inference.finished_blocks` for the pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation import merge_tables, table_metrics
from inference.finished_blocks import Targets, block_path, contingency_of, finish_block
from inference.flooding import PieceReport
from inference.identity import array_digest, claim_directory, settings_digest
from inference.label_stages import (
    compare_neighbours,
    ids_path,
    kept_piece,
    measure_subvolume,
    objects_path,
    pairs_path,
    reconciliation_directory,
)
from inference.reconciliation import GlobalIds, drop_small, global_ids, shifted
from inference.run_plan import blocks_stage_of, reconciliation_of
from inference.workspace import Workspace
from jobs.dispatch import Piece
from jobs.pieces import load_npz
from jobs.plan import neighbours
from jobs.run_progress import RunProgress
from jobs.workers import Pool

# Part of what the supervoxels of a volume that was cut follow from (docs/decisions/0016).
_FILLED = {"empty_in_overlaps": "filled by the neighbour"}


@dataclass(frozen=True)
class Reconciled:
    """A stage with IDs of the volume.

    Attributes:
      stage: its name.
      digest: names the IDs; equal results, equal name.
      objects: how many supervoxels there are.
    """

    stage: str
    digest: str
    objects: int


def describe_reconciliation(workspace: Workspace, stage: str) -> dict[str, object]:
    """What the supervoxels of a stage follow from.

    Args:
      workspace: of the project.
      stage: name of a pass or of a consensus of passes.

    Returns:
      Plain values by name.
    """
    section = workspace.config.reconciliation
    return {
        "stage": settings_digest(workspace.describe_stage(stage)),
        "min_share": section.min_share,
        "min_overlap_voxels": section.min_overlap_voxels,
        "reconciliation_min_size": workspace.smallest_supervoxel(stage),
        **(_FILLED if len(workspace.plan) > 1 else {}),
    }


def reconcile_stage(
    workspace: Workspace, stage: str, pool: Pool, progress: RunProgress, above: int = 0
) -> Reconciled:
    """Gives the objects of all subvolumes their IDs in the volume.

    Args:
      workspace: the project.
      stage: a pass or consensus, finished everywhere.
      pool: the workers.
      progress: of the run; counts subvolumes measured and pairs compared.
      above: IDs begin after this one.

    Raises:
      ReconstructionError: results of other settings are there; IDs that leave 64 bits.
    """
    source, plan = workspace.source, workspace.plan
    directory = reconciliation_directory(workspace, stage)
    note = claim_directory(directory, describe_reconciliation(workspace, stage), ())
    if note:
        progress.write(f"note: {note}")
    pairs = neighbours(plan)
    measures = [Piece(f"objects of {stage} in {s.name}", (source, stage, i)) for i, s in enumerate(plan)]
    compares = [Piece(f"overlap {i}-{j} of {stage}", (source, stage, i, j)) for i, j in pairs]
    count = len(measures) + len(compares)
    progress.begin(reconciliation_of(stage), units=count, pieces=count)
    _tell(pool.map(measure_subvolume, measures, progress=progress), progress)
    _tell(pool.map(compare_neighbours, compares, progress=progress), progress)
    measured = [load_npz(objects_path(workspace, stage, i)) for i in range(len(plan))]
    compared = {(i, j): load_npz(pairs_path(workspace, stage, i, j)) for i, j in pairs}
    edges = ((i, j, arrays["pairs"]) for (i, j), arrays in compared.items())
    ids = global_ids([each["ids"] for each in measured], edges)
    voxels = np.concatenate([each["core_voxels"] for each in measured])
    for (i, j), arrays in compared.items():
        _add_fills(voxels, ids, i, arrays["first_fills"])
        _add_fills(voxels, ids, j, arrays["second_fills"])
    ids = shifted(drop_small(ids, voxels, workspace.smallest_supervoxel(stage)), above)
    kept = np.unique(ids.global_ids[voxels > 0])
    digest = array_digest(np.stack([ids.local_ids, ids.global_ids]))
    stage_digest = settings_digest({str(i): str(each["made_from"]) for i, each in enumerate(measured)})
    done = Reconciled(stage, f"{digest}-{stage_digest}", int(np.count_nonzero(kept)))
    _tell([_save(workspace, done, ids, position) for position in range(len(plan))], progress)
    return done


def finish_stage(
    workspace: Workspace, done: Reconciled, targets: Targets, pool: Pool, progress: RunProgress
) -> dict[str, Any]:
    """Writes the supervoxels of a stage, lists them, and compares them with the ground truth.

    Args:
      workspace: the project.
      done: what `reconcile_stage` gave.
      targets: what is written.
      pool: the workers.
      progress: of the run; counts voxels.

    Returns:
      The figures against the ground truth; empty without one.
    """
    blocks = workspace.blocks()
    pieces = [
        Piece(
            f"block {block} of {done.stage}",
            (workspace.source, done.stage, block, done.digest, targets),
            block.size,
        )
        for block in blocks
    ]
    progress.begin(blocks_stage_of(done.stage), units=sum(b.size for b in blocks), pieces=len(blocks))
    _tell(pool.map(finish_block, pieces, progress=progress), progress)
    if workspace.inputs.labels is None:
        return {}
    return figures_of(block_arrays(workspace, done.stage))


def figures_of(blocks: Iterable[dict[str, np.ndarray]]) -> dict[str, Any]:
    """The figures against the ground truth, from the pairs of all blocks."""
    return dict(table_metrics(merge_tables(map(contingency_of, blocks))))


def block_arrays(workspace: Workspace, stage: str) -> Iterator[dict[str, np.ndarray]]:
    """What the finished blocks of a stage hold, one after the other.

    Args:
      workspace: of the project.
      stage: name of a pass or of a consensus of passes.
    """
    for block in workspace.blocks():
        yield load_npz(block_path(workspace, stage, block))


def _add_fills(voxels: np.ndarray, ids: GlobalIds, position: int, fills: np.ndarray) -> None:
    """Adds what the objects of one subvolume fill in a neighbour, (n, 2) IDs and voxels, to all voxels."""
    local, _ = ids.lookup(position)
    voxels[ids.offsets[position] + np.searchsorted(local, fills[:, 0])] += fills[:, 1].astype(np.int64)


def _save(workspace: Workspace, done: Reconciled, ids: GlobalIds, position: int) -> PieceReport:
    """Stores the IDs of one subvolume's objects."""

    def look_up() -> dict[str, np.ndarray]:
        local, of_volume = ids.lookup(position)
        return {"local_ids": local, "global_ids": of_volume}

    return kept_piece(ids_path(workspace, done.stage, position), done.digest, look_up)


def _tell(reports: Iterable[PieceReport], progress: RunProgress) -> None:
    """Says what is worth telling about finished pieces, above the display."""
    for report in reports:
        if report.note:
            progress.write(f"note: {report.note}")
