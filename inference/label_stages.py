"""The pieces of work that follow the floods: consensus and reconciliation.

All run in workers and see one subvolume or one pair of them at a time. What a piece gives is kept on disk
under the stage's directory; a damaged file is made anew. Finished blocks follow in
`inference.finished_blocks`.

| piece | reads | writes |
| --- | --- | --- |
| `combine_subvolume` | all passes of one subvolume | `<stage>/<x>/<y>/seg-….npz` |
| `measure_subvolume` | one subvolume | `reconciliation/<stage>/objects/<subvolume>.npz` |
| `compare_neighbours` | the overlap of two | `reconciliation/<stage>/pairs/<i>-<j>.npz` |
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from configs import ConfigView
from inference._label_slabs import narrowed
from inference.consensus import fold_consensus, split_components
from inference.flooding import PieceReport, load_or_note, workspace_of
from inference.identity import require_same_settings, settings_digest
from inference.overlaps import filled_voxels, rims
from inference.reconciliation import agreeing, object_voxels, overlap_pairs
from inference.results import SubvolumeResult, save_result, subvolume_path
from inference.surroundings import objects_at
from inference.workspace import AT_CUTS, Source, Workspace
from jobs.in_worker import report_found
from jobs.pieces import CorruptPieceError, load_npz, save_npz
from jobs.plan import Subvolume, cut_faces
from volumes import Box

FINEST = (1, 1, 1)


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
    found = [objects_at(workspace, name, subvolume, FINEST) for name in workspace.folds[stage].passes]
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
        counts = there.counts
    else:
        cuts = cut_faces(subvolume.box, workspace.inputs.box)
        labels = narrowed(fold_consensus([labels for labels, _ in found], section.min_size, cuts))
        found.clear()
        if section.split_components:
            labels = narrowed(split_components(labels, section.min_size, cuts))
        made = _without_flood(subvolume.box, labels, made_from)
        save_result(directory, made)
        counts = made.counts
    return PieceReport(counts, there is not None, note)


def measure_subvolume(source: Source, stage: str, position: int) -> PieceReport:
    """The objects of one subvolume and how many voxels of its core each has.

    Args:
      source: the config of a project, or a job of reseeding.
      stage: name of a pass or of a consensus of passes.
      position: of the subvolume in the plan, from 0.
    """
    workspace = workspace_of(source)
    subvolume = workspace.plan[position]
    labels, settings = objects_at(workspace, stage, subvolume, FINEST)

    def measure() -> dict[str, np.ndarray]:
        ids, _ = object_voxels(labels)
        core = labels[subvolume.core.slices(subvolume.box.start)]
        core_ids, voxels = object_voxels(np.ascontiguousarray(workspace.inputs.cleared(core, subvolume.core)))
        in_core = np.zeros(len(ids), np.int64)
        in_core[np.searchsorted(ids, core_ids)] = voxels
        return {"ids": ids, "core_voxels": in_core}

    return kept_piece(objects_path(workspace, stage, position), settings_digest(settings), measure)


def compare_neighbours(source: Source, stage: str, first: int, second: int) -> PieceReport:
    """Which objects of two overlapping subvolumes are one, and what they fill where the other one is empty.

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
    found = [objects_at(workspace, stage, each, FINEST) for each in subvolumes]

    def compare() -> dict[str, np.ndarray]:
        cut = [
            np.ascontiguousarray(labels[overlap.slices(each.box.start)])
            for each, (labels, _) in zip(subvolumes, found, strict=True)
        ]
        pairs = agreeing(overlap_pairs(*cut), section.min_share, section.min_overlap_voxels)
        return {"pairs": pairs, "first_fills": fills(second, first), "second_fills": fills(first, second)}

    def fills(position: int, by: int) -> np.ndarray:
        labels = {first: found[0][0], second: found[1][0]}
        part = dict(rims(workspace.plan, workspace.positions, position)).get(by)
        if part is None:
            return np.zeros((0, 2), np.uint64)
        own, theirs = (labels[n][part.slices(workspace.plan[n].box.start)] for n in (position, by))
        return filled_voxels(own, workspace.inputs.cleared(theirs, part))

    made_from = settings_digest(
        {"first": found[0][1], "second": found[1][1], "by": section.to_text(), "fills": True}
    )
    return kept_piece(pairs_path(workspace, stage, first, second), made_from, compare)


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


def _named(workspace: Workspace, stage: str, kind: str, subvolume: Subvolume) -> Path:
    return reconciliation_directory(workspace, stage) / kind / f"{subvolume.name}.npz"


def kept_piece(
    path: Path,
    made_from: str,
    make: Callable[[], dict[str, np.ndarray]],
    flaw: Callable[[dict[str, np.ndarray]], str] = lambda _: "",
) -> PieceReport:
    """Makes a file unless it is there, whole, and made from the same.

    Args:
      path: the file; ends in `.npz`.
      made_from: digest of all it follows from, kept in it.
      make: gives its arrays by name; called only where the file has to be made.
      flaw: says of the arrays of a file that is there why it has to be made anew all the same, such as voxels
        that were damaged; empty = it need not.

    Returns:
      Whether the file was reused, and a note where a damaged one was replaced.
    """
    note = ""
    if path.exists():
        try:
            arrays = load_npz(path)
            if str(arrays["made_from"]) == made_from:
                note = flaw(arrays)
                if not note:
                    report_found()
                    return PieceReport({}, reused=True)
        except CorruptPieceError as error:
            note = f"{str(error).split(';')[0]}; it is made anew"
    save_npz(path, {"made_from": np.array(made_from), **make()})
    return PieceReport({}, reused=False, note=note)


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
