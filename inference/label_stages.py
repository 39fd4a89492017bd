"""The pieces of work that follow the floods: consensus, reconciliation, finished blocks.

All run in workers and see one subvolume, one pair of them, or one block at a time. What a piece gives is kept
on disk under the stage's directory; a damaged file is made anew.

| piece | reads | writes |
| --- | --- | --- |
| `combine_subvolume` | all passes of one subvolume | `<stage>/<x>/<y>/seg-….npz` |
| `measure_subvolume` | one subvolume | `reconciliation/<stage>/objects/<subvolume>.npz` |
| `compare_neighbours` | the overlap of two | `reconciliation/<stage>/pairs/<i>-<j>.npz` |
| `finish_block` | subvolumes that touch a block | voxels, `reconciliation/<stage>/blocks/<corner>.npz` |
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from configs import ConfigView
from evaluation import ContingencyTable, contingency
from inference.consensus import fold_consensus, split_components
from inference.flooding import PieceReport, load_or_note, workspace_of
from inference.identity import array_digest, require_same_settings, settings_digest
from inference.reconciliation import agreeing, object_voxels, overlap_pairs, relabel
from inference.results import SubvolumeResult, save_result, subvolume_path
from inference.supervoxel_table import block_statistics
from inference.surroundings import objects_at
from inference.workspace import AT_CUTS, Source, Workspace
from jobs.in_worker import report_found
from jobs.pieces import CorruptPieceError, load_npz, save_npz
from jobs.plan import Subvolume, cut_faces
from volumes import Box, open_volume

_FINEST = (1, 1, 1)
_KEPT_SUBVOLUMES = 2


class Targets(NamedTuple):
    """Where finished blocks are written: SPECs of volumes that are open for it; None = not."""

    supervoxels: str | None = None
    image: str | None = None


def combine_subvolume(config: ConfigView, stage: str, position: int) -> PieceReport:
    """The consensus of all passes of a stage in one subvolume.

    Args:
      config: of the project.
      stage: name of a consensus of passes.
      position: of the subvolume in the plan, from 0.

    Raises:
      ReconstructionError: a pass without its result there, or a consensus of other settings in its place.
    """
    workspace = workspace_of(config)
    subvolume, section = workspace.plan[position], config.consensus
    found = [objects_at(workspace, name, subvolume, _FINEST) for name in workspace.folds[stage].passes]
    made_from = {
        "passes": {
            name: settings_digest(settings)
            for name, (_, settings) in zip(workspace.folds[stage].passes, found, strict=True)
        },
        "consensus_min_size": section.min_size,
        "split_components": section.split_components,
        **AT_CUTS,
    }
    directory, corner = workspace.stage_directory(stage), subvolume.box.start
    there, note = load_or_note(directory, corner)
    if there is not None:
        require_same_settings(there.settings, made_from, subvolume_path(directory, corner))
        report_found()
    else:
        cuts = cut_faces(subvolume.box, workspace.inputs.box)
        labels = fold_consensus([labels for labels, _ in found], section.min_size, cuts)
        if section.split_components:
            labels = split_components(labels, section.min_size, cuts)
        save_result(directory, _without_flood(subvolume.box, labels, made_from))
    return PieceReport({}, there is not None, note)


def measure_subvolume(source: Source, stage: str, position: int) -> PieceReport:
    """The objects of one subvolume and how many voxels of its core each has.

    Args:
      source: the config of a project, or a job of reseeding.
      stage: name of a pass or of a consensus of passes.
      position: of the subvolume in the plan, from 0.
    """
    workspace = workspace_of(source)
    subvolume = workspace.plan[position]
    labels, settings = objects_at(workspace, stage, subvolume, _FINEST)

    def measure() -> dict[str, np.ndarray]:
        ids, _ = object_voxels(labels)
        core_ids, voxels = object_voxels(
            np.ascontiguousarray(labels[subvolume.core.slices(subvolume.box.start)])
        )
        in_core = np.zeros(len(ids), np.int64)
        in_core[np.searchsorted(ids, core_ids)] = voxels
        return {"ids": ids, "core_voxels": in_core}

    return kept_piece(objects_path(workspace, stage, position), settings_digest(settings), measure)


def compare_neighbours(source: Source, stage: str, first: int, second: int) -> PieceReport:
    """Which objects of two overlapping subvolumes are one.

    Args:
      source: the config of a project, or a job of reseeding.
      stage: name of a pass or of a consensus of passes.
      first: position of one subvolume in the plan.
      second: of the other; their boxes overlap.
    """
    workspace = workspace_of(source)
    section = workspace.config.reconciliation
    subvolumes = [workspace.plan[position] for position in (first, second)]
    overlap = subvolumes[0].box.intersect(subvolumes[1].box)
    found = [objects_at(workspace, stage, each, _FINEST) for each in subvolumes]

    def compare() -> dict[str, np.ndarray]:
        cut = [
            np.ascontiguousarray(labels[overlap.slices(each.box.start)])
            for each, (labels, _) in zip(subvolumes, found, strict=True)
        ]
        return {"pairs": agreeing(overlap_pairs(*cut), section.min_share, section.min_overlap_voxels)}

    made_from = settings_digest({"first": found[0][1], "second": found[1][1], "by": section.to_text()})
    return kept_piece(pairs_path(workspace, stage, first, second), made_from, compare)


def finish_block(source: Source, stage: str, block: Box, ids_digest: str, targets: Targets) -> PieceReport:
    """The supervoxels of one block: written, listed, and compared with the ground truth.

    Args:
      source: what the workspace is opened from.
      stage: name of the pass or consensus.
      block: raw voxels; whole chunks of the volumes written.
      ids_digest: names the IDs that reconciliation gave.
      targets: what is written.
    """
    workspace = workspace_of(source)

    def finish() -> dict[str, np.ndarray]:
        labels = assemble(workspace, stage, block, ids_digest)
        if targets.supervoxels is not None:
            _write(targets.supervoxels, block, labels)
        if targets.image is not None:
            _write(targets.image, block, workspace.inputs.image.read(block))
        return examined(workspace, labels, block)

    written, truth = [t is not None for t in targets], workspace.inputs.labels
    seen = None if truth is None else array_digest(truth.read(block))
    made_from = settings_digest({"ids": ids_digest, "written": written, "truth": seen})
    return kept_piece(block_path(workspace, stage, block), made_from, finish)


def examined(workspace: Workspace, labels: np.ndarray, block: Box) -> dict[str, np.ndarray]:
    """What is kept of a block's supervoxels: their statistics, and their pairs with the ground truth.

    Args:
      workspace: of the project.
      labels: uint64 (z, y, x) of the block, 0 = none.
      block: of the region, absolute, raw voxels.

    Returns:
      Arrays by name: the columns of `block_statistics`; with ground truth also the IDs and counts (voxels) of
      `evaluation.contingency`.
    """
    arrays = dict(vars(block_statistics(labels, block.start)))
    if workspace.inputs.labels is not None:
        table = contingency(labels, workspace.inputs.labels.read(block))
        arrays |= {
            "pair_segments": table.segment_ids,
            "pair_truths": table.truth_ids,
            "pairs": table.counts,
        }
    return arrays


def assemble(workspace: Workspace, stage: str, box: Box, ids_digest: str) -> np.ndarray:
    """The supervoxels of a box, uint64 (z, y, x), from the cores of the subvolumes it touches.

    Args:
      workspace: the project.
      stage: name of the pass or consensus.
      box: raw voxels.
      ids_digest: names the IDs that reconciliation gave.

    Raises:
      PieceError: a subvolume without result, or IDs that are not there yet.
    """
    out = np.zeros(box.shape, np.uint64)
    for position in workspace.touching(box):
        subvolume = workspace.plan[position]
        part = subvolume.core.intersect(box)
        labels = _global_labels(workspace.source, stage, position, ids_digest)
        out[part.slices(box.start)] = labels[part.slices(subvolume.core.start)]
    return workspace.completed(out, box)


@lru_cache(maxsize=_KEPT_SUBVOLUMES)
def _global_labels(source: Source, stage: str, position: int, ids_digest: str) -> np.ndarray:
    """The core of one subvolume with IDs of the volume; neighbouring blocks read the same ones.

    The digest is there for the cache alone: other IDs are another entry.
    """
    workspace = workspace_of(source)
    subvolume = workspace.plan[position]
    labels, _ = objects_at(workspace, stage, subvolume, _FINEST)
    ids = load_npz(ids_path(workspace, stage, position))
    core = np.ascontiguousarray(labels[subvolume.core.slices(subvolume.box.start)])
    return relabel(core, ids["local_ids"], ids["global_ids"])


def reconciliation_directory(workspace: Workspace, stage: str) -> Path:
    """Where all that reconciles a stage lies.

    Args:
      workspace: of the project.
      stage: name of a pass or of a consensus of passes.
    """
    return workspace.output / "reconciliation" / stage


def objects_path(workspace: Workspace, stage: str, position: int) -> Path:
    """Objects of one subvolume: `ids` uint64 ascending, `core_voxels` int64.

    Args:
      workspace: of the project.
      stage: name of a pass or of a consensus of passes.
      position: of the subvolume in the plan, from 0.
    """
    return _named(workspace, stage, "objects", workspace.plan[position])


def ids_path(workspace: Workspace, stage: str, position: int) -> Path:
    """IDs of one subvolume's objects in the volume: `local_ids`, `global_ids` uint64.

    Args:
      workspace: of the project.
      stage: name of a pass or of a consensus of passes.
      position: of the subvolume in the plan, from 0.
    """
    return _named(workspace, stage, "ids", workspace.plan[position])


def pairs_path(workspace: Workspace, stage: str, first: int, second: int) -> Path:
    """Objects of two subvolumes that are one: `pairs` (n, 2) uint64.

    Args:
      workspace: of the project.
      stage: name of a pass or of a consensus of passes.
      first: position of one subvolume in the plan.
      second: of the other.
    """
    return reconciliation_directory(workspace, stage) / "pairs" / f"{first}-{second}.npz"


def block_path(workspace: Workspace, stage: str, block: Box) -> Path:
    """Statistics of a finished block, and its pairs with the ground truth.

    Args:
      workspace: of the project.
      stage: name of a pass or of a consensus of passes.
      block: of the region, absolute, raw voxels.
    """
    z, y, x = block.start
    return reconciliation_directory(workspace, stage) / "blocks" / f"{x}_{y}_{z}.npz"


def contingency_of(arrays: dict[str, np.ndarray]) -> ContingencyTable:
    """The pairs with the ground truth in a block's file."""
    return ContingencyTable(arrays["pair_segments"], arrays["pair_truths"], arrays["pairs"])


def _named(workspace: Workspace, stage: str, kind: str, subvolume: Subvolume) -> Path:
    return reconciliation_directory(workspace, stage) / kind / f"{subvolume.name}.npz"


def kept_piece(path: Path, made_from: str, make: Callable[[], dict[str, np.ndarray]]) -> PieceReport:
    """Makes a file unless it is there, whole, and made from the same.

    Args:
      path: the file; ends in `.npz`.
      made_from: digest of all it follows from, kept in it.
      make: gives its arrays by name; called only where the file has to be made.

    Returns:
      Whether the file was reused, and a note where a damaged one was replaced.
    """
    note = ""
    if path.exists():
        try:
            if str(load_npz(path)["made_from"]) == made_from:
                report_found()
                return PieceReport({}, reused=True)
        except CorruptPieceError as error:
            note = f"{str(error).split(';')[0]}; it is made anew"
    save_npz(path, {"made_from": np.array(made_from), **make()})
    return PieceReport({}, reused=False, note=note)


def _write(spec: str, block: Box, voxels: np.ndarray) -> None:
    with open_volume(spec, mode="r+") as volume:
        volume.write(block, voxels)


def _without_flood(box: Box, labels: np.ndarray, settings: dict[str, object]) -> SubvolumeResult:
    """A result that no flood made: no seeds, no probabilities."""
    ids, _ = object_voxels(labels)
    return SubvolumeResult(
        box=box,
        segmentation=labels,
        probability=np.zeros((0, 0, 0), np.uint8),
        object_ids=ids.astype(np.int64),
        seeds_zyx=np.full((len(ids), 3), -1, np.int64),
        fovs=np.zeros(len(ids), np.int64),
        counts={"objects": len(ids)},
        settings=settings,
    )
