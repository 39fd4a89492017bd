"""The piece of work of a pass: one subvolume flooded, or found finished.

Runs in a worker. The workspace and the network are opened once per worker; the subvolumes that its threads
flood share the network's batches (`inference.service`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from configs import ConfigView
from ffn.backend import load_quietly, make_predictor
from ffn.weights import instantiate
from inference.freshness import Stamp, stamps_of
from inference.identity import network_digest, require_same_settings
from inference.passes import ResolvedPass
from inference.results import UNFINISHED, SubvolumeResult, load_result, save_result, subvolume_path
from inference.service import FloodService
from inference.subject import Subject, load_subject
from inference.subvolume import segment_subject
from inference.surroundings import surroundings_of
from inference.workspace import Source, Workspace, open_workspace
from jobs.in_worker import current_reporter, per_worker, report_found
from jobs.pieces import CorruptPieceError
from jobs.plan import Subvolume


class PieceReport(NamedTuple):
    """What became of a piece.

    Attributes:
      counts: seeds, fields of view, objects, seconds, of a flooded subvolume; `new_fovs` those of this start.
      reused: it was there already.
      note: a line worth telling, such as a damaged file that was made anew; empty = none.
    """

    counts: dict[str, float]
    reused: bool
    note: str = ""


def workspace_of(source: Source) -> Workspace:
    """The workspace of a config or a job, opened once per worker, and anew when its files were replaced."""
    config = source if isinstance(source, ConfigView) else source.config
    stamps = stamps_of(config)

    def open_it() -> tuple[Workspace, tuple[Stamp, ...]]:
        return open_workspace(source) if isinstance(source, ConfigView) else source.open(), stamps

    return per_worker(("workspace", source), open_it, usable=lambda kept: kept[1] == stamps)[0]


def flood_subvolume(config: ConfigView, name: str, position: int) -> PieceReport:
    """Floods one subvolume in one pass, unless its result is there.

    Args:
      config: of the project.
      name: of the pass.
      position: of the subvolume in the plan.

    Raises:
      ReconstructionError: a result of other settings in its place; an image or mask that cannot be read.
    """
    workspace = workspace_of(config)
    each, subvolume = workspace.passes[name], workspace.plan[position]
    subject = subject_of(workspace, each, subvolume)
    return flood_or_find(config, each, subject, workspace.stage_directory(name))


def subject_of(workspace: Workspace, each: ResolvedPass, subvolume: Subvolume) -> Subject:
    """One subvolume as a pass sees it.

    Args:
      workspace: of the project.
      each: the pass.
      subvolume: of its plan.
    """
    return Subject(
        each.image,
        each.own_box(subvolume.box),
        each.own_box(workspace.inputs.box),
        each.network,
        each.settings,
        surroundings_of(workspace, each, subvolume),
        subvolume.box.start,
    )


def flood_or_find(
    config: ConfigView,
    each: ResolvedPass,
    subject: Subject,
    directory: Path,
    stored: Callable[[SubvolumeResult], SubvolumeResult] = lambda result: result,
) -> PieceReport:
    """Floods a subvolume and stores its result, unless that is there.

    Args:
      config: of the project.
      each: the pass, whose network is used.
      subject: the subvolume.
      directory: of the results; the file is named after the subject's corner.
      stored: what is stored of a result.

    Raises:
      ReconstructionError: see `flood_subvolume`.
    """
    loaded = load_subject(subject)
    corner = subject.box.start if subject.corner_zyx is None else subject.corner_zyx
    path = subvolume_path(directory, corner)
    found, note = load_or_note(directory, corner)
    if found is not None:
        require_same_settings(found.settings, loaded.made_from, path)
        path.with_suffix(UNFINISHED).unlink(missing_ok=True)
        report_found()
        return PieceReport(found.counts, reused=True)
    reporter, new_fovs = current_reporter(), 0

    def report(voxels: int, found: int, fovs: int) -> None:
        nonlocal new_fovs
        new_fovs = fovs
        reporter(voxels, found=found, fovs=fovs)

    result = segment_subject(
        subject,
        loaded,
        lambda task: service_of(config, each).run(task),
        report=report,
        checkpoint=path.with_suffix(UNFINISHED),
        checkpoint_seconds=config.inference.checkpoint_interval_seconds,
    )
    result = stored(result)
    save_result(directory, result, corner)
    return PieceReport({**result.counts, "new_fovs": new_fovs}, reused=False, note=note)


def load_or_note(directory: Path, corner: tuple[int, int, int]) -> tuple[SubvolumeResult | None, str]:
    """A stored result; or None and, where a damaged file was found, a line that names it.

    Args:
      directory: of a stage's results.
      corner: start (zyx, absolute) of the subvolume's box.
    """
    try:
        return load_result(directory, corner), ""
    except CorruptPieceError as error:
        return None, f"{str(error).split(';')[0]}; it is made anew"


def service_of(config: ConfigView, each: ResolvedPass) -> FloodService:
    """The service that runs a pass's network in this worker, started when first needed.

    Args:
      config: of the project; states the batch size.
      each: the pass, with its network and compute type.
    """
    batch_size = config.inference.batch_size or 1
    architecture = each.network.info.architecture
    key = ("service", network_digest(each.network), architecture, each.settings.compute_dtype, batch_size)

    def start() -> FloodService:
        load_quietly()
        predictor = make_predictor(instantiate(each.network, each.settings.compute_dtype))
        return FloodService(predictor, architecture.fov_zyx, batch_size=batch_size)

    return per_worker(key, start, usable=lambda service: service.is_alive, close=FloodService.close)
