"""The whole chain on one phantom, and the figures of every stage.

Run lengths are against skeletons of the true objects. `perfect` are the supervoxels after the right answer to
every candidate pair: no agglomeration of them can come further, since a merger inside a supervoxel stays.
`proofread_N` are the neurons after N % of the decisions in the queue, in our order and all right; supervoxels
stay whole in them.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.merge_gains import AFTER, PERFECT
from configs import ConfigView

# Of the decisions in the queue, after which the proofread stages are.
PERCENTS = (10, 20, 50, 100)
Stages = dict[str, dict[str, Any]]


def run_chain(config: ConfigView, seed: int, shape: tuple[int, ...], folder: Path | None) -> Stages:
    """The figures of every stage for one phantom, and how many objects of at least 1000 voxels it has.

    Args:
        config: with `network`, `inference` and `phantom`; agglomerated where it has an `agglomeration`.
        seed: of the phantom.
        shape: of it, voxels (z, y, x).
        folder: where the project is kept; None: it is not.
    """
    from inference.project import run_project
    from inference.stage_reports import StageReport

    stages: Stages = {}

    def keep(report: StageReport) -> None:
        stages[report.name] = {**report.metrics, **report.counts}

    with _place(folder, seed) as place:
        phantom = config.phantom.replace(seed=seed, shape=shape)
        config = config.replace(name=f"seed-{seed}", phantom=phantom, output_dir=str(place))
        run_project(config, keep)
        neurons = {} if config.agglomeration is None else _agglomerate(config, keep, stages)
        _examine(config, neurons, stages)
    print(f"seed {seed} done", file=sys.stderr, flush=True)
    return stages


@contextlib.contextmanager
def _place(folder: Path | None, seed: int) -> Iterator[Path]:
    """Where a project lies: kept in a folder, or for the time being."""
    if folder is not None:
        yield folder / f"seed-{seed}"
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def _agglomerate(config: ConfigView, keep: Any, stages: Stages) -> dict[str, Any]:
    """Runs the agglomeration; the neurons of its stages, and those of right answers."""
    from agglomeration.project import run_agglomeration

    done = run_agglomeration(config)
    for report in done.reports:
        if report.name in AFTER:
            keep(report)
    counts, fovs = done.decided.counts, int(done.scores["fovs"].sum())
    for name in AFTER:
        stages[name] |= {"pairs": len(done.scores), "fovs": fovs, "merges_tried": counts.tried}
        stages[name] |= {"merges_refused": counts.refused, "cell_bodies": counts.cell_bodies}
    neurons = {AFTER[0]: done.decided.agglomerated, AFTER[1]: done.decided.constrained}
    return {**neurons, **_proofread(config), PERFECT: done.scores}


def _proofread(config: ConfigView) -> dict[str, Any]:
    """The neurons after parts of the decisions in the queue, answered from ground truth in our order."""
    from agglomeration.database import open_database
    from agglomeration.decided_pairs import database_of
    from proofreading.simulate import neurons_after
    from proofreading.simulated_project import simulated

    with open_database(database_of(config), create=False) as database:
        about = simulated(config, database)
    found = neurons_after(about, [percent / 100 for percent in PERCENTS])
    return {f"proofread_{percent}": each for percent, each in zip(PERCENTS, found, strict=True)}


def _examine(config: ConfigView, neurons: dict[str, Any], stages: Stages) -> None:
    """Adds what is read from the voxels of all stages: run lengths, and figures over common voxels."""
    from agglomeration.pair_truth import true_objects, truth_of_pairs
    from agglomeration.stage_figures import merged_nodes, merged_table
    from evaluation import contingency, erl_metrics, look_up_nodes, overlap_metrics, table_metrics
    from inference.stage_volumes import as_it_ran, finished_stages
    from inference.workspace import open_workspace

    workspace = open_workspace(as_it_ran(config))
    assert workspace.inputs.labels is not None, "a phantom has labels"
    volumes = {each.stage: each for each in finished_stages(workspace)}
    labels = {name: volume.read() for name, volume in volumes.items()}
    truth, last = workspace.inputs.labels.read(workspace.inputs.box), list(volumes)[-1]
    overlaps = contingency(labels[last], truth)
    if neurons:
        scores = neurons[PERFECT]
        truth_of_scores = truth_of_pairs(scores.id_a, scores.id_b, true_objects(overlaps))
        stages[AFTER[0]]["accepted_by"] = _accepted_by(config, scores, truth_of_scores)
        neurons[PERFECT] = _right_answers(overlaps, scores, truth_of_scores)
        for name in (name for name in neurons if name not in stages):
            figures = table_metrics(merged_table(overlaps, neurons[name]))
            stages[name] = {**figures, "objects": np.unique(neurons[name].neurons).size}
    fine = [n for n in volumes if n not in workspace.passes or workspace.passes[n].factors == (1, 1, 1)]
    common = np.where(np.logical_and.reduce([labels[name] > 0 for name in fine]), truth, 0)
    for name in fine:
        stages[name]["common"] = overlap_metrics(labels[name], common)
    for name, each in neurons.items():
        stages[name]["common"] = overlap_metrics(each.relabelled(labels[last]), common)
    skeletons = _true_skeletons(workspace, config, volumes[last].voxel_size_nm)
    if skeletons:
        nodes = {name: look_up_nodes(each, skeletons) for name, each in volumes.items()}
        nodes |= {name: merged_nodes(nodes[last], each) for name, each in neurons.items()}
        for name, each in nodes.items():
            stages[name] |= erl_metrics(skeletons, each)
    large = int((np.unique(truth, return_counts=True)[1] >= 1000).sum())
    for each in stages.values():
        each["objects_of_1000_voxels"] = large


def _accepted_by(config: ConfigView, scores: Any, truth: Any) -> dict[str, dict[str, int]]:
    """Pairs of known truth that each way of deciding accepts, and how many of them are right.

    That passes have both supervoxels in one object decides nothing by itself; it stands here for comparison.
    """
    from agglomeration.calibration import load_calibration
    from agglomeration.scoring import conservative

    section, passes = config.agglomeration, len(config.inference.passes)
    joined = scores["joined_in_passes"] * passes
    ways = {"rule": conservative(scores, section.conservative_rule)}
    if section.calibration is not None:
        probability = load_calibration(section.calibration).probability(scores)
        ways["probability"] = probability >= section.accept_probability
    ways |= {f"{count} passes": joined > count - 0.5 for count in range(1, passes + 1)}
    return {
        name: {"accepted": int((way & truth.known).sum()), "right": int((way & truth.same).sum())}
        for name, way in ways.items()
    }


def _right_answers(overlaps: Any, scores: Any, truth: Any) -> Any:
    """Neurons of all candidate pairs that are one object, and of no others."""
    from agglomeration import NeuronMap, components

    ids = np.unique(overlaps.segment_ids)
    ids = ids[ids > 0]
    return NeuronMap(ids, components(ids, scores.id_a[truth.same], scores.id_b[truth.same]))


def _true_skeletons(workspace: Any, config: ConfigView, voxel_size_nm: Any) -> Mapping[int, Any]:
    """Those of the true objects; none without kimimaro."""
    from evaluation.comparison import prepare_truth

    return prepare_truth(
        workspace.inputs.labels,
        workspace.inputs.box,
        voxel_size_nm,
        config.evaluation or config.replace(evaluation={}).evaluation,
        clip=True,
        tell=lambda line: print(f"note: {line}", file=sys.stderr),
        display=False,
    ).skeletons
