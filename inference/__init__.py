"""From the network to a segmented volume: many floods in batches, box by box, and one ID for each object."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.consensus import fold_consensus, split_components, split_consensus
    from inference.executor import run_floods
    from inference.google_request import run_request
    from inference.masks import build_mask
    from inference.project import run_project
    from inference.reconciliation import (
        GlobalIds,
        OverlapPairs,
        agreeing,
        drop_small,
        global_ids,
        overlap_pairs,
        relabel,
    )
    from inference.reseeding import Asked, Reseeded, run_reseeding
    from inference.results import SubvolumeResult, load_result, save_result, subvolume_path
    from inference.stage_reports import StageReport
    from inference.subject import PassSettings
    from inference.subvolume import segment_subvolume
    from inference.supervoxel_table import (
        SupervoxelTable,
        block_statistics,
        load_table,
        merge_tables,
        save_table,
        write_table_csv,
    )

__all__ = [
    "Asked",
    "GlobalIds",
    "OverlapPairs",
    "PassSettings",
    "Reseeded",
    "StageReport",
    "SubvolumeResult",
    "SupervoxelTable",
    "agreeing",
    "block_statistics",
    "build_mask",
    "drop_small",
    "fold_consensus",
    "global_ids",
    "load_result",
    "load_table",
    "merge_tables",
    "overlap_pairs",
    "relabel",
    "run_floods",
    "run_project",
    "run_request",
    "run_reseeding",
    "save_result",
    "save_table",
    "segment_subvolume",
    "split_components",
    "split_consensus",
    "subvolume_path",
    "write_table_csv",
]

_HOMES = {
    "Asked": "reseeding",
    "GlobalIds": "reconciliation",
    "OverlapPairs": "reconciliation",
    "PassSettings": "subject",
    "Reseeded": "reseeding",
    "StageReport": "stage_reports",
    "SubvolumeResult": "results",
    "SupervoxelTable": "supervoxel_table",
    "agreeing": "reconciliation",
    "block_statistics": "supervoxel_table",
    "build_mask": "masks",
    "drop_small": "reconciliation",
    "fold_consensus": "consensus",
    "global_ids": "reconciliation",
    "load_result": "results",
    "load_table": "supervoxel_table",
    "merge_tables": "supervoxel_table",
    "overlap_pairs": "reconciliation",
    "relabel": "reconciliation",
    "run_floods": "executor",
    "run_project": "project",
    "run_request": "google_request",
    "run_reseeding": "reseeding",
    "save_result": "results",
    "save_table": "supervoxel_table",
    "segment_subvolume": "subvolume",
    "split_components": "consensus",
    "split_consensus": "consensus",
    "subvolume_path": "results",
    "write_table_csv": "supervoxel_table",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'inference' has no attribute '{name}'")
    return getattr(import_module(f"inference.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
