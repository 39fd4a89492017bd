"""A reseeding job: which supervoxels it starts from, where its seeds may lie, and where its results go.

It is a workspace like a project's (`inference.workspace`): the same image, ground truth and subvolumes, of
which it takes those that a seed can lie in. Its only stage holds the objects that it adds. What is written is
completed with the objects that were there before, which win every voxel.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from configs import ConfigError, ConfigView
from inference.context import face_margins, grown
from inference.identity import difference, settings_digest
from inference.passes import ResolvedPass
from inference.reseeding_points import NO_ROOM, OUTSIDE, SEED, TAKEN, labels_at
from inference.workspace import Workspace, open_workspace
from jobs.pieces import atomic_path, load_npz
from jobs.plan import Subvolume
from volumes import Box, Volume, VolumeError, open_volume

STAGE = "reseeded"
OWN = "supervoxels"
_JOB, _BEGINNING = "job.json", "before/started_from.json"


@dataclass(frozen=True)
class ReseedingJob:
    """What workers open a reseeding from; small.

    Attributes:
      config: of the project.
      name: of the job; names its directory.
      pass_name: the pass whose network, resolution, options and seeds are used.
      supervoxels: SPEC of the objects that are there; empty = those of the project.
      box: seeds lie in here, voxels of the raw volume; None = everywhere.
      points: names the points that are the seeds; empty = the pass's seed policy.
    """

    config: ConfigView
    name: str
    pass_name: str
    supervoxels: str = ""
    box: Box | None = None
    points: str = ""

    @property
    def shelf(self) -> Path:
        """Where all reseeding jobs of the project lie."""
        return Path(self.config.output_dir) / "reseeded"

    @property
    def directory(self) -> Path:
        """Where all its results lie."""
        return self.shelf / self.name

    @property
    def points_path(self) -> Path:
        """Its points: `seeds_zyx`, int64 (n, 3), voxels of the raw volume."""
        return self.directory / "points.npz"

    def open(self) -> Reseeding:
        """Opens it from its directory."""
        seeds = load_npz(self.points_path)["seeds_zyx"] if self.points else None
        return reseeding_of(self, open_workspace(self.config), seeds)


@dataclass(frozen=True, eq=False)
class Reseeding(Workspace):
    """A job, opened; `passes` holds the one used, `plan` the subvolumes that are worked on.

    Attributes:
      job: it.
      existing: the supervoxels that are there.
      seeds: int64 (n, 3), the points that are the seeds, voxels of the raw volume; None = the seed policy's.
    """

    job: ReseedingJob
    existing: Volume
    seeds: np.ndarray | None

    @property
    def output(self) -> Path:
        return self.job.directory

    @property
    def source(self) -> ReseedingJob:
        return self.job

    @property
    def volumes_written(self) -> tuple[str, ...]:
        return (OWN,)

    @property
    def final_stage(self) -> str:
        return STAGE

    @property
    def chosen(self) -> ResolvedPass:
        """The pass."""
        return self.passes[self.job.pass_name]

    def stage_directory(self, stage: str) -> Path:
        return self.output / "subvolumes"

    def describe_stage(self, stage: str) -> dict[str, object]:
        box, region = self.job.box, self.inputs.box
        return {
            "supervoxels": self.job.supervoxels or OWN,
            "pass": self.job.pass_name,
            "box_zyx": box and [list(box.start), list(box.stop)],
            "points": self.job.points,
            "region_zyx": [list(region.start), list(region.stop)],
            "subvolumes": settings_digest({s.name: [str(s.box), str(s.core)] for s in self.plan}),
            "reconciliation": self.config.reconciliation.to_text(),
            **self.describe_pass(self.chosen),
        }

    def completed(self, labels: np.ndarray, box: Box) -> np.ndarray:
        existing = self.existing.read(box).astype(np.uint64)
        return np.where(existing > 0, existing, labels)


def reseeding_of(job: ReseedingJob, project: Workspace, seeds: np.ndarray | None) -> Reseeding:
    """The workspace of a job.

    Args:
      job: what is to be done.
      project: its project, opened.
      seeds: int64 (n, 3), see `Reseeding`.

    Raises:
      ReconstructionError: supervoxels that do not fit the project.
    """
    chosen = replace(project.passes[job.pass_name], fill_from=None)
    plan = [s for s in project.plan if _can_begin(seed_room(project, chosen, s), chosen, job.box, seeds)]
    return Reseeding(
        project.config,
        project.inputs,
        {chosen.name: chosen},
        {},
        plan,
        job,
        open_existing(job, project),
        seeds,
    )


def require_supervoxels(job: ReseedingJob) -> None:
    """Finds before anything else that there is nothing to start from.

    Raises:
      ConfigError: the project has no supervoxels yet.
    """
    folder = Path(job.config.output_dir) / OWN
    if not job.supervoxels and not (folder / "info").exists():
        raise ConfigError(
            f"there are no supervoxels in '{folder}'; make them with run_inference --config, or name others "
            "with --supervoxels"
        )


def open_existing(job: ReseedingJob, project: Workspace) -> Volume:
    """The supervoxels a job starts from.

    Args:
      job: names the supervoxels; by default its project's own.
      project: the workspace of the config they belong to.

    Returns:
      A volume for reading.

    Raises:
      VolumeError: they cannot be opened, or have another grid than the project, or no IDs.
    """
    own = f"precomputed://file://{(Path(job.config.output_dir) / OWN).resolve()}"
    size_nm, region = project.inputs.image.voxel_size_nm, project.inputs.box
    volume = open_volume(job.supervoxels or own)
    if volume.dtype.kind not in "iu":
        raise VolumeError(f"'{volume.spec}' holds {volume.dtype}, but supervoxels are whole numbers")
    if not np.allclose(volume.voxel_size_nm, size_nm, rtol=1e-3):
        raise VolumeError(
            f"supervoxels '{volume.spec}' have voxels of {volume.voxel_size_nm} nm, the image has {size_nm} "
            "nm (z, y, x); give those of this project"
        )
    if volume.bounds != region:
        raise VolumeError(
            f"supervoxels '{volume.spec}' fill {volume.bounds}, the config's region is {region}; give the "
            "config they were made with, and --box for a part of it"
        )
    return volume


def seed_room(project: Workspace, each: ResolvedPass, subvolume: Subvolume) -> Box:
    """Where in a subvolume a seed can lie: a field of view fits around it. Voxels of the pass.

    Args:
      project: the workspace of the config.
      each: the pass.
      subvolume: one of the plan.

    Returns:
      An absolute box in voxels of the pass; it may be empty.
    """
    own, radius = each.own_box(subvolume.box), each.settings.options.radius_zyx
    mirror = each.settings.mirror_margin
    margin = face_margins(own, each.own_box(project.inputs.box), radius, mirror=mirror)
    return grown(own, margin).grow([-n for n in radius]).intersect(own)


def sort_points(project: Workspace, job: ReseedingJob, points: np.ndarray) -> list[str]:
    """Which points can be seeds.

    Args:
      project: opened.
      job: for its pass, box and supervoxels.
      points: int64 (n, 3), voxels of the raw volume.

    Returns:
      For each point one of `OUTSIDE`, `TAKEN`, `NO_ROOM` and `SEED`.
    """
    region = project.inputs.box if job.box is None else project.inputs.box.intersect(job.box)
    inside = np.all((points >= region.start) & (points < region.stop), axis=1)
    taken = np.zeros(len(points), bool)
    taken[inside] = labels_at(open_existing(job, project), points[inside]) > 0
    each = project.passes[job.pass_name]
    has_room = np.zeros(len(points), bool)
    for subvolume in project.plan:
        has_room |= _within(points, seed_room(project, each, subvolume), each)
    return [
        OUTSIDE if not i else TAKEN if t else SEED if r else NO_ROOM
        for i, t, r in zip(inside, taken, has_room, strict=True)
    ]


def seeds_in(seeds: np.ndarray, room: Box, each: ResolvedPass) -> np.ndarray:
    """Those seeds (n, 3) that lie in a box of the pass, in its voxels; each voxel once.

    Args:
      seeds: integers (n, 3), zyx, absolute, raw voxels.
      room: absolute, voxels of the pass.
      each: the pass.

    Returns:
      Integers (m, 3), zyx, absolute, voxels of the pass, in the order of the seeds.
    """
    found = seeds[_within(seeds, room, each)] // each.factors
    _, first = np.unique(found, axis=0, return_index=True)
    return found[np.sort(first)]


def stored_description(directory: Path, name: str = _JOB) -> dict[str, object] | None:
    """What a job's directory says that it is of; None where there is no job.

    Args:
      directory: of the job; need not be there.
      name: of the file in it.

    Raises:
      ConfigError: its file is damaged.
    """
    path = directory / name
    if not path.exists():
        return None
    try:
        description = json.loads(path.read_text())
    except ValueError as error:
        raise ConfigError(f"{path} is damaged ({error}); delete {directory} and run again") from error
    return dict(description)


def require_same_job(directory: Path, description: dict[str, object]) -> None:
    """Refuses a directory that holds another job.

    Args:
      directory: of the job; need not be there.
      description: plain values that the job follows from.

    Raises:
      ConfigError: names the first setting that differs.
    """
    _require_same(directory, stored_description(directory), description, "is another job")


def claim_job(directory: Path, description: dict[str, object]) -> None:
    """Writes what a job is, unless that is there.

    Args:
      directory: of the job.
      description: plain values that the job follows from.
    """
    _write_once(directory / _JOB, description)


def claim_beginning(directory: Path, description: dict[str, object]) -> None:
    """Writes what a job started from, once its voxels are known, in `before/started_from.json`.

    Args:
      directory: of the job.
      description: highest ID and digest of all voxels of the supervoxels, plain values.

    Raises:
      ConfigError: it was begun with others.
    """
    stored = stored_description(directory, _BEGINNING)
    _require_same(directory, stored, description, "started from other supervoxels")
    _write_once(directory / _BEGINNING, description)


def _require_same(
    directory: Path, stored: dict[str, object] | None, description: dict[str, object], what: str
) -> None:
    differs = None if stored is None else difference(stored, description)
    if differs is not None:
        name, theirs, mine = differs
        raise ConfigError(
            f"{directory} {what}: {name} = {json.dumps(theirs)} there, {json.dumps(mine)} now; give "
            "another --name or delete it"
        )


def _write_once(path: Path, description: dict[str, object]) -> None:
    if not path.exists():
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(description, indent=2, sort_keys=True) + "\n")


def free_name(parent: Path, description: dict[str, object]) -> str:
    """The name of the same job if it was begun before, else the first of reseed-1, reseed-2, … not taken.

    Args:
      parent: folder of all jobs.
      description: plain values that the job follows from.
    """
    for number in itertools.count(1):
        stored = stored_description(parent / f"reseed-{number}")
        if stored is None or difference(stored, description) is None:
            break
    return f"reseed-{number}"


def _can_begin(room: Box, each: ResolvedPass, box: Box | None, seeds: np.ndarray | None) -> bool:
    """Whether a seed can lie in a subvolume's room."""
    if seeds is not None:
        return bool(_within(seeds, room, each).any())
    return not (room if box is None else room.intersect(each.own_box(box))).is_empty


def _within(points: np.ndarray, room: Box, each: ResolvedPass) -> np.ndarray:
    """Which points (raw voxels) lie in a box of the pass."""
    own = points // np.array(each.factors)
    return np.asarray(np.all((own >= room.start) & (own < room.stop), axis=1))
