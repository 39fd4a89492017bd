"""The finished stages of a project as volumes to read, such as for evaluation.

A stage lies on disk as the results of its subvolumes and the IDs that reconciliation gave their objects; its
voxels are put together where they are read, so that no stage but the last is stored as a volume. Nothing is
computed or changed here, and no network runs.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from configs import ConfigError, ConfigView, load_config
from inference.finished_blocks import assemble
from inference.identity import check_directory
from inference.label_stages import ids_path, reconciliation_directory
from inference.reconcile import describe_reconciliation
from inference.results import stored_settings, subvolume_path
from inference.workspace import Workspace
from jobs.pieces import load_npz
from volumes import Box, Volume


class StageVolume(Volume):
    """The supervoxels of one finished stage, uint64, for reading only; bounds are the project's region.

    Neighbouring boxes are best read one after the other: the subvolumes read last are kept.

    Args:
      workspace: of the project.
      stage: name of a pass or of a consensus of passes, reconciled.
      ids_digest: names the IDs that reconciliation gave.
    """

    def __init__(self, workspace: Workspace, stage: str, ids_digest: str) -> None:
        super().__init__(
            f"{workspace.output}, stage {stage}",
            bounds=workspace.inputs.box,
            dtype=np.uint64,
            voxel_size_nm=workspace.inputs.image.voxel_size_nm,
            chunk_shape=workspace.plan[0].core.shape,
            writable=False,
        )
        self.stage = stage
        self._workspace, self._ids_digest = workspace, ids_digest

    def _load(self, box: Box) -> np.ndarray:
        return assemble(self._workspace, self.stage, box, self._ids_digest)


def finished_stages(workspace: Workspace) -> list[StageVolume]:
    """The stages that are finished and reconciled everywhere, in the order of the pipeline.

    Stages before the last are reconciled only in runs with ground truth.

    Args:
      workspace: of the project.

    Raises:
      ReconstructionError: what lies there was made with other settings; names the first that differs.
    """
    found = []
    for stage in (*workspace.passes, *workspace.folds):
        directory = workspace.stage_directory(stage)
        check_directory(directory, workspace.describe_stage(stage), stored_settings(directory))
        directory = reconciliation_directory(workspace, stage)
        check_directory(directory, describe_reconciliation(workspace, stage), ())
        digest = _digest_of_ids(workspace, stage)
        if digest is not None:
            found.append(StageVolume(workspace, stage, digest))
    return found


def as_it_ran(config: ConfigView) -> ConfigView:
    """A config with the compute type that its run chose where it leaves this to the machine.

    Results name the type they were computed in, and this machine may choose another.

    Args:
      config: of the project.
    """
    path = Path(config.output_dir) / "config.textproto"
    if config.inference.compute_dtype != "auto" or not path.exists():
        return config
    try:
        kept = load_config(path).inference
    except ConfigError:
        return config
    if kept is None:
        return config
    return config.replace(inference=config.inference.replace(compute_dtype=kept.compute_dtype))


def _digest_of_ids(workspace: Workspace, stage: str) -> str | None:
    """The one digest of all IDs of a stage; None while a subvolume is not done or not reconciled."""
    directory, digests = workspace.stage_directory(stage), set()
    for position, subvolume in enumerate(workspace.plan):
        ids = ids_path(workspace, stage, position)
        if not os.path.exists(subvolume_path(directory, subvolume.box.start)) or not ids.exists():
            return None
        digests.add(str(load_npz(ids)["made_from"]))
        if len(digests) > 1:
            return None
    return digests.pop()
