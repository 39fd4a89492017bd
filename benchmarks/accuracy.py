"""How well the shipped networks segment phantoms that they were never trained on, stage by stage.

    python -m benchmarks.accuracy --seeds 1,2,3 --json out/accuracy.json
    python -m benchmarks.accuracy --seeds 1,2,3 --no-agglomeration
    python -m benchmarks.accuracy --seeds 1,2,3 --calibration FILE.json --folder out/accuracy

For each seed a default phantom is made and the chain run on it (`configs/multiresolution.textproto`: forward,
reversed, coarse, consensus, multiresolution, and, with an `agglomeration` section, agglomerated, constrained,
and proofread_10 to proofread_100 after so many percent of the decisions in the queue). VOI, adapted Rand
error and coverage are printed per seed and as a mean, unsegmented voxels counted as one object, ("seg.") left
out, and ("common") over the voxels that all stages but the coarse one have segmented, so that no stage gains
by leaving some out; then expected run lengths against skeletons of the true objects (kimimaro, scale 3,
constant 400 nm, at least 1000 voxels), splits and mergers per mm. Of accepted merges precision and recall are
pooled over the seeds. The gap closed is (nERL after - before) / (1 - before); beside it stands what the right
answer to every candidate pair would close, since mergers inside supervoxels stay.

Seeds that a network or calibration states it was trained on are refused. With `--folder` the projects stay
there, and a benchmark that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chain import run_chain
from benchmarks.merge_gains import RUN_LENGTHS, Rows, gain_lines, gains
from configs import ConfigView, load_config

_FIGURES = ("voi_split", "voi_merge", "arand", "coverage")
# Over which voxels figures are made besides all, and what that is called in the table.
_PARTS = {"segmented_only": "seg.", "common": "common"}


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
    rows = {seed: run_chain(config, seed, shape, options.folder) for seed in seeds}
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


def _mean(rows: Rows) -> dict[str, dict[str, float]]:
    """The means over seeds of every stage; those of segmented voxels only begin with `segmented_only_`."""
    means: dict[str, dict[str, float]] = {}
    for stage in next(iter(rows.values())):
        found = [row[stage] for row in rows.values()]
        names = [name for name in (*_FIGURES, *RUN_LENGTHS) if all(name in each for each in found)]
        means[stage] = {name: float(np.mean([each[name] for each in found])) for name in names}
        for part in _PARTS:
            for name in _FIGURES if all(part in each for each in found) else ():
                means[stage][f"{part}_{name}"] = float(np.mean([each[part][name] for each in found]))
    return means


def _print(rows: Rows) -> None:
    names = [*_FIGURES, *(f"{short} {name}" for short in _PARTS.values() for name in _FIGURES[:3])]
    print(f"{'stage':16s}{'seed':>8s}" + "".join(f"{name:>18s}" for name in (*names, "objects", "true")))
    for seed, stages in rows.items():
        for stage, figures in stages.items():
            inner = [figures.get(part, {}).get(n) for part in _PARTS for n in _FIGURES[:3]]
            counts = f"{figures['objects']:18d}{figures['objects_of_1000_voxels']:18d}"
            shown = _columns([*(figures[n] for n in _FIGURES), *inner])
            print(f"{stage:16s}{seed:8d}{shown}{counts}")
    means = _mean(rows)
    for stage, each in means.items():
        keys = [*_FIGURES, *(f"{part}_{name}" for part in _PARTS for name in _FIGURES[:3])]
        print(f"{stage:16s}{'mean':>8s}" + _columns([each.get(key) for key in keys]))
    if not all("nerl" in each for each in means.values()):
        return
    print(f"\n{'stage':16s}{'seed':>8s}" + "".join(f"{name:>22s}" for name in RUN_LENGTHS))
    lines = [(stage, str(seed), row[stage]) for seed, row in rows.items() for stage in row]
    for stage, whose, figures in [*lines, *((stage, "mean", each) for stage, each in means.items())]:
        print(f"{stage:16s}{whose:>8s}" + "".join(f"{figures[name]:22.3f}" for name in RUN_LENGTHS))


def _columns(values: list[float | None]) -> str:
    return "".join(f"{'-':>18s}" if value is None else f"{value:18.3f}" for value in values)


if __name__ == "__main__":
    sys.exit(main())
