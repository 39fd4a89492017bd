"""The simulation of a project's queue: from its output directory to curves in a JSON file and a plot.

True skeletons are those that `evaluation.skeletons` names, or those that a phantom was grown from, or those
of the true labels. The project's output directory is read and not changed.

| file | holds |
| --- | --- |
| `proofread_simulation.json` | figures of `proofreading.simulate.figures`, the settings, and the curves |
| `proofread_simulation.png` | normalised expected run length over decisions and over hours |
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agglomeration.database import Database, open_database
from agglomeration.decided_pairs import database_of
from agglomeration.pair_pieces import open_supervoxels
from agglomeration.runs import finished_run
from configs import ConfigError, ConfigView
from evaluation import contingency, look_up_nodes, merge_tables
from evaluation.comparison import evaluation_settings, prepare_truth
from inference.inputs import blocks_of, open_inputs, phantom_spec
from jobs.pieces import atomic_path
from proofreading.decided import learnt_beyond, read_decisions
from proofreading.lengths import lengths_of
from proofreading.oracle import Truth
from proofreading.simulate import ORDERS, Curve, Simulated, figures, simulate
from proofreading.task_sources import find_candidates
from proofreading.tasks import TaskKind
from proofreading.timing import ExpectedSeconds
from volumes import Skeleton, Volume
from volumes.phantom import make_phantom

JSON, PLOT = "proofread_simulation.json", "proofread_simulation.png"
_MOST_POINTS = 2000


def simulate_project(
    config: ConfigView,
    folder: Path,
    *,
    orders: Sequence[str] = ORDERS,
    wrong: float = 0.0,
    seed: int = 1,
    most: int | None = None,
) -> dict[str, Any]:
    """Simulates the queue of a project in several orders, and writes what comes of it.

    Args:
      config: of the project, with `agglomeration` and ground truth.
      folder: where the files go.
      orders: of `proofreading.simulate.ORDERS`.
      wrong: share of the oracle's answers that are wrong, 0 to 1.
      seed: of the wrong answers and of random order.
      most: decisions; None = until no task is left.

    Returns:
      What the JSON file holds.

    Raises:
      ReconstructionError: no finished agglomeration, no ground truth, or files that cannot be written.
    """
    with open_database(database_of(config), create=False) as database:
        about = simulated(config, database)
    curves = {order: simulate(about, order, wrong=wrong, seed=seed, most=most) for order in orders}
    kinds = {kind.value: 0 for kind in TaskKind}
    for each in about.candidates:
        kinds[each.kind.value] += 1
    found: dict[str, Any] = {
        **figures(curves),
        "tasks": len(about.candidates),
        "kinds": kinds,
        "wrong": wrong,
        "seed": seed,
        "seconds": {kind.value: seconds for kind, seconds in about.seconds.items()},
    }
    write_simulation(folder, found, curves)
    return found


def simulated(config: ConfigView, database: Database) -> Simulated:
    """The queue of a project and its truth.

    Args:
      config: of the project, with `agglomeration` and ground truth.
      database: its decisions.

    Raises:
      ReconstructionError: there is no finished agglomeration, or no ground truth.
    """
    section = config.proofreading or config.replace(proofreading={}).proofreading
    lengths, run = lengths_of(config, database, keep=False), finished_run(database)
    decisions = read_decisions(database, run, lengths)
    beyond = learnt_beyond(decisions)
    seconds = ExpectedSeconds.of(section)
    return Simulated(
        decisions,
        find_candidates(database, run, decisions, lengths, section, beyond),
        lengths,
        beyond,
        truth_of(config, open_supervoxels(config)),
        {kind: seconds.of_kind(kind) for kind in TaskKind},
        section.min_probability,
    )


def truth_of(config: ConfigView, supervoxels: Volume) -> Truth:
    """What is known of the supervoxels of a project.

    Args:
      config: of the project, with ground truth.
      supervoxels: their voxels.

    Raises:
      ReconstructionError: there is no ground truth, or it cannot be read.
    """
    if config.phantom is not None and not (config.evaluation and config.evaluation.skeletons):
        phantom = make_phantom(phantom_spec(config.phantom))
        table = contingency(supervoxels.read(), phantom.labels[supervoxels.bounds.slices()])
        return Truth(phantom.skeletons, look_up_nodes(supervoxels, phantom.skeletons), table)
    settings = config.evaluation or evaluation_settings()
    labels = open_inputs(config).labels
    if labels is None and not settings.skeletons:
        raise ConfigError(
            f"config {config.name!r} has no ground truth to answer tasks from; name labels or skeletons in "
            "its section 'evaluation'"
        )
    skeletons = _skeletons(labels, supervoxels, settings)
    nodes = look_up_nodes(supervoxels, skeletons)
    # The IDs of skeletons that were not made of the labels need not be theirs.
    if labels is None or settings.skeletons:
        return Truth(skeletons, nodes)
    tables = [
        contingency(supervoxels.read(block), labels.read(block))
        for block in blocks_of(supervoxels.bounds.intersect(labels.bounds))
    ]
    return Truth(skeletons, nodes, merge_tables(tables))


def write_simulation(folder: Path, found: Mapping[str, Any], curves: Mapping[str, Curve]) -> None:
    """Writes figures, curves and plot.

    Args:
      folder: where to.
      found: plain JSON values.
      curves: by order.

    Raises:
      PieceError: the files cannot be written.
    """
    points = {
        name: {"nerl": _rounded(curve.nerl.tolist()), "hours": _rounded(curve.hours.tolist())}
        for name, curve in curves.items()
    }
    with atomic_path(folder / JSON) as path:
        path.write_text(json.dumps({**found, "curves": points}, indent=1) + "\n", encoding="utf-8")
    write_plot(folder / PLOT, curves)


def write_plot(path: Path, curves: Mapping[str, Curve]) -> None:
    """Draws run length over decisions and over hours, a line for each order.

    Args:
      path: of a PNG file.
      curves: by order.

    Raises:
      PieceError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    by_decision, by_hour = figure.subplots(1, 2, sharey=True)
    for name, curve in curves.items():
        style = {"color": "black", "linestyle": ":"} if name == "greedy" else {}
        by_decision.step(range(curve.nerl.size), curve.nerl, where="post", label=name, **style)
        by_hour.step(curve.hours, curve.nerl, where="post", label=name, **style)
    by_decision.set(xlabel="decisions", ylabel="normalised expected run length, strict")
    by_hour.set(xlabel="hours")
    by_decision.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def _skeletons(labels: Volume | None, supervoxels: Volume, settings: ConfigView) -> Mapping[int, Skeleton]:
    box = supervoxels.bounds if labels is None else supervoxels.bounds.intersect(labels.bounds)
    size_nm = supervoxels.voxel_size_nm
    return prepare_truth(labels, box, size_nm, settings, clip=True, display=False).skeletons


def _rounded(values: Sequence[float]) -> list[float]:
    """Some of the values of a curve, the first and the last one among them."""
    step = max(1, len(values) // _MOST_POINTS)
    return [round(value, 6) for value in [*values[:-1:step], values[-1]]]
