"""What an agglomeration takes: pairs per second, network calls a pair, and the graph stage at scale.

    python -m benchmarks.agglomeration --json out/agglomeration.json
    python -m benchmarks.agglomeration --parts graph,loading
    python -m benchmarks.agglomeration --parts pairs --pairs 64 --batch_sizes 1,8

`pairs` makes supervoxels of a phantom, its true objects cut into slabs, and floods a sample of their pairs
with the shipped network; the rate is that of one worker process, the network's start not counted. `graph`
runs the soma constraint on 10^7 synthetic merges out of arrays, in a process of its own on one core;
`loading` writes 10^6 to SQLite and loads them, which is linear in the edges.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agglomeration.candidate_pairs import CandidatePairs
from agglomeration.decision_points import find_decision_points
from agglomeration.pair_pieces import score_pairs
from agglomeration.scoring import ScoreTable
from configs import ConfigView, load_config
from volumes import Box, create_volume
from volumes.phantom import PhantomSpec, make_phantom

_REPOSITORY = Path(__file__).resolve().parent.parent
_SEED = 9001
_SLAB = 32
_PARTS = ("pairs", "graph", "loading")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(_PARTS), help="of pairs,graph,loading")
    parser.add_argument("--pairs", type=int, default=48, help="pairs that are flooded")
    parser.add_argument(
        "--batch_sizes", default="1", help="fields of view in a network call, comma-separated"
    )
    parser.add_argument("--edges", type=int, default=10_000_000, help="merges of the graph stage")
    parser.add_argument("--loaded", type=int, default=1_000_000, help="merges written to SQLite and loaded")
    parser.add_argument("--config", default="demo", help="config whose network and settings are used")
    parser.add_argument("--json", type=Path, default=Path("out/agglomeration.json"))
    options = parser.parse_args()
    parts = options.parts.split(",")
    found: dict[str, Any] = {}
    if "pairs" in parts:
        sizes = [int(size) for size in options.batch_sizes.split(",")]
        found["pairs"] = pair_rows(load_config(options.config), options.pairs, sizes)
    if "graph" in parts:
        found["graph"] = _alone("graph_row", options.edges)
    if "loading" in parts:
        found["loading"] = _alone("loading_row", options.loaded)
    _print(found)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def pair_rows(config: ConfigView, count: int, batch_sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Floods a sample of the pairs of a phantom.

    Args:
        config: with network, `inference` and `agglomeration`.
        count: pairs.
        batch_sizes: of network calls; a row each.

    Returns:
        Rows {batch_size, pairs, seconds, pairs_per_s, fovs, fovs_per_pair, fovs_per_s}.
    """
    from commands._entry import load_keras_quietly

    load_keras_quietly()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        config, pairs = _phantom_project(config, Path(folder), count)
        for size in batch_sizes:
            sized = config.replace(inference=config.inference.replace(batch_size=size))
            score_pairs(sized, pairs.select(np.arange(2)), Path(folder) / f"first-{size}.npz")
            started = time.perf_counter()
            path = Path(folder) / f"{size}.npz"
            score_pairs(sized, pairs, path)
            seconds = time.perf_counter() - started
            fovs = int(ScoreTable.load(path)["fovs"].sum())
            rows.append(
                {
                    "batch_size": size,
                    "pairs": len(pairs),
                    "seconds": seconds,
                    "pairs_per_s": len(pairs) / seconds,
                    "fovs": fovs,
                    "fovs_per_pair": fovs / len(pairs),
                    "fovs_per_s": fovs / seconds,
                }
            )
    return rows


def _phantom_project(config: ConfigView, folder: Path, count: int) -> tuple[ConfigView, CandidatePairs]:
    """Image and supervoxels of a phantom as files, a config for them, and a sample of their pairs."""
    phantom = make_phantom(PhantomSpec(shape=(96, 128, 128), seed=_SEED))
    slabs = np.arange(phantom.labels.shape[2]) // _SLAB
    pieces = np.where(phantom.labels > 0, phantom.labels.astype(np.uint64) * np.uint64(100) + slabs, 0)
    pieces = pieces.astype(np.uint64)
    size_nm = (10.0, 10.0, 10.0)
    for name, array in (("raw", phantom.raw), ("pieces", pieces)):
        place, box = f"{folder}/data.h5:{name}", Box.from_shape(array.shape)
        with create_volume(place, bounds=box, dtype=array.dtype, voxel_size_nm=size_nm) as volume:
            volume.write(box, array)
    section = config.agglomeration or config.replace(agglomeration={}).agglomeration
    config = config.replace(
        output_dir=str(folder / "out"),
        phantom=None,
        raw={"spec": f"{folder}/data.h5:raw"},
        agglomeration=section.replace(supervoxels={"spec": f"{folder}/data.h5:pieces"}),
    )
    pairs = find_decision_points(pieces, size_nm, max_distance_nm=section.candidates.max_distance_nm)
    large = np.minimum(pairs.size_a, pairs.size_b) >= section.candidates.min_size
    chosen = np.random.default_rng(1).permutation(np.flatnonzero(large))[:count]
    return config, pairs.select(np.sort(chosen))


def _alone(function: str, edges: int) -> dict[str, Any]:
    """A row of `benchmarks.graph_stage`, made in a process of its own on one core."""
    code = (
        f"import json; from benchmarks.graph_stage import {function}; print(json.dumps({function}({edges})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=_REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"error: {function} failed: {done.stderr.strip().splitlines()[-1]}")
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def _print(found: dict[str, Any]) -> None:
    for row in found.get("pairs", ()):
        print(
            f"pairs, batch {row['batch_size']:3d}: {row['pairs']} in {row['seconds']:.1f} s, "
            f"{row['pairs_per_s']:.2f} per second; {row['fovs_per_pair']:.1f} fields of view a pair, "
            f"{row['fovs_per_s']:.0f} per second"
        )
    if "graph" in found:
        row = found["graph"]
        print(
            f"graph: {row['edges']} merges, {row['supervoxels']} supervoxels, {row['cell_bodies']} cell "
            f"bodies, {row['refused']} refused: {row['seconds']:.1f} s ({row['cpu_seconds']:.1f} of the "
            f"processor), peak {row['peak_gb']:.2f} GB"
        )
    if "loading" in found:
        row = found["loading"]
        print(
            f"SQLite: {row['edges']} merges written in {row['write_seconds']:.1f} s, loaded in "
            f"{row['load_seconds']:.1f} s ({row['edges_loaded_per_s']:.0f} per second), "
            f"{row['bytes_per_edge']:.0f} bytes each"
        )


if __name__ == "__main__":
    sys.exit(main())
