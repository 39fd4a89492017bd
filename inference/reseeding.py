"""Reseeding: objects are added where a segmentation left voxels empty, and nothing else changes.

what is there (surveyed block by block) -> floods around it, subvolume by subvolume -> reconciliation of the
new objects -> a volume that holds both. A job writes a directory of its own, `reseeded/<name>`; existing
voxels win everywhere, and new IDs follow the highest that was there. Pieces and reruns are those of a project
(`inference.project`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from configs import ConfigError, ConfigView, save_resolved
from inference.identity import array_digest, settings_digest
from inference.outputs import (
    remove_what_kills_left,
    require_places,
    require_supported,
    require_writable,
)
from inference.passes import make_pass_statistics, pass_cautions
from inference.project import require_runnable, threads_of, with_choices, write_final
from inference.reconcile import Reconciled, figures_of, finish_stage, reconcile_stage
from inference.reseeding_job import (
    STAGE,
    Reseeding,
    ReseedingJob,
    claim_beginning,
    claim_job,
    free_name,
    require_same_job,
    require_supervoxels,
    reseeding_of,
    sort_points,
)
from inference.reseeding_pieces import reseed_subvolume, survey_block, survey_path
from inference.reseeding_points import (
    SEED,
    describe_outcomes,
    final_outcomes,
    labels_at,
    read_seed_points,
    write_outcomes,
)
from inference.run_plan import BEFORE, reseeding_stages
from inference.stage_reports import (
    StageReport,
    aside,
    counts_of,
    pace_of,
    progress_of,
    rate_shown,
    write_stages,
)
from inference.supervoxel_table import SupervoxelTable
from inference.supervoxels import open_targets, table_of
from inference.workspace import open_workspace
from jobs.dispatch import Piece
from jobs.lock import only_run_in
from jobs.pieces import load_npz, save_npz
from jobs.run_progress import RunProgress
from jobs.workers import Pool, WorkerSettings, worker_pool
from volumes import Box, open_volume

_FOLDERS = ("subvolumes", "before", "reconciliation")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What a user wants of a reseeding; all may be left out.

    Attributes:
      name: of the job; absent: that of the same job begun before, or the next of reseed-1, reseed-2, …
      pass_name: the pass whose network, resolution, options and seeds are used; absent: the first.
      box: seeds lie in here, voxels of the raw volume.
      points: file of the points that are the seeds (`inference.reseeding_points`).
      supervoxels: SPEC of the objects to start from; absent: the project's.
    """

    name: str = ""
    pass_name: str = ""
    box: Box | None = None
    points: str = ""
    supervoxels: str = ""


@dataclass(frozen=True)
class Reseeded:
    """What a job did.

    Attributes:
      directory: of all results.
      objects: how many it added.
      highest: the highest ID there was before; new ones are above it.
      coverage: share of the voxels in objects, before and after; of the labelled voxels where there is ground
        truth, else of all.
      points: what came of the points, in words; empty without points.
      region: what the supervoxels fill.
    """

    directory: Path
    objects: int
    highest: int
    coverage: tuple[float, float]
    points: str
    region: Box


@dataclass(frozen=True)
class _Points:
    """The points given (int64 (n, 3), raw voxels) and what is known of each."""

    zyx: np.ndarray
    outcomes: list[str]

    @property
    def seeds(self) -> np.ndarray:
        return self.zyx[np.array(self.outcomes) == SEED]


def run_reseeding(
    config: ConfigView,
    asked: Asked,
    report: Callable[[StageReport], None] = lambda _: None,
    caution: Tell = lambda _: None,
) -> Reseeded:
    """Adds objects to the finished supervoxels of a project.

    Args:
      config: of the project; passes may differ from those that made the supervoxels.
      asked: what to do.
      report: called with what was there before, and with the finished stage.
      caution: called with a line about anything worth knowing.

    Returns:
      What was done.

    Raises:
      ReconstructionError: anything that cannot be used, no supervoxels, no point that can be a seed, or
        another job in its directory; nothing has been written then. A job that was begun with other voxels of
        the supervoxels, which shows when all of them have been read: no result has been changed then. Or
        pieces of work that failed, by name.
    """
    workspace, points = _prepared(config, asked)
    require_writable(workspace.output)
    with only_run_in(workspace.output):
        return _start(workspace, points, report, caution)


def _start(
    workspace: Reseeding, points: _Points | None, report: Callable[[StageReport], None], caution: Tell
) -> Reseeded:
    """Claims the job's directory, makes the choices that are left, starts the workers and does the job."""
    for line in pass_cautions([workspace.chosen], workspace.config.preprocessing):
        caution(line)
    if points is not None and set(points.outcomes) != {SEED}:
        caution(_about(points))
    _claim(workspace, points)
    sized, line = with_choices(workspace)
    if line:
        caution(line)
    save_resolved(sized, workspace.output / "config.textproto")
    job = replace(workspace.job, config=sized)
    workspace = reseeding_of(job, open_workspace(sized), workspace.seeds)
    for line in make_pass_statistics(sized, [workspace.chosen], workspace.inputs.box):
        caution(line)
    run = sized.run
    settings = WorkerSettings(run.workers, run.scheduler, run.retries, threads_of(workspace))
    stages = reseeding_stages(workspace, STAGE)
    started = time.time()
    with worker_pool(settings) as pool, progress_of(sized, stages) as progress:
        done = _run(workspace, points, pool, progress, *aside(progress, report, caution))
    remove_what_kills_left(workspace, started)
    return done


def _prepared(config: ConfigView, asked: Asked) -> tuple[Reseeding, _Points | None]:
    """The job, opened, with everything checked that would stop it later; writes nothing."""
    require_supported(config.outputs)
    config = config.replace(outputs=config.outputs.replace(precomputed=True))
    names = [each.name for each in config.inference.passes]
    chosen = asked.pass_name or names[0]
    if chosen not in names:
        raise ConfigError(f"there is no pass {chosen!r}; --pass is one of {', '.join(names)}")
    if asked.name and not _NAME.fullmatch(asked.name):
        raise ConfigError(f"--name {asked.name!r} names a directory; use letters, digits, '_', '.' and '-'")
    job = ReseedingJob(config, asked.name, chosen, asked.supervoxels, asked.box)
    require_supervoxels(job)
    project = open_workspace(config)
    region = project.inputs.box
    if job.box is not None and not region.contains_box(job.box):
        raise ConfigError(f"--box {job.box} leaves the region {region}; shrink it to lie inside")
    points, seeds = None, None
    if asked.points:
        zyx = read_seed_points(asked.points, project.inputs.image.voxel_size_nm)
        points = _Points(zyx, sort_points(project, job, zyx))
        job, seeds = replace(job, points=array_digest(zyx)), points.seeds
        if not len(seeds):
            raise ConfigError(f"{_about(points)}; give points in empty voxels of the region")
    workspace = reseeding_of(job, project, seeds)
    if not workspace.plan:
        raise ConfigError(f"no field of view fits around any voxel of --box {job.box}; give a larger one")
    require_runnable(workspace)
    description = workspace.describe_stage(STAGE)
    if not job.name:
        job = replace(job, name=free_name(job.shelf, description))
    require_same_job(job.directory, description)
    require_places(job.directory, config.outputs, _FOLDERS)
    return replace(workspace, job=job), points


def _about(points: _Points) -> str:
    left_out = [outcome for outcome in points.outcomes if outcome != SEED]
    return f"{len(left_out)} of {len(points.outcomes)} points are no seeds: {describe_outcomes(left_out)}"


def _claim(workspace: Reseeding, points: _Points | None) -> None:
    """Writes what the job is."""
    claim_job(workspace.output, workspace.describe_stage(STAGE))
    if points is not None:
        save_npz(workspace.job.points_path, {"points_zyx": points.zyx, "seeds_zyx": points.seeds})


def _run(
    workspace: Reseeding,
    points: _Points | None,
    pool: Pool,
    progress: RunProgress,
    report: Callable[[StageReport], None],
    tell: Tell,
) -> Reseeded:
    before, digest = _survey(workspace, pool, progress)
    stages = [_described(workspace, BEFORE, before, _surveyed(workspace))]
    report(stages[0])
    highest = int(before.ids.max(initial=0))
    floods = [
        Piece(f"{STAGE} {s.name}", (workspace.job, i), workspace.chosen.own_box(s.box).size)
        for i, s in enumerate(workspace.plan)
    ]
    progress.begin(STAGE, units=sum(piece.weight for piece in floods), pieces=len(floods))
    pieces = pool.map(reseed_subvolume, floods, progress=progress, show=rate_shown(progress))
    pace = pace_of(progress, pieces)
    for note in filter(None, (piece.note for piece in pieces)):
        tell(note)
    done, metrics = _finished(workspace, digest, highest, pool, progress)
    after = write_final(workspace, done, pool, progress)
    added = int(np.count_nonzero(after.ids > highest))
    counts = {**counts_of(workspace, pieces), "objects": len(after.ids), "added": added}
    stages.append(StageReport(STAGE, counts, metrics, all(piece.reused for piece in pieces), pace))
    figures = {each.name: {**each.metrics, **each.counts} for each in stages}
    write_stages(workspace.output / "metrics.json", figures, {})
    report(stages[1])
    return Reseeded(
        workspace.output,
        added,
        highest,
        (_coverage(workspace, before, stages[0]), _coverage(workspace, after, stages[1])),
        "" if points is None else _tell_points(workspace, points, highest),
        workspace.inputs.box,
    )


def _survey(workspace: Reseeding, pool: Pool, progress: RunProgress) -> tuple[SupervoxelTable, str]:
    """The table of what is there, and a name of it.

    Raises:
      ConfigError: the job started from other supervoxels; their IDs may be those of its objects.
    """
    blocks = workspace.blocks()
    pieces = [Piece(f"block {b} before", (workspace.job, b), b.size) for b in blocks]
    progress.begin(BEFORE, units=sum(block.size for block in blocks), pieces=len(pieces))
    pool.map(survey_block, pieces, progress=progress)
    names = {
        str(block): str(arrays["made_from"])
        for block, arrays in zip(blocks, _surveyed(workspace), strict=True)
    }
    table = table_of(_surveyed(workspace))
    labels = {block: name.split("-")[0] for block, name in names.items()}
    claim_beginning(
        workspace.output,
        {"highest_id": int(table.ids.max(initial=0)), "supervoxels_digest": settings_digest(labels)},
    )
    return table, settings_digest(names)


def _surveyed(workspace: Reseeding) -> Iterator[dict[str, np.ndarray]]:
    """What the survey found, block by block."""
    for block in workspace.blocks():
        yield load_npz(survey_path(workspace, block))


def _described(
    workspace: Reseeding, name: str, table: SupervoxelTable, blocks: Iterator[dict[str, np.ndarray]]
) -> StageReport:
    metrics = {} if workspace.inputs.labels is None else figures_of(blocks)
    counts = {"objects": len(table.ids), "subvolumes": 1, "voxels": workspace.inputs.voxels}
    return StageReport(name, counts, metrics, reused=False)


def _finished(
    workspace: Reseeding, digest: str, highest: int, pool: Pool, progress: RunProgress
) -> tuple[Reconciled, dict[str, Any]]:
    """New objects with their IDs, and all finished blocks."""
    done = reconcile_stage(workspace, STAGE, pool, progress, above=highest)
    # The blocks hold what was there, too.
    done = replace(done, digest=f"{done.digest}-{digest}")
    targets = open_targets(workspace, done, progress.write)
    return done, finish_stage(workspace, done, targets, pool, progress)


def _coverage(workspace: Reseeding, table: SupervoxelTable, stage: StageReport) -> float:
    if stage.metrics:
        return float(stage.metrics["coverage"])
    return float(table.voxels.sum() / workspace.inputs.voxels)


def _tell_points(workspace: Reseeding, points: _Points, highest: int) -> str:
    """Writes what came of each point; in words."""
    inside = np.array([workspace.inputs.box.contains(point) for point in points.zyx.tolist()])
    ids = np.zeros(len(points.zyx), np.uint64)
    with open_volume(f"precomputed://file://{(workspace.output / 'supervoxels').resolve()}") as written:
        ids[inside] = labels_at(written, points.zyx[inside])
    outcomes = final_outcomes(points.outcomes, ids, highest)
    write_outcomes(workspace.output / "points.csv", points.zyx, outcomes, ids)
    return describe_outcomes(outcomes)
