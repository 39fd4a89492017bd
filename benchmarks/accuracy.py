"""How well the shipped networks segment phantoms that they were never trained on, stage by stage.

    python -m benchmarks.accuracy --seeds 1,2,3 --json out/accuracy.json
    python -m benchmarks.accuracy --seeds 1,2,3 --no-agglomeration
    python -m benchmarks.accuracy --seeds 1,2,3 --calibration FILE.json --folder out/accuracy

For each seed a default phantom is made and the chain run on it (`configs/multiresolution.textproto`: forward,
reversed, coarse, consensus, multiresolution, and, with an `agglomeration` section, agglomerated and
constrained). VOI, adapted Rand error and coverage are printed per seed and as a mean, unsegmented voxels
counted as one object and ("seg.") left out; then expected run lengths against skeletons of the true objects
(kimimaro, scale 3, constant 400 nm, at least 1000 voxels), splits and mergers per mm. Of accepted merges
precision and recall are pooled over the seeds. The gap closed is (nERL after - before) / (1 - before).

Seeds that a network or calibration states it was trained on are refused. With `--folder` the projects stay
there, and a benchmark that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.merge_gains import AFTER, RUN_LENGTHS, Rows, gain_lines, gains
from configs import ConfigView, load_config

_FIGURES = ("voi_split", "voi_merge", "arand", "coverage")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="1,2,3", help="phantom seeds, comma-separated")
    parser.add_argument("--shape", default="128,128,128", help="voxels z,y,x")
    parser.add_argument(
        "--config", default="multiresolution", help="config whose network and inference settings are used"
    )
    parser.add_argument("--network", help="network in place of the config's")
    parser.add_argument("--calibration", help="calibration in place of the config's")
    parser.add_argument(
        "--agglomeration",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="run the agglomeration where the config has one",
    )
    parser.add_argument("--workers", type=int, help="processes; the result does not depend on them")
    parser.add_argument("--folder", type=Path, help="where the projects are kept; elsewhere they are not")
    parser.add_argument("--json", type=Path, default=Path("out/accuracy.json"))
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    shape = tuple(int(n) for n in options.shape.split(","))
    config = _config_of(options)
    _refuse_training_seeds(config, seeds)
    rows = {seed: _segment(config, seed, shape, options.folder) for seed in seeds}
    _print(rows)
    content: dict[str, Any] = {
        "shape_zyx": shape,
        "seeds": {str(seed): stages for seed, stages in rows.items()},
        "mean": _mean(rows),
    }
    if config.agglomeration is not None:
        content["agglomeration"] = gains(rows, content["mean"])
        print("\n" + "\n".join(gain_lines(content["agglomeration"])))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0


def _config_of(options: argparse.Namespace) -> ConfigView:
    """The config with what the flags say."""
    config = load_config(options.config, require=("network", "inference", "phantom"))
    if options.workers:
        config = config.replace(run=config.run.replace(workers=options.workers))
    if options.network:
        config = config.replace(network={"weights": options.network})
    if not options.agglomeration:
        config = config.replace(agglomeration=None)
    if options.calibration and config.agglomeration is not None:
        section = config.agglomeration.replace(calibration=options.calibration)
        config = config.replace(agglomeration=section)
    return config


def _refuse_training_seeds(config: ConfigView, seeds: list[int]) -> None:
    """Stops when a network states that it, or one it started from, was trained on one of the seeds, or when a
    calibration was."""
    from inference.passes import read_network

    sections = [config.network, *(each.network for each in config.inference.passes)]
    trained: set[int] = set()
    for section in filter(None, sections):
        record = json.dumps(dict(read_network(section).info.training))
        trained |= {int(seed) for seed in re.findall(r"\bseeds: (\d+)\b", record)}
    if trained & set(seeds):
        sys.exit(
            f"error: the network was trained on phantom seeds {sorted(trained & set(seeds))}; take others"
        )
    if config.agglomeration is not None and config.agglomeration.calibration is not None:
        from agglomeration.calibration import load_calibration

        known = load_calibration(config.agglomeration.calibration).trained_on
        seen = {int(seed) for seed in re.findall(r"\bseed-?(\d+)\b", json.dumps(known.get("groups", [])))}
        if seen & set(seeds):
            known_seeds = sorted(seen & set(seeds))
            sys.exit(f"error: the calibration was trained on phantom seeds {known_seeds}; take others")


def _segment(
    config: ConfigView, seed: int, shape: tuple[int, ...], folder: Path | None
) -> dict[str, dict[str, Any]]:
    """The figures of every stage for one phantom, and how many objects of at least 1000 voxels it has."""
    from inference.project import run_project
    from inference.stage_reports import StageReport

    stages: dict[str, dict[str, Any]] = {}

    def keep(report: StageReport) -> None:
        stages[report.name] = {**report.metrics, **report.counts}

    with _place(folder, seed) as place:
        phantom = config.phantom.replace(seed=seed, shape=shape)
        config = config.replace(name=f"seed-{seed}", phantom=phantom, output_dir=str(place))
        inputs = run_project(config, keep)
        assert inputs.labels is not None
        sizes = np.unique(inputs.labels.read(), return_counts=True)[1]
        neurons = {}
        if config.agglomeration is not None:
            neurons = _agglomerate(config, keep, stages)
        for stage, figures in _run_lengths(config, neurons).items():
            stages[stage] |= figures
    for figures in stages.values():
        figures["objects_of_1000_voxels"] = int((sizes >= 1000).sum())
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


def _agglomerate(config: ConfigView, keep: Any, stages: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Runs the agglomeration; the neurons of its stages."""
    from agglomeration.project import run_agglomeration

    done = run_agglomeration(config)
    for report in done.reports:
        if report.name in AFTER:
            keep(report)
    fovs = int(done.scores["fovs"].sum())
    for name in AFTER:
        stages[name] |= {"pairs": len(done.scores), "fovs": fovs, **_counts(done.decided.counts)}
    return {AFTER[0]: done.decided.agglomerated, AFTER[1]: done.decided.constrained}


def _counts(counts: Any) -> dict[str, int]:
    return {"merges_tried": counts.tried, "merges_refused": counts.refused, "cell_bodies": counts.cell_bodies}


def _run_lengths(config: ConfigView, neurons: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Run lengths of all finished stages, and of neurons made of the last one; none without kimimaro."""
    from agglomeration.stage_figures import merged_nodes
    from evaluation import erl_metrics, look_up_nodes
    from evaluation.comparison import prepare_truth
    from inference.stage_volumes import as_it_ran, finished_stages
    from inference.workspace import open_workspace

    config = as_it_ran(config)
    workspace = open_workspace(config)
    settings = config.evaluation or config.replace(evaluation={}).evaluation
    volumes = finished_stages(workspace)
    truth = prepare_truth(
        workspace.inputs.labels,
        workspace.inputs.box,
        volumes[-1].voxel_size_nm,
        settings,
        clip=True,
        tell=lambda line: print(f"note: {line}", file=sys.stderr),
        display=False,
    )
    if not truth.skeletons:
        return {}
    nodes = {each.stage: look_up_nodes(each, truth.skeletons) for each in volumes}
    last = nodes[volumes[-1].stage]
    nodes |= {name: merged_nodes(last, each) for name, each in neurons.items()}
    return {name: erl_metrics(truth.skeletons, each) for name, each in nodes.items()}


def _mean(rows: Rows) -> dict[str, dict[str, float]]:
    """The means over seeds of every stage; those of segmented voxels only begin with `segmented_only_`."""
    means: dict[str, dict[str, float]] = {}
    for stage in next(iter(rows.values())):
        found = [row[stage] for row in rows.values()]
        names = [name for name in (*_FIGURES, *RUN_LENGTHS) if all(name in each for each in found)]
        means[stage] = {name: float(np.mean([each[name] for each in found])) for name in names}
        for name in _FIGURES:
            inner = [each["segmented_only"][name] for each in found]
            means[stage][f"segmented_only_{name}"] = float(np.mean(inner))
    return means


def _print(rows: Rows) -> None:
    names = (*_FIGURES, *(f"seg. {name}" for name in _FIGURES[:3]), "objects", "true")
    print(f"{'stage':16s}{'seed':>8s}" + "".join(f"{name:>16s}" for name in names))
    for seed, stages in rows.items():
        for stage, figures in stages.items():
            inner = figures["segmented_only"]
            values = [*(figures[n] for n in _FIGURES), *(inner[n] for n in _FIGURES[:3])]
            counts = f"{figures['objects']:16d}{figures['objects_of_1000_voxels']:16d}"
            print(f"{stage:16s}{seed:8d}" + "".join(f"{value:16.3f}" for value in values) + counts)
    means = _mean(rows)
    for stage, each in means.items():
        shown = [*_FIGURES, *(f"segmented_only_{name}" for name in _FIGURES[:3])]
        print(f"{stage:16s}{'mean':>8s}" + "".join(f"{each[name]:16.3f}" for name in shown))
    if not all("nerl" in each for each in means.values()):
        return
    print(f"\n{'stage':16s}{'seed':>8s}" + "".join(f"{name:>22s}" for name in RUN_LENGTHS))
    lines = [(stage, str(seed), row[stage]) for seed, row in rows.items() for stage in row]
    for stage, whose, figures in [*lines, *((stage, "mean", each) for stage, each in means.items())]:
        print(f"{stage:16s}{whose:>8s}" + "".join(f"{figures[name]:22.3f}" for name in RUN_LENGTHS))


if __name__ == "__main__":
    sys.exit(main())
