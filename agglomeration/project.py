"""Runs the agglomeration of a project, from supervoxels to neurons.

candidate pairs -> resegmentation and scores -> decisions in the database -> soma constraint -> neurons as a
table, voxels, meshes and skeletons, and figures where there is ground truth. Pairs are found and flooded in
pieces that workers do and whose results appear whole; a rerun does what is missing and ends in the same
decisions and voxels. Scores of other settings in the output directory are refused before anything is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agglomeration.calibration import Calibration
from agglomeration.cell_bodies import read_cell_bodies
from agglomeration.decided_pairs import Decided, calibration_of, decide_pairs, refuse_other_supervoxels
from agglomeration.extensions import ENDS
from agglomeration.meshes import STAGE as MESHES
from agglomeration.meshes import write_meshes
from agglomeration.neuron_skeletons import write_neuron_skeletons
from agglomeration.neuron_stages import AGGLOMERATED, CONSTRAINED, FILES, keep_neurons
from agglomeration.neuron_volume import STAGE as NEURONS
from agglomeration.neuron_volume import write_neuron_volume
from agglomeration.neurons import neuron_table
from agglomeration.pair_pieces import opened, resegmentation_config
from agglomeration.scored_pairs import (
    CANDIDATES,
    SCORES,
    check_scores,
    describe_scores,
    find_scores,
    shared_by_scores,
)
from agglomeration.scoring import ScoreTable
from agglomeration.segmentation import STAGE as SUPERVOXELS
from agglomeration.segmentation import Segmentation, folder_of, open_segmentation
from agglomeration.stage_figures import KnownTruth, known_truth, pair_figures
from configs import ConfigError, ConfigView, load_config, save_resolved
from evaluation.result_files import update_metrics
from inference.batching import measured_batch_size
from inference.identity import difference
from inference.outputs import require_writable
from inference.passes import make_pass_statistics
from inference.stage_reports import StageReport, aside, progress_of
from inference.stage_volumes import as_it_ran
from inference.workspace import open_workspace
from jobs.lock import only_run_in
from jobs.run_progress import RunProgress, Stage
from jobs.workers import Pool, WorkerSettings, worker_pool
from volumes import Box

DECISIONS = "decisions"
SKELETONS = "skeletons"
Tell = Callable[[str], None]

# Voxels per second and core of each stage, for the display of progress; resegmentation follows the network.
_RATES = {
    SUPERVOXELS: 5e6,
    CANDIDATES: 1e6,
    ENDS: 2e5,
    SCORES: 2e4,
    DECISIONS: 2e7,
    NEURONS: 4e6,
    MESHES: 1e6,
    SKELETONS: 1e6,
}
# With one batch computed and one made ready, a second piece keeps the network busy when the first one ends.
_PIECES_AT_ONCE = 2
_MOST_IN_BATCH = 16


@dataclass(frozen=True)
class Agglomerated:
    """What a run came to.

    Attributes:
      box: of the supervoxels (absolute).
      scores: of all pairs.
      decided: what was decided about them.
      reports: the supervoxels, and the stages made of them.
    """

    box: Box
    scores: ScoreTable
    decided: Decided
    reports: tuple[StageReport, ...]


def run_agglomeration(config: ConfigView, caution: Tell = lambda _: None) -> Agglomerated:
    """Decides which supervoxels of a project belong together, and writes the neurons.

    Args:
      config: with `agglomeration`, and `raw` or `phantom`.
      caution: called with a line about anything that is worth knowing.

    Raises:
      ReconstructionError: anything in config, network, image, supervoxels, calibration, cell bodies or output
        directory that cannot be used, or scores of other settings in it. Or pieces of work that failed.
    """
    config = prepared(config, caution)
    with only_run_in(Path(config.output_dir)):
        save_resolved(config, folder_of(config) / "config.textproto")
        with workers_of(config) as pool, progress_of(config, stages_of(config)) as progress:
            _, tell = aside(progress, lambda _: None, caution)
            return _run(config, pool, progress, tell)


def prepared(config: ConfigView, caution: Tell = lambda _: None) -> ConfigView:
    """Finds whatever would stop a run later, and makes the choices that are left to the machine.

    Args:
      config: of the project.
      caution: called with a line about the choice.

    Returns:
      The config with compute type and batch size.

    Raises:
      ReconstructionError: see `run_agglomeration`.
    """
    require_sections(config)
    config, line = with_choices(config)
    calibration = calibration_of(config)
    volumes, _ = opened(config)
    if config.somas is not None and config.somas.table is not None:
        read_cell_bodies(config.somas.table, volumes.supervoxels)
    check_scores(config)
    require_writable(folder_of(config))
    for each in (line, "" if calibration is None else foreign_calibration(config, calibration)):
        if each:
            caution(each)
    return config


def foreign_calibration(config: ConfigView, calibration: Calibration) -> str:
    """A line about a calibration that was trained on scores which mean something else; empty if it was not.

    Args:
      config: of the project, prepared.
      calibration: that it names.
    """
    own = shared_by_scores(describe_scores(config))
    differs = difference(
        {name: value for name, value in calibration.trained_on.items() if name in own},
        {name: value for name, value in own.items() if name in calibration.trained_on},
    )
    if differs is None:
        return ""
    name, theirs, ours = differs
    return (
        f"calibration '{config.agglomeration.calibration}' was trained with {name} = {theirs}, this "
        f"project has {ours}; its probabilities may be wrong here"
    )


def require_sections(config: ConfigView) -> None:
    """Refuses a config that lacks what an agglomeration needs.

    Args:
      config: of the project.

    Raises:
      ConfigError: names the section that is missing, or two settings that exclude each other.
    """
    section = config.agglomeration
    if section is None:
        raise ConfigError(
            f"config {config.name!r} has no section 'agglomeration'; add one ('agglomeration {{}}')"
        )
    if section.reject_probability > section.accept_probability:
        raise ConfigError(
            f"agglomeration.reject_probability {section.reject_probability:g} is above accept_probability "
            f"{section.accept_probability:g}; pairs between the two are open, so give a lower one"
        )
    if section.supervoxels is None and config.inference is None:
        raise ConfigError(
            f"config {config.name!r} has no section 'inference', so there are no supervoxels; add it and run "
            "run_inference, or name some in agglomeration.supervoxels"
        )
    beside = [name for name in ("meshes", "skeletons") if getattr(section.neurons, name)]
    if beside and not section.neurons.precomputed:
        raise ConfigError(
            f"agglomeration.neurons.{beside[0]} lie in the Precomputed volume of neurons; turn "
            "agglomeration.neurons.precomputed on"
        )


def with_choices(config: ConfigView) -> tuple[ConfigView, str]:
    """The config with compute type and batch size: its own, else those of earlier runs here, else chosen now.

    Args:
      config: of the project, with `agglomeration`.

    Returns:
      The config, and a line about a measurement; empty without one.
    """
    if config.inference is None:
        config = config.replace(inference={})
    if config.agglomeration.supervoxels is None:
        config = as_it_ran(config)
    inference = config.inference
    for path in (folder_of(config) / "config.textproto", Path(config.output_dir) / "config.textproto"):
        kept = _inference_of(path)
        if kept is not None and inference.compute_dtype == "auto":
            inference = inference.replace(compute_dtype=kept.compute_dtype)
        if kept is not None and inference.batch_size is None:
            inference = inference.replace(batch_size=kept.batch_size)
    line = ""
    if inference.compute_dtype == "auto" or inference.batch_size is None:
        workspace = open_workspace(resegmentation_config(config))
        (each,) = workspace.passes.values()
        dtype = each.settings.compute_dtype
        if inference.compute_dtype == "auto":
            inference = inference.replace(compute_dtype=dtype)
        if inference.batch_size is None:
            size, line = measured_batch_size(each.network, dtype, _MOST_IN_BATCH)
            inference = inference.replace(batch_size=size)
    return config.replace(inference=inference), line


def workers_of(config: ConfigView) -> Any:
    """The workers of a run, a context manager (`jobs.workers.worker_pool`).

    Args:
      config: of the project.
    """
    run = config.run
    return worker_pool(WorkerSettings(run.workers, run.scheduler, run.retries, _PIECES_AT_ONCE))


def stages_of(config: ConfigView, *, decide: bool = True) -> list[Stage]:
    """The stages of a run, in their order, each with the work it is expected to be.

    Args:
      config: of the project, with `agglomeration`.
      decide: False leaves out what follows the scores.
    """
    section = config.agglomeration
    wanted = {
        SUPERVOXELS: section.supervoxels is not None,
        CANDIDATES: True,
        ENDS: section.candidates.end_points,
        SCORES: True,
        DECISIONS: decide,
        NEURONS: decide and section.neurons.precomputed,
        MESHES: decide and section.neurons.meshes,
        SKELETONS: decide and section.neurons.skeletons,
    }
    return [Stage(name, 1e9 / _RATES[name]) for name, is_wanted in wanted.items() if is_wanted]


def scored(
    config: ConfigView, pool: Pool, progress: RunProgress, tell: Tell
) -> tuple[Segmentation, ScoreTable]:
    """The supervoxels of a project and the scores of their pairs, made where they are missing.

    Args:
      config: prepared (`prepared`).
      pool: the workers.
      progress: of a run that planned `stages_of`.
      tell: takes lines worth knowing.
    """
    workspace = open_workspace(resegmentation_config(config))
    for line in make_pass_statistics(config, workspace.passes.values(), workspace.inputs.box):
        tell(line)
    segmentation = open_segmentation(config, pool, progress)
    refuse_other_supervoxels(config, segmentation)
    return segmentation, find_scores(config, segmentation, pool, progress, tell)


def _run(config: ConfigView, pool: Pool, progress: RunProgress, tell: Tell) -> Agglomerated:
    segmentation, scores = scored(config, pool, progress, tell)
    progress.begin(DECISIONS, units=2, pieces=1)
    decided = decide_pairs(config, segmentation, scores, describe_scores(config))
    progress.advance(1)
    reports = stage_reports(segmentation, decided, known_truth(config, segmentation, tell))
    figures = {each.name: {**each.metrics, **each.counts} for each in reports[1:]}
    update_metrics(Path(config.output_dir) / "metrics.json", figures)
    progress.advance(1)
    _write_neurons(config, segmentation, decided, pool, progress)
    return Agglomerated(segmentation.box, scores, decided, reports)


def stage_reports(segmentation: Segmentation, decided: Decided, truth: KnownTruth) -> tuple[StageReport, ...]:
    """Counts and figures of the supervoxels, of what merges make of them, and of what the constraint leaves.

    Args:
      segmentation: the supervoxels.
      decided: what was decided about their pairs.
      truth: what is known of them.
    """
    known = truth.of_pairs(decided.edges.id_a, decided.edges.id_b)
    whole = {"supervoxels": len(segmentation.table.ids), "voxels": segmentation.box.size}
    reports = [StageReport("supervoxels", {"objects": len(segmentation.table.ids)}, truth.figures(), True)]
    stages = {
        AGGLOMERATED: (decided.agglomerated, decided.accepted),
        CONSTRAINED: (decided.constrained, decided.accepted & ~decided.refused),
    }
    for name, (neurons, accepted) in stages.items():
        metrics = truth.figures(neurons)
        if known is not None:
            metrics["merges"] = pair_figures(accepted, known)
        counts = {**whole, "objects": int((neurons.neurons == neurons.supervoxels).sum())}
        reports.append(StageReport(name, counts, metrics, not decided.is_new))
    return tuple(reports)


def _write_neurons(
    config: ConfigView, segmentation: Segmentation, decided: Decided, pool: Pool, progress: RunProgress
) -> None:
    """The tables of all neurons, and their voxels, meshes and skeletons as the config asks."""
    folder, output = folder_of(config), Path(config.output_dir)
    neurons, section = decided.constrained, config.agglomeration.neurons
    maps = {AGGLOMERATED: decided.agglomerated, CONSTRAINED: neurons}
    keep_neurons(folder, maps, segmentation.identity)
    table = neuron_table(segmentation.table, neurons)
    table.save(folder / "neuron_table.npz")
    table.write_csv(output / "neuron_table.csv", segmentation.volume.voxel_size_nm)
    if not section.precomputed:
        return
    volume = write_neuron_volume(
        segmentation.volume.spec,
        folder / FILES[CONSTRAINED],
        output / "neurons",
        folder / "neurons",
        made_from={"supervoxels": segmentation.identity},
        pool=pool,
        progress=progress,
        scales=config.outputs.scales,
    )
    if section.meshes:
        write_meshes(volume, folder / "neuron_table.npz", pool=pool, progress=progress)
    if section.skeletons:
        progress.begin(SKELETONS, units=1)
        if not write_neuron_skeletons(volume, section.skeletonisation):
            progress.write(
                "note: every neuron is smaller than neurons.skeletonisation.min_voxels; no skeletons"
            )


def _inference_of(path: Path) -> ConfigView | None:
    """The `inference` section of a resolved config; None where none can be read."""
    try:
        found: ConfigView | None = load_config(str(path)).inference if path.exists() else None
    except ConfigError:
        return None
    return found
