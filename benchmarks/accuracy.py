"""How well the shipped networks segment phantoms that they were never trained on, stage by stage.

    python -m benchmarks.accuracy --seeds 1,2,3 --json out/accuracy.json

For each seed a default phantom is made and the chain run on it (`configs/multiresolution.textproto`: forward,
reversed, coarse, consensus, multiresolution). VOI, adapted Rand error and coverage are printed per seed and
as a mean, unsegmented voxels counted as one object and ("seg.") left out. Seeds that a network states it was
trained on are refused.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

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
    parser.add_argument("--workers", type=int, help="processes; the result does not depend on them")
    parser.add_argument("--json", type=Path, default=Path("out/accuracy.json"))
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    shape = tuple(int(n) for n in options.shape.split(","))
    config = load_config(options.config, require=("network", "inference", "phantom"))
    if options.workers:
        config = config.replace(run=config.run.replace(workers=options.workers))
    if options.network:
        config = config.replace(network={"weights": options.network})
    _refuse_training_seeds(config, seeds)
    rows = {seed: _segment(config, seed, shape) for seed in seeds}
    _print(rows)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "shape_zyx": shape,
        "seeds": {str(seed): stages for seed, stages in rows.items()},
        "mean": _mean(rows),
    }
    options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0


def _refuse_training_seeds(config: ConfigView, seeds: list[int]) -> None:
    """Stops when a network states that it, or one it started from, was trained on one of the seeds."""
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


def _segment(config: ConfigView, seed: int, shape: tuple[int, ...]) -> dict[str, dict[str, Any]]:
    """The figures of every stage for one phantom, and how many objects of at least 1000 voxels it has."""
    from inference.project import run_project
    from inference.stage_reports import StageReport

    stages: dict[str, dict[str, Any]] = {}

    def keep(report: StageReport) -> None:
        stages[report.name] = {**report.metrics, **report.counts}

    with tempfile.TemporaryDirectory() as folder:
        phantom = config.phantom.replace(seed=seed, shape=shape)
        inputs = run_project(config.replace(phantom=phantom, output_dir=folder), keep)
        assert inputs.labels is not None
        sizes = np.unique(inputs.labels.read(), return_counts=True)[1]
    for figures in stages.values():
        figures["objects_of_1000_voxels"] = int((sizes >= 1000).sum())
    print(f"seed {seed} done", file=sys.stderr, flush=True)
    return stages


def _mean(rows: dict[int, dict[str, dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """The means over seeds of every stage; those of segmented voxels only begin with `segmented_only_`."""
    means: dict[str, dict[str, float]] = {}
    for stage in next(iter(rows.values())):
        found = [row[stage] for row in rows.values()]
        means[stage] = {name: float(np.mean([each[name] for each in found])) for name in _FIGURES}
        for name in _FIGURES:
            inner = [each["segmented_only"][name] for each in found]
            means[stage][f"segmented_only_{name}"] = float(np.mean(inner))
    return means


def _print(rows: dict[int, dict[str, dict[str, Any]]]) -> None:
    names = (*_FIGURES, *(f"seg. {name}" for name in _FIGURES[:3]), "objects", "true")
    print(f"{'stage':16s}{'seed':>8s}" + "".join(f"{name:>16s}" for name in names))
    for seed, stages in rows.items():
        for stage, figures in stages.items():
            inner = figures["segmented_only"]
            values = [*(figures[n] for n in _FIGURES), *(inner[n] for n in _FIGURES[:3])]
            counts = f"{figures['objects']:16d}{figures['objects_of_1000_voxels']:16d}"
            print(f"{stage:16s}{seed:8d}" + "".join(f"{value:16.3f}" for value in values) + counts)
    for stage, means in _mean(rows).items():
        shown = [*_FIGURES, *(f"segmented_only_{name}" for name in _FIGURES[:3])]
        print(f"{stage:16s}{'mean':>8s}" + "".join(f"{means[name]:16.3f}" for name in shown))


if __name__ == "__main__":
    sys.exit(main())
