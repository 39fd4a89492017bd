"""The stages of a run, each with the work it is expected to be: what the display of progress counts on.

Work is seconds of one processor core, from rates that were measured (docs/results.md). Only their proportions
matter; how fast a machine is, the display finds out.
"""

from __future__ import annotations

from collections.abc import Iterator

from configs import ConfigView
from inference.workspace import Workspace
from jobs.plan import neighbours
from jobs.run_progress import Stage

BEFORE = "before"
SCALES = "coarser scales"
FORMATS = "other formats"

# Voxels per second; those of labels read and write files.
_FLOOD_RATE = 20e3
_LABEL_RATE = 20e6
_FILE_RATE = 5e6
# All coarser scales together have a seventh of the voxels, the next one having an eighth.
_COARSER = 1 / 7


def reconciliation_of(stage: str) -> str:
    """The name under which the reconciliation of a pass or consensus is shown."""
    return f"{stage}: reconciliation"


def blocks_stage_of(stage: str) -> str:
    """The name under which the finished blocks of a pass or consensus are shown."""
    return f"{stage}: supervoxels"


def project_stages(workspace: Workspace) -> list[Stage]:
    """The stages of a project's run, in their order.

    Args:
      workspace: of the project.
    """
    return list(_project_stages(workspace))


def reseeding_stages(workspace: Workspace, stage: str) -> list[Stage]:
    """The stages of a reseeding job, in their order.

    Args:
      workspace: of the job, with the pass used as its only one.
      stage: the name of its floods.
    """
    (name,) = workspace.passes
    survey = Stage(BEFORE, _region_seconds(workspace))
    flood = Stage(stage, flood_voxels(workspace, name) / _FLOOD_RATE)
    return [survey, flood, *_label_stages(workspace, stage), *_final_stages(workspace)]


def flood_voxels(workspace: Workspace, name: str) -> int:
    """The voxels of all subvolumes, in those of a pass: what its floods count.

    Args:
      workspace: of the project.
      name: of the pass.
    """
    each = workspace.passes[name]
    return sum(each.own_box(subvolume.box).size for subvolume in workspace.plan)


def label_voxels(workspace: Workspace) -> int:
    """The voxels of all subvolumes, in those of the raw volume: what a consensus counts.

    Args:
      workspace: of the project.
    """
    return sum(subvolume.box.size for subvolume in workspace.plan)


def formats_of(outputs: ConfigView) -> int:
    """How many times the supervoxels are written beside Precomputed, as HDF5 and Zarr."""
    return int(outputs.hdf5) + int(outputs.zarr)


def _project_stages(workspace: Workspace) -> Iterator[Stage]:
    for name in workspace.passes:
        yield Stage(name, flood_voxels(workspace, name) / _FLOOD_RATE)
        yield from _stages_after(workspace, name)
    for name, fold in workspace.folds.items():
        yield Stage(name, len(fold.passes) * label_voxels(workspace) / _LABEL_RATE)
        yield from _stages_after(workspace, name)


def _stages_after(workspace: Workspace, stage: str) -> Iterator[Stage]:
    """What follows a stage before the next: with ground truth every one is reconciled, else the last."""
    if stage == workspace.final_stage or workspace.inputs.labels is not None:
        yield from _label_stages(workspace, stage)
    if stage == workspace.final_stage:
        yield from _final_stages(workspace)


def _label_stages(workspace: Workspace, stage: str) -> Iterator[Stage]:
    reads = 1 + 2 * len(neighbours(workspace.plan)) / len(workspace.plan)
    yield Stage(reconciliation_of(stage), reads * label_voxels(workspace) / _LABEL_RATE)
    yield Stage(blocks_stage_of(stage), _region_seconds(workspace))


def _final_stages(workspace: Workspace) -> Iterator[Stage]:
    """Coarser scales, and what one process writes in the end."""
    outputs, seconds = workspace.config.outputs, _region_seconds(workspace)
    if outputs.precomputed:
        yield Stage(SCALES, _COARSER * len(workspace.volumes_written) * seconds)
    if formats_of(outputs):
        yield Stage(FORMATS, formats_of(outputs) * seconds)


def _region_seconds(workspace: Workspace) -> float:
    """What it takes to read or write the labels of the whole region once."""
    return sum(block.size for block in workspace.blocks()) / _FILE_RATE
