"""The supervoxels that a project agglomerates: their table, what names them, and how they overlap the truth.

The project's own are known from the files of its finished blocks, and no voxel is read again. Supervoxels
named in `agglomeration.supervoxels` are read once, block by block, in pieces whose outcome is kept in
`agglomeration/supervoxels/<x>_<y>_<z>.npz`.

Inputs: supervoxels (zyx, whole numbers, 0 = none), ground truth if there is some. Outputs: `Segmentation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agglomeration.errors import AgglomerationError
from agglomeration.pair_pieces import open_supervoxels, resegmentation_config
from configs import ConfigError, ConfigView
from evaluation import ContingencyTable, contingency, merge_tables
from inference.finished_blocks import contingency_of
from inference.flooding import PieceReport, workspace_of
from inference.identity import array_digest, settings_digest
from inference.inputs import blocks_of
from inference.label_stages import kept_piece
from inference.reconcile import block_arrays
from inference.stage_volumes import finished_stages
from inference.supervoxel_table import SupervoxelTable, block_statistics
from inference.supervoxels import table_of, written_ids
from inference.workspace import Workspace
from jobs.dispatch import Piece
from jobs.pieces import load_npz
from jobs.run_progress import RunProgress
from jobs.workers import Pool
from volumes import Box, Volume

# The stage of a run's progress in which named supervoxels are read.
STAGE = "supervoxels"
FOLDER = "agglomeration"


@dataclass(frozen=True)
class Segmentation:
    """Supervoxels, and what is known of them.

    Attributes:
      volume: their voxels.
      table: a row for each.
      identity: names their voxels; other voxels, another name.
      overlaps: voxels shared with each true object; None = there is no ground truth.
    """

    volume: Volume
    table: SupervoxelTable
    identity: str
    overlaps: ContingencyTable | None

    @property
    def box(self) -> Box:
        """Where they are (absolute)."""
        return self.volume.bounds


def open_segmentation(config: ConfigView, pool: Pool, progress: RunProgress) -> Segmentation:
    """Opens the supervoxels of a project.

    Args:
      config: of the project, with `agglomeration`, its compute type that of the run that made them.
      pool: where named supervoxels are read.
      progress: of a run that planned `STAGE` where supervoxels are named.

    Raises:
      ReconstructionError: there are none yet, other settings made them, or they cannot be read.
    """
    if config.agglomeration.supervoxels is None:
        return _own(config)
    return _named(config, pool, progress)


def folder_of(config: ConfigView) -> Path:
    """Where all that an agglomeration keeps for itself lies."""
    return Path(config.output_dir) / FOLDER


def truth_workspace(config: ConfigView) -> Workspace:
    """The workspace whose inputs have the project's ground truth, opened once per worker.

    Args:
      config: of the project, with `agglomeration`.
    """
    if config.agglomeration.supervoxels is None:
        return workspace_of(config)
    return workspace_of(resegmentation_config(config).replace(evaluation=config.evaluation))


def tabulate_block(config: ConfigView, block: Box, path: Path) -> PieceReport:
    """The statistics of named supervoxels in one block, and their overlaps with the truth; a piece of work.

    Args:
      config: of the project, with `agglomeration.supervoxels`.
      block: absolute, in the supervoxels' bounds.
      path: what is kept; ends in `.npz`.

    Raises:
      VolumeError: voxels that cannot be read, or are no labels.
    """
    labels = open_supervoxels(config).read(block)
    truth = _truth_of(truth_workspace(config), block)
    found = {"labels": array_digest(labels), "truth": None if truth is None else array_digest(truth)}

    def tabulate() -> dict[str, np.ndarray]:
        arrays = {**vars(block_statistics(labels, block.start)), "digest": np.array(found["labels"])}
        if truth is not None:
            table = contingency(labels, truth)
            pairs = (table.segment_ids, table.truth_ids, table.counts)
            arrays |= dict(zip(("pair_segments", "pair_truths", "pairs"), pairs, strict=True))
        return arrays

    return kept_piece(path, settings_digest({**found, "block": str(block)}), tabulate)


def _own(config: ConfigView) -> Segmentation:
    """What `run_inference` made, from the files of its blocks."""
    volume, workspace = open_supervoxels(config), workspace_of(config)
    identity, stage = written_ids(workspace), workspace.final_stage
    if identity is None or stage not in [each.stage for each in finished_stages(workspace)]:
        raise ConfigError(
            f"the supervoxels in '{workspace.output}' are not finished; run run_inference with this config "
            "to its end"
        )
    overlaps = None
    if workspace.inputs.labels is not None:
        overlaps = merge_tables(contingency_of(arrays) for arrays in block_arrays(workspace, stage))
    return Segmentation(volume, table_of(block_arrays(workspace, stage)), identity, overlaps)


def _named(config: ConfigView, pool: Pool, progress: RunProgress) -> Segmentation:
    """Supervoxels that the config names, read block by block."""
    volume, workspace = open_supervoxels(config), truth_workspace(config)
    image = workspace.inputs.image
    if not image.bounds.contains_box(volume.bounds):
        raise AgglomerationError(
            f"supervoxels '{volume.spec}' ({volume.bounds}) leave the image '{image.spec}' ({image.bounds}); "
            "give those of this image"
        )
    blocks = list(blocks_of(volume.bounds))
    pieces = [Piece(f"supervoxels, {b}", (config, b, _block_path(config, b)), b.size) for b in blocks]
    progress.begin(STAGE, units=volume.bounds.size, pieces=len(pieces))
    for report in pool.map(tabulate_block, pieces, progress=progress):
        if report.note:
            progress.write(f"note: {report.note}")
    kept = [_block_path(config, block) for block in blocks]
    digests = [str(load_npz(path, ["digest"])["digest"]) for path in kept]
    overlaps = None
    if workspace.inputs.labels is not None:
        overlaps = merge_tables(contingency_of(load_npz(path)) for path in kept)
    identity = settings_digest({"blocks": digests, "bounds": str(volume.bounds)})
    return Segmentation(volume, table_of(load_npz(path) for path in kept), identity, overlaps)


def _truth_of(workspace: Workspace, block: Box) -> np.ndarray | None:
    """True objects of a block, uint64 (z, y, x), 0 where none are known; None without ground truth."""
    labels = workspace.inputs.labels
    if labels is None:
        return None
    truth, known = np.zeros(block.shape, np.uint64), block.intersect(labels.bounds)
    if not known.is_empty:
        truth[known.slices(block.start)] = labels.read(known)
    return workspace.inputs.cleared(truth, block)


def _block_path(config: ConfigView, block: Box) -> Path:
    z, y, x = block.start
    return folder_of(config) / "supervoxels" / f"{x}_{y}_{z}.npz"
