"""Runs a `ReconstructionConfig` from the raw volume to supervoxels.

passes (subvolume by subvolume) -> consensus -> reconciliation -> supervoxels, pyramid, table, figures,
picture. All work is cut in pieces that workers do and whose results appear whole; a rerun does what is
missing and ends in the same voxels. Results of other settings in the output directory are refused before
anything is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from configs import ConfigError, ConfigView, load_config, save_resolved
from inference.batching import measured_batch_size
from inference.finished_blocks import Targets, assemble
from inference.flooding import PieceReport, flood_subvolume
from inference.identity import check_directory, claim_directory
from inference.inputs import Inputs, planned_inputs, require_object_ids
from inference.label_stages import combine_subvolume, reconciliation_directory
from inference.masks import check_masks
from inference.outputs import (
    remove_what_kills_left,
    require_places,
    require_supported,
    require_writable,
    write_picture,
    write_streams,
)
from inference.passes import make_pass_statistics, pass_cautions
from inference.project_identity import check_project, claim_project
from inference.reconcile import Reconciled, describe_reconciliation, finish_stage, reconcile_stage
from inference.results import stored_settings
from inference.run_plan import project_stages
from inference.same_images import require_same_images
from inference.shift_masks import check_shift_mask
from inference.stage_reports import (
    StageReport,
    aside,
    counts_of,
    figures_there,
    pace_of,
    progress_of,
    rate_shown,
    write_stages,
)
from inference.subject import Subject, require_fitting, require_segmentable
from inference.supervoxel_table import SupervoxelTable
from inference.supervoxels import made_from, open_targets, put_supervoxels_in_place, write_table
from inference.workspace import BYTES_PER_VOXEL, Workspace, open_workspace
from jobs.dispatch import Piece
from jobs.lock import only_run_in
from jobs.run_progress import RunProgress
from jobs.workers import Pool, WorkerSettings, worker_pool
from volumes import Box

Tell = Callable[[str], None]


def run_project(
    config: ConfigView,
    report: Callable[[StageReport], None] = lambda _: None,
    caution: Tell = lambda _: None,
) -> Inputs:
    """Segments the project's region in every pass, combines and reconciles them, and writes the outputs.

    Args:
      config: with `inference` and `raw` or `phantom`.
      report: called after each stage.
      caution: called with a line about anything that is allowed but probably not meant, or worth knowing.

    Returns:
      What it worked on.

    Raises:
      ReconstructionError: anything in config, network, image, ground truth or output directory that cannot be
        used, or results of other settings or of another project in it; nothing has been computed or changed
        then. Or pieces of work that failed, by name.
    """
    require_supported(config.outputs)
    require_places(Path(config.output_dir), config.outputs, _folders(config))
    workspace = open_workspace(config, planned_inputs(config))
    _check(workspace)
    require_writable(workspace.output)
    with only_run_in(workspace.output):
        return _start(workspace, report, caution)


def _start(workspace: Workspace, report: Callable[[StageReport], None], caution: Tell) -> Inputs:
    """Makes the choices that are left, phantom and statistics, starts the workers and runs all stages."""
    config = workspace.config
    for line in pass_cautions(list(workspace.passes.values()), config.preprocessing):
        caution(line)
    config, line = with_choices(workspace)
    if line:
        caution(line)
    workspace = open_workspace(config)
    claim_project(config, workspace.inputs)
    for line in make_pass_statistics(config, workspace.passes.values(), workspace.inputs.box):
        caution(line)
    require_same_images(workspace)
    save_resolved(config, workspace.output / "config.textproto")
    run = config.run
    settings = WorkerSettings(run.workers, run.scheduler, run.retries, threads_of(workspace))
    started = time.time()
    with worker_pool(settings) as pool, progress_of(config, project_stages(workspace)) as progress:
        _run(workspace, pool, progress, *aside(progress, report, caution))
    remove_what_kills_left(workspace, started)
    return workspace.inputs


def threads_of(workspace: Workspace) -> int:
    """Subvolumes that a worker floods side by side: those asked for, or enough for two batches in flight."""
    section = workspace.config.inference
    return int(section.subvolumes_in_flight or min(2 * (section.batch_size or 1), most_in_flight(workspace)))


def most_in_flight(workspace: Workspace) -> int:
    """Subvolumes that a worker can flood side by side: those asked for, or as many as there are and fit the
    memory allowed for them.
    """
    section = workspace.config.inference
    voxels = max(subvolume.box.size for subvolume in workspace.plan)
    fitting = int(section.subvolumes.memory_gb * 1e9 / (BYTES_PER_VOXEL * voxels))
    return int(section.subvolumes_in_flight or max(1, min(fitting, len(workspace.plan))))


def with_choices(workspace: Workspace) -> tuple[ConfigView, str]:
    """The config with what it leaves to the machine: compute type and batch size.

    Its own are kept; else those of an earlier start here are, so that a run goes on as it began and all its
    workers compute alike; else both are chosen now, the batch size by a measurement.

    Returns:
      The config, and a line about a measurement; empty without one.
    """
    config, line = workspace.config, ""
    first, kept = next(iter(workspace.passes.values())), _earlier(workspace)
    compute_dtype, size = config.inference.compute_dtype, config.inference.batch_size
    if compute_dtype == "auto":
        compute_dtype = first.settings.compute_dtype
        if kept is not None and kept.compute_dtype != "auto":
            compute_dtype = kept.compute_dtype
    if size is None and kept is not None:
        size = kept.batch_size
    if size is None:
        # Half of what can be in flight, since a second batch is made ready while the first is computed.
        most = max(1, most_in_flight(workspace) // 2)
        size, line = measured_batch_size(first.network, compute_dtype, most)
    inference = config.inference.replace(batch_size=size, compute_dtype=compute_dtype)
    return config.replace(inference=inference), line


def _earlier(workspace: Workspace) -> ConfigView | None:
    """The `inference` section of an earlier start in the output directory; None where none can be read."""
    path = workspace.output / "config.textproto"
    try:
        return load_config(str(path)).inference if path.exists() else None
    except ConfigError:
        return None


def _folders(config: ConfigView) -> list[str]:
    """Where the stages of a config lie in its output directory."""
    names = [each.name for each in config.inference.passes]
    folds = ("consensus", "multiresolution") if len(names) > 1 else ()
    return ["passes", *(f"passes/{name}" for name in names), *folds, "reconciliation"]


def _check(workspace: Workspace) -> None:
    """Finds whatever would stop the run later, another project's directory, and results of other settings."""
    require_runnable(workspace)
    for name in (*workspace.passes, *workspace.folds):
        directory = workspace.stage_directory(name)
        check_directory(directory, workspace.describe_stage(name), stored_settings(directory))
    for name in (*workspace.passes, *workspace.folds):
        # Its pieces are made anew where they were made from anything else.
        check_directory(
            reconciliation_directory(workspace, name), describe_reconciliation(workspace, name), ()
        )
    check_project(workspace.config, workspace.inputs)


def require_runnable(workspace: Workspace) -> None:
    """Finds masks, images, subvolumes and ground truth that would stop a run later.

    Raises:
      ReconstructionError: them.
    """
    masks, image = workspace.config.masks, workspace.inputs.image
    check_masks([*masks.movement, *masks.seeds], image)
    if masks.shifts is not None:
        check_shift_mask(masks.shifts, image)
    for each in workspace.passes.values():
        region = each.own_box(workspace.inputs.box)
        require_fitting(Subject(each.image, region, region, each.network, each.settings))
        for subvolume in workspace.plan:
            box = each.own_box(subvolume.box)
            require_segmentable(Subject(each.image, box, region, each.network, each.settings))
    if workspace.inputs.labels is not None:
        for part in workspace.inputs.boxes:
            require_object_ids(workspace.inputs.labels, part)


def _run(
    workspace: Workspace,
    pool: Pool,
    progress: RunProgress,
    report: Callable[[StageReport], None],
    tell: Tell,
) -> None:
    """All stages, one after the other."""
    stages: dict[str, Any] = {}
    path = workspace.output / "metrics.json"
    earlier = figures_there(path)
    for name in (*workspace.passes, *workspace.folds):
        directory = workspace.stage_directory(name)
        mended = claim_directory(directory, workspace.describe_stage(name), stored_settings(directory))
        pieces = _work(workspace, name, pool, progress)
        pace, reused = pace_of(progress, pieces), all(piece.reused for piece in pieces)
        for note in filter(None, (mended, *(piece.note for piece in pieces))):
            tell(note)
        final = name == workspace.final_stage
        if not final and workspace.inputs.labels is None:
            report(StageReport(name, counts_of(workspace, pieces), {}, reused, pace, is_reconciled=False))
            continue
        done, metrics = _reconcile(workspace, name, pool, progress, final=final)
        finished = StageReport(
            name,
            {**counts_of(workspace, pieces), "objects": done.objects},
            metrics,
            reused,
            pace,
        )
        stages[name] = {**metrics, **finished.counts}
        write_stages(path, stages, earlier)
        report(finished)


def _work(workspace: Workspace, stage: str, pool: Pool, progress: RunProgress) -> list[PieceReport]:
    """The pieces of a pass or consensus."""
    config = workspace.config
    function = flood_subvolume if stage in workspace.passes else combine_subvolume
    each = workspace.passes.get(stage)
    pieces = [
        Piece(f"{stage} {s.name}", (config, stage, i), (each.own_box(s.box) if each else s.box).size)
        for i, s in enumerate(workspace.plan)
    ]
    progress.begin(stage, units=sum(piece.weight for piece in pieces), pieces=len(pieces))
    return pool.map(function, pieces, progress=progress, show=rate_shown(progress))


def _reconcile(
    workspace: Workspace, stage: str, pool: Pool, progress: RunProgress, *, final: bool
) -> tuple[Reconciled, dict[str, Any]]:
    """Gives a stage its global IDs and figures; the final one is written too."""
    done = reconcile_stage(workspace, stage, pool, progress)
    targets = open_targets(workspace, done, progress.write) if final else Targets()
    metrics = finish_stage(workspace, done, targets, pool, progress)
    if final:
        write_final(workspace, done, pool, progress)
    return done, metrics


def write_final(workspace: Workspace, done: Reconciled, pool: Pool, progress: RunProgress) -> SupervoxelTable:
    """What follows the finished blocks: coarser scales, other formats, picture, and the table.

    Args:
      workspace: of the project.
      done: what reconciliation found; its blocks are written.
      pool: where the pieces of coarser scales run.
      progress: of the run.

    Returns:
      The table of all supervoxels.
    """
    put_supervoxels_in_place(workspace, done, pool, progress)
    table, follows_from = write_table(workspace, done), made_from(workspace, done)

    def read(box: Box) -> np.ndarray:
        return assemble(workspace, done.stage, box, done.digest)

    write_streams(workspace, follows_from, read, workspace.blocks(), progress)
    if workspace.config.outputs.png:
        write_picture(workspace, follows_from, read)
    return table
